"""Longer candles, derived from one-minute candles when they are read."""

from collections.abc import Iterable
from decimal import Decimal, localcontext
from typing import NamedTuple

from mcloud.market.candle import Candle, to_timestamp
from mcloud.market.trade import EXACT

INTERVALS = {"1m": 60_000, "5m": 300_000, "15m": 900_000, "1h": 3_600_000, "1d": 86_400_000}  # ms


class Bar(NamedTuple):
    """A candle of any interval, for display, with plain numbers."""

    symbol: str
    start: int
    """Start in ms since 1970. It is a multiple of the interval, so days begin at midnight UTC."""
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote_volume: Decimal
    trade_count: int
    first_id: int
    last_id: int

    @property
    def timestamp(self) -> str:
        return to_timestamp(self.start)


def derive(candles: Iterable[Candle], interval: str) -> list[Bar]:
    """Return the bars of one symbol at ``interval`` (a key of INTERVALS), by time.

    Open and close belong to the lowest and the highest trade id, as within a minute. The ids
    include those of voids. An interval of voids only has no bar.
    """
    width = INTERVALS[interval]
    groups: dict[int, list[Candle]] = {}
    for candle in candles:
        if candle.fragments:
            groups.setdefault(candle.start // width * width, []).append(candle)
    with localcontext(EXACT):
        bars = [_bar(start, group) for start, group in sorted(groups.items())]
    return [bar for bar in bars if bar is not None]


def _bar(start: int, candles: list[Candle]) -> Bar | None:
    traded = [candle for candle in candles if candle.has_trades]
    if not traded:
        return None
    return Bar(
        symbol=candles[0].symbol,
        start=start,
        open=min(traded, key=lambda candle: candle.first_trade).open,
        high=max(candle.high for candle in traded),
        low=min(candle.low for candle in traded),
        close=max(traded, key=lambda candle: candle.last_trade).close,
        volume=sum((candle.volume for candle in candles), Decimal()),
        quote_volume=sum((candle.quote_volume for candle in candles), Decimal()),
        trade_count=sum(candle.trade_count for candle in candles),
        first_id=min(candle.first_id for candle in candles),
        last_id=max(candle.last_id for candle in candles),
    )
