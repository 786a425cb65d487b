"""Views of a comparison of sites, and of the plan of a repair."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mcloud.durations import duration
from mcloud.market.ids import Run
from mcloud.replication.verify_document import (
    FindingDocument,
    RepairDocument,
    VerifiedSite,
    VerifyDocument,
)

SHOWN = 20  # findings; a program gets all of them
RUNS = 4  # of ids, in a line


class _CountRow(NamedTuple):
    label: str
    count: Callable[[VerifiedSite], int]
    is_fact: bool = False
    """Whether the number is only informative. Otherwise a number above zero is a finding."""
    is_optional: bool = False
    """Whether the row is left out if all its numbers are zero."""


ROWS = (
    _CountRow("candles", lambda site: site.candles, is_fact=True),
    _CountRow("trades", lambda site: site.trades, is_fact=True, is_optional=True),
    _CountRow("void ids", lambda site: site.voids, is_fact=True, is_optional=True),
    _CountRow("equal", lambda site: site.equal, is_fact=True),
    _CountRow("missing", lambda site: site.missing),
    _CountRow("different", lambda site: site.different),
    _CountRow("disputed", lambda site: site.disputed, is_optional=True),
    _CountRow("misplaced", lambda site: site.misplaced, is_optional=True),
    _CountRow("wrong", lambda site: site.wrong, is_optional=True),
    _CountRow("raw objects", lambda site: site.raw_objects, is_fact=True),
    _CountRow("of them blocks", lambda site: site.raw_blocks, is_fact=True, is_optional=True),
    _CountRow("not compacted", lambda site: site.raw_pending, is_fact=True, is_optional=True),
    _CountRow("being exported", lambda site: site.raw_exporting, is_fact=True, is_optional=True),
    _CountRow("unarchived", lambda site: site.unarchived),
    _CountRow("orphaned", lambda site: site.orphaned),
    _CountRow("incomplete", lambda site: site.incomplete),
    _CountRow("damaged", lambda site: site.damaged),
    _CountRow("unmarked", lambda site: site.unmarked, is_optional=True),
    _CountRow("misfiled", lambda site: site.misfiled, is_optional=True),
)


def view(document: VerifyDocument) -> RenderableType:
    """Draw a comparison: a column per site, as in ``mcloud status``, then each finding."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column()
    for name in document.sites:
        table.add_column(name, justify="right")
    for row in ROWS:
        counts = [row.count(site) for site in document.sites.values()]
        if any(counts) or not row.is_optional:
            table.add_row(row.label, *(_count(row, count) for count in counts))
    findings = document.findings
    lines = [Text(_line(each)) for each in findings[:SHOWN]]
    if len(findings) > SHOWN:
        lines.append(Text(f"… and {len(findings) - SHOWN:,} more; all of them with -o json", "dim"))
    return Group(table, *([Text(), *lines] if lines else []), Text(), _verdict(document))


def plan_lines(repair: RepairDocument) -> RenderableType:
    """Draw the steps of a repair, one line each."""
    plan = repair.plan
    steps = (
        (plan.candles_to_merge, "candles are completed from another site"),
        (plan.objects_to_copy, f"raw objects are copied, {plan.bytes_to_copy:,} bytes"),
        (plan.objects_to_replace, "damaged raw objects are rewritten"),
        (plan.trades_to_fold, "raw trades are folded into candles"),
        (plan.objects_to_move, "raw objects are moved to the folder of their hour"),
        (plan.candles_to_write_again, "candles are rewritten unchanged"),
        (plan.candles_to_rewrite, "candles are recomputed from the raw trades"),
    )
    lines = [f"{count:,} {words}" for count, words in steps if count]
    if plan.trades_to_fetch:
        lines.append(
            f"{plan.trades_to_fetch:,} trades come from {repair.exchange}:"
            f" {plan.exchange_requests:,} requests{_patience(repair.exchange_s)}"
        )
    cannot = [Text(f"not fixed: {each}", "yellow") for each in plan.beyond_repair]
    return Group(*map(Text, lines), *cannot)


def _patience(seconds: float) -> str:
    return f", at least {duration(seconds)}" if seconds >= 60 else ""


def _count(row: _CountRow, count: int) -> Text:
    return Text(f"{count:,}", "bold red" if count and not row.is_fact else "")


def _line(finding: FindingDocument) -> str:
    words = [finding.kind, finding.site or "all sites", finding.symbol, finding.timestamp]
    if finding.ids:
        words.append(_ids(finding.ids))
    if finding.object:
        words.append(finding.object)
    line = "  ".join(words)
    if finding.elsewhere:
        line += f"; there at {', '.join(finding.elsewhere)}"
    return f"{line}; {finding.why}" if finding.why else line


def _ids(runs: Sequence[Run]) -> str:
    shown = [str(first) if first == last else f"{first}-{last}" for first, last in runs[:RUNS]]
    if len(runs) > RUNS:
        shown.append(f"… {len(runs) - RUNS:,} more runs")
    return " ".join(shown)


def _verdict(document: VerifyDocument) -> Text:
    if not document.symbols:
        return Text(
            "there is nothing to compare: the sites have no raw trades and no heartbeats", "yellow"
        )
    if document.ok:
        words = "equal and complete" if len(document.sites) > 1 else "complete"
        how = ", and every candle matches its raw trades" if document.deep else ""
        return Text(f"{words}{how}", "green")
    count = len(document.findings)
    return Text(f"{count:,} finding{'s' * (count != 1)}", "bold red")
