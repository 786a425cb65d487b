"""The lines about all sites together: the primary, the guards and watchers, and the cost."""

from collections.abc import Sequence

from rich.text import Text

from mcloud.alerts.watch import WatcherState
from mcloud.cost.words import usd
from mcloud.durations import brief, clock, utc
from mcloud.failover.statement import GuardState
from mcloud.observing.machine import Machine
from mcloud.observing.notes import apart, record_of
from mcloud.observing.problems import firing, silenced
from mcloud.observing.queries import COST
from mcloud.observing.snapshot import Snapshot
from mcloud.runs import Running


def leading(snapshot: Snapshot) -> Text:
    """Return the line about the primary, and since when it leads."""
    record = snapshot.leading
    if record is None:
        unknown = [site for site in snapshot.sites.values() if not site.record.known]
        return Text("primary unknown" if unknown else "no primary yet", "dim")
    older = [f"{site.name} has {record_of(site)}" for site in apart(snapshot)]
    since = f" since {clock(record.at, snapshot.at)}, epoch {record.epoch}, {record.mode}"
    text = Text.assemble("primary ", (record.primary, "bold"), since)
    # The reason is that of the move. It may be long over.
    text.append(f"; reason then: {record.reason}" if record.reason else "")
    return text.append(f"; {', '.join(older)}", "yellow") if older else text


def watching(snapshot: Snapshot) -> Text:
    """Return the line about the guards and the watcher of the alerts."""
    machine = snapshot.machine.value or Machine()
    text = Text("guard ")
    running = [each for each in machine.guards if each.runs]
    if running:
        text.append_text(Text(", ").join(map(_guard, running)))
    elif paused := _paused(snapshot):
        text.append(f"none runs here, paused {paused}", "yellow")
    else:
        text.append("none runs here", "dim")
    text.append("; alerts ").append_text(_alerts(machine.alerts, snapshot))
    return text.append_text(_silences(snapshot))


def canaries(snapshot: Snapshot) -> Text | None:
    """Return the duration of each site's last canary, from the guards that run here, or None."""
    machine = snapshot.machine.value or Machine()
    told = [
        f"at {name} after {site.canary_s:.1f} s"
        for guard in machine.guards
        if guard.runs and guard.state
        for name, site in guard.state.sites.items()
        if name in snapshot.sites and site.canary_s is not None
    ]
    return Text(f"canary stored {', '.join(dict.fromkeys(told))}") if told else None


def money(snapshot: Snapshot, room: int = 1000) -> Text:
    """Return the estimated cost of all sites, shortened to the room."""
    figure = snapshot.cost.value
    if figure is None:
        return Text(f"cost unknown: {snapshot.cost.problem or 'not read yet'}", "dim")
    if figure.month_to_date is None:
        return Text(f"cost {figure.source}", "dim")
    text = Text(f"{usd(figure.month_to_date)} this month")
    age = snapshot.at - figure.as_of
    more = [Text(f" ({brief(age)} ago)", "dim")] if age > COST else []
    if figure.per_hour_now is not None:
        more.append(Text(f", {usd(figure.per_hour_now)}/h"))
    if figure.expected is not None:
        more.append(Text(f", {usd(figure.expected)} expected"))
    if figure.budget is not None:
        is_over = (figure.expected or figure.month_to_date) > figure.budget
        more.append(Text(f", budget {usd(figure.budget)}", "yellow" if is_over else ""))
    for each in more:
        if text.cell_len + each.cell_len > room:
            break
        text.append_text(each)
    return text


def _guard(guard: Running[GuardState]) -> Text:
    state = guard.state
    name = "" if guard.name == "guard" else f"{guard.name} "
    if guard.damaged:
        return Text(f"{name}state.json is damaged", "bold red")
    if state is None:
        return Text(f"{name}starts")
    if state.paused:
        return Text(f"{name}paused {state.paused}", "yellow")
    if state.doing:
        return Text(f"{name}{', '.join(state.doing)}", "yellow")
    return Text(f"{name}watches")


def _paused(snapshot: Snapshot) -> str:
    """Return who paused the guards, wherever they run, or an empty string."""
    notes = [(site.guards.value or {}).get("pause") for site in snapshot.sites.values()]
    told = max((note for note in notes if note), key=lambda note: note.at, default=None)
    return f"by {told.by}" if told and told.paused else ""


def _silences(snapshot: Snapshot) -> Text:
    """Return the number of active silences. A silence cannot hide this line."""
    active = snapshot.silenced
    if not active:
        return Text()
    count = f"{len(active)} silence{'s' * (len(active) > 1)}"
    until = f"until {utc(active[-1].end)}"
    return Text(f"; {count} {until} (`mcloud alerts silences`)", "yellow")


def _alerts(watchers: Sequence[Running[WatcherState]], snapshot: Snapshot) -> Text:
    running = [each for each in watchers if each.runs]
    if not running:
        return Text("no watcher runs here", "dim")
    fires = [alert for each in running for alert in firing(each, snapshot)]
    quiet = sum(len(silenced(each, snapshot)) for each in running)
    style = "bold red" if quiet < len(fires) else "yellow"
    text = Text(", ".join(fires), style) if fires else Text("none fires")
    unknown = sum(each.state.unknown for each in running if each.state)
    return Text.assemble(text, f", {unknown} unknown") if unknown else text
