"""All trades of the exchange, and the data derived from them."""

from collections import defaultdict
from decimal import Decimal
from typing import NamedTuple

from mcloud.local.exchange.aggregates import Aggregate, Aggregates
from mcloud.local.exchange.bars import DAY, MINUTE, SECOND, Bars, Interval, MinuteBar
from mcloud.local.exchange.book import Book
from mcloud.local.exchange.tape import Tape
from mcloud.market.trade import Trade


class Day(NamedTuple):
    """The last 24 hours of a symbol, with a precision of one minute."""

    symbol: str
    start: int
    """Start in ms since 1970, like ``end``."""
    end: int
    bar: MinuteBar
    close_before: Decimal
    last_quantity: Decimal
    book: Book


class TradeLedger:
    """All trades so far. The clock of the ledger is the time of the newest trade of any symbol."""

    def __init__(self) -> None:
        self.tape = Tape()
        self.aggregates = Aggregates()
        self.now = 0
        """Time of the newest trade, in ms since 1970."""
        self._minutes: dict[str, Bars] = defaultdict(lambda: Bars(MINUTE))
        self._books: dict[str, Book] = defaultdict(Book)

    def add(self, trade: Trade) -> Aggregate | None:
        """Add a trade, and return the aggregate that it closes. A known trade changes nothing."""
        if not self.tape.add(trade):
            return None
        self.now = max(self.now, trade.time)
        self._minutes[trade.symbol].add(trade)
        self._books[trade.symbol].add(trade)
        return self.aggregates.add(trade)

    def newest(self, symbol: str) -> Trade | None:
        """Return the trade with the highest id."""
        return next(iter(self.tape.newest(symbol, 1)), None)

    def book(self, symbol: str) -> Book:
        return self._books[symbol]

    def klines(
        self,
        symbol: str,
        interval: Interval,
        first: int | None,
        last: int | None,
        limit: int,
        now: int | None = None,
    ) -> list[tuple[int, MinuteBar]]:
        """Return klines; see ``Bars.klines``."""
        now = self.now if now is None else now
        bars = self._minutes[symbol]
        if interval.width == SECOND:
            bars = self._seconds(symbol, first, now if last is None else min(now, last), limit)
        return list(bars.klines(interval, first, last, limit, now))

    def day(self, symbol: str) -> Day:
        """Return the last 24 hours. All numbers are 0 for a symbol that has never traded."""
        start = self.now - self.now % MINUTE - DAY + MINUTE
        minutes = self._minutes[symbol]
        newest = self.newest(symbol)
        return Day(
            symbol,
            start,
            self.now,
            minutes.within(start, self.now + 1),
            minutes.within(start - 1, start).close,
            newest.quantity if newest else Decimal(0),
            self.book(symbol),
        )

    def _seconds(self, symbol: str, first: int | None, last: int, limit: int) -> Bars:
        """Return bars of one second, from the part of the tape that ``limit`` bars may need."""
        start = last - limit * SECOND if first is None else first
        start -= start % SECOND
        bars = Bars(SECOND)
        before = self.tape.before(symbol, start)
        within = self.tape.between(symbol, start, start + (limit + 1) * SECOND, None)
        for trade in (*before, *within):
            bars.add(trade)
        return bars
