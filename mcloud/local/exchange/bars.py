"""Klines of one symbol. Bars of a minute are stored, and longer ones are derived on request.

Binance's rules: bars are aligned in UTC, weeks begin on Monday, and an interval without a trade has
a bar whose four prices are the previous close.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import reduce
from typing import NamedTuple

from mcloud.local.exchange.markets import WIDE, turnover
from mcloud.market.trade import Trade

SECOND, MINUTE, DAY = 1_000, 60_000, 86_400_000  # ms
_MONDAY = 4 * DAY  # 1970-01-05


class MinuteBar(NamedTuple):
    """The trades of one period, combined into a bar."""

    first_id: int
    """ID of the first trade; -1 if there was none."""
    last_id: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    turnover: Decimal
    """See ``markets.turnover``."""
    trades: int
    bought: Decimal
    """Volume of the trades whose buyer was the taker."""
    bought_turnover: Decimal


_ZERO = Decimal(0)
NOTHING = MinuteBar(-1, -1, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO, 0, _ZERO, _ZERO)
"""The bar of a symbol that has never traded."""


@dataclass(frozen=True)
class Interval:
    name: str
    """Binance's name for the interval, such as ``1m``."""
    width: int
    """Length in ms; 0 for a month, because months differ in length."""

    def start(self, time: int) -> int:
        """Return the start of the interval that contains a time, both in ms since 1970."""
        if not self.width:
            month = datetime.fromtimestamp(time // 1000, UTC)
            return _ms(month.year, month.month)
        shift = _MONDAY if self.name == "1w" else 0
        return time - (time - shift) % self.width

    def next(self, start: int) -> int:
        """Return the start of the interval after the one that starts at ``start``."""
        if self.width:
            return start + self.width
        month = datetime.fromtimestamp(start // 1000, UTC)
        return _ms(month.year + month.month // 12, month.month % 12 + 1)


_UNITS = {"s": SECOND, "m": MINUTE, "h": 60 * MINUTE, "d": DAY, "w": 7 * DAY, "M": 0}
INTERVALS = {
    name: Interval(name, int(name[:-1]) * _UNITS[name[-1]])
    for name in (
        *("1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h"),
        *("1d", "3d", "1w", "1M"),
    )
}


class Bars:
    """One symbol's bars of one second or one minute each."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._starts: list[int] = []
        self._bars: dict[int, MinuteBar] = {}

    @property
    def newest(self) -> int | None:
        """The start of the newest bar, in ms since 1970."""
        return self._starts[-1] if self._starts else None

    def add(self, trade: Trade) -> None:
        start = trade.time - trade.time % self._width
        bar = self._bars.get(start)
        if bar is None:
            self._starts.insert(bisect_left(self._starts, start), start)
            self._bars[start] = _bar(trade)
        else:
            self._bars[start] = _merge(bar, _bar(trade))

    def within(self, start: int, stop: int) -> MinuteBar:
        """Return the bar from ``start`` up to but not including ``stop``; flat without trades."""
        at, to = bisect_left(self._starts, start), bisect_left(self._starts, stop)
        if at == to:
            return _flat(self._bars[self._starts[at - 1]]) if at else NOTHING
        return reduce(_merge, (self._bars[each] for each in self._starts[at:to]))

    def klines(
        self, interval: Interval, first: int | None, last: int | None, limit: int, now: int
    ) -> Iterator[tuple[int, MinuteBar]]:
        """Yield up to ``limit`` bars with their starts, oldest first.

        Args:
            first: Earliest start, in ms. Without it, the newest bars are returned.
            last: Latest start, in ms; at most the start of the bar that contains ``now``.
        """
        if not self._starts:
            return
        oldest = interval.start(self._starts[0])
        newest = interval.start(now if last is None else min(now, last))
        if first is None:
            start = newest
            for _ in range(limit - 1):
                start = interval.start(start - 1)
            start = max(start, oldest)
        else:
            start = max(interval.start(first), oldest)
            if start < first:
                start = interval.next(start)
        while start <= newest and limit:
            yield start, self.within(start, interval.next(start))
            start = interval.next(start)
            limit -= 1


def _bar(trade: Trade) -> MinuteBar:
    price, volume, value = trade.price, trade.quantity, turnover(trade)
    bought = (_ZERO, _ZERO) if trade.buyer_is_maker else (volume, value)
    return MinuteBar(trade.id, trade.id, price, price, price, price, volume, value, 1, *bought)


def _merge(one: MinuteBar, other: MinuteBar) -> MinuteBar:
    early = one if one.first_id < other.first_id else other
    last = one if one.last_id > other.last_id else other
    return MinuteBar(
        early.first_id,
        last.last_id,
        early.open,
        max(one.high, other.high),
        min(one.low, other.low),
        last.close,
        WIDE.add(one.volume, other.volume),
        WIDE.add(one.turnover, other.turnover),
        one.trades + other.trades,
        WIDE.add(one.bought, other.bought),
        WIDE.add(one.bought_turnover, other.bought_turnover),
    )


def _flat(before: MinuteBar) -> MinuteBar:
    price = before.close
    return NOTHING._replace(open=price, high=price, low=price, close=price)


def _ms(year: int, month: int) -> int:
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp()) * 1000
