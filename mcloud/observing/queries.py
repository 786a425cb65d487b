"""The questions to a site, with their intervals.

At these intervals a dashboard that is left open on two sites costs less than two dollars a month
at list prices: see ``upkeep``, and the test that counts it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from mcloud.clouds.observation import probe_seconds
from mcloud.clouds.ports import SERVICES, Depth, Figures, Heartbeat, Site
from mcloud.config import setting
from mcloud.cost.current import CostFigure
from mcloud.damage import restored
from mcloud.documents import Damaged, damaged, sound
from mcloud.failover import debts, pause
from mcloud.failover.shared_notes import notes_of
from mcloud.infra.deployed_code import deployed_code
from mcloud.notify.silences import silences_of
from mcloud.observing.collector import LATE, PATIENCE, TimedQuery
from mcloud.observing.recent import Recent, recent
from mcloud.processor.compaction import last_compaction

FAST = 5.0  # seconds, for figures of the queue itself
QUICKEST, SLOWEST = 1.0, 3600.0  # seconds; limits of the setting for these figures
STORE = 20.0  # for documents that the functions and the replicators write into the store
CANDLES = 60.0  # there is a new one every minute
PROBES = 60.0
CODE = 300.0  # it changes with deployments only
DEBTS = 60.0
COMPACTION = 300.0  # it runs once an hour
SILENCES = 60.0
# The metrics services report by the minute, and bill each request. CloudWatch costs fifteen times
# as much as Cloud Monitoring, which in turn is the only source for the depth of a queue.
METRICS = {"aws": 300.0, "gcp": 60.0}
# The cost of the month takes some thirty-five metrics of each site. The cost per hour is measured
# over two of these answers, see ``mcloud.cost.current``.
COST = 3600.0
WINDOW = 15 * 60.0  # seconds of function calls that are summed


@dataclass(frozen=True)
class MonitorSettings:
    """The table ``[monitor]`` of mcloud.toml."""

    interval: float = setting(FAST, least=QUICKEST, most=SLOWEST)
    """Seconds between two reads of the figures that change quickly."""
    port: int = setting(9464, least=1, most=65535)
    """Port of ``mcloud metrics --serve``, on 127.0.0.1."""


@dataclass(frozen=True)
class Costing:
    """The source of the cost of all sites."""

    ask: Callable[[], CostFigure]
    interval: float = COST
    is_billed: bool = True
    """Whether reading costs money. False on embedded clouds, whose meters are a file."""


def queries_of(site: Site, patience: float = PATIENCE) -> dict[str, TimedQuery]:
    """Return all questions to a site by name. The probes are named as in ``ports.SERVICES``."""
    look = _Look(site)
    # Nothing else is read often from the queue of Google Cloud. Its probe is free of charge.
    of_queue = FAST if site.cloud == "gcp" else PROBES
    return {
        service: TimedQuery(
            partial(probe_seconds, site, service, patience),
            of_queue if service == "queue" else PROBES,
            late=LATE,
        )
        for service in SERVICES
    } | {
        "code": TimedQuery(partial(deployed_code, site, patience), CODE),
        "depth": TimedQuery(look.depth, FAST, late=LATE),
        "dead": TimedQuery(look.dead, STORE, late=LATE),
        "figures": TimedQuery(look.figures, METRICS[site.cloud], hurries=False),
        "beats": TimedQuery(look.beats, STORE, late=LATE),
        "lags": TimedQuery(lambda: site.control.lags(), STORE, late=LATE),
        "record": TimedQuery(lambda: site.control.record(), STORE, late=LATE),
        "guard": TimedQuery(partial(notes_of, site, pause.KIND), STORE, late=LATE),
        "debts": TimedQuery(partial(notes_of, site, debts.KIND), DEBTS),
        "compaction": TimedQuery(lambda: last_compaction(site.control), COMPACTION),
        "silences": TimedQuery(partial(silences_of, site), SILENCES),
        "recent": TimedQuery(look.recent, CANDLES),
    }


class _Look:
    """Makes the parts of a site on first use, in the thread of the question, since that may
    hang.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._beats: list[Heartbeat | Damaged] | None = None

    def depth(self) -> Depth | None:
        """Return the depth, or None if only the metrics have it: see ``figures``."""
        queue = self._site.queue
        return queue.depth() if queue.is_live else None

    def dead(self) -> Depth | None:
        queue = self._site.queue
        return queue.dead_letter_depth() if queue.is_live else None

    def figures(self) -> Figures:
        return self._site.metrics.figures(WINDOW)

    def beats(self) -> list[Heartbeat | Damaged]:
        self._beats = self._site.control.heartbeats()
        return self._beats

    def recent(self) -> list[Recent]:
        """Return the candles of the symbols that traded last, including those with damaged
        heartbeats.
        """
        beats = self.beats() if self._beats is None else self._beats
        again = [restored(self._site, each) for each in damaged(beats)]
        return recent(self._site, [*sound(beats), *(each for each in again if each is not None)])
