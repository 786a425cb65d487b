"""What the candles must be, by plain decimal arithmetic.

The judge of the demo and of the end-to-end tests. It shares no code with ``mcloud.market``: it may
look at a trade's fields, and that is all.
"""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Context, Decimal, Inexact
from typing import Any

Row = dict[str, str]
"""A candle as texts, under the field names of the stores."""

_CONTEXT = Context(prec=200, traps=[Inexact])


def expected_rows(trades: Iterable[Any]) -> list[Row]:
    """One row a symbol and minute, in that order, from trades in any order, with repeats."""
    distinct = {(trade.symbol, trade.id): trade for trade in trades}
    minutes: dict[tuple[str, int], list[Any]] = {}
    for _, trade in sorted(distinct.items(), key=lambda item: item[0]):
        minutes.setdefault((trade.symbol, trade.time // 60_000), []).append(trade)
    return [_row(symbol, minute, group) for (symbol, minute), group in sorted(minutes.items())]


def digest(rows: Iterable[Row]) -> str:
    """A fingerprint of candles: SHA-256 over their texts, shortened to 16 hex digits."""
    lines = sorted("|".join(f"{name}={row[name]}" for name in sorted(row)) for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def plain(number: Decimal | int) -> str:
    """One text for one number."""
    text = f"{Decimal(number):f}"
    return (text.rstrip("0").rstrip(".") or "0") if "." in text else text


def _row(symbol: str, minute: int, trades: list[Any]) -> Row:
    volume = quote_volume = Decimal(0)
    high = low = trades[0].price
    for trade in trades:
        volume = _CONTEXT.add(volume, trade.quantity)
        quote_volume = _CONTEXT.add(quote_volume, _CONTEXT.multiply(trade.price, trade.quantity))
        if trade.price > high:
            high = trade.price
        if trade.price < low:
            low = trade.price
    return {
        "symbol": symbol,
        "timestamp": f"{datetime.fromtimestamp(minute * 60, UTC):%Y-%m-%dT%H:%M:%SZ}",
        "open": plain(trades[0].price),
        "high": plain(high),
        "low": plain(low),
        "close": plain(trades[-1].price),
        "volume": plain(volume),
        "quote_volume": plain(quote_volume),
        "trade_count": str(len(trades)),
        "first_id": str(trades[0].id),
        "last_id": str(trades[-1].id),
    }
