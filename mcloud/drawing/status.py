"""A view of one snapshot."""

from collections.abc import Callable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mcloud.clouds.observation import Observation
from mcloud.drawing.band import canaries, leading, money, watching
from mcloud.drawing.figures import Cell, rows
from mcloud.drawing.ps import listing
from mcloud.observing.machine import Machine
from mcloud.observing.problems import problems
from mcloud.observing.snapshot import Snapshot


def status(snapshot: Snapshot, advice: Callable[[str], str] = str) -> RenderableType:
    """Draw the figures, the processes on this machine, and the problems.

    ``advice`` turns the text of a problem into the one to show, such as with a remedy.
    """
    machine = snapshot.machine.value or Machine()
    parts: list[RenderableType] = [status_table(snapshot), leading(snapshot), watching(snapshot)]
    if canary := canaries(snapshot):
        parts.append(canary)
    if snapshot.cost != Observation():
        parts.append(money(snapshot))
    if any(machine.by_kind.values()):
        parts += ["", listing(machine, snapshot.at)]
    lines = problems(snapshot)
    if lines:
        parts += ["", *(Text(advice(line), "yellow") for line in lines)]
    return Group(*parts)


def status_table(snapshot: Snapshot) -> Table:
    """Draw one column per site and one row per figure."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", style="dim")
    for name, site in snapshot.sites.items():
        table.add_column(name if name == site.cloud else f"{name} ({site.cloud})")
    for row in rows(snapshot):
        table.add_row(row.label, *map(_cell, row.cells))
    return table


def _cell(cell: Cell) -> Text:
    if cell.age is None:
        return cell.text
    why = f": {cell.problem}" if cell.problem else ""
    return Text.assemble(cell.text, (f" ({cell.ago}{why})", "dim"))
