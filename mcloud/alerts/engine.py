"""The states of alerts: a pure function of the figures, the earlier state and the time.

An alert fires when its figure has been wrong for the time of its rule, and is resolved when the
figure has been fine for that time. A figure that is unknown or too old changes nothing: only time
in which it is known to be wrong counts. A separate event reports a part with figures that have been
unknown for a while. An alert whose figure no longer exists is closed after a day.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Annotated, Literal

from mcloud.alerts.figures import AlertFigure, AlertFigures, is_of_folder
from mcloud.alerts.rules import AlertRule, Rules, advice
from mcloud.alerts.units import said
from mcloud.clock import AHEAD
from mcloud.documents import OTHER_TEXTS, Seconds, Time
from mcloud.durations import duration
from mcloud.notify.event import FIRING, RESOLVED, Event, EventState, Severity

AlertState = Literal["ok", "pending", "firing", "unknown"]

GAP = 600.0  # seconds; nothing is known of the time between checks that are farther apart
GONE = 86_400.0  # seconds after which the alert of a missing figure is closed
TOLD_AGAIN = 3600.0  # seconds for which a resolution is retried on channels that lack it
NAMED = 10  # unknown figures that an event lists


@dataclass(frozen=True)
class Alert:
    """The alert of one rule for one figure."""

    rule: str
    path: str
    names: tuple[str, ...] = ()
    """Values of the stars in the rule's pattern."""
    firing: bool = False
    since: Time = 0.0
    """Time when the alert started or stopped firing."""
    held: Seconds = 0.0
    """Seconds for which the rule's condition is known to hold. While the alert fires, seconds for
    which it is known not to hold."""
    leaning: Time | None = None
    """Time of the latest check, if it found the figure in the state that ``held`` counts."""
    value: float | None = None
    """Last known value."""
    at: Time = 0.0
    why: str = ""
    """Text of the figure beside its value."""
    unknown_since: Time | None = None
    unknown: str = ""
    """Reason why the figure is unknown."""
    severity: Annotated[Severity, OTHER_TEXTS] = "warning"
    was_told: bool = False
    """Whether the alert has fired, so that its end is reported too."""

    @property
    def state(self) -> AlertState:
        if self.firing:
            return "firing"
        if self.unknown_since is not None:
            return "unknown"
        return "pending" if self.leaning is not None else "ok"

    @property
    def key(self) -> str:
        return " ".join((self.rule, *self.names))


@dataclass(frozen=True)
class Blind:
    """A part with figures that have been unknown for a while."""

    key: str
    since: Time
    what: tuple[str, ...]
    """The unknown figures as ``rule path: why``."""
    is_over: bool = False


@dataclass(frozen=True)
class AlertStates:
    alerts: Mapping[str, Alert] = field(default_factory=dict)
    """Alerts by key."""
    blind: Mapping[str, Blind] = field(default_factory=dict)
    nothing: Mapping[str, str] = field(default_factory=dict)
    """Reason why a rule has no figures, by the rule's name."""

    @property
    def firing(self) -> list[Alert]:
        return [alert for alert in self.alerts.values() if alert.firing]


def step(
    rules: Rules, figures: AlertFigures, before: AlertStates, now: float
) -> tuple[AlertStates, list[Event]]:
    """Return the state after a check, and the events for its changes."""
    before = _not_after(before, now)
    alerts: dict[str, Alert] = {}
    nothing: dict[str, str] = {}
    by_name = {rule.name: rule for rule in rules.rules if rule.enabled}
    ended: set[str] = set()
    for rule in by_name.values():
        every = figures.find(rule.figure)
        ended |= {Alert(rule.name, each.path, each.names).key for each in every if each.is_over}
        found = [each for each in every if not each.is_over]
        if all(each.figure is None for each in found):
            nothing[rule.name] = _why_nothing(rule, bool(found))
            continue
        for each in found:
            fresh = Alert(rule.name, each.path, each.names)
            last = before.alerts.get(fresh.key, fresh)
            last = replace(last, path=each.path, severity=rule.severity)
            figure = each.figure or AlertFigure(None, now, "the figure does not exist")
            alerts[fresh.key] = _look(rule, last, figure, now)
    for key, alert in before.alerts.items():
        if key not in alerts:
            why = "it has ended" if key in ended else ""
            left = _gone(alert, why if alert.rule in by_name else "its rule no longer exists", now)
            alerts |= {key: left} if left else {}
    unseen = [
        alert
        for alert in alerts.values()
        if alert.unknown_since is not None
        and now - alert.unknown_since >= rules.settings.unknown_for
        and not (alert.rule in by_name and by_name[alert.rule].unknown == "ignore")
    ]
    blind = _blind(unseen, before.blind, now)
    state = AlertStates(alerts, blind, nothing)
    known = {(each.key, each.state, each.at) for each in standing(rules, before, now)}
    changed = [
        event
        for event in standing(rules, state, now)
        if (event.key, event.state, event.at) not in known
    ]
    return state, changed


