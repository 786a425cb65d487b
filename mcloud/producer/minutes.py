"""The minutes of a symbol, folded from trades in any order: the few fields that detection needs.

The result is that of ``anomaly.minute`` for the candle of the same trades, without its fragments,
which take most of the time of a fold and most of the memory of a candle.
"""

from bisect import bisect_right
from collections.abc import Sequence
from decimal import Decimal
from itertools import islice
from operator import itemgetter, lt
from typing import Any, NamedTuple

from mcloud.market.anomaly import Minute
from mcloud.market.block import runs_of
from mcloud.market.candle import Candle, Fragment
from mcloud.market.trade import ZERO, Trade

Columns = tuple[Any, ...]
"""The fields of trades: all symbols, all ids and so on."""

_first = itemgetter(0)


class FoldedMinute(NamedTuple):
    """A minute, and what a later trade needs to be added to it."""

    symbol: str
    start: int
    high: Decimal = ZERO
    """Zero, like the other numbers, while the minute has only voids."""
    low: Decimal = ZERO
    close: Decimal = ZERO
    volume: Decimal = ZERO
    trades: int = 0
    runs: tuple[tuple[int, int], ...] = ()
    """Its ids, including voids, as (first, last) of each run without a hole, in order."""
    voids: frozenset[int] = frozenset()

    @property
    def minute(self) -> Minute | None:
        """The minute as detection sees it; None without trades."""
        if not self.trades:
            return None
        return Minute(
            self.symbol,
            self.start,
            self.high,
            self.low,
            self.close,
            self.volume,
            self.trades,
            self.runs[0][0],
            self.runs[-1][1],
            len(self.runs) == 1,
        )

    @classmethod
    def of(cls, minute: Minute) -> "FoldedMinute":
        """Return a minute that has neither holes nor voids."""
        return cls(
            minute.symbol,
            minute.start,
            minute.high,
            minute.low,
            minute.close,
            minute.volume,
            minute.trades,
            ((minute.first_id, minute.last_id),),
        )

    @property
    def close_id(self) -> int:
        """The highest id of a trade; -1 without trades."""
        for first, last in reversed(self.runs):
            for id_ in range(last, first - 1, -1):
                if id_ not in self.voids:
                    return id_
        return -1


def fold(
    known: FoldedMinute, trades: Sequence[Trade], columns: Columns | None = None
) -> FoldedMinute:
    """Add trades of the same symbol and minute, in any order and any number of times.

    As in ``candle.fold``, the first trade with an id counts, and a trade replaces a void. The
    caller sets the decimal context ``EXACT``.

    Args:
        columns: those of the trades, if the caller has them.

    Raises:
        decimal.Inexact: a sum does not fit into 38 digits.
    """
    _, ids, prices, quantities, _, _ = columns or tuple(zip(*trades, strict=True))
    last = known.runs[-1][1] if known.runs else -1
    high, low = max(prices), min(prices)
    # Nearly always, trades with ascending ids follow those that are known, and none is a void.
    if ids[0] <= last or not low or not all(map(lt, ids, islice(ids, 1, None))):
        return _fold_one_by_one(known, trades)
    return FoldedMinute(
        known.symbol,
        known.start,
        max(high, known.high),
        min(low, known.low or low),
        prices[-1],
        sum(quantities, known.volume),
        known.trades + len(trades),
        _extended(known.runs, ids),
        known.voids,
    )


def merge(known: FoldedMinute, candle: Candle) -> FoldedMinute:
    """Add the trades of a stored candle of the same minute.

    The aggregates of a candle cannot be split. If the candle has all known trades, it replaces
    them. Otherwise, only those of its aggregates are added that have none of the known trades.
    """
    runs = candle.runs
    if all(any(a <= first and last <= b for a, b in runs) for first, last in known.runs):
        merged, left = FoldedMinute(known.symbol, known.start), candle.fragments
    else:
        merged = known
        left = tuple(
            each
            for each in candle.fragments
            if not any(a <= each.last_id and each.first_id <= b for a, b in known.runs)
        )
    for fragment in left:
        merged = _with_fragment(merged, fragment)
    return merged


def _with_fragment(known: FoldedMinute, fragment: Fragment) -> FoldedMinute:
    is_last = fragment.trade_count and fragment.last_trade > known.close_id
    return FoldedMinute(
        known.symbol,
        known.start,
        max(known.high, fragment.high),
        min(known.low or fragment.low, fragment.low or known.low),
        fragment.close if is_last else known.close,
        known.volume + fragment.volume,
        known.trades + fragment.trade_count,
        _with_run(known.runs, fragment.first_id, fragment.last_id),
        known.voids.union(fragment.voids) if fragment.voids else known.voids,
    )


def _fold_one_by_one(known: FoldedMinute, trades: Sequence[Trade]) -> FoldedMinute:
    symbol, start, high, low, close, volume, count, runs, voids = known
    close_id = known.close_id
    for trade in trades:
        id_ = trade.id
        at = bisect_right(runs, id_, key=_first) - 1
        if at >= 0 and id_ <= runs[at][1]:
            if trade.is_void or id_ not in voids:
                continue
            voids -= {id_}
        else:
            runs = _with_run(runs, id_, id_)
            if trade.is_void:
                voids |= {id_}
                continue
        high = max(high, trade.price)
        low = min(low or trade.price, trade.price)
        volume += trade.quantity
        count += 1
        if id_ > close_id:
            close, close_id = trade.price, id_
    return FoldedMinute(symbol, start, high, low, close, volume, count, runs, voids)


def _extended(runs: tuple[tuple[int, int], ...], ids: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Add ascending ids that are all above those of the runs."""
    more = [*runs]
    is_dense = ids[-1] - ids[0] == len(ids) - 1
    for first, last in [(ids[0], ids[-1])] if is_dense else runs_of(ids):
        if more and more[-1][1] + 1 == first:
            more[-1] = (more[-1][0], last)
        else:
            more.append((first, last))
    return tuple(more)


def _with_run(
    runs: tuple[tuple[int, int], ...], first: int, last: int
) -> tuple[tuple[int, int], ...]:
    """Add a run that overlaps none of the others, and join it with its neighbours."""
    at = bisect_right(runs, first, key=_first)
    before, after = runs[:at], runs[at:]
    if before and before[-1][1] + 1 == first:
        first, before = before[-1][0], before[:-1]
    if after and last + 1 == after[0][0]:
        last, after = after[0][1], after[1:]
    return (*before, (first, last), *after)
