"""Checks the sites and updates the route. ``route`` makes the decision."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from math import inf

from mcloud.clouds.observation import DOWN, Observation, probe_seconds
from mcloud.clouds.ports import ControlRecord, Site
from mcloud.cost.marginal import message_cost
from mcloud.deadline import OverlappingAsker
from mcloud.documents import Damaged
from mcloud.errors import McloudError
from mcloud.producer.route import Latencies, ProducerMode, Route, RouteObservation, choose
from mcloud.producer.spool import Spool

PERIOD = 2.0  # seconds between two checks of the sites
SOON = 0.3  # seconds between the starts of two checks while a site fails or is late
HURRY = 30.0  # seconds of such checks after the last failure
DEADLINE = 5.0  # seconds that a site may take to answer
QUICK = 1.0  # seconds that the control record may take once the clients exist
USUAL_SIZE = 5_000  # bytes of a message, for the estimate of its cost


class Router:
    """Checks the sites every few seconds in its own thread, as far as the mode needs it."""

    def __init__(
        self,
        mode: ProducerMode,
        sites: Mapping[str, Site],
        sent: Callable[[str], int],
        *,
        follow: Callable[[Route], None] = lambda route: None,
        period: float = PERIOD,
    ) -> None:
        """``sent`` returns the number of messages that a site accepted this month.

        ``follow`` is called after every check, even if the route is unchanged, because a batch may
        have been written for the old route meanwhile. It is not called after ``stop``.
        """
        self._mode = mode
        self._sites = sites
        self._sent = sent
        self._follow = follow
        self._period = period
        self._asker: OverlappingAsker[str] = OverlappingAsker()
        self._hurries_until = -inf
        self._woken = threading.Event()
        self._is_first = True
        self._records: dict[str, Observation[ControlRecord]] = {}
        self._latencies = Latencies(sites)
        self._stopped = threading.Event()
        self._following = threading.Lock()
        self.route = choose(mode, list(sites), self._observe())
        if mode != "both" and len(sites) > 1:
            threading.Thread(target=self._run, name="route", daemon=True).start()

    def stop(self) -> None:
        with self._following:
            self._stopped.set()
            self._woken.set()

    def suspect(self) -> None:
        """Check immediately, and frequently for a while, because a site fails or is late.

        Any thread may call it. It is for the mode ``primary``, which reads the control record: a
        probe of a queue, as in ``nearest``, costs more.
        """
        is_news = not self._hurries
        self._hurries_until = time.monotonic() + HURRY
        if is_news:
            self._woken.set()

    @property
    def _hurries(self) -> bool:
        return time.monotonic() < self._hurries_until

    def _run(self) -> None:
        begun = time.monotonic()
        while True:
            is_soon = self._hurries or bool(self._asker.waiting)
            pause = min(SOON, self._period) if is_soon else self._period
            self._woken.wait(max(0.0, begun + pause - time.monotonic()))
            self._woken.clear()
            begun = time.monotonic()
            if self._stopped.is_set():
                return
            self.route = choose(self._mode, list(self._sites), self._observe(), self.route)
            with self._following:
                if not self._stopped.is_set():
                    # A failed call is repeated after the next check. Other threads report a damaged
                    # spool, and without this thread the producer would follow no failover.
                    with suppress(McloudError):
                        self._follow(self.route)

    def _observe(self) -> RouteObservation:
        if self._mode == "primary":
            # The first time, clients are made. Later, a site that hangs must not delay the news of
            # the others.
            is_first, self._is_first = self._is_first, False
            limit = DEADLINE if is_first else QUICK
            # An answer counts at once, and not after the last one. Nothing new is read before that,
            # except in a hurry.
            is_rest = bool(self._asker.waiting) and not self._hurries
            answers = self._asker.gather(
                {} if is_rest else {n: partial(_record, site) for n, site in self._sites.items()},
                limit,
                limit,
                awaited=None if is_first else (),
            )
            now = time.monotonic()
            for name, answer in answers.items():
                # For a site that is silent, or whose record is missing, the last known one counts.
                before = self._records.get(name, Observation[ControlRecord]())
                if _is_older(answer, before.value):
                    continue  # a read that began before the last move
                if isinstance(answer, ControlRecord | Exception):
                    self._records[name] = before.then(answer, now)
                    # The producer may send nothing for a minute, and see no failure of its own.
                    if self._records[name].state == DOWN and before.state != DOWN:
                        self._hurries_until = now + HURRY
            return RouteObservation(records=dict(self._records))
        if self._mode == "nearest":
            times = self._asker.gather(
                {
                    name: partial(probe_seconds, site, "queue", DEADLINE)
                    for name, site in self._sites.items()
                },
                DEADLINE,
                DEADLINE,
                wait_for_all=True,
            )
            self._latencies.note({n: each for n, each in times.items() if isinstance(each, float)})
            return RouteObservation(latencies=self._latencies.usual())
        if self._mode == "cheapest":
            return RouteObservation(
                costs={
                    name: message_cost(site.cloud, USUAL_SIZE, self._sent(name))
                    for name, site in self._sites.items()
                }
            )
        return RouteObservation()


def move(spool: Spool, sites: Iterable[str], chosen: tuple[str, ...]) -> None:
    """Move the messages that wait for a site without traffic to the site with the traffic."""
    for site in set(sites) - set(chosen):
        if spool.pending(site).messages:
            spool.reassign(site, chosen[0])


def _is_older(answer: object, known: ControlRecord | None) -> bool:
    return isinstance(answer, ControlRecord) and known is not None and answer.rank < known.rank


def _record(site: Site) -> ControlRecord | None:
    """Return the site's record. Raise McloudError for a damaged one, which routes nothing."""
    record = site.control.record()
    if isinstance(record, Damaged):
        raise McloudError(str(record))
    return record