def standing(rules: Rules, state: AlertStates, now: float) -> list[Event]:
    """Return all firing alerts and recent resolutions, for channels that have not been sent
    them.
    """
    by_name = {rule.name: rule for rule in rules.rules}
    events = []
    for alert in state.alerts.values():
        if alert.firing:
            events.append(_firing(alert, by_name.get(alert.rule)))
        elif alert.was_told and 0 <= now - alert.since < TOLD_AGAIN:
            events.append(_resolved(alert, by_name.get(alert.rule)))
    for blind in state.blind.values():
        if not blind.is_over or 0 <= now - blind.since < TOLD_AGAIN:
            events.append(_blindness(blind))
    return events


def moved(state: AlertStates, seconds: float) -> AlertStates:
    """Return the state after the clock was set, with every time at the same age as before."""

    def shift(at: float | None) -> float | None:
        return max(0.0, at + seconds) if at else at  # 0.0 means never, on any clock

    return _with_times(state, shift)


def _not_after(state: AlertStates, now: float) -> AlertStates:
    """Return the state without times from the future, which result from a clock that was set
    back between two runs.
    """
    return _with_times(state, lambda at: None if at is None else min(at, now))


def _with_times(state: AlertStates, change: Callable[[float | None], float | None]) -> AlertStates:
    alerts = {
        key: replace(
            alert,
            since=change(alert.since) or 0.0,
            leaning=change(alert.leaning),
            at=change(alert.at) or 0.0,
            unknown_since=change(alert.unknown_since),
        )
        for key, alert in state.alerts.items()
    }
    blind = {
        key: replace(each, since=change(each.since) or 0.0) for key, each in state.blind.items()
    }
    return replace(state, alerts=alerts, blind=blind)


def _why_nothing(rule: AlertRule, leads_nowhere: bool) -> str:
    if leads_nowhere:
        return f"unknown: there is no figure {rule.figure}"
    return f"nothing matches {rule.figure}"


def _look(rule: AlertRule, alert: Alert, figure: AlertFigure, now: float) -> Alert:
    why = _why_unknown(rule, figure, now)
    if figure.value is None or why:
        since = now if alert.unknown_since is None else min(alert.unknown_since, now)
        return replace(alert, unknown_since=since, unknown=why, leaning=None)
    alert = replace(
        alert, value=figure.value, at=figure.at, why=figure.why, unknown_since=None, unknown=""
    )
    leans = rule.is_over(figure.value) if alert.firing else rule.is_wrong(figure.value)
    if not leans:
        return replace(alert, held=0.0, leaning=None)
    # The time between two checks does not count if the clock was set back or the checks paused.
    passed = 0.0 if alert.leaning is None else now - alert.leaning
    held = alert.held + (passed if 0 <= passed <= GAP else 0.0)
    if held < (rule.recover if alert.firing else rule.last):
        return replace(alert, held=held, leaning=now)
    return replace(alert, firing=not alert.firing, since=now, held=0.0, leaning=None, was_told=True)


def _why_unknown(rule: AlertRule, figure: AlertFigure, now: float) -> str:
    """Return why a figure cannot be used, or an empty string if it can."""
    if figure.value is None:
        return figure.why or "no value is given"
    age = now - figure.at
    if age < -AHEAD:
        return f"it is {duration(-age)} in the future: this clock or the other one is wrong"
    return f"it is {duration(age)} old" if age > rule.stale else ""


