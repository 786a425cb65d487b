"""Checks the sites and updates the route. ``route`` makes the decision."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial

from mcloud.clouds.observation import Observation, probe_seconds
from mcloud.clouds.ports import ControlRecord, Site
from mcloud.cost.marginal import message_cost
from mcloud.deadline import Asker
from mcloud.documents import Damaged
from mcloud.errors import McloudError
from mcloud.producer.route import Latencies, ProducerMode, Route, RouteObservation, choose
from mcloud.producer.spool import Spool

PERIOD = 2.0  # seconds between two checks of the sites
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
        self._asker: Asker[str] = Asker()
        self._patience = DEADLINE
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

    def _run(self) -> None:
        while not self._stopped.wait(self._period):
            self.route = choose(self._mode, list(self._sites), self._observe(), self.route)
            with self._following:
                if not self._stopped.is_set():
                    # A failed call is repeated after the next check. Other threads report a damaged
                    # spool, and without this thread the producer would follow no failover.
                    with suppress(McloudError):
                        self._follow(self.route)

    def _observe(self) -> RouteObservation:
        if self._mode == "primary":
            answers = self._asker.gather(
                {name: partial(_record, site) for name, site in self._sites.items()},
                self._patience,
            )
            self._patience = min(QUICK, DEADLINE)
            now = time.monotonic()
            for name, answer in answers.items():
                # For a site that is silent, or whose record is missing, the last known one counts.
                before = self._records.get(name, Observation[ControlRecord]())
                if answer is not None:
                    self._records[name] = before.then(answer, now)
            return RouteObservation(records=dict(self._records))
        if self._mode == "nearest":
            times = self._asker.gather(
                {
                    name: partial(probe_seconds, site, "queue", DEADLINE)
                    for name, site in self._sites.items()
                },
                DEADLINE,
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


def _record(site: Site) -> ControlRecord | None:
    """Return the site's record. Raise McloudError for a damaged one, which routes nothing."""
    record = site.control.record()
    if isinstance(record, Damaged):
        raise McloudError(str(record))
    return record
