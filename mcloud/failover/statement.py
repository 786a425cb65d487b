"""The state of a guard as it reports it: the sites, its decisions and its cost."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated

from mcloud.clouds.observation import UP, Availability, Observation
from mcloud.clouds.ports import ControlRecord
from mcloud.clouds.resources import Cloud
from mcloud.cost.calls import CALLS, price, units
from mcloud.cost.marginal import message_cost
from mcloud.documents import OMITTED, OTHER_TEXTS, Count, Seconds
from mcloud.failover.decide import Debt, SiteObservation, SiteState
from mcloud.failover.execution import MoveReport
from mcloud.failover.history import Kept
from mcloud.failover.settings import GuardSettings
from mcloud.runs import RunState

MISSED = 5  # number of missed checks of a guard with longer intervals

Calls = Mapping[tuple[Cloud, str], int]
"""Number of calls by cloud and by ``canary`` or a call of ``cost.calls``."""

CANARY_SIZE = 300  # bytes
MANY = 10**9  # number of messages this month, so that free tiers are used up


@dataclass(frozen=True)
class ServiceStatement:
    state: Annotated[Availability, OTHER_TEXTS]
    latency_s: Seconds | None
    age_s: Seconds = 0.0
    reason: str = ""


@dataclass(frozen=True)
class SiteStatement:
    """State of a site according to the guard."""

    verdict: Annotated[Availability, OTHER_TEXTS] | None
    services: Mapping[str, ServiceStatement]
    canary_s: Seconds | None
    """Seconds that the last canary took."""
    backlog: Count | None
    """Messages in the queue."""
    bad: Count = 0
    """Number of bad checks in a row."""
    good: Count = 0
    waiting_s: Seconds | None = None
    """Maximum number of seconds for which messages have been waiting."""
    lag_s: Seconds | None = None
    bad_s: Seconds | None = None
    """Seconds since the first of the bad checks in a row. None if the last check was not bad."""
    down_s: Seconds | None = field(default=None, metadata=OMITTED)
    """Seconds since the first of the bad checks for which the site counts as down. None if it does
    not count as down."""


@dataclass(frozen=True)
class GuardCost:
    """The cost of watching."""

    hours: Seconds
    usd: Decimal | None
    basis: str
    calls: Mapping[str, Count] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class GuardLife(RunState):
    """Liveness data in the state of a guard."""

    settings: GuardSettings = field(default_factory=GuardSettings)
    problem: str = ""
    blind_s: Seconds = 0.0
    """Seconds since the last check that had any data on the sites."""

    @property
    def usual(self) -> float:
        return max(super().usual, MISSED * (self.settings.interval + self.settings.timeout))

    def blindness(self, runs: bool, now: float) -> float:
        """Return the seconds for which a running guard has had no data on the sites, or 0 if its
        intervals explain them.
        """
        if not runs or self.blind_s <= 0:
            return 0.0
        blind = self.blind_s + max(0.0, now - self.at)
        return blind if blind > self.usual else 0.0


@dataclass(frozen=True, kw_only=True)
class GuardState(GuardLife):
    """The state document of a guard."""

    primary: str | None
    epoch: Count | None
    record: ControlRecord | None
    paused: str
    doing: tuple[str, ...]
    """Moves and catch-ups in progress."""
    sites: Mapping[str, SiteStatement]
    decision: Kept | None
    history: tuple[Kept, ...]
    cost: GuardCost
    by: str = ""
    """Name of the guard, with its user and machine."""
    unreadable: tuple[str, ...] = ()
    """Documents on the sites that the guard ignores."""
    debts: Mapping[str, Debt] = field(default_factory=dict)
    moves: tuple[MoveReport, ...] = ()


def _latency(seen: Observation[float]) -> float | None:
    return round(seen.value, 4) if seen.state == UP and seen.value is not None else None


def _since(at: float | None, now: float) -> float | None:
    return None if at is None else round(now - at, 1)


def site(seen: SiteObservation, state: SiteState | None, now: float) -> SiteStatement:
    """Return the statement about a site. ``now`` is by the clock of the checks."""
    return SiteStatement(
        verdict=state.verdict if state else None,
        bad=state.bad if state else 0,
        good=state.good if state else 0,
        services={
            service: ServiceStatement(
                state=seen.state,
                age_s=round(now - seen.tried, 1),
                latency_s=_latency(seen),
                reason=seen.problem,
            )
            for service, seen in seen.services.items()
            if seen.tried is not None
        },
        canary_s=None if seen.canary is None else round(seen.canary, 2),
        waiting_s=None if seen.waiting_since is None else round(now - seen.waiting_since, 1),
        backlog=seen.backlog,
        lag_s=seen.lag,
        bad_s=_since(state.bad_since if state else None, now),
        down_s=_since(state.down_since if state else None, now),
    )


def dollars(calls: Calls) -> Decimal:
    """Return the cost of the calls at list price, without free tiers."""
    return sum((count * _price(*call) for call, count in calls.items()), Decimal(0))


def cost(calls: Calls, hours: float) -> GuardCost:
    """Return the cost of watching."""
    calls = dict(calls)
    known = all(call[1] == "canary" or call in CALLS for call in calls)
    spent = dollars(calls) if known else None
    return GuardCost(
        hours=round(hours, 3),
        calls={f"{cloud} {call}": count for (cloud, call), count in sorted(calls.items())},
        usd=None if spent is None else round(spent, 6),
        basis="list price, before free tiers",
    )


def _price(cloud: Cloud, call: str) -> Decimal:
    if call == "canary":
        return message_cost(cloud, CANARY_SIZE, MANY)
    return price(cloud, units(cloud, call))
