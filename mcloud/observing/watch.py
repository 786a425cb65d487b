"""Watches sites continuously: the newest snapshot, with the history for its charts."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from mcloud.clouds.observation import Observation
from mcloud.clouds.ports import SERVICES, Site
from mcloud.observing import upkeep
from mcloud.observing.collector import Collector, Key
from mcloud.observing.machine import Machine
from mcloud.observing.queries import FAST, Costing
from mcloud.observing.snapshot import (
    HERE,
    SiteSnapshot,
    Snapshot,
    all_queries,
    snapshot_of,
)
from mcloud.observing.trends import EventLog, SiteMemory

HISTORY = 240  # depths of a queue that are kept
URGENT = 2.0  # seconds between two probes of a site with a problem


class SnapshotWatch:
    """Not thread-safe: one thread calls ``tick`` a few times per second."""

    def __init__(
        self,
        sites: Mapping[str, Site],
        machine: Callable[[], Machine] | None = None,
        costing: Costing | None = None,
        *,
        interval: float = FAST,
        keeps_past: bool = False,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        spawn: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        """``interval`` is that of the fastest figures. The other intervals change in proportion,
        except that those of costly parts never become shorter. With ``keeps_past``, a snapshot has
        the depths, trends and events of the past, which only the monitor shows.
        """
        self._sites = sites
        self._is_billed = costing is not None and costing.is_billed
        self._wall = wall
        self._collector = Collector(
            all_queries(sites, machine, costing), clock=clock, wall=wall, spawn=spawn
        )
        self._histories: dict[str, deque[tuple[float, int | None]]] = {
            name: deque(maxlen=HISTORY) for name in sites
        }
        self._memories = {name: SiteMemory() for name in sites}
        self._log = EventLog()
        self._keeps_past = keeps_past
        self.interval = interval

    @property
    def interval(self) -> float:
        return self._collector.pace * FAST

    @interval.setter
    def interval(self, seconds: float) -> None:
        self._collector.pace = seconds / FAST

    def tick(self) -> None:
        """Ask the questions that are due."""
        seen = self._collector.seen()
        troubled = {site for (site, _), each in seen.items() if each.problem and site != HERE}
        machine = seen.get((HERE, "machine"), Observation[Machine]()).value
        troubled |= (machine or Machine()).failing_sites & self._sites.keys()
        # If a site has a problem, its probes show quickly whether it is down, and the control
        # record whether the traffic has been moved.
        urgent: dict[Key, float] = {(s, service): URGENT for s in troubled for service in SERVICES}
        if troubled:
            urgent |= {(site, "record"): self.interval for site in self._sites}
        self._collector.tick(urgent)

    def snapshot(self) -> Snapshot:
        """Return the snapshot from the latest answers."""
        seen = self._collector.seen()
        snapshot = snapshot_of(self._sites, seen, self._wall())
        snapshot = replace(snapshot, upkeep=self._upkeep(snapshot.sites))
        if not self._keeps_past:
            return snapshot
        sites = {name: self._with_past(site) for name, site in snapshot.sites.items()}
        whole = replace(snapshot, sites=sites)
        return replace(whole, events=self._log.add(whole))

    @property
    def is_complete(self) -> bool:
        """Whether every part has been answered, or is late."""
        return self._collector.is_complete

    @property
    def answers(self) -> int:
        """Number of answers so far, including failures. While it is the same, nothing else has
        changed.
        """
        return self._collector.answers

    def asked(self) -> dict[Key, int]:
        """Return the number of tries by part."""
        return self._collector.asked()

    def _with_past(self, site: SiteSnapshot) -> SiteSnapshot:
        history = self._histories[site.name]
        depth = site.queue.value
        if depth is not None and (not history or history[-1][0] != depth.as_of):
            history.append((depth.as_of, depth.ready))
        trends = self._memories[site.name].add(site)
        return replace(site, history=tuple(history), trends=trends)

    def _upkeep(self, sites: Mapping[str, SiteSnapshot]) -> Decimal:
        intervals: dict[str, dict[str, float]] = {name: {} for name in sites}
        for (name, part), interval in self._collector.intervals().items():
            if name != HERE:
                intervals[name][part] = interval
            elif part == "cost" and self._is_billed:
                for each in intervals.values():
                    each[part] = interval
        return sum(
            (
                upkeep.a_month(
                    site.cloud,
                    intervals[name],
                    symbols=_count(site.heartbeats),
                    lags=_count(site.lags),
                )
                for name, site in sites.items()
            ),
            Decimal(0),
        )


def _count(seen: Observation[Sequence[object]]) -> int:
    return len(seen.value or ())
