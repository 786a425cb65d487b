"""A guard's account of the sites and of its own cost: plain values, for its state document."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from mcloud.cost.calls import CALLS, price, units
from mcloud.cost.marginal import message_cost
from mcloud.failover.decide import SiteLook, SiteState

Calls = Mapping[tuple[str, str], int]
"""Number of calls by cloud and by ``canary`` or a call of ``cost.calls``."""

CANARY_SIZE = 300  # bytes
MANY = 10**9  # messages this month: free tiers are used up


def site(look: SiteLook, state: SiteState | None, now: float) -> dict[str, Any]:
    """Return the state of a site. ``now`` is by the clock of the checks."""
    return {
        "verdict": state.verdict if state else None,
        "bad": state.bad if state else 0,
        "good": state.good if state else 0,
        "services": {
            service: {
                "state": seen.state,
                "age_s": round(now - seen.at, 1),
                "latency_s": None if seen.latency is None else round(seen.latency, 4),
                "reason": seen.reason,
            }
            for service, seen in look.services.items()
        },
        "canary_s": None if look.canary is None else round(look.canary, 2),
        "waiting_s": None if look.waiting_since is None else round(now - look.waiting_since, 1),
        "backlog": look.backlog,
        "lag_s": look.lag,
    }


def dollars(calls: Calls) -> Decimal:
    """Return the cost of the calls at list price, without free tiers."""
    return sum((count * _price(*call) for call, count in calls.items()), Decimal(0))


def cost(calls: Calls, hours: float) -> dict[str, Any]:
    """Return the cost of watching."""
    calls = dict(calls)
    known = all(call[1] == "canary" or call in CALLS for call in calls)
    spent = dollars(calls) if known else None
    return {
        "hours": round(hours, 3),
        "calls": {f"{cloud} {call}": count for (cloud, call), count in sorted(calls.items())},
        "usd": None if spent is None else str(round(spent, 6)),
        "basis": "list price, before free tiers",
    }


def _price(cloud: str, call: str) -> Decimal:
    if call == "canary":
        return message_cost(cloud, CANARY_SIZE, MANY)
    return price(cloud, units(cloud, call))
