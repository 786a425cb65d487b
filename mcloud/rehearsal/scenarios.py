"""Outages that can be rehearsed, and the expected reaction of a guard."""

from dataclasses import dataclass

from mcloud.clouds.ports import SERVICES
from mcloud.config import unknown
from mcloud.local.outage import OutageKind


@dataclass(frozen=True)
class Scenario:
    name: str
    service: str | None
    """The service with the outage. None for the whole site."""
    how: OutageKind
    moves: bool | None
    """Whether the traffic is expected to move. None if that depends on the severity of the
    fault."""
    about: str
    rounds: int = 1
    """Number of times the site goes down."""


_BACKLOG = "its queue takes trades, so nothing is lost and nothing is moved; the backlog drains"

SCENARIOS = {
    each.name: each
    for each in (
        Scenario("cloud-outage", None, "refuse", True, "every call to the site is refused"),
        Scenario("region-outage", None, "hang", True, "every call to the site hangs"),
        Scenario("service-outage:queue", "queue", "refuse", True, "its queue takes nothing"),
        *(
            Scenario(f"service-outage:{service}", service, "refuse", False, _BACKLOG)
            for service in SERVICES
            if service != "queue"
        ),
        Scenario("slow", None, "slow", None, "every call takes two seconds longer"),
        Scenario("throttle", None, "throttle", None, "half of the calls are throttled"),
        Scenario(
            "flap", None, "refuse", None, "the site goes down and comes back repeatedly", rounds=4
        ),
    )
}


def scenario(name: str) -> Scenario:
    """Return the scenario of that name. Raise UsageError if there is none."""
    if name not in SCENARIOS:
        raise unknown("scenario", name, SCENARIOS)
    return SCENARIOS[name]
