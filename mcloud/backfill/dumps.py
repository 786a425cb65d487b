"""The names of the daily and monthly files of trades that Binance publishes.

See https://github.com/binance/binance-public-data.
"""

from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal, get_args

from mcloud.market.trade import SPOT, aggregates_of, split_market

DumpKind = Literal["trades", "aggTrades"]
KINDS: tuple[DumpKind, ...] = get_args(DumpKind)


@dataclass(frozen=True, order=True)
class Dump:
    """A published file: all trades of a symbol in one day or one month, UTC."""

    symbol: str
    """Symbol without a suffix for aggregate trades, such as ``BTCUSDT`` or ``BTCUSDT.um``."""
    first: date
    last: date
    """Last day of the file, inclusive."""
    kind: DumpKind = "trades"

    @property
    def is_monthly(self) -> bool:
        return self.first.day == 1 and self.last == _end_of_month(self.first)

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def name(self) -> str:
        """Name of the file without its suffix, such as ``BTCUSDT-trades-2024-08``."""
        name, _ = split_market(self.symbol)
        period = f"{self.first:%Y-%m}" if self.is_monthly else f"{self.first:%Y-%m-%d}"
        return f"{name}-{self.kind}-{period}"

    @property
    def folder(self) -> str:
        """Folder of the file at ``https://data.binance.vision/data``."""
        name, market = split_market(self.symbol)
        where = market if market == SPOT else f"futures/{market}"
        return f"{where}/{'monthly' if self.is_monthly else 'daily'}/{self.kind}/{name}"

    @property
    def stored_symbol(self) -> str:
        """Symbol under which the sites keep the trades of the file."""
        return self.symbol if self.kind == "trades" else aggregates_of(self.symbol)

    def daily(self) -> "Iterator[Dump]":
        """Yield the files of the single days of this file."""
        for number in range(self.days):
            day = self.first + timedelta(number)
            yield Dump(self.symbol, day, day, self.kind)

    def __str__(self) -> str:
        return self.name


def dumps(symbol: str, start: date, end: date, kind: DumpKind = "trades") -> list[Dump]:
    """Return the files that cover the days from ``start`` to ``end``, both inclusive.

    A whole month has one file. Whether it is published is not known here; ``Dump.daily`` names the
    files that have the same trades.
    """
    found, day = [], start
    while day <= end:
        last = _end_of_month(day)
        if day.day > 1 or last > end:
            last = day
        found.append(Dump(symbol, day, last, kind))
        day = last + timedelta(1)
    return found


def midnight(day: date) -> int:
    """Return the beginning of a day, UTC, in ms since 1970."""
    return (day - date(1970, 1, 1)) // timedelta(1) * 86_400_000


def _end_of_month(day: date) -> date:
    return day.replace(day=monthrange(day.year, day.month)[1])
