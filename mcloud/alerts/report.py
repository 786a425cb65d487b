"""The report of ``mcloud alerts list``: the rules with their figures."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mcloud.alerts.engine import Alert, AlertState, AlertStates, step
from mcloud.alerts.figures import AlertFigures
from mcloud.alerts.rules import AlertRule, Rules, advice
from mcloud.alerts.units import said, unit
from mcloud.notify.event import Severity
from mcloud.notify.silences import ListedSilence, Silence, SilenceInShort


@dataclass(frozen=True)
class FigureReport:
    """A figure of a rule."""

    path: str
    names: tuple[str, ...]
    """Values of the stars in the rule's pattern."""
    state: AlertState
    value: float | None
    """Last known value."""
    age_s: float | None
    text: str
    """Value with its unit."""
    since: float | None
    """Time when the state began, seconds since 1970. None if the figure is fine."""
    for_s: float | None
    why: str
    silenced: SilenceInShort | None
    unknown: str
    """Reason why the figure is unknown."""
    advice: str
    """Cause and remedy of a firing alert, from its rule; empty otherwise."""


@dataclass(frozen=True)
class RuleReport:
    name: str
    figure: str
    """Pattern of the figures' paths."""
    limit: str
    unit: str
    severity: Severity
    enabled: bool
    channels: tuple[str, ...] | None
    """Names of the channels. None for all of them."""
    origin: str
    why: str
    """Reason why the rule has no figures."""
    figures: tuple[FigureReport, ...]


@dataclass(frozen=True)
class AlertReport:
    watched: bool
    """Whether a running watcher has judged the figures."""
    at: float
    firing: int
    silenced: int
    silences: tuple[ListedSilence, ...]
    rules: tuple[RuleReport, ...]


def report(
    rules: Rules,
    figures: AlertFigures,
    watcher: AlertStates | None,
    now: float,
    silences: Sequence[Silence] = (),
) -> AlertReport:
    """Return the rules with their figures, and the active ``silences`` that cover them.

    ``watcher`` is the state of a running watcher. Without it there is only the present check, and
    every wrong figure fires, since nobody knows how long it has been wrong.
    """
    if watcher is None:
        at_once = tuple(replace(rule, last=0.0) for rule in rules.rules)
        states, _ = step(replace(rules, rules=at_once), figures, AlertStates(), now)
    else:
        states, _ = step(rules, figures, watcher, now)

    def of(rule: AlertRule) -> RuleReport:
        return RuleReport(
            name=rule.name,
            figure=rule.figure,
            limit=rule.limit,
            unit=unit(rule.figure),
            severity=rule.severity,
            enabled=rule.enabled,
            channels=rule.channels,
            origin=rule.origin,
            why=states.nothing.get(rule.name, ""),
            figures=tuple(
                _figure(rule, alert, now, watcher is not None, _covering(silences, alert))
                for alert in states.alerts.values()
                if alert.rule == rule.name and rule.enabled
            ),
        )

    return AlertReport(
        watched=watcher is not None,
        at=now,
        firing=len(states.firing),
        silenced=sum(_covering(silences, alert) is not None for alert in states.firing),
        silences=tuple(silence.listed(now) for silence in silences),
        rules=tuple(map(of, rules.rules)),
    )


def _covering(silences: Sequence[Silence], alert: Alert) -> Silence | None:
    found = [each for each in silences if each.covers(alert.rule, alert.path)]
    return max(found, key=lambda each: each.end, default=None)


def _figure(
    rule: AlertRule, alert: Alert, now: float, is_watched: bool, silence: Silence | None
) -> FigureReport:
    # A single check knows no earlier time.
    since = _since(alert) if is_watched else None
    return FigureReport(
        path=alert.path,
        names=alert.names,
        state=alert.state,
        value=alert.value,
        age_s=None if alert.value is None else round(now - alert.at, 1),
        text=said(alert.value, alert.path),
        since=since,
        for_s=None if since is None else round(max(0.0, now - since), 1),
        why=alert.why,
        silenced=silence.in_short() if silence else None,
        unknown=alert.unknown if alert.unknown_since is not None else "",
        advice=advice(rule, alert.names) if alert.firing else "",
    )


def _since(alert: Alert) -> float | None:
    """Return the time when the present state began, or None for a figure that is fine."""
    if alert.firing:
        return alert.since
    if alert.unknown_since is not None:
        return alert.unknown_since
    return None if alert.leaning is None else alert.leaning - alert.held
