"""Trades of one symbol as an Arrow record batch."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from mcloud.market.trade import ZERO, Trade, to_text

DIGITS, PLACES = 28, 12
"""Digits of a price or a quantity, and those of them behind the point: those that a trade may
have."""

NUMBER = pa.decimal128(DIGITS, PLACES)

SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("price", NUMBER, nullable=False),
        pa.field("quantity", NUMBER, nullable=False),
        pa.field("time", pa.int64(), nullable=False),
        pa.field("maker", pa.bool_(), nullable=False),
    ]
)
"""Columns of a batch: id, price, quantity, time in ms since 1970, and whether the buyer is the
maker. A void has the price and the quantity 0."""

Integers = np.ndarray[Any, np.dtype[np.int64]]
Unsigned = np.ndarray[Any, np.dtype[np.uint64]]
Truths = np.ndarray[Any, np.dtype[np.bool_]]


def from_trades(trades: Iterable[Trade]) -> pa.RecordBatch:
    """Return trades of one symbol as a batch, in the same order."""
    rows = list(trades)
    return pa.record_batch(
        [
            pa.array([trade.id for trade in rows], pa.int64()),
            pa.array([trade.price for trade in rows], NUMBER),
            pa.array([trade.quantity for trade in rows], NUMBER),
            pa.array([trade.time for trade in rows], pa.int64()),
            pa.array([trade.buyer_is_maker for trade in rows], pa.bool_()),
        ],
        schema=SCHEMA,
    )


def to_trades(symbol: str, batch: pa.RecordBatch) -> list[Trade]:
    """Return a batch as trades, in the same order. Their numbers are canonical."""
    ids, prices, quantities, times, makers = (column.to_pylist() for column in batch.columns)
    return [
        Trade(symbol, id_, _canonical(price), _canonical(quantity), time, maker)
        for id_, price, quantity, time, maker in zip(
            ids, prices, quantities, times, makers, strict=True
        )
    ]


def integers(column: pa.Array) -> Integers:
    """Return an int64 column without copying it."""
    values: Integers = column.to_numpy(zero_copy_only=True)
    return values


def truths(column: pa.Array) -> Truths:
    """Return a column of true and false, one byte each."""
    values: Truths = column.to_numpy(zero_copy_only=False)
    return values


def halves(column: pa.Array) -> tuple[Unsigned, Integers]:
    """Return the lower and the upper 64 bits of a column of numbers, in units of 10**-PLACES,
    without copying them."""
    _, values = column.buffers()
    begin, end = column.offset, column.offset + len(column)
    lower = np.frombuffer(values, np.uint64).reshape(-1, 2)[begin:end, 0]
    upper = np.frombuffer(values, np.int64).reshape(-1, 2)[begin:end, 1]
    return lower, upper


def from_units(values: Integers, places: int) -> pa.Array:
    """Return whole numbers in units of 10**-places, which are not negative, as a column."""
    words = np.empty((len(values), 2), np.uint64)
    factor = 10 ** (PLACES - places)
    if not len(values) or int(values.max()) * factor < 2**63:
        words[:, 0] = values * factor
        words[:, 1] = 0
    else:
        # Multiply the halves of each number. The factor has less than 32 bits.
        low, half = np.uint64(2**32 - 1), np.uint64(32)
        unsigned = values.view(np.uint64)
        lower = (unsigned & low) * np.uint64(factor)
        upper = (unsigned >> half) * np.uint64(factor) + (lower >> half)
        words[:, 0] = (upper << half) | (lower & low)
        words[:, 1] = upper >> half
    return pa.Array.from_buffers(NUMBER, len(values), [None, pa.py_buffer(words)])


def has_zero(column: pa.Array) -> bool:
    """Return whether one of the numbers of a column is 0."""
    lower, upper = halves(column)
    return not lower.all() and bool(((lower == 0) & (upper == 0)).any())


def from_arrays(
    ids: Integers, price: pa.Array, quantity: pa.Array, times: Integers, makers: pa.Array
) -> pa.RecordBatch:
    """Return a batch of these columns."""
    columns = [pa.array(ids), price, quantity, pa.array(times), makers]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def _canonical(number: Decimal) -> Decimal:
    return Decimal(to_text(number)) if number else ZERO
