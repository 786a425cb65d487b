"""The document of ``mcloud alerts list``, as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mcloud.alerts.engine import Alert, AlertStates, step
from mcloud.alerts.figures import AlertFigures
from mcloud.alerts.rules import Rules
from mcloud.alerts.units import said, unit
from mcloud.notify.silences import Silence


def report(
    rules: Rules,
    figures: AlertFigures,
    watcher: AlertStates | None,
    now: float,
    silences: Sequence[Silence] = (),
) -> dict[str, Any]:
    """Return the rules with their figures, and the active ``silences`` that cover them.

    ``watcher`` is the state of a running watcher. Without it there is only the present check, and
    every wrong figure fires, since nobody knows how long it has been wrong.
    """
    if watcher is None:
        at_once = tuple(replace(rule, last=0.0) for rule in rules.rules)
        state, _ = step(replace(rules, rules=at_once), figures, AlertStates(), now)
    else:
        state, _ = step(rules, figures, watcher, now)
    return {
        "at": now,
        "firing": len(state.firing),
        "silenced": sum(_covering(silences, alert) is not None for alert in state.firing),
        "silences": [silence.to_json(now) for silence in silences],
        "rules": [
            {
                "name": rule.name,
                "figure": rule.figure,
                "limit": rule.limit,
                "unit": unit(rule.figure),
                "severity": rule.severity,
                "enabled": rule.enabled,
                "channels": None if rule.channels is None else list(rule.channels),
                "origin": rule.origin,
                "why": state.nothing.get(rule.name, ""),
                "figures": [
                    _figure(alert, now, watcher is not None, _covering(silences, alert))
                    for alert in state.alerts.values()
                    if alert.rule == rule.name and rule.enabled
                ],
            }
            for rule in rules.rules
        ],
    }


def _covering(silences: Sequence[Silence], alert: Alert) -> Silence | None:
    found = [each for each in silences if each.covers(alert.rule, alert.path)]
    return max(found, key=lambda each: each.end, default=None)


def _figure(
    alert: Alert, now: float, is_watched: bool, silence: Silence | None
) -> Mapping[str, Any]:
    is_known = alert.value is not None
    # A single check knows no earlier time.
    since = _since(alert) if is_watched else None
    return {
        "path": alert.path,
        "names": list(alert.names),
        "state": alert.state,
        "value": alert.value,
        "age_s": round(now - alert.at, 1) if is_known else None,
        "text": said(alert.value, alert.path),
        "since": since,
        "for_s": None if since is None else round(max(0.0, now - since), 1),
        "why": alert.why,
        "silenced": silence.in_short() if silence else None,
        "unknown": alert.unknown if alert.unknown_since is not None else "",
    }


def _since(alert: Alert) -> float | None:
    """Return the time when the present state began, or None for a figure that is fine."""
    if alert.firing:
        return alert.since
    if alert.unknown_since is not None:
        return alert.unknown_since
    return None if alert.leaning is None else alert.leaning - alert.held
