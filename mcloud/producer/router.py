"""Watches the sites and keeps the route; see ``route`` for the decision itself."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial

from mcloud.clouds.ports import ControlRecord, Site
from mcloud.cost.marginal import message_cost
from mcloud.deadline import Asker
from mcloud.documents import Damaged
from mcloud.errors import McloudError, Refused
from mcloud.producer.route import Latencies, Route, RouteObservation, choose
from mcloud.producer.spool import Spool

PERIOD = 2.0  # seconds between two looks at the sites
DEADLINE = 5.0  # seconds that a site may take to answer
QUICK = 1.0  # the same for the record once the clients are made: one site that hangs holds up none
USUAL_SIZE = 5_000  # bytes of a message, for its cost


class Router:
    """Looks at the sites every few seconds, in a thread of its own, as far as the mode needs it."""

    def __init__(
        self,
        mode: str,
        sites: Mapping[str, Site],
        sent: Callable[[str], int],
        *,
        follow: Callable[[Route], None] = lambda route: None,
        period: float = PERIOD,
    ) -> None:
        """``sent`` tells how many messages a site had this month.

        ``follow`` is called after every look, also where the route is as before: a batch may have
        been written for the old one meanwhile. It is not called any more after ``stop``.
        """
        self._mode = mode
        self._sites = sites
        self._sent = sent
        self._follow = follow
        self._period = period
        self._asker: Asker[str] = Asker()
        self._patience = DEADLINE
        self._records: dict[str, ControlRecord] = {}
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
                    # What fails now is tried again after the next look; a spool that is damaged
                    # others tell of, and a thread that dies would follow no failover any more.
                    with suppress(McloudError):
                        self._follow(self.route)

    def _observe(self) -> RouteObservation:
        if self._mode == "primary":
            answers = self._asker.gather(
                {name: partial(_record, site) for name, site in self._sites.items()},
                self._patience,
            )
            self._patience = min(QUICK, DEADLINE)
            # A site that is silent, or whose record is damaged, is remembered by the last it said.
            for name, answer in answers.items():
                if isinstance(answer, ControlRecord):
                    self._records[name] = answer
            refusals = {
                name: str(answer)
                for name, answer in answers.items()
                if isinstance(answer, Refused | Damaged)
            }
            return RouteObservation(records=dict(self._records), refusals=refusals)
        if self._mode == "nearest":
            times = self._asker.gather(
                {name: partial(_latency, site) for name, site in self._sites.items()}, DEADLINE
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
    """What waits for a site that does not have the traffic goes to the one that has it."""
    for site in set(sites) - set(chosen):
        if spool.pending(site).messages:
            spool.reassign(site, chosen[0])


def _record(site: Site) -> ControlRecord | Damaged | None:
    return site.control.record()


def _latency(site: Site) -> float:
    """Seconds of a cheap read of the site's queue."""
    probe = site.probe  # made at the first use, which is no latency of the site
    began = time.monotonic()
    probe.check("queue", DEADLINE)
    return time.monotonic() - began
