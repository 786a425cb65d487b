"""Events about failovers, for the notification channels."""

from collections.abc import Collection
from datetime import UTC, datetime

from mcloud.clouds.observation import DOWN, UNKNOWN, UP
from mcloud.failover.catch_up import CatchUpReport
from mcloud.failover.decide import Debt, Decision, DecisionState
from mcloud.failover.execution import MoveOutcome
from mcloud.notify.event import FIRING, HAPPENED, RESOLVED, Event, EventState


def changes(
    before: DecisionState, decision: Decision, were_down: Collection[str], at: float
) -> list[Event]:
    """Return events for the sites that are newly down or up. ``were_down`` are the sites that an
    earlier run has reported as down.
    """
    found = []
    for name, site in decision.state.sites.items():
        was = before.sites[name].verdict if name in before.sites else UNKNOWN
        if was == UNKNOWN and name in were_down:
            was = DOWN
        if site.verdict == was or site.verdict == UNKNOWN or (site.verdict, was) == (UP, UNKNOWN):
            continue
        state: EventState = FIRING if site.verdict == DOWN else RESOLVED
        title, text = f"{name} is {site.verdict}", "\n".join(decision.lines)
        # Both events have the same severity, so that a channel that sent the first also sends the
        # second.
        event = Event(f"site {name}", title, text, "critical", state, at, figure=f"sites.{name}")
        found.append(event)
    return found


def moved(came: MoveOutcome, text: str) -> Event:
    order = came.order
    # If another guard was first, the target is already the primary.
    left = order.leads if came.before == order.target else came.before
    return Event(
        f"failover {order.target}",
        f"{order.target} is now the primary, in place of {left or 'another site'}",
        text,
        "critical" if order.lost is not None else "warning",
        HAPPENED,
        came.record.at,  # equal for all guards that made this decision
        {"epoch": str(came.record.epoch), "by": order.by, "mode": order.mode},
    )


def caught_up(came: CatchUpReport, debt: Debt, at: float) -> Event:
    """Return the event for a finished catch-up. ``came`` is the result of ``execution.pay``.

    Several guards may have paid one debt.
    """
    site = came.site
    text = (
        f"{came.candles} candles and {came.objects} raw objects were copied; "
        f"{came.ids_missing} trade ids are on no site"
    )
    since = datetime.fromtimestamp(debt.since, UTC).isoformat(timespec="seconds")
    key = f"catch-up {site} since {since}"
    return Event(key, f"{site} has caught up", text, "info", HAPPENED, at, is_once=True)
