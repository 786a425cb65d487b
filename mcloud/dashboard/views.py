"""A snapshot to look at once."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mcloud.dashboard.figures import Cell, rows
from mcloud.dashboard.machine import Machine, Running
from mcloud.dashboard.runs import listing
from mcloud.dashboard.snapshot import Snapshot
from mcloud.dashboard.wrong import firing, wrong


def status(snapshot: Snapshot) -> RenderableType:
    """The figures, what runs here, and what is not in order."""
    machine = snapshot.machine.value or Machine()
    parts: list[RenderableType] = [status_table(snapshot), leading(snapshot), watching(machine)]
    if machine.producers or machine.replicators:
        producers, replicators = _states(machine.producers), _states(machine.replicators)
        parts += ["", listing({"producer": producers, "replicator": replicators})]
    lines = wrong(snapshot)
    if lines:
        parts += ["", *(Text(line, "yellow") for line in lines)]
    return Group(*parts)


def status_table(snapshot: Snapshot) -> Table:
    """One column a site, one row a figure."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", style="dim")
    for name, site in snapshot.sites.items():
        table.add_column(name if name == site.cloud else f"{name} ({site.cloud})")
    for row in rows(snapshot):
        table.add_row(row.label, *map(_cell, row.cells))
    return table


def leading(snapshot: Snapshot) -> Text:
    """Which site is the primary, and since when."""
    record = snapshot.leading
    if record is None:
        unknown = [site for site in snapshot.sites.values() if not site.record.known]
        return Text("primary unknown" if unknown else "no primary yet", "dim")
    apart = [
        f"{site.name} has epoch {site.record.value.epoch if site.record.value else 'none'}"
        for site in snapshot.sites.values()
        if site.record.known and site.record.value != record
    ]
    text = Text.assemble("primary ", (record.primary, "bold"), f", epoch {record.epoch}, ")
    text.append(f"{record.mode}" + (f": {record.reason}" if record.reason else ""))
    return text.append(f"; {', '.join(apart)}", "yellow") if apart else text


def watching(machine: Machine) -> Text:
    """Who watches over the sites: guards, and the watcher of the alerts."""
    text = Text("guard ")
    text.append_text(_named(machine.guards, "none runs here"))
    text.append("; alerts ")
    fires = [alert for each in machine.alerts for alert in firing(each)]
    if fires:
        return text.append(", ".join(fires), "bold red")
    if any(each.runs for each in machine.alerts):
        return text.append("none fires")
    return text.append("no watcher runs here", "dim")


def _named(runs: tuple[Running, ...], none: str) -> Text:
    running = [each for each in runs if each.runs]
    if not running:
        return Text(none, "dim")
    return Text(", ").join(
        Text(f"{each.name} {each.state.get('phase', 'runs')}") for each in running
    )


def _cell(cell: Cell) -> Text:
    if cell.age is None:
        return cell.text
    why = f": {cell.problem}" if cell.problem else ""
    return Text.assemble(cell.text, (f" ({cell.ago}{why})", "dim"))


def _states(runs: tuple[Running, ...]) -> list[tuple[str, bool, dict[str, object]]]:
    return [(each.name, each.runs, dict(each.state)) for each in runs]
