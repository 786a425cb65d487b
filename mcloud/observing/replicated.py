"""Whether the replicators report, and which site gets its data from nobody."""

from collections.abc import Iterator
from dataclasses import dataclass

from mcloud.clock import is_recent
from mcloud.clouds.ports import Lag
from mcloud.observing.machine import Machine
from mcloud.observing.snapshot import SiteSnapshot, Snapshot

REPORTED = 120.0  # seconds; a replicator reports its lag every thirty
STARTING = 60.0  # seconds that a new producer has until a replicator has to report
APART = 300.0  # seconds between the newest trades of two sites that get the same ones
# seconds; an older heartbeat or lag is of a symbol or a pair that is no longer used
FORGOTTEN = 86_400.0


@dataclass(frozen=True)
class Unreplicated:
    """A site that gets no trades of its own, and to which nobody replicates."""

    source: str
    target: str
    reported: float | None
    """Time of the last report of a replicator. None if there is none."""


def is_current(lag: Lag, now: float) -> bool:
    """Return whether a reported lag still says how far a site is behind."""
    return is_recent(lag.at, now, REPORTED)


def unreplicated(snapshot: Snapshot) -> Iterator[Unreplicated]:
    """Yield the sites whose data would only come from a replicator that does not run."""
    if snapshot.leading is None or snapshot.leading.primary not in snapshot.sites:
        return
    source = snapshot.sites[snapshot.leading.primary]
    machine = snapshot.machine.value or Machine()
    for target in snapshot.sites.values():
        if target is source or target.lags.value is None:
            continue
        lags = [lag for lag in target.lags.value if lag.source == source.name]
        if any(is_current(lag, snapshot.at) for lag in lags):
            continue
        if _is_replicated_here(machine, source.name, target.name):
            continue
        reported = max((lag.at for lag in lags), default=None)
        is_used = reported is not None and snapshot.at - reported < FORGOTTEN
        if _is_left_out(machine, source.name, target.name, snapshot.at) or (
            is_used and _gets_nothing(source, target)
        ):
            yield Unreplicated(source.name, target.name, reported)


def _is_replicated_here(machine: Machine, source: str, target: str) -> bool:
    return any(
        (pair.source, pair.target) == (source, target)
        for each in machine.replicators
        if each.runs and each.state
        for pair in each.state.pairs
    )


def _is_left_out(machine: Machine, source: str, target: str, now: float) -> bool:
    """Return whether a producer here sends to one site at a time, and not to the target."""
    return any(
        each.state.mode != "both"
        and target in each.state.sites
        and each.state.route.sites == (source,)
        and now - each.state.started > STARTING
        for each in machine.producers
        if each.runs and each.state
    )


def _gets_nothing(source: SiteSnapshot, target: SiteSnapshot) -> bool:
    """Return whether only the function of the source has processed trades lately."""
    if target.heartbeats.value is None or not source.heartbeats.value:
        return False
    newest = max(beat.at for beat in source.heartbeats.value)
    return newest - max((beat.at for beat in target.heartbeats.value), default=0.0) > APART
