"""The expected candles, by plain decimal arithmetic over trades sorted by id.

The judge of the demo and of the tests. It shares no code with ``mcloud.market`` and only reads the
fields of trades. It is slow and simple on purpose.
"""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, Inexact
from typing import NamedTuple, Protocol

MINUTE = 60_000  # ms

Row = dict[str, str]
"""A candle as strings, by the field names of the stores."""

_CONTEXT = Context(prec=200, traps=[Inexact])


class TradeLike(Protocol):
    @property
    def symbol(self) -> str: ...
    @property
    def id(self) -> int: ...
    @property
    def price(self) -> Decimal: ...
    @property
    def quantity(self) -> Decimal: ...
    @property
    def time(self) -> int: ...


class Expected(NamedTuple):
    """One candle, with the fields of a bar in their order."""

    symbol: str
    start: int
    """Start of the candle, in ms since 1970."""
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote_volume: Decimal
    trade_count: int
    first_id: int
    last_id: int


def candles(trades: Iterable[TradeLike], interval: int = MINUTE) -> dict[tuple[str, int], Expected]:
    """Return every candle of ``interval`` ms, by symbol and start. Trades may be in any order, with
    repeats.

    A trade at price 0 is a void: only its id counts. Another trade with the same id replaces it. A
    candle that consists of voids only is left out.
    """
    distinct: dict[tuple[str, int], TradeLike] = {}
    for trade in trades:
        if trade.price or (trade.symbol, trade.id) not in distinct:
            distinct[trade.symbol, trade.id] = trade
    groups: dict[tuple[str, int], list[TradeLike]] = {}
    for _, trade in sorted(distinct.items(), key=lambda item: item[0]):
        start = trade.time - trade.time % interval
        groups.setdefault((trade.symbol, start), []).append(trade)
    return {
        key: aggregate(*key, group)
        for key, group in groups.items()
        if any(trade.price for trade in group)
    }


def aggregate(symbol: str, start: int, trades: list[TradeLike]) -> Expected:
    """Return the candle of these trades, which must be sorted by id."""
    prices = [trade.price for trade in trades if trade.price]
    volume = quote_volume = Decimal(0)
    for trade in trades:
        volume = _CONTEXT.add(volume, trade.quantity)
        quote_volume = _CONTEXT.add(quote_volume, _CONTEXT.multiply(trade.price, trade.quantity))
    return Expected(
        symbol,
        start,
        open=prices[0],
        high=max(prices),
        low=min(prices),
        close=prices[-1],
        volume=volume,
        quote_volume=quote_volume,
        trade_count=len(prices),
        first_id=trades[0].id,
        last_id=trades[-1].id,
    )


def expected_rows(trades: Iterable[TradeLike]) -> list[Row]:
    """Return one row per symbol and minute, in that order, from trades in any order, with
    repeats.
    """
    return [_row(candle) for _, candle in sorted(candles(trades).items())]


def digest(rows: Iterable[Row]) -> str:
    """Return a fingerprint of candles: SHA-256 over their texts, shortened to 16 hex digits."""
    lines = sorted("|".join(f"{name}={row[name]}" for name in sorted(row)) for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def plain(number: Decimal | int) -> str:
    """Return a text that is the same for equal numbers."""
    text = f"{Decimal(number):f}"
    return (text.rstrip("0").rstrip(".") or "0") if "." in text else text


def timestamp(start: int) -> str:
    """Return a time in ms in the format of the stores."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=start)
    return moment.isoformat().replace("+00:00", "Z")


def _row(candle: Expected) -> Row:
    numbers: tuple[Decimal | int, ...] = candle[2:]
    texts = dict(zip(Expected._fields[2:], map(plain, numbers), strict=True))
    return {"symbol": candle.symbol, "timestamp": timestamp(candle.start), **texts}
