"""Views of the demo: its steps while it runs, and its result."""

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mcloud.cost.run import RunCost
from mcloud.cost.words import usd
from mcloud.drawing.drill import rto
from mcloud.drawing.lines import bar, fit, sides
from mcloud.rehearsal.demo import Proof
from mcloud.rehearsal.drill_report import DrillReport
from mcloud.rehearsal.steps import STEPS, DemoStep, DemoSteps

TITLES: Mapping[DemoStep, str] = {
    "up": "both clouds up",
    "stored": "trades in, in any order, some twice",
    "refused": "the poison refused: messages that are no trades",
    "exact": "every candle exact",
    "out": "a site taken out while trades flow",
    "moved": "the guard moves the traffic",
    "back": "the site back, and caught up",
    "again": "exact again on both sites, and nothing lost",
}
FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
PACE = 8  # frames per second
WIDEST = 50  # columns of a bar


def steps(seen: DemoSteps, width: int) -> RenderableType:
    """Draw the steps with the times at which they were reached, and a bar for each site."""
    now = next((step for step in STEPS if step not in seen.reached and step != "refused"), None)
    lines: list[RenderableType] = []
    for step in STEPS:
        words = seen.words.get(step, TITLES[step])
        if step in seen.reached:
            is_failed = step in seen.failed
            mark = ("✗ ", "bold red") if is_failed else ("✓ ", "bold green")
            line = Text.assemble(mark, words)
            lines.append(sides(line, Text(f"{seen.reached[step]:.1f} s", "dim"), min(width, 76)))
        elif step == now:
            frame = FRAMES[int(seen.at * PACE) % len(FRAMES)]
            lines.append(Text.assemble((f"{frame} ", "bold cyan"), (words, "bold")))
            if seen.doing:
                lines.append(fit(Text(f"  {seen.doing}", "dim"), width))
        else:
            lines.append(Text(f"· {words}", "dim"))
    if now is None and seen.doing:
        lines.append(fit(Text(f"  {seen.doing}", "dim"), width))
    return Group(*lines, *_bars(seen, width))


def _bars(seen: DemoSteps, width: int) -> list[Text]:
    longest = max(map(len, seen.bars), default=0)
    columns = max(8, min(WIDEST, width - longest - 30))
    lines = []
    for name, each in seen.bars.items():
        filled = bar(each.share, columns)
        line = Text.assemble(f"  {name:<{longest}} ", (filled, "red" if each.words else "cyan"))
        line.append("░" * (columns - len(filled)), "dim")
        lines.append(line.append(f" {each.done:,} of {each.whole:,}  {each.words}".rstrip()))
    return lines


def table(proof: Proof, outage: DrillReport, costs: Mapping[str, RunCost]) -> Table:
    """Draw the expected figures and, beside them, those of each site."""
    drawn = Table(box=None, pad_edge=False, padding=(0, 2))
    drawn.add_column("")
    for name in ("expected", *proof.sites):
        drawn.add_column(name)
    sites = proof.sites.values()

    drawn.add_row("candles", str(proof.candles), *(_mark(s.candles, s.exact) for s in sites))
    drawn.add_row("exact", "yes", *(_mark("yes" if s.exact else "NO", s.exact) for s in sites))
    drawn.add_row("digest", proof.digest, *(_mark(s.digest, s.exact) for s in sites))
    drawn.add_row(
        "trades archived",
        f"{proof.trades:,}",
        *(_mark(f"{s.archived:,}", s.archive_complete) for s in sites),
    )
    drawn.add_row(
        "dead letters",
        f"{proof.poison} (the poison)",
        *(_mark(s.dead_letters, s.only_poison) for s in sites),
    )
    _outage(drawn, outage)
    drawn.add_row("cost at list price", "", *(usd(costs[name].gross) for name in proof.sites))
    drawn.add_row("after free tiers", "", *(usd(costs[name].net) for name in proof.sites))
    return drawn


def _outage(table: Table, outage: DrillReport) -> None:
    """Add the rows about the trades that were sent while a site was out."""
    sites = outage.sites.items()
    roles = [
        _mark("taken out" if name == outage.site else "took over", outage.ok) for name, _ in sites
    ]
    table.add_row("outage", f"{outage.trades:,} more trades", *roles)
    exact = [_mark("yes" if site.exact else "NO", site.exact) for _, site in sites]
    table.add_row("exact afterwards", "yes", *exact)
    table.add_row("RTO", "seconds", "", _mark(rto(outage.rto_s), outage.rto_s is not None))
    missing = outage.rpo_ids_missing
    words = "unknown" if missing is None else f"{missing:,} ids missing"
    table.add_row("RPO", "0 ids missing", "", _mark(words, missing == 0))
    if outage.problem:
        table.add_row("", "", _mark(outage.problem, False))


def _mark(value: object, good: bool) -> str:
    return f"[green]{value}[/]" if good else f"[bold red]{value}[/]"
