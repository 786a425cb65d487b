"""Detection of anomalies in the trades of a producer, without I/O.

The trades of a symbol may come in any order, late and repeatedly. They are folded into minutes,
which are judged as ``anomaly.detect`` would judge the candles of the same trades. A change of a
minute makes its verdict and those of later minutes void, so they are judged again.

The minutes of the last ``Thresholds.reach`` are kept, which is three windows. A verdict needs one
window before its minute, so a trade may be up to two windows late (two hours by default). Later
ones are not folded; ``mcloud anomalies scan`` finds what is unusual about them.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from decimal import localcontext

from mcloud.market.anomaly import Anomaly, MinuteSeries, Thresholds
from mcloud.market.candle import MINUTE, Candle, by_minute
from mcloud.market.trade import EXACT, Trade
from mcloud.producer.minutes import Columns, FoldedMinute, fold, merge

OVERLAP = 3 * MINUTE
"""Time before the first trade of a run that is judged again, in ms: a run that was killed may not
have judged its last trades."""


class SymbolDetector:
    """The minutes of one symbol, and the anomalies in them."""

    def __init__(self, symbol: str, thresholds: Thresholds) -> None:
        self._symbol = symbol
        self._reach = thresholds.reach
        self._late = thresholds.reach - thresholds.window * MINUTE
        self._series = MinuteSeries(thresholds)
        self._others: dict[int, FoldedMinute] = {}
        """Minutes with holes or voids, by their start. The series has all that is known of the
        other ones."""
        self._known: dict[str, Anomaly] = {}
        """Anomalies that were returned, by key."""
        self._changed: int | None = None
        """Start of the first minute that has to be judged again."""
        self._oldest = 0
        """Start of the minutes that are not forgotten."""
        self.first = -1
        """Start of the minute that got the first trade; -1 before it."""
        self.newest = -1
        """Start of the last minute that got a trade."""
        self.too_late: int | None = None
        """Start of the first minute whose trades came too late."""

    @property
    def has_changed(self) -> bool:
        """Whether there is anything to judge."""
        return self._changed is not None

    def take(self, trades: Sequence[Trade]) -> list[Anomaly]:
        """Add trades of the symbol. Return the anomalies of minutes that would otherwise be
        forgotten before they are judged.
        """
        start = trades[0].time // MINUTE * MINUTE
        columns = tuple(zip(*trades, strict=True))
        times = columns[4]
        if start <= min(times) and max(times) < start + MINUTE:
            return self._take(start, trades, columns)
        found = []
        for (_, start), part in by_minute(trades).items():
            found += self._take(start, part, tuple(zip(*part, strict=True)))
        return found

    def add_history(self, candles: Iterable[Candle]) -> None:
        """Add stored candles of the minutes up to the first trade, which has been taken. They count
        as history, except for those of the last ``OVERLAP``, which are judged.
        """
        first = self.first
        if self.newest - first > self._late:
            return  # it would be forgotten at once
        since = min([first - OVERLAP, *self._series.starts[:1]])
        with localcontext(EXACT):
            for candle in candles:
                if candle.has_trades and self.newest - self._reach <= candle.start <= first:
                    self._put(merge(self._folded(candle.start), candle))
        self._changed = since

    def judge(self) -> list[Anomaly]:
        """Return the anomalies that are new, or have changed, since the last call."""
        if self._changed is None:
            return []
        since, self._changed = max(self._changed, self._oldest), None
        found = []
        for anomaly in self._series.detect(since):
            if self._known.get(anomaly.key) != anomaly:
                self._known[anomaly.key] = anomaly
                found.append(anomaly)
        return found

    def _take(self, start: int, trades: Sequence[Trade], columns: Columns) -> list[Anomaly]:
        if self.first < 0:
            self.first = start
        if start < self.newest - self._late:
            self.too_late = start if self.too_late is None else min(self.too_late, start)
            return []
        with localcontext(EXACT):
            self._put(fold(self._folded(start), trades, columns))
        if start <= self.newest:
            return []
        self.newest = start
        found = []
        if self._changed is not None and self._changed < start - self._late:
            found = self.judge()
        self._forget(start - self._reach)
        return found

    def _folded(self, start: int) -> FoldedMinute:
        """Return the minute so far."""
        if other := self._others.get(start):
            return other
        minute = self._series.minute(start)
        return FoldedMinute(self._symbol, start) if minute is None else FoldedMinute.of(minute)

    def _put(self, folded: FoldedMinute) -> None:
        if len(folded.runs) > 1 or folded.voids:
            self._others[folded.start] = folded
        else:
            self._others.pop(folded.start, None)
        minute = folded.minute
        if minute is not None and minute != self._series.minute(folded.start):
            self._mark(self._series.put(minute))

    def _mark(self, start: int) -> None:
        self._changed = start if self._changed is None else min(self._changed, start)

    def _forget(self, oldest: int) -> None:
        self._oldest = oldest
        starts = self._series.starts
        count = bisect_left(starts, oldest)
        if count < 2:
            return
        # The last of them stays, because it proves whether its successor is complete.
        self._series.drop_before(starts[count - 1])
        for start in [each for each in self._others if each < oldest]:
            del self._others[start]
        if self._known:
            self._known = {key: each for key, each in self._known.items() if each.start >= oldest}
