"""The ``state.json`` of each kind of run: what its readers may rely on.

A run writes more than this; what is not named here is passed on as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from mcloud.alerts.engine import State
from mcloud.clouds.ports import ControlRecord
from mcloud.documents import Count, Seconds, Time
from mcloud.failover.history import Kept
from mcloud.producer.cursor import Hole
from mcloud.producer.sender import Delivery
from mcloud.replication.progress import Progress


@dataclass(frozen=True, kw_only=True)
class RunState:
    pid: Count
    at: Time
    """When the run wrote it, seconds since 1970."""
    ended: bool = False
    unwritten: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Route:
    sites: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class ProducerState(RunState):
    """See ``mcloud.producer.account``."""

    source: str
    live: bool
    mode: str
    read: Count
    repeats: Count
    rate: Seconds
    lag_s: Seconds | None
    route: Route
    sites: Mapping[str, Delivery]
    holes: tuple[Hole, ...]
    spool_bytes: Count
    spool_full: bool
    problem: str
    month: str
    sent: Mapping[str, Count]
    stalled: tuple[str, ...] = ()
    """Symbols of which the exchange has trades that its stream does not bring."""


@dataclass(frozen=True)
class ReplicatorState(RunState):
    """See ``mcloud.replication.replicate.document``."""

    pairs: tuple[Progress, ...]


@dataclass(frozen=True)
class ServiceSeen:
    state: str
    latency_s: Seconds | None


@dataclass(frozen=True)
class SiteSeen:
    verdict: str | None
    services: Mapping[str, ServiceSeen]
    canary_s: Seconds | None
    backlog: Count | None


@dataclass(frozen=True)
class GuardCost:
    hours: Seconds
    usd: Decimal | None
    basis: str


@dataclass(frozen=True)
class GuardTimes:
    interval: Seconds
    timeout: Seconds


@dataclass(frozen=True)
class GuardState(RunState):
    """See ``mcloud.failover.guard.Guard.state``."""

    primary: str | None
    epoch: Count | None
    record: ControlRecord | None
    paused: str
    doing: tuple[str, ...]
    problem: str
    sites: Mapping[str, SiteSeen]
    decision: Kept | None
    history: tuple[Kept, ...]
    cost: GuardCost
    settings: GuardTimes
    blind_s: Seconds = 0.0
    """Since when no look has said anything of the sites."""
    unreadable: tuple[str, ...] = ()
    """Documents on the sites that it ignores."""


@dataclass(frozen=True)
class Firing:
    key: str
    title: str
    severity: str
    since: Time


@dataclass(frozen=True)
class WatcherState(RunState):
    """See ``mcloud.alerts.watch.document``."""

    profile: str
    interval: Seconds
    channels: tuple[str, ...]
    firing: tuple[Firing, ...]
    unknown: Count
    failures: tuple[str, ...]
    state: State


SHAPES: Mapping[str, type[RunState]] = {
    "producer": ProducerState,
    "replicator": ReplicatorState,
    "guard": GuardState,
    "watcher": WatcherState,
}
"""By kind of run, as in ``mcloud.runs.KINDS``."""
