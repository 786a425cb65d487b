"""The raw archive: every trade as it came, in few, large objects that name what they hold.

An object is gzip JSON lines, one trade a line in Binance's own field names, ordered by id. Its key
holds symbol, hour (by trade time), first and last id, and a digest of the lines: the same trades
give the same key and bytes, so that a retry overwrites itself and a copy is checked by name.

    raw/symbol=BTCUSDT/date=2024-08-08/hour=23/3735683259-3735683758-0f6d3c2a9b1e4d57.jsonl.gz
"""

import hashlib
import json
import zlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from mcloud.market.trade import Trade, to_text

HOUR = 3_600_000  # ms
MAX_INFLATED = 64 * 1024 * 1024  # bytes; an object of one function call is far smaller

_GZIP = 31  # zlib's name for the gzip container; it writes no time into the header


class ArchiveObject(NamedTuple):
    key: str
    body: bytes


class BadArchive(ValueError):
    """An object that is not what ``pack`` writes; the text says why."""


def pack(trades: Iterable[Trade]) -> list[ArchiveObject]:
    """Make one object for each symbol and hour in ``trades``; repeats are written once.

    Different trades under one id are all written: the archive keeps what came, and is where such a
    disagreement is looked into.
    """
    groups: dict[tuple[str, int], set[Trade]] = {}
    for trade in trades:
        groups.setdefault((trade.symbol, trade.time // HOUR), set()).add(trade)
    return [
        _object(symbol, hour, sorted(group, key=_order))
        for (symbol, hour), group in sorted(groups.items())
    ]


def unpack(body: bytes) -> list[Trade]:
    """Read an object back.

    Raises:
        BadArchive: it is damaged, too large, or holds a line that is no trade.
    """
    inflater = zlib.decompressobj(_GZIP)
    try:
        text = inflater.decompress(body, MAX_INFLATED)
    except zlib.error as error:
        raise BadArchive(f"not gzip: {error}") from None
    if not inflater.eof:
        raise BadArchive("cut short, or inflates to more than 64 MiB")
    if inflater.unused_data:
        raise BadArchive("something follows the end of the gzip data")
    trades = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            trades.append(Trade.from_binance(json.loads(line)))
        except (ValueError, RecursionError) as error:
            raise BadArchive(f"line {number}: {error}") from None
    return trades


def prefix(symbol: str, hour_start: int | None = None) -> str:
    """The folder of a symbol, or of one hour of it (``hour_start`` in ms)."""
    if hour_start is None:
        return f"raw/symbol={symbol}/"
    moment = datetime.fromtimestamp(hour_start // 1000, UTC)
    return f"raw/symbol={symbol}/date={moment:%Y-%m-%d}/hour={moment:%H}/"


def _object(symbol: str, hour: int, trades: Sequence[Trade]) -> ArchiveObject:
    lines = "".join(_line(trade) for trade in trades).encode("ascii")
    digest = hashlib.sha256(lines).hexdigest()[:16]
    name = f"{trades[0].id}-{trades[-1].id}-{digest}.jsonl.gz"
    packed = zlib.compress(lines, wbits=_GZIP)
    return ArchiveObject(prefix(symbol, hour * HOUR) + name, packed)


def _line(trade: Trade) -> str:
    # Written by hand: json.dumps takes four times as long, and none of these can need escaping.
    return (
        f'{{"s":"{trade.symbol}","t":{trade.id},"p":"{to_text(trade.price)}",'
        f'"q":"{to_text(trade.quantity)}","T":{trade.time},'
        f'"m":{"true" if trade.buyer_is_maker else "false"}}}\n'
    )


def _order(trade: Trade) -> tuple[int, Trade]:
    return trade.id, trade
