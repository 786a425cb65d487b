"""A view of one snapshot."""

from collections.abc import Callable, Iterator
from itertools import groupby
from operator import attrgetter

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mcloud.clouds.observation import Observation
from mcloud.drawing.band import canaries, leading, money, watching
from mcloud.drawing.figures import Cell, rows
from mcloud.drawing.lines import INDENT, verdict_line
from mcloud.observing.machine import Machine
from mcloud.observing.notes import notes
from mcloud.observing.problems import Problem, causes, problems
from mcloud.observing.snapshot import Snapshot
from mcloud.observing.verdict import SnapshotVerdict, verdict


def status(snapshot: Snapshot, advice: Callable[[str], str] = str) -> RenderableType:
    """Draw the verdict, and what deviates from normal operation, each with its remedy.

    ``advice`` returns the text of a remedy as it is shown, such as with the profile.
    """
    lines = [*_lines(causes(snapshot), "yellow", advice), *_lines(notes(snapshot), "dim", advice)]
    return Group(headline(verdict(snapshot)), *lines)


def everything(snapshot: Snapshot, advice: Callable[[str], str] = str) -> RenderableType:
    """Draw the verdict, all problems, the figures of each site, and the processes here."""
    parts: list[RenderableType] = [
        headline(verdict(snapshot)),
        *_lines(problems(snapshot), "yellow", advice),
        *_lines(notes(snapshot), "dim", advice),
        "",
        status_table(snapshot),
        leading(snapshot),
        watching(snapshot),
    ]
    if canary := canaries(snapshot):
        parts.append(canary)
    if snapshot.cost != Observation():
        parts.append(money(snapshot))
    machine = (snapshot.machine.value or Machine()).recent(snapshot.at)
    if any(machine.by_kind.values()):
        # The lists of all kinds of processes load what `status` without -v does not need.
        from mcloud.drawing.ps import listing

        parts += ["", listing(machine, snapshot.at)]
    return Group(*parts)


def headline(found: SnapshotVerdict) -> Text:
    """Return the verdict as one line."""
    return verdict_line(found.word, found.facts)


def status_table(snapshot: Snapshot) -> Table:
    """Draw one column per site and one row per figure."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", style="dim")
    for name, site in snapshot.sites.items():
        table.add_column(name if name == site.cloud else f"{name} ({site.cloud})")
    for row in rows(snapshot):
        table.add_row(row.label, *map(_cell, row.cells))
    return table


def _lines(
    found: list[Problem], style: str, advice: Callable[[str], str]
) -> Iterator[RenderableType]:
    # Problems in a row with the same remedy share its line.
    for remedy, group in groupby(found, key=attrgetter("remedy")):
        for each in group:
            yield Padding.indent(Text(advice(each.message), style), INDENT)
        if remedy:
            yield Padding.indent(Text(f"→ {advice(remedy)}", "cyan"), INDENT + 2)


def _cell(cell: Cell) -> Text:
    if not cell.ago:
        return cell.text
    why = f": {cell.problem}" if cell.problem else ""
    return Text.assemble(cell.text, (f" ({cell.ago}{why})", "dim"))
