"""A view of an examination."""

from collections.abc import Sequence
from itertools import groupby, zip_longest

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mcloud.clouds.access import FAULT, OK, UNKNOWN, WARNING
from mcloud.doctor.check import DoctorCheck

LONGEST = 240  # characters of a finding: three lines of a small terminal

MARKS = {
    OK: ("ok", "green"),
    WARNING: ("warning", "yellow"),
    UNKNOWN: ("unknown", "dim"),
    FAULT: ("FAULT", "bold red"),
}


def report(checks: Sequence[DoctorCheck]) -> RenderableType:
    """Draw a table per site, each fault with its remedy, and a line of totals."""
    parts: list[RenderableType] = []
    for site, group in groupby(checks, key=lambda check: check.site):
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
        rows = list(group)
        for each, after in zip_longest(rows, rows[1:]):
            # Rows with the same remedy share one line for it.
            is_last = after is None or after.remedy != each.remedy
            remedy = each.remedy if is_last else ""
            table.add_row(Text(*MARKS[each.state]), each.subject, _finding(each, remedy))
        parts += [Text(site or "this machine", "bold"), table, Text()]
    return Group(*parts, summary(checks))


def summary(checks: Sequence[DoctorCheck]) -> Text:
    counts = {state: sum(check.state == state for check in checks) for state in MARKS}
    words = [
        f"{counts[state]} {name if counts[state] == 1 else plural}"
        for state, name, plural in (
            (FAULT, "fault", "faults"),
            (WARNING, "warning", "warnings"),
            (UNKNOWN, "unknown", "unknown"),
        )
        if counts[state]
    ]
    return Text(f"{', '.join(words) or 'no problems'}; {counts[OK]} in order")


def _finding(check: DoctorCheck, remedy: str) -> Text:
    words = check.finding
    text = Text(words if len(words) <= LONGEST else f"{words[:LONGEST]}… (all with -o json)")
    if check.seconds is not None:
        text.append(f"  {check.seconds * 1000:.0f} ms", "dim")
    if remedy:
        text.append(f"\n→ {remedy}")
    return text
