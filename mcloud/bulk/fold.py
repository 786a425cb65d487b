"""Fold a batch of trades into candles: those of ``market.fold``, to the last byte.

The steps are the same, each for all minutes of a batch at once. Trades are ordered by minute and
id, and repeats are dropped. What is left are runs of consecutive ids, and each run is cut into the
largest aligned blocks of ids (see ``market.candle``). A block is a range of rows, so that its
fragment is a reduction over that range.

All numbers are integers; see ``numbers``. Where it cannot be shown that a minute needs no more than
38 digits, ``market.fold`` folds it, and raises what it raises.
"""

from collections.abc import Iterable, Iterator, Sequence
from decimal import localcontext
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from mcloud.bulk.columns import Integers, Truths, integers, to_trades
from mcloud.bulk.numbers import LIMIT, Numbers, numbers, products, totals
from mcloud.market import candle as market
from mcloud.market.candle import MINUTE, Candle, Disagreement, Folded, Fragment, merge
from mcloud.market.trade import EXACT, Trade, to_text

HELD = 2
"""Minutes before the newest one that may still get trades from the next batch: those of futures are
not strictly in the order of their times."""

_MOST = 10**38 - 1  # the largest whole number of 38 digits


def fold(symbol: str, batch: pa.RecordBatch) -> list[Folded]:
    """Return the candles of all minutes that a batch has trades of, in the order of time.

    Args:
        symbol: the symbol of the trades.
        batch: trades in any order and any number of times; see ``columns.SCHEMA``. If an id has
            several trades in a minute, the first one stays.

    Raises:
        decimal.Inexact: a sum does not fit into 38 digits. No market has such volumes.
    """
    if not batch.num_rows:
        return []
    batch, minutes = _ordered(batch)
    starts = _changes(minutes)
    ends = np.append(starts[1:], len(minutes))
    return _fold_minutes(symbol, batch, minutes, starts, ends)


def join(folds: Iterable[Sequence[Folded]]) -> Iterator[Folded]:
    """Join the results of ``fold`` for consecutive batches, and yield each candle when it is
    complete.

    A minute that continues in a later batch is merged. If the batches are not in the order of time,
    up to ``HELD`` minutes, a minute may be yielded more than once. Its parts have to be merged
    then.

    Raises:
        decimal.Inexact: as ``fold``.
    """
    pending: dict[int, Folded] = {}
    for each in folds:
        for folded in each:
            start = folded.candle.start
            known = pending.get(start)
            pending[start] = _merged(known, folded) if known else folded
        newest = max(pending, default=0)
        for start in sorted(pending):
            if start >= newest - HELD * MINUTE:
                break
            yield pending.pop(start)
    for start in sorted(pending):
        yield pending[start]


def _merged(known: Folded, folded: Folded) -> Folded:
    both = merge(known.candle, folded.candle)
    disagreements = known.disagreements + folded.disagreements + both.disagreements
    return Folded(both.candle, disagreements)


class _Rows(NamedTuple):
    """Distinct trades, ordered by minute and id."""

    ids: Integers
    minutes: Integers
    price: "Numbers"
    quantity: "Numbers"


def _ordered(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, Integers]:
    """Return the trades by minute and id, otherwise in the order of their arrival, and the minute
    of each."""
    ids, minutes = integers(batch.column(0)), integers(batch.column(3)) // MINUTE
    if (ids[1:] > ids[:-1]).all() and (minutes[1:] >= minutes[:-1]).all():
        return batch, minutes
    order = np.lexsort((ids, minutes))  # stable
    return batch.take(pa.array(order)), minutes[order]


def _fold_minutes(
    symbol: str, batch: pa.RecordBatch, minutes: Integers, starts: Integers, ends: Integers
) -> list[Folded]:
    """Fold an ordered batch whose minutes are these ranges of rows."""
    price, quantity = numbers(batch.column(1)), numbers(batch.column(2))
    most = int((ends - starts).max())
    if price.highest * quantity.highest * most > _MOST:
        if len(starts) == 1:
            start = int(minutes[0]) * MINUTE
            return [market.fold(Candle(symbol, start), to_trades(symbol, batch))]
        one = np.zeros(1, np.int64)
        return [
            folded
            for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
            for folded in _fold_minutes(
                symbol, batch[start:end], minutes[start:end], one, one + (end - start)
            )
        ]
    rows = _Rows(integers(batch.column(0)), minutes, price, quantity)
    repeats = (rows.ids[1:] == rows.ids[:-1]) & (minutes[1:] == minutes[:-1])
    disagreements: dict[int, list[Disagreement]] = {}
    if repeats.any():
        rows, disagreements = _distinct(symbol, batch, rows, repeats)
    return _candles(symbol, rows, disagreements)


