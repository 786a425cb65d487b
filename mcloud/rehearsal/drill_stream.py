"""A stream of trades during a drill, through a producer that follows the record."""

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from mcloud.clouds.ports import Site
from mcloud.errors import McloudError
from mcloud.failover.execution import DEADLINE
from mcloud.feed.pace import pace
from mcloud.market.trade import Trade
from mcloud.producer.produce import FeedReader, ProducerProgress, produce
from mcloud.producer.route import ProducerMode
from mcloud.producer.router import Router, move
from mcloud.producer.spool import Spool


class DrillStream:
    """A producer with its own spool, in threads of this process."""

    def __init__(
        self,
        sites: Mapping[str, Site],
        symbols: tuple[str, ...],
        scratch: Path,
        trades: Iterable[Trade],
        speed: float = 1.0,
        mode: ProducerMode = "primary",
        freshness: float = 0.0,
    ) -> None:
        """For ``freshness``, see ``produce``."""
        self._sites = sites
        self._mode = mode
        self.symbols = symbols
        self._scratch = scratch
        self._feed = trades
        self._speed = speed
        self._freshness = freshness
        self._enough = threading.Event()
        self._cut = threading.Event()
        self._ended = threading.Event()
        self._error: Exception | None = None
        self._progress: ProducerProgress | None = None
        self._newest: dict[str, int] = {}
        self.trades: list[Trade] = []
        """All trades that were sent."""
        self.begun = time.monotonic()

    @property
    def read(self) -> int:
        return len(self.trades)

    @property
    def accepted(self) -> Mapping[str, int]:
        """Number of trades that the queue of each site has accepted."""
        sites = self._progress.sites if self._progress else {}
        return {name: sites[name].trades if name in sites else 0 for name in self._sites}

    def leads(self) -> str:
        """The site that the producer sends to."""
        return self._progress.route.sites[0] if self._progress else ""

    def newest(self, site: str) -> int:
        """Return the newest id of the first symbol in a candle of the site."""
        # Ignore a store that cannot be read just now; the next call reads it again.
        with suppress(McloudError):
            candle = self._sites[site].candles.last(self.symbols[0])
            self._newest[site] = 0 if candle is None else candle.last_id
        return self._newest.get(site, 0)

    def check(self) -> None:
        """Raise the error that ended the producer, if any."""
        if self._error is not None:
            raise self._error

    def finish(self, patience: float) -> None:
        """Stop making trades, and wait until the queues have all of them."""
        self._enough.set()
        if not self._ended.wait(patience):
            raise McloudError("the producer could not send its spooled trades in time")
        self.check()

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self._run, name="producer", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._enough.set()
            self._cut.set()
            self._ended.wait(DEADLINE)

    def _run(self) -> None:
        try:
            self._produce()
        except Exception as error:  # noqa: BLE001 - raised by `check`, in the thread that waits
            self._error = error
        self._ended.set()

    def _produce(self) -> None:
        with Spool.open(self._scratch / "drill.sqlite", list(self._sites)) as spool:
            router = Router(
                self._mode,
                self._sites,
                lambda site: 0,
                follow=lambda route: move(spool, self._sites, route.sites),
            )
            try:
                produce(
                    FeedReader(self._made()),
                    {name: site.queue for name, site in self._sites.items()},
                    spool,
                    route=lambda: router.route,
                    suspect=router.suspect if self._mode == "primary" else None,
                    freshness=self._freshness,
                    progress=self._note,
                    stop=self._cut,
                    drain=0.0,
                )
            finally:
                router.stop()

    def _made(self) -> Iterator[Trade]:
        self.begun = time.monotonic()
        for trade in pace(self._feed, self._speed, clock=time.monotonic, sleep=self._enough.wait):
            if self._enough.is_set():
                return
            self.trades.append(trade)
            yield trade

    def _note(self, progress: ProducerProgress) -> None:
        self._progress = progress
