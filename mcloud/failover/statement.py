"""A guard's account of the sites and of its own cost: plain values, for its state document."""

from typing import Any

from mcloud.failover import expense
from mcloud.failover.decide import SiteLook, SiteState


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


def cost(calls: expense.Calls, hours: float) -> dict[str, Any]:
    """Return the cost of watching."""
    calls = dict(calls)
    known = all(call[1] == "canary" or call in expense.METERS for call in calls)
    spent = expense.dollars(calls) if known else None
    return {
        "hours": round(hours, 3),
        "calls": {f"{cloud} {call}": count for (cloud, call), count in sorted(calls.items())},
        "usd": None if spent is None else str(round(spent, 6)),
        "basis": "list price, before free tiers",
    }