def _gone(alert: Alert, why: str, now: float) -> Alert | None:
    """Return the state of an alert whose figure no longer exists, or None to drop it.

    ``why`` is empty if the reason is unknown. The alert then waits for a day.
    """
    if not alert.firing:
        # A resolved alert stays for a while, so that every channel is sent its end.
        is_news = alert.was_told and 0 <= now - alert.since < TOLD_AGAIN
        kept = replace(alert, held=0.0, leaning=None, unknown_since=None)
        return kept if is_news else None
    since = now if alert.unknown_since is None else min(alert.unknown_since, now)
    gone = replace(alert, unknown_since=since, unknown="it is no longer reported", leaning=None)
    if not why and now - since < GONE:
        return gone
    over = replace(gone, firing=False, since=now, held=0.0, unknown_since=None)
    return replace(over, unknown=why) if why else over


def _blind(unseen: Iterable[Alert], before: Mapping[str, Blind], now: float) -> dict[str, Blind]:
    """Return the parts with unknown figures. Each has one entry, however many of its figures are
    unknown, under a key such as ``unknown sites.aws``.
    """
    groups: dict[str, list[Alert]] = {}
    for alert in unseen:
        groups.setdefault(".".join(alert.path.split(".")[:2]), []).append(alert)
    found: dict[str, Blind] = {}
    for part, each in groups.items():
        key = f"unknown {part}"
        last = before.get(key)
        since = last.since if last and not last.is_over else now
        what = tuple(f"{alert.rule} {alert.path}: {alert.unknown}" for alert in each)
        found[key] = Blind(key, since, what)
    for key, last in before.items():
        if key in found:
            continue
        if not last.is_over:
            found[key] = replace(last, since=now, is_over=True)
        elif 0 <= now - last.since < TOLD_AGAIN:
            found[key] = last
    return found


def _firing(alert: Alert, rule: AlertRule | None) -> Event:
    return _event(alert, rule, FIRING, _words(alert, rule), _text(alert, rule))


def _resolved(alert: Alert, rule: AlertRule | None) -> Event:
    words = alert.unknown or f"over, it is {said(alert.value, alert.path)}"
    return _event(alert, rule, RESOLVED, words, "")


def _event(alert: Alert, rule: AlertRule | None, state: EventState, words: str, text: str) -> Event:
    return Event(
        key=alert.key,
        title=f"{alert.key}: {words}",
        text=text,
        severity=alert.severity,
        state=state,
        at=alert.since,
        fields=_fields(alert, rule),
        rule=alert.rule,
        figure=alert.path,
        is_of_folder=is_of_folder(alert.path),
    )


def _words(alert: Alert, rule: AlertRule | None) -> str:
    value = said(alert.value, alert.path)
    if rule is None or alert.value is None:
        return value
    return rule.says.format(value=value, limit=rule.limit)


def _fields(alert: Alert, rule: AlertRule | None) -> dict[str, str]:
    return {
        "figure": alert.path,
        "value": said(alert.value, alert.path),
        **({"limit": rule.limit} if rule else {}),
        "seen": datetime.fromtimestamp(alert.at, UTC).isoformat(timespec="seconds"),
    }


def _blindness(blind: Blind) -> Event:
    more = len(blind.what) - NAMED
    lines = [*blind.what[:NAMED], *([f"and {more} more"] if more > 0 else [])]
    part = blind.key.removeprefix("unknown ")
    count = f"{len(blind.what)} figure{'s' if len(blind.what) > 1 else ''}"
    return Event(
        key=blind.key,
        title=f"{part}: all figures are known again"
        if blind.is_over
        else f"{part}: {count} unknown for a while",
        text="" if blind.is_over else "\n".join(lines),
        severity="warning",
        state=RESOLVED if blind.is_over else FIRING,
        at=blind.since,
        figure=part,
        is_of_folder=is_of_folder(part),
    )


def _text(alert: Alert, rule: AlertRule | None) -> str:
    words = [alert.why, advice(rule, alert.names) if rule else ""]
    return "\n".join(each for each in words if each)
