"""The detection of anomalies in a run of a producer. It must not lose, delay or fail any trade.

Trades are folded when they are in the spool, by the thread that wrote them, which takes less than a
microsecond for each. The minutes that have changed are judged every few seconds by the same thread,
for a short time before it continues with the trades. An error stops the detection, never the run.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from logging import Logger

from mcloud.clock import Limit
from mcloud.market.anomaly import Anomaly, Thresholds
from mcloud.market.candle import to_timestamp
from mcloud.market.trade import Trade, is_reserved
from mcloud.producer.detection import SymbolDetector
from mcloud.producer.findings import Findings
from mcloud.producer.stored_history import StoredHistory

CHECK = 3.0  # seconds between two checks of the current minutes
BUDGET = 0.03  # seconds that a check may take before it is continued after the next trades
HELD = 30.0  # seconds that the first verdict on a symbol waits for its history
PATIENCE = 3.0  # seconds that the end of a run waits for the history of a symbol
POLL = 0.005  # seconds between two checks for it
TAKEN = 4  # symbols whose history is added between two chunks of trades, in about 10 ms
REMEMBERED = 10_000  # anomalies that are not counted again


class AnomalyFinder:
    """Finds anomalies in the trades of a run. It is used by one thread."""

    def __init__(
        self,
        thresholds: Thresholds,
        findings: Findings,
        history: StoredHistory,
        log: Logger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._thresholds = thresholds
        self._findings = findings
        self._history = history
        self._log = log
        self._clock = clock
        self._detectors: dict[str, SymbolDetector] = {}
        self._held: dict[str, float] = {}
        """Symbols whose history has not arrived, and when they are judged without it."""
        self._changed: dict[str, None] = {}
        """Symbols with trades since they were judged."""
        self._queue: deque[str] = deque()
        """Symbols that are judged in the current check."""
        self._checked = clock()
        self._late: set[str] = set()
        """Symbols of which trades were too late, as the log says."""
        self._stopped: set[str] = set()
        """Symbols whose detection has failed."""
        self._is_broken = False
        self._recent: dict[str, None] = {}
        """Keys of the last anomalies, oldest first."""
        self.found = 0
        """Number of anomalies that the run has found."""

    def take(self, batches: Iterable[list[Trade]]) -> None:
        """Add trades, in batches of one symbol each."""
        if self._is_broken:
            return
        with self._guarded():
            for trades in batches:
                symbol = trades[0].symbol
                with self._guarded(symbol):
                    self._take(symbol, trades)

    def check(self) -> None:
        """Judge what has changed, if it is time. Call this often."""
        if self._is_broken:
            return
        with self._guarded():
            self._take_history(TAKEN)
            now = self._clock()
            if not self._queue and now - self._checked >= CHECK:
                self._checked = now
                self._queue.extend(self._changed)
            until = now + BUDGET
            while self._queue:
                symbol = self._queue.popleft()
                if self._held.get(symbol, now) <= now:
                    self._held.pop(symbol, None)
                    self._judge(symbol)
                if self._clock() > until:
                    break

    def finish(self, limit: Limit) -> None:
        """Judge everything that has changed, because no more trades come."""
        if self._is_broken:
            return
        with self._guarded():
            patience = Limit(PATIENCE, self._clock)
            self._take_history()
            while self._held and not patience.is_over and not limit.is_over:
                time.sleep(POLL)
                self._take_history()
            for symbol in list(self._changed):
                self._judge(symbol)

    def waiting(self) -> dict[str, int]:
        """Return the number of anomalies that wait for each site, except zeros."""
        return self._findings.waiting()

    def wait(self, limit: Limit) -> None:
        """Wait until the sites that answer have all anomalies."""
        self._findings.wait(limit)

    def close(self) -> None:
        """Stop storing. The next run stores what waits."""
        self._history.close()
        self._findings.close()

    def _take(self, symbol: str, trades: list[Trade]) -> None:
        detector = self._detectors.get(symbol)
        if detector is None:
            if symbol in self._stopped or is_reserved(symbol):
                return
            detector = self._detectors[symbol] = SymbolDetector(symbol, self._thresholds)
            self._add(detector.take(trades))
            self._held[symbol] = self._clock() + HELD
            self._history.request(symbol, detector.first)
        else:
            self._add(detector.take(trades))
        if detector.has_changed:
            self._changed[symbol] = None
        if detector.too_late is not None and symbol not in self._late:
            self._late.add(symbol)
            self._log.warning(
                "trades of %s at %s came too late to be checked for anomalies;"
                " `mcloud anomalies scan %s` checks them",
                *(symbol, to_timestamp(detector.too_late), symbol),
            )

    def _take_history(self, limit: int | None = None) -> None:
        for history in self._history.take(limit):
            detector = self._detectors.get(history.symbol)
            if detector is None:
                continue
            with self._guarded(history.symbol):
                self._held.pop(history.symbol, None)
                detector.add_history(history.candles)
                self._changed[history.symbol] = None

    def _judge(self, symbol: str) -> None:
        self._changed.pop(symbol, None)
        detector = self._detectors.get(symbol)
        if detector is not None:
            with self._guarded(symbol):
                self._add(detector.judge())

    def _add(self, found: Iterable[Anomaly]) -> None:
        for anomaly in found:
            if anomaly.key not in self._recent:
                self.found += 1
                self._log.info("anomaly: %s", anomaly)
                self._recent[anomaly.key] = None
                if len(self._recent) > REMEMBERED:
                    del self._recent[next(iter(self._recent))]
            self._findings.add(anomaly)

    @contextmanager
    def _guarded(self, symbol: str = "") -> Iterator[None]:
        """Log an error once, and stop the detection of the symbol, or of all symbols."""
        try:
            yield
        except Exception:  # noqa: BLE001 - the trades must not suffer
            what = symbol or "any symbol"
            self._log.exception("detection of anomalies has failed, and stops for %s", what)
            if symbol:
                self._stopped.add(symbol)
                self._detectors.pop(symbol, None)
                self._held.pop(symbol, None)
            else:
                self._is_broken = True
