"""The ``state.json`` of each kind of run: what its readers may rely on.

A run writes more than this; what is not named here is passed on as it is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from mcloud.alerts.engine import AlertStates
from mcloud.clouds.ports import ControlRecord
from mcloud.documents import Count, Damaged, Seconds, Time, decode, load, plain, set_aside
from mcloud.errors import McloudError
from mcloud.failover.history import Kept
from mcloud.producer.cursor import Hole
from mcloud.producer.sender import SiteDelivery
from mcloud.replication.progress import PairProgress
from mcloud.runs import Run, RunState


@dataclass(frozen=True)
class RouteState:
    sites: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class ProducerState(RunState):
    """See ``mcloud.producer.reported_state``."""

    source: str
    live: bool
    mode: str
    read: Count
    repeats: Count
    rate: Seconds
    lag_s: Seconds | None
    route: RouteState
    sites: Mapping[str, SiteDelivery]
    holes: tuple[Hole, ...]
    spool_bytes: Count
    spool_full: bool
    problem: str
    month: str
    sent: Mapping[str, Count]
    stalled: tuple[str, ...] = ()
    """Symbols of which the exchange has trades that its stream does not deliver."""


@dataclass(frozen=True)
class ReplicatorState(RunState):
    """See ``mcloud.replication.replicate.document``."""

    pairs: tuple[PairProgress, ...]


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
    state: AlertStates


SHAPES: Mapping[str, type[RunState]] = {
    "producer": ProducerState,
    "replicator": ReplicatorState,
    "guard": GuardState,
    "watcher": WatcherState,
}
"""By kind of run, as in ``mcloud.runs.KINDS``."""


def state_of(run: Run) -> dict[str, Any] | Damaged:
    """Return the last state of a run, checked against its shape; empty if there is none yet."""
    document = load(run.path)
    if isinstance(document, Damaged):
        return document
    if not document:
        return {}
    found = decode(SHAPES[run.kind], document, str(run.path))
    return found if isinstance(found, Damaged) else plain(document, str(run.path))


def shown_state(run: Run) -> dict[str, Any]:
    """Return the last state for lists of runs, or ``{"damaged": why}`` if it is damaged."""
    state = state_of(run)
    return {"damaged": str(state)} if isinstance(state, Damaged) else state


def previous_state(run: Run, warn: Callable[[str], None]) -> dict[str, Any]:
    """Return the state of the previous run. A new run calls this before it writes its own.

    A damaged file is set aside, and ``warn`` is called with a message about it.

    Raises:
        McloudError: a newer mcloud wrote the state, and this run would overwrite it.
    """
    state = state_of(run)
    if not isinstance(state, Damaged):
        return state
    if state.is_newer:
        raise McloudError(str(state), remedy="or use another --name, which has its own folder")
    warn(f"{state.where} is damaged ({state.what}); it is kept as {set_aside(run.path)}")
    return {}
