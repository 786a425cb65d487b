"""Views of a comparison of sites, and of the plan of a repair."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mcloud.durations import duration

SHOWN = 20  # findings; a program gets all of them
RUNS = 4  # of ids, in a line

ROWS = {
    "candles": "candles",
    "trades": "trades",
    "voids": "void ids",
    "equal": "equal",
    "missing": "missing",
    "different": "different",
    "disputed": "disputed",
    "misplaced": "misplaced",
    "wrong": "wrong",
    "raw_objects": "raw objects",
    "raw_blocks": "of them blocks",
    "raw_pending": "not compacted",
    "unarchived": "unarchived",
    "orphaned": "orphaned",
    "incomplete": "incomplete",
    "damaged": "damaged",
    "unmarked": "unmarked",
    "misfiled": "misfiled",
}
OPTIONAL = (
    "raw_blocks",
    "raw_pending",
    "trades",
    "voids",
    "disputed",
    "misplaced",
    "wrong",
    "unmarked",
    "misfiled",
)
FACTS = ("candles", "trades", "voids", "equal", "raw_objects", "raw_blocks", "raw_pending")

Document = Mapping[str, Any]


def view(report: Document) -> RenderableType:
    """Draw the document of ``Report.to_json``: a column per site, as in ``mcloud status``, then
    each finding.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column()
    sites: Mapping[str, Document] = report["sites"]
    for name in sites:
        table.add_column(name, justify="right")
    for name, label in ROWS.items():
        counts = [site[name] for site in sites.values()]
        if name not in OPTIONAL or any(counts):
            table.add_row(label, *(_count(name, count) for count in counts))
    findings: Sequence[Document] = report["findings"]
    lines = [Text(_line(each)) for each in findings[:SHOWN]]
    if len(findings) > SHOWN:
        lines.append(Text(f"… and {len(findings) - SHOWN:,} more; all of them with -o json", "dim"))
    return Group(table, *([Text(), *lines] if lines else []), Text(), _verdict(report))


def plan_lines(repair: Document) -> RenderableType:
    """Draw the steps of a repair, one line each."""
    plan = repair["plan"]
    lines = [
        f"{words.format(n=plan[name], **plan)}"
        for name, words in (
            ("candles_to_merge", "{n:,} candles are completed from another site"),
            ("objects_to_copy", "{n:,} raw objects are copied, {bytes_to_copy:,} bytes"),
            ("objects_to_replace", "{n:,} damaged raw objects are rewritten"),
            ("trades_to_fold", "{n:,} raw trades are folded into candles"),
            ("objects_to_move", "{n:,} raw objects are moved to the folder of their hour"),
            ("candles_to_write_again", "{n:,} candles are rewritten unchanged"),
            ("candles_to_rewrite", "{n:,} candles are recomputed from the raw trades"),
        )
        if plan[name]
    ]
    if plan["trades_to_fetch"]:
        lines.append(
            f"{plan['trades_to_fetch']:,} trades come from {repair['exchange']}:"
            f" {plan['exchange_requests']:,} requests{_patience(repair['exchange_s'])}"
        )
    cannot = [Text(f"not fixed: {each}", "yellow") for each in plan["beyond_repair"]]
    return Group(*map(Text, lines), *cannot)


def _patience(seconds: float) -> str:
    return f", at least {duration(seconds)}" if seconds >= 60 else ""


def _count(name: str, count: int) -> Text:
    return Text(f"{count:,}", "bold red" if count and name not in FACTS else "")


def _line(finding: Document) -> str:
    words = [finding["kind"], finding["site"] or "all sites", finding["symbol"]]
    words.append(finding["timestamp"])
    if finding["ids"]:
        words.append(_ids(finding["ids"]))
    if finding["object"]:
        words.append(finding["object"])
    line = "  ".join(words)
    if finding["elsewhere"]:
        line += f"; there at {', '.join(finding['elsewhere'])}"
    return f"{line}; {finding['why']}" if finding["why"] else line


def _ids(runs: Sequence[Sequence[int]]) -> str:
    shown = [str(first) if first == last else f"{first}-{last}" for first, last in runs[:RUNS]]
    if len(runs) > RUNS:
        shown.append(f"… {len(runs) - RUNS:,} more runs")
    return " ".join(shown)


def _verdict(report: Document) -> Text:
    if not report["symbols"]:
        return Text(
            "there is nothing to compare: the sites have no raw trades and no heartbeats", "yellow"
        )
    if report["ok"]:
        words = "equal and complete" if len(report["sites"]) > 1 else "complete"
        how = ", and every candle matches its raw trades" if report["deep"] else ""
        return Text(f"{words}{how}", "green")
    count = len(report["findings"])
    return Text(f"{count:,} finding{'s' * (count != 1)}", "bold red")
