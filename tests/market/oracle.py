"""The oracle of the demo, extended by the parts of a stored candle: fragments and runs of ids.

Like the oracle of the demo, it shares no code with ``mcloud.market``.
"""

from collections.abc import Iterable

from mcloud.rehearsal.oracle import (
    MINUTE,
    Expected,
    TradeLike,
    aggregate,
    candles,
    plain,
    timestamp,
)

__all__ = ["MINUTE", "Expected", "candles", "fragments", "runs", "timestamp"]


def fragments(trades: Iterable[TradeLike]) -> str:
    """Return the stored text of one candle: each maximal aligned block of ids, in order."""
    by_id = {trade.id: trade for trade in sorted(trades, key=lambda trade: trade.price)}
    return " ".join(_word([by_id[id_] for id_ in block]) for block in _blocks(set(by_id)))


def runs(trades: Iterable[TradeLike]) -> list[tuple[int, int]]:
    """Return the first and last id of each run of consecutive ids."""
    ids = {trade.id for trade in trades}
    firsts = sorted(id_ for id_ in ids if id_ - 1 not in ids)
    lasts = sorted(id_ for id_ in ids if id_ + 1 not in ids)
    return list(zip(firsts, lasts, strict=True))


def _blocks(ids: set[int]) -> list[range]:
    """Return the largest aligned blocks whose ids are all present."""
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
    first, level = trades[0].id, len(trades).bit_length() - 1
    block = f"{first}/{level}" if level else f"{first}"
    voids = [str(trade.id - first) for trade in trades if not trade.price]
    if len(voids) == len(trades):
        return f"{block}:"
    total = aggregate("", 0, trades)
    if level == 0:
        return f"{block}:{plain(total.open)},{plain(total.volume)}"
    numbers = (total.open, total.high, total.low, total.close, total.volume, total.quote_volume)
    return f"{block}{'~' if voids else ''}{','.join(voids)}:" + ",".join(map(plain, numbers))
