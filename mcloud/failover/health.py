"""Checks of the sites: frequent where an outage shows first, and rare where a check costs more.

Every check returns in time, even if a call hangs. Calls that are billed are rare while all is well,
and more frequent during a suspicion. See ``settings`` for the intervals and ``statement`` for the
cost.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from math import inf
from typing import Any

from mcloud.canary import Canary, Flight
from mcloud.clock import is_recent
from mcloud.clouds.observation import (
    DOWN,
    UNKNOWN,
    UP,
    Observation,
    prepare,
    probe_seconds,
)
from mcloud.clouds.ports import SERVICES, ControlRecord, Depth, Lag, Site, SiteService
from mcloud.clouds.resources import Cloud
from mcloud.deadline import OverlappingAsker, gather
from mcloud.documents import Damaged, Kind, damaged, sound
from mcloud.errors import Unavailable
from mcloud.failover import debts, pause, shared_notes
from mcloud.failover.decide import GuardObservation, SiteObservation
from mcloud.failover.record import RecordView
from mcloud.failover.settings import GuardSettings
from mcloud.failover.shared_notes import AnyNote, Note, Notes

FIRST = 8.0  # seconds for the first check: a cold start of a cloud's client takes up to two
CANARY_AGAIN = 15.0  # seconds between two canaries through a suspected site
LAG_STALE = 600.0  # seconds after which a replicator's lag is ignored
_NOTES: Mapping[str, Kind[Note]] = {each.name: each for each in (pause.KIND, debts.KIND)}
SLOW = ("record", *_NOTES, "lags", "depth")


class HealthWatch:
    """Checks the sites repeatedly. Not thread-safe."""

    def __init__(
        self,
        sites: Mapping[str, Site],
        settings: GuardSettings,
        *,
        known: ControlRecord | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        canaries: bool = True,
    ) -> None:
        """``known`` is the last record that an earlier watcher has seen."""
        self._sites = sites
        self._settings = settings
        self._clock = clock
        self._wall = wall
        self._asker: OverlappingAsker[tuple[str, str]] = OverlappingAsker()
        self._due: dict[str, float] = {}
        self._is_to_be_read_again = False
        self._unheard: set[tuple[str, str]] = set()
        """Infrequent reads that failed the last time."""
        self._looked: float | None = None
        self._awake_since = -inf
        """Time of the first check after a pause without checks."""
        self._seen: dict[str, dict[str, Observation[float]]] = {name: {} for name in sites}
        self._down_since: dict[tuple[str, str], float] = {}
        self._told: dict[tuple[str, str], Observation[Any]] = {}
        """The last result of each infrequent read."""
        self._lags: dict[str, float | None] = {}
        """Lag of each site when the primary was last seen to be up. It is not measured after
        that.
        """
        self.calls: Counter[tuple[Cloud, str]] = Counter()
        """Number of calls by cloud and call; see ``statement``."""
        self.is_fresh = False
        """Whether the last check read the record and the other documents on the sites."""
        self.view = RecordView({}, known)
        self._record_read: float | None = None
        """Time when a site last reported its record."""
        self._canaries = {
            name: Canary(site, clock=clock, count=partial(self._count, site.cloud))
            for name, site in sites.items()
            if canaries
        }

    def observe(
        self, *, is_suspicious: bool = False, moving: str = "", catching_up: str = ""
    ) -> GuardObservation:
        """Run the checks that are due, and return what is known within ``settings.late`` seconds,
        and within FIRST the first time. During a suspicion, it waits for the queues only. A probe
        that is not over by then counts with its result, or as failed ``timeout`` seconds after its
        start, in a later observation.
        """
        is_first = not self._due
        now = self._clock()
        if self._looked is not None and now - self._looked > self._settings.stale:
            self._awake_since = now
        self._looked = now
        if is_first:
            # Create the clients first. This takes longer than a probe, and must not count as
            # latency of a service.
            gather({n: partial(prepare, site) for n, site in self._sites.items()}, FIRST / 2)
        calls: dict[tuple[str, str], Callable[[], Any]] = {}
        services = self._services(is_suspicious)
        for name, site in self._sites.items():
            for service in services:
                calls[name, service] = partial(self._probe, site, service)
        self.is_fresh = self._is_due("look", self._settings.look_every)
        # Somebody may have moved the traffic since the last look.
        is_record_due = is_suspicious and self._is_due("record", self._settings.interval)
        for name, site in self._sites.items():
            for what in SLOW:
                if (
                    self.is_fresh
                    or (is_record_due and what == "record")
                    or self._is_to_be_asked_again(name, what)
                ):
                    calls[name, what] = partial(self._ask, site, what)
        seconds = FIRST / 2 if is_first else self._settings.timeout
        answers = self._asker.gather(
            calls,
            seconds,
            self._settings.late,
            # During a suspicion, the queues decide. A document that a failing site does not return
            # must not delay that.
            awaited=[(name, "queue") for name in self._sites] if is_suspicious else None,
            # What was read before a refresh must not count any more.
            wait_for_all=is_first or self._is_to_be_read_again,
        )
        self._is_to_be_read_again = False
        self._note(answers)
        self._launch(is_suspicious)
        return self._observe(moving, catching_up)

    @property
    def is_late(self) -> bool:
        """Whether a probe of a queue has been waiting for longer than usual."""
        return any(what == "queue" for _, what in self._asker.waiting)

    def refresh(self) -> None:
        """Make the next check read everything, and wait for it."""
        self._due = dict.fromkeys(self._due, -inf)
        self._is_to_be_read_again = True

    def flights(self) -> dict[str, Flight]:
        """The last canary of each site."""
        return {n: canary.flight for n, canary in self._canaries.items() if canary.flight}

    def close(self) -> None:
        for canary in self._canaries.values():
            canary.stop()

    # Schedule of the checks

    def _services(self, is_suspicious: bool) -> tuple[SiteService, ...]:
        # While the queue is down, the state of the services behind it does not matter.
        is_behind = any(
            seen["queue"].state == UP and any(each.state == DOWN for each in seen.values())
            for seen in self._seen.values()
            if "queue" in seen
        )
        is_soon = is_suspicious or is_behind
        every = self._settings.interval if is_soon else self._settings.services_every
        return SERVICES if self._is_due("services", every) else SERVICES[:1]

    def _is_to_be_asked_again(self, name: str, what: str) -> bool:
        """Return whether to repeat a failed read immediately. Otherwise the debts of a site would
        stay unknown for a minute after it has recovered.
        """
        queue = self._seen[name].get("queue")
        return (name, what) in self._unheard and queue is not None and queue.state == UP

    def _is_due(self, what: str, every: float) -> bool:
        now = self._clock()
        last = self._due.get(what)
        if last is not None and last + every > now and last <= now:
            return False
        self._due[what] = now
        return True

    def _probe(self, site: Site, service: SiteService) -> float:
        """Probe a service. Return the duration in seconds."""
        self._count(site.cloud, service)
        return probe_seconds(site, service, self._settings.timeout)

    def _ask(self, site: Site, what: str) -> Any:
        self._count(site.cloud, what if what in ("record", "depth") else "kept")
        if what == "record":
            return site.control.record()
        if what == "depth":
            return site.queue.depth()
        if what == "lags":
            return site.control.lags()
        return shared_notes.notes_of(site, _NOTES[what])

    def _launch(self, is_suspicious: bool) -> None:
        """Send the canaries that are due."""
        every = CANARY_AGAIN if is_suspicious else self._settings.canary_every
        for name, canary in self._canaries.items():
            if self._is_due(f"canary {name}", every):
                canary.start()

    def _count(self, cloud: Cloud, call: str) -> None:
        self.calls[cloud, call] += 1

    # Results of the checks

    def _note(self, answers: Mapping[tuple[str, str], Any]) -> None:
        now = self._clock()
        for (name, what), answer in answers.items():
            if what in SERVICES:
                seen = self._seen[name].get(what, Observation[float]()).then(answer, now)
                self._seen[name][what] = seen
                if seen.state == DOWN:
                    self._down_since.setdefault((name, what), now)
                elif seen.state == UP:
                    self._down_since.pop((name, what), None)
                continue
            before = self._told.get((name, what), Observation())
            self._told[name, what] = before.then(answer, now)
            if isinstance(answer, Exception):
                # Only a late or missing answer justifies an early repeat.
                if isinstance(answer, TimeoutError | Unavailable):
                    self._unheard.add((name, what))
            else:
                self._unheard.discard((name, what))
                if what == "lags" and self._leader_is_up():
                    self._lags[name] = _lag(sound(answer), self._wall())
        told = {name: a for (name, what), a in answers.items() if what == "record"}
        if any(not isinstance(answer, Exception) for answer in told.values()):
            self._record_read = now
        if told:
            self.view = RecordView({**self.view.by_site, **told}, self.view.record)

    def _leader_is_up(self) -> bool:
        record = self.view.record
        leader = record.primary if record else next(iter(self._sites))
        queue = self._seen.get(leader, {}).get("queue")
        return queue is not None and queue.state == UP

    def notes(self, kind: Kind[AnyNote]) -> dict[str, Notes[AnyNote]]:
        """Return the shared notes of a kind, by site, from the sites that have answered."""
        return {name: notes for name, notes in self._answers(kind.name) if notes is not None}

    def answers(self, name: str, kind: Kind[AnyNote]) -> bool:
        """Return whether the last read of the notes of a kind on a site succeeded."""
        seen = self._told.get((name, kind.name))
        return seen is not None and seen.known and not seen.problem

    def damaged(self) -> list[tuple[str, Damaged]]:
        """Return the damaged documents of each site, from the sites that have answered."""
        found: list[tuple[str, Damaged]] = []
        for (name, what), seen in self._told.items():
            if what in _NOTES:
                parts = [each.value for each in (seen.value or {}).values()]
            else:
                parts = seen.value if isinstance(seen.value, list) else [seen.value]
            found += [(name, each) for each in damaged(parts)]
        return found

    def _answers(self, question: str) -> Iterator[tuple[str, Any]]:
        """Yield the name of each site and its last answer to a rare question."""
        for (name, what), seen in self._told.items():
            if what == question:
                yield name, seen.value

    @property
    def is_blind(self) -> bool:
        """Whether the last check got no data on any queue."""
        return all(
            "queue" not in seen or seen["queue"].state == UNKNOWN for seen in self._seen.values()
        )

    def _observe(self, moving: str, catching_up: str) -> GuardObservation:
        return GuardObservation(
            sites={name: self._site(name) for name in self._sites},
            record=self.view.record,
            record_read=self._record_read,
            wall=self._wall(),
            paused=pause.paused(shared_notes.newest(self.notes(pause.KIND).values())),
            debts=debts.debts(shared_notes.newest(self.notes(debts.KIND).values())),
            moving=moving,
            catching_up=catching_up,
        )

    def _site(self, name: str) -> SiteObservation:
        flight = self._canaries[name].flight if name in self._canaries else None
        depth: Depth | None = self._told.get((name, "depth"), Observation()).value
        waiting = [
            since
            for (site, service), since in self._down_since.items()
            if site == name and service != "queue"
        ]
        if flight is not None and flight.was_sent and not (flight.is_over or flight.is_blind):
            waiting.append(flight.began)
        return SiteObservation(
            services=dict(self._seen[name]),
            # Time without checks, for example while the machine was suspended, does not count as
            # time of waiting.
            waiting_since=max(min(waiting), self._awake_since) if waiting else None,
            canary=flight.seconds if flight else None,
            lag=self._lags.get(name),
            backlog=depth.ready if depth else None,
        )


def _lag(lags: "list[Lag]", wall: float) -> float | None:
    """Return the longest recent lag of the site in seconds, plus the time since it was measured."""
    known = [
        lag.candles_s + max(0.0, wall - lag.at)
        for lag in lags
        if lag.candles_s is not None and is_recent(lag.at, wall, LAG_STALE)
    ]
    return max(known, default=None)
