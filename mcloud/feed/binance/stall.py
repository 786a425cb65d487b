"""Which symbol has gone silent, judged against its own usual pace.

A stream can stop for one symbol while the others flow and the connection stays up. Silence alone
proves nothing, a market may be quiet: whoever asks the exchange's REST for the newest trade knows.
"""

from collections.abc import Iterable
from dataclasses import dataclass

SHORTEST = 10.0  # seconds of silence that are nothing in any market
USUAL_GAPS = 20.0  # as many times the usual gap is suspicious
UNKNOWN = 60.0  # seconds, for a symbol of which no pace is known yet
_WEIGHT = 0.1  # of the newest gap in the moving average
_MOST_DOUBLINGS = 6


class Paces:
    """The pace of each symbol. Times are seconds of one clock, passed in."""

    def __init__(self, symbols: Iterable[str], now: float) -> None:
        self._paces = {symbol: _Pace(now) for symbol in symbols}

    def seen(self, symbol: str, id_: int, now: float) -> None:
        """A trade came; of several at once the last one is enough."""
        if pace := self._paces.get(symbol):
            pace.seen(id_, now)

    def begin(self, symbols: Iterable[str], now: float) -> None:
        """Trades of these symbols are due from now on."""
        for symbol in symbols:
            self._paces.setdefault(symbol, _Pace(now)).since = now

    def end(self, symbols: Iterable[str]) -> None:
        """No trades of these symbols are due any more, so that none of them can stall."""
        for symbol in symbols:
            self._paces.pop(symbol, None)

    def age(self, symbol: str, now: float) -> float | None:
        """Seconds since the last trade; None before the first, and where none is due."""
        pace = self._paces.get(symbol)
        return None if pace is None or pace.last is None else now - pace.last

    def suspect(self, now: float) -> str | None:
        """The symbol that has been silent for longest against its own pace, if too long."""
        overdue = {symbol: pace.overdue(now) for symbol, pace in self._paces.items()}
        worst = max(overdue, key=overdue.__getitem__, default=None)
        return worst if worst is not None and overdue[worst] > 1 else None

    def stalled(self) -> list[str]:
        """The symbols of which the exchange had a trade, when last asked, that never came."""
        return [symbol for symbol, pace in self._paces.items() if pace.stalled]

    def is_stalled(self, symbol: str, newest_id: int) -> bool:
        """Whether a trade that the exchange has (its id was asked for a moment ago) never came.

        Of a symbol of which nothing ever came, the first answer is only taken down, and the next
        one is due soon. What did not come is held against the stream once: it may have been lost
        with an earlier connection.
        """
        pace = self._paces.get(symbol)
        return pace is not None and pace.misses(newest_id)

    def calm(self, symbol: str, now: float) -> None:
        """The market is quiet: the next suspicion takes twice as long.

        After the first answer about a symbol of which nothing ever came nothing is known yet.
        """
        if pace := self._paces.get(symbol):
            pace.calm(now)

    def restart(self, symbols: Iterable[str], now: float) -> None:
        """The silence so far is explained, by a new connection or by a slow consumer."""
        for symbol in symbols:
            if pace := self._paces.get(symbol):
                pace.since = now


@dataclass
class _Pace:
    since: float
    """When the silence that is judged began."""
    last: float | None = None
    id: int | None = None
    """The highest that is known to have come, or to be older than what can come."""
    gap: float | None = None
    doublings: int = 0
    is_compared: bool = True
    """False after the first answer about a symbol of which nothing has come."""
    stalled: bool = False

    @property
    def limit(self) -> float:
        return UNKNOWN if self.gap is None else max(SHORTEST, USUAL_GAPS * self.gap)

    def seen(self, id_: int, now: float) -> None:
        if self.last is not None:
            # A longer one was a stall or a cut, and says little about the market.
            gap = min(now - self.last, self.limit)
            self.gap = gap if self.gap is None else self.gap + _WEIGHT * (gap - self.gap)
        self.last = self.since = now
        self.doublings = 0
        self.stalled = False
        if self.id is None or id_ > self.id:
            self.id = id_

    def overdue(self, now: float) -> float:
        return (now - self.since) / (self.limit * 2.0**self.doublings)

    def misses(self, newest_id: int) -> bool:
        self.is_compared = self.id is not None
        known = newest_id if self.id is None else self.id
        self.id = max(known, newest_id)
        self.stalled = newest_id > known
        return self.stalled

    def calm(self, now: float) -> None:
        if not self.is_compared:
            self.is_compared = True
            self.since = now - self.limit + SHORTEST
            return
        self.since = now
        self.doublings = min(self.doublings + 1, _MOST_DOUBLINGS)
