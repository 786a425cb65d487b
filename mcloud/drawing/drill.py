"""The report of a drill, on a terminal and as Markdown."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mcloud.rehearsal.drill_report import DrillReport


def view(report: DrillReport) -> RenderableType:
    timeline = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    timeline.add_column(justify="right")
    for each in report.timeline:
        timeline.add_row(f"{each.s:z.1f} s", Text(each.what))
    facts = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for name, value, is_good in figures(report):
        facts.add_row(name, Text(value, "green" if is_good else "bold red"))
    verdict = Text("passed", "green") if report.ok else Text("FAILED", "red")
    if report.problem:
        verdict.append(f": {report.problem}")
    title = Text(f"{report.scenario} of {report.site}", "bold")
    return Group(title, timeline, "", facts, "", verdict)


def markdown(report: DrillReport) -> str:
    lines = [
        f"# Drill: {report.scenario} of {report.site}",
        "",
        f"{report.about.capitalize()}. "
        + ("The drill passed." if report.ok else "**The drill failed.**"),
        "",
        "| seconds | what |",
        "|---:|---|",
        *(f"| {each.s:z.1f} | {each.what} |" for each in report.timeline),
        "",
        "| figure | value |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value, _ in figures(report)),
    ]
    if report.problem:
        lines += ["", f"Problem: {report.problem}"]
    return "\n".join(lines)


def rto(seconds: float | None) -> str:
    return "nothing was moved" if seconds is None else f"{seconds:.1f} s"


def figures(report: DrillReport) -> Iterator[tuple[str, str, bool]]:
    """Yield the name, the value, and whether the value is good."""
    expected = report.expected_to_move
    is_as_expected = expected is None or (report.moves > 0) == expected
    yield "moves of the traffic", str(report.moves), is_as_expected and report.moves <= 1
    yield "RTO: outage to first trade stored", rto(report.rto_s), is_as_expected
    missing = report.rpo_ids_missing
    shown = "unknown" if missing is None else f"{missing:,} of {report.trades:,}"
    yield "RPO: trade ids missing", shown, missing == 0
    for name, site in report.sites.items():
        exact = "exact" if site.exact else "NOT exact"
        words = f"{site.candles} candles, {exact}; {site.archived:,} trades archived"
        yield name, words, site.exact and site.archived == report.trades
    usd = report.usd
    cost = "unknown" if usd is None else f"${usd:.4f} at list price, before free tiers"
    yield "cost of the drill on real clouds (an estimate)", cost, True