def _distinct(
    symbol: str, batch: pa.RecordBatch, rows: _Rows, repeats: Truths
) -> tuple[_Rows, dict[int, list[Disagreement]]]:
    """Drop repeats. Of several trades with one id, the first stays; a trade replaces a void.

    Return the disagreements by minute as well.
    """
    count = len(rows.ids)
    is_first = np.ones(count, bool)
    is_first[1:] = ~repeats
    group = np.cumsum(is_first) - 1
    kept = _first_trades(rows.price.are_zero, np.flatnonzero(is_first))
    of = kept[group]
    numbers = (rows.price.lower, rows.price.upper, rows.quantity.lower, rows.quantity.upper)
    times, makers = integers(batch.column(3)), batch.column(4).to_numpy(zero_copy_only=False)
    differs = ~rows.price.are_zero
    differs &= np.logical_or.reduce([each != each[of] for each in (*numbers, times, makers)])
    disagreements: dict[int, list[Disagreement]] = {}
    refused = np.flatnonzero(differs)
    if len(refused):
        there = to_trades(symbol, batch.take(pa.array(of[refused])))
        here = to_trades(symbol, batch.take(pa.array(refused)))
        for one, other, minute in zip(there, here, rows.minutes[refused].tolist(), strict=True):
            found = Disagreement(symbol, one.id, one.id, _describe(one), _describe(other))
            disagreements.setdefault(minute, []).append(found)
    return _Rows(
        rows.ids[kept], rows.minutes[kept], rows.price.take(kept), rows.quantity.take(kept)
    ), disagreements


def _first_trades(is_void: Truths, starts: Integers) -> Integers:
    """Return the first row of each group that is no void, or else its last row.

    A group begins at each of ``starts``.
    """
    rows = np.arange(len(is_void))
    none = len(is_void)
    first: Integers = np.minimum.reduceat(np.where(is_void, none, rows), starts)
    last = np.append(starts[1:], none) - 1
    return np.where(first == none, last, first)


def _candles(
    symbol: str, rows: _Rows, disagreements: dict[int, list[Disagreement]]
) -> list[Folded]:
    starts, levels = _blocks(rows)
    fragments = _fragments(rows, starts, levels)
    minutes = rows.minutes[starts]
    begins = _changes(minutes)
    ends = np.append(begins[1:], len(minutes)).tolist()
    return [
        Folded(
            Candle(symbol, minute * MINUTE, tuple(fragments[begin:end])),
            tuple(disagreements.get(minute, ())),
        )
        for minute, begin, end in zip(minutes[begins].tolist(), begins.tolist(), ends, strict=True)
    ]


def _blocks(rows: _Rows) -> tuple[Integers, Integers]:
    """Return the first row and the level of each maximal aligned block, in the order of rows."""
    count = len(rows.ids)
    is_first = np.ones(count, bool)
    is_first[1:] = (np.diff(rows.ids) != 1) | (np.diff(rows.minutes) != 0)
    at = np.flatnonzero(is_first)
    left = np.append(at[1:], count) - at
    id_ = rows.ids[at]
    starts, levels = [], []
    while len(at):
        level = _level(id_, left)
        starts.append(at)
        levels.append(level)
        size = np.left_shift(1, level)
        goes_on = left > size
        at, id_, left = (at + size)[goes_on], (id_ + size)[goes_on], (left - size)[goes_on]
    all_starts = np.concatenate(starts)
    order = np.argsort(all_starts)
    return all_starts[order], np.concatenate(levels)[order]


