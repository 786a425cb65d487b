"""What ``mcloud alerts list`` tells, as plain values."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mcloud.alerts.engine import Alert, State, step
from mcloud.alerts.figures import Figures
from mcloud.alerts.rules import Rules


def report(rules: Rules, figures: Figures, watcher: State | None, now: float) -> dict[str, Any]:
    """The rules with their figures.

    ``watcher`` is the state of one that runs. Without it there is this one look only, and what is
    wrong now fires, since nobody can say for how long it has been so.
    """
    if watcher is None:
        at_once = tuple(replace(rule, last=0.0) for rule in rules.rules)
        state, _ = step(replace(rules, rules=at_once), figures, State(), now)
    else:
        state, _ = step(rules, figures, watcher, now)
    return {
        "at": now,
        "firing": len(state.firing),
        "rules": [
            {
                "name": rule.name,
                "figure": rule.figure,
                "limit": rule.limit,
                "severity": rule.severity,
                "enabled": rule.enabled,
                "channels": None if rule.channels is None else list(rule.channels),
                "origin": rule.origin,
                "why": state.nothing.get(rule.name, ""),
                "figures": [
                    _figure(alert, now)
                    for alert in state.alerts.values()
                    if alert.rule == rule.name and rule.enabled
                ],
            }
            for rule in rules.rules
        ],
    }


def _figure(alert: Alert, now: float) -> Mapping[str, Any]:
    is_known = alert.value is not None
    return {
        "path": alert.path,
        "names": list(alert.names),
        "state": alert.state,
        "value": alert.value,
        "age_s": round(now - alert.at, 1) if is_known else None,
        "since": alert.since if alert.firing else None,
        "why": alert.why,
        "unknown": alert.unknown if alert.unknown_since is not None else "",
    }
