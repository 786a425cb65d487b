"""What is told of failovers to those who want to know."""

from collections.abc import Collection, Mapping
from typing import Any

from mcloud.failover.decide import DOWN, UNKNOWN, UP, Decision, State
from mcloud.failover.switch import Outcome
from mcloud.notify.event import FIRING, HAPPENED, RESOLVED, Event


def changes(
    before: State, decision: Decision, were_down: Collection[str], at: float
) -> list[Event]:
    """Sites that are down now, or up again; ``were_down`` are those of which it was told before
    anything was seen."""
    found = []
    for name, site in decision.state.sites.items():
        was = before.sites[name].verdict if name in before.sites else UNKNOWN
        if was == UNKNOWN and name in were_down:
            was = DOWN
        if site.verdict == was or site.verdict == UNKNOWN or (site.verdict, was) == (UP, UNKNOWN):
            continue
        state = FIRING if site.verdict == DOWN else RESOLVED
        title, text = f"{name} is {site.verdict}", "\n".join(decision.lines)
        # Both of one severity: a channel that took the first has to hear of the second.
        found.append(Event(f"site {name}", title, text, "critical", state, at))
    return found


def moved(came: Outcome, text: str) -> Event:
    order = came.order
    return Event(
        f"failover {order.target}",
        f"{order.target} leads now, in place of {came.before or 'another site'}",
        text,
        "critical" if order.lost is not None else "warning",
        HAPPENED,
        order.at,
        {"epoch": str(came.record.epoch), "by": order.by, "mode": order.mode},
    )


def caught_up(came: Mapping[str, Any], at: float) -> Event:
    """``came`` is what ``switch.pay`` gave."""
    site = came["site"]
    text = (
        f"{came['candles']} candles and {came['objects']} raw objects were copied; "
        f"{came['ids_missing']} trade ids are on no site"
    )
    return Event(f"catch-up {site}", f"{site} has caught up", text, "info", HAPPENED, at)
