"""The last result of one query to a site. The dashboards, the guard, the router of a producer and
the alerts use it.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Generic, Literal, TypeVar

from mcloud.clouds.ports import Site, SiteService
from mcloud.errors import reason_of, shows_outage

Value = TypeVar("Value")
Value_co = TypeVar("Value_co", covariant=True)
CLIENTS = ("queue", "candles", "control", "probe")

Availability = Literal["up", "down", "unknown"]

UP: Final = "up"
DOWN: Final = "down"
UNKNOWN: Final = "unknown"


@dataclass(frozen=True)
class Observation(Generic[Value_co]):
    """The last result of a query, and the reason why there is no newer one.

    Times are by the clock of the caller.
    """

    value: Value_co | None = None
    at: float | None = None
    """Time of the result. None before the first."""
    took: float = 0.0
    """Duration of the query in seconds."""
    problem: str = ""
    """Reason why the last attempt failed. Empty if it succeeded, or if no attempt has finished
    yet.
    """
    waits: float = 0.0
    """Seconds for which the current attempt has been waiting, if that is the problem."""
    failed_at: float | None = None
    """Time when the last attempt failed. None if it succeeded."""
    is_outage: bool = False
    """Whether the problem is an outage of the service, and not a fault of this machine or its
    credentials.
    """

    @property
    def known(self) -> bool:
        return self.at is not None

    @property
    def why(self) -> str:
        """Return why there is no value, or an empty string if there is one."""
        return "" if self.known else self.problem or "not read yet"

    @property
    def tried(self) -> float | None:
        """Time of the last attempt that has finished."""
        return self.at if self.failed_at is None else self.failed_at

    @property
    def state(self) -> Availability:
        """State of the service according to the last attempt. A refusal leaves it unknown."""
        if self.problem:
            return DOWN if self.is_outage else UNKNOWN
        return UP if self.known else UNKNOWN

    def with_value(self, value: Value | None) -> "Observation[Value]":
        """Return the observation with another value."""
        return Observation(
            value, self.at, self.took, self.problem, self.waits, self.failed_at, self.is_outage
        )

    def then(
        self: "Observation[Value]", answer: Value | Exception, at: float, took: float = 0.0
    ) -> "Observation[Value]":
        """Return the observation after the next attempt. A failure keeps the last result."""
        if isinstance(answer, Exception):
            return replace(
                self,
                problem=reason_of(answer),
                waits=0.0,
                failed_at=at,
                is_outage=shows_outage(answer),
            )
        return Observation(answer, at, took)


def prepare(site: Site, clients: Sequence[str] = CLIENTS) -> None:
    """Create the clients of a site. This takes longer than a call, and does not count as latency of
    a service.
    """
    for name in clients:
        getattr(site, name)


def probe_seconds(site: Site, service: SiteService, patience: float) -> float:
    """Probe a service. Return the duration in seconds, without the creation of the client."""
    probe = site.probe
    begun = time.monotonic()
    probe.check(service, patience)
    return time.monotonic() - begun
