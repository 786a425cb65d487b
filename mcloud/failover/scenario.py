"""What can be rehearsed, and what a guard is to make of it."""

from dataclasses import dataclass

from mcloud.clouds.ports import SERVICES
from mcloud.errors import UsageError


@dataclass(frozen=True)
class Scenario:
    name: str
    service: str | None
    """That is out; None is the whole site."""
    how: str
    """See ``mcloud.local.outage``."""
    moves: bool | None
    """Whether the traffic is to be moved; None where that depends on how bad it gets."""
    about: str
    rounds: int = 1
    """How often it goes and comes."""


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
        Scenario("slow", None, "slow", None, "every call takes two seconds more"),
        Scenario("throttle", None, "throttle", None, "half of the calls are throttled"),
        Scenario("flap", None, "refuse", None, "the site comes and goes", rounds=4),
    )
}


def scenario(name: str) -> Scenario:
    """The one of that name; UsageError where there is none."""
    if name not in SCENARIOS:
        raise UsageError(f"no scenario {name!r}; there is {', '.join(SCENARIOS)}")
    return SCENARIOS[name]
