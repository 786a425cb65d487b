"""Detection of symbols that have gone silent, by their own usual pace.

A stream can stop for one symbol while the others continue and the connection stays open. Silence
alone proves nothing, because a market may be quiet. A request to REST for the newest trade decides.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from mcloud.backoff import grown

SHORTEST = 10.0  # seconds of silence that are normal in any market
USUAL_GAPS = 20.0  # multiple of the usual gap after which silence is suspicious
UNKNOWN = 60.0  # seconds, for a symbol without a known pace
_WEIGHT = 0.1  # weight of the newest gap in the moving average
_MOST_DOUBLINGS = 6


class Paces:
    """The pace of each symbol. Times are seconds of one clock, which the caller passes in."""

    def __init__(self, symbols: Iterable[str], now: float) -> None:
        self._paces = {symbol: _Pace(now) for symbol in symbols}

    def seen(self, symbol: str, id_: int, now: float) -> None:
        """Note a trade. If several arrived together, the last one is enough."""
        if pace := self._paces.get(symbol):
            pace.seen(id_, now)

    def begin(self, symbols: Iterable[str], now: float) -> None:
        """Expect trades of these symbols from now on."""
        for symbol in symbols:
            self._paces.setdefault(symbol, _Pace(now)).since = now

    def end(self, symbols: Iterable[str]) -> None:
        """Expect no more trades of these symbols, so that none of them can stall."""
        for symbol in symbols:
            self._paces.pop(symbol, None)

    def age(self, symbol: str, now: float) -> float | None:
        """Return the seconds since the last trade; None before the first, or if none is
        expected.
        """
        pace = self._paces.get(symbol)
        return None if pace is None or pace.last is None else now - pace.last

    def suspect(self, now: float) -> str | None:
        """Return the symbol that has been silent for longest relative to its pace, or None if no
        silence is suspicious.
        """
        overdue = {symbol: pace.overdue(now) for symbol, pace in self._paces.items()}
        worst = max(overdue, key=overdue.__getitem__, default=None)
        return worst if worst is not None and overdue[worst] > 1 else None

    def stalled(self) -> list[str]:
        """Return the symbols of which the exchange had a trade, at the last check, that was never
        received.
        """
        return [symbol for symbol, pace in self._paces.items() if pace.stalled]

    def is_stalled(self, symbol: str, newest_id: int) -> bool:
        """Return whether the newest trade of the exchange, whose id was just fetched, was never
        received.

        For a symbol without any trade so far, the first answer is only recorded, and the next check
        is due soon. A missing trade counts against the stream once, because it may have been lost
        with an earlier connection.
        """
        pace = self._paces.get(symbol)
        return pace is not None and pace.misses(newest_id)

    def calm(self, symbol: str, now: float) -> None:
        """Note that the market is quiet: the next suspicion takes twice as long.

        After the first answer about a symbol without any trade nothing is known yet.
        """
        if pace := self._paces.get(symbol):
            pace.calm(now)

    def restart(self, symbols: Iterable[str], now: float) -> None:
        """Reset the silence, which a new connection or a slow consumer explains."""
        for symbol in symbols:
            if pace := self._paces.get(symbol):
                pace.since = now


@dataclass
class _Pace:
    since: float
    """Start of the current silence."""
    last: float | None = None
    id: int | None = None
    """Highest id that was received, or that is older than the trades still to be received."""
    gap: float | None = None
    doublings: int = 0
    is_compared: bool = True
    """False after the first answer about a symbol without any trade."""
    stalled: bool = False

    @property
    def limit(self) -> float:
        return UNKNOWN if self.gap is None else max(SHORTEST, USUAL_GAPS * self.gap)

    def seen(self, id_: int, now: float) -> None:
        if self.last is not None:
            # A longer gap was caused by a stall or a lost connection, and says little about the
            # market.
            gap = min(now - self.last, self.limit)
            self.gap = gap if self.gap is None else self.gap + _WEIGHT * (gap - self.gap)
        self.last = self.since = now
        self.doublings = 0
        self.stalled = False
        if self.id is None or id_ > self.id:
            self.id = id_

    def overdue(self, now: float) -> float:
        return (now - self.since) / grown(self.limit, self.doublings, inf)

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
