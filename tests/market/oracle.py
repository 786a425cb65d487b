"""What the candles have to be: plain arithmetic over trades sorted by id.

Shares no code with mcloud: it imports nothing from there and only reads the fields of the trades.
It is slow and simple on purpose.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from typing import NamedTuple, Protocol

MINUTE = 60_000  # ms

# So wide that nothing here is ever rounded.
_WIDE = Context(prec=1000)


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
    """Every candle of ``interval`` ms, by symbol and start. No two trades share symbol and id."""
    groups: dict[tuple[str, int], list[TradeLike]] = {}
    for trade in trades:
        start = trade.time - trade.time % interval
        groups.setdefault((trade.symbol, start), []).append(trade)
    return {key: _aggregate(*key, group) for key, group in groups.items()}


def fragments(trades: Iterable[TradeLike]) -> str:
    """The stored text of one candle: each maximal aligned block of ids, from the left."""
    by_id = {trade.id: trade for trade in trades}
    return " ".join(_word([by_id[id_] for id_ in block]) for block in _blocks(set(by_id)))


def runs(trades: Iterable[TradeLike]) -> list[tuple[int, int]]:
    """The first and last id of each stretch of consecutive ids."""
    ids = {trade.id for trade in trades}
    firsts = sorted(id_ for id_ in ids if id_ - 1 not in ids)
    lasts = sorted(id_ for id_ in ids if id_ + 1 not in ids)
    return list(zip(firsts, lasts, strict=True))


def timestamp(start: int) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=start)
    return moment.isoformat().replace("+00:00", "Z")


def _aggregate(symbol: str, start: int, trades: list[TradeLike]) -> Expected:
    ordered = sorted(trades, key=lambda trade: trade.id)
    prices = [trade.price for trade in ordered]
    volume = quote_volume = Decimal(0)
    for trade in ordered:
        volume = _WIDE.add(volume, trade.quantity)
        quote_volume = _WIDE.add(quote_volume, _WIDE.multiply(trade.price, trade.quantity))
    return Expected(
        symbol,
        start,
        prices[0],
        max(prices),
        min(prices),
        prices[-1],
        volume,
        quote_volume,
        len(ordered),
        ordered[0].id,
        ordered[-1].id,
    )


def _blocks(ids: set[int]) -> list[range]:
    """Grow each id's aligned block while all of it is there; keep those inside no other."""
    found = set()
    for id_ in ids:
        first, size = id_, 1
        while True:
            wider = first - first % (2 * size)
            if not ids.issuperset(range(wider, wider + 2 * size)):
                break
            first, size = wider, 2 * size
        found.add((first, size))
    return [range(first, first + size) for first, size in sorted(found)]


def _word(trades: list[TradeLike]) -> str:
    total = _aggregate("", 0, trades)
    level = len(trades).bit_length() - 1
    if level == 0:
        return f"{total.first_id}:{_plain(total.open)},{_plain(total.volume)}"
    numbers = (total.open, total.high, total.low, total.close, total.volume, total.quote_volume)
    return f"{total.first_id}/{level}:" + ",".join(map(_plain, numbers))


def _plain(number: Decimal) -> str:
    return format(number.normalize(_WIDE), "f")