def _level(id_: Integers, left: Integers) -> Integers:
    """Return the level of the largest aligned block at ``id_`` of at most ``left`` ids."""
    aligned = np.where(id_ == 0, 63, np.bitwise_count((id_ & -id_) - 1).astype(np.int64))
    filled = left.copy()
    for shift in (1, 2, 4, 8, 16, 32):
        filled |= filled >> shift
    return np.minimum(aligned, np.bitwise_count(filled).astype(np.int64) - 1)


def _fragments(rows: _Rows, starts: Integers, levels: Integers) -> list[Fragment]:
    ends = np.append(starts[1:], len(rows.ids))
    is_void = rows.price.are_zero
    has_voids = bool(is_void.any())
    opens, closes = _edges(is_void, starts, ends) if has_voids else (starts, ends - 1)
    voids = [_voids(rows.ids, is_void, starts, ends)] if has_voids else []
    highs, lows = _extremes(rows.price, is_void if has_voids else None, starts)
    volumes, quotes = _sums(rows.price, rows.quantity, starts, int((ends - starts).max()))
    with localcontext(EXACT):
        price, quantity = rows.price.unit.__mul__, rows.quantity.unit.__mul__
        quote = (rows.price.unit * rows.quantity.unit).__mul__
        columns: list[Any] = [
            rows.ids[starts].tolist(),
            levels.tolist(),
            list(map(price, rows.price.at(opens))),
            list(map(price, highs)),
            list(map(price, lows)),
            list(map(price, rows.price.at(closes))),
            list(map(quantity, volumes)),
            list(map(quote, quotes)),
        ]
    return list(map(Fragment, *columns, *voids))


def _edges(is_void: Truths, starts: Integers, ends: Integers) -> tuple[Integers, Integers]:
    """Return the first and the last row of each block that is no void, or any row if all are."""
    count = len(is_void)
    rows = np.arange(count)
    after = np.minimum.accumulate(np.where(is_void, count, rows)[::-1])[::-1]
    before = np.maximum.accumulate(np.where(is_void, -1, rows))
    first, last = after[starts], before[ends - 1]
    return np.where(first < ends, first, starts), np.where(last >= starts, last, starts)


def _voids(
    ids: Integers, is_void: Truths, starts: Integers, ends: Integers
) -> list[tuple[int, ...]]:
    rows = np.flatnonzero(is_void)
    begins, stops = np.searchsorted(rows, starts).tolist(), np.searchsorted(rows, ends).tolist()
    known = ids[rows].tolist()
    return [tuple(known[begin:stop]) for begin, stop in zip(begins, stops, strict=True)]


def _extremes(
    price: Numbers, is_void: Truths | None, starts: Integers
) -> tuple[list[int], list[int]]:
    """Return the highest and the lowest price of each block, without those of voids."""
    if price.values is not None:
        values, rows = price.values, None
    else:
        values, rows = price.ranks()
    highs = np.maximum.reduceat(values, starts)
    if is_void is None:
        lows = np.minimum.reduceat(values, starts)
    else:
        # A block of voids only has the lowest price 0, which is its highest as well.
        lows = np.minimum.reduceat(np.where(is_void, LIMIT - 1, values), starts)
        lows = np.minimum(lows, highs)
    if rows is None:
        return highs.tolist(), lows.tolist()
    return price.at(rows[highs]), price.at(rows[lows])


def _sums(
    price: Numbers, quantity: Numbers, starts: Integers, longest: int
) -> tuple[list[int], list[int]]:
    """Return the volume and the quote volume of each block."""
    highest, most = price.highest, quantity.highest
    if quantity.values is not None and most * longest < LIMIT:
        volumes: list[int] = np.add.reduceat(quantity.values, starts).tolist()
    else:
        volumes = totals(quantity.limbs(), starts)
    if price.values is not None and quantity.values is not None and highest * most < LIMIT:
        quotes = price.values * quantity.values
        if int(quotes.max()) * longest < LIMIT:
            return volumes, np.add.reduceat(quotes, starts).tolist()
    return volumes, totals(products(price.limbs(), quantity.limbs()), starts)


def _changes(values: Integers) -> Integers:
    """Return the rows at which a value differs from the one before, and the first row."""
    return np.append(0, np.flatnonzero(values[1:] != values[:-1]) + 1)


def _describe(trade: Trade) -> str:
    return f"{to_text(trade.price)}×{to_text(trade.quantity)} at {trade.time} ms"
