"""A view of the result of the demo."""

from collections.abc import Mapping

from rich.table import Table

from mcloud.cost.run import RunCost
from mcloud.cost.words import usd
from mcloud.drawing.drill import rto
from mcloud.rehearsal.demo import Proof
from mcloud.rehearsal.drill_report import DrillReport


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
