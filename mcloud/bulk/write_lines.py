"""Blocks of the raw archive, from columns: the lines of ``market.block.pack_block``."""

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mcloud.bulk.columns import Integers, from_trades, halves, integers, to_trades
from mcloud.bulk.numbers import numbers
from mcloud.market.archive import HOUR, ArchiveObject
from mcloud.market.block import BLOCK, BlockKey, HourOfBlock, block_of
from mcloud.market.trade import to_text, without_filled_voids

_GZIP = 31  # zlib's number for the gzip container; it writes no time into the header


class PackedBlock(NamedTuple):
    key: BlockKey
    item: ArchiveObject
    hours: dict[int, HourOfBlock]
    """The ``Block.hours`` of the object."""


def by_block(
    symbol: str, batches: Iterable[pa.RecordBatch]
) -> Iterator[tuple[BlockKey, pa.RecordBatch]]:
    """Yield the trades of each block in one batch, in the order of ``canonical``.

    A block is complete at the first batch that has trades of a later one only. If the batches are
    not in the order of ids, a block may be yielded more than once.
    """
    held: dict[int, list[pa.RecordBatch]] = {}
    for batch in batches:
        for first, part in _parts(canonical(batch)):
            held.setdefault(first, []).append(part)
        if not batch.num_rows:
            continue
        lowest = int(integers(batch.column(0)).min()) // BLOCK * BLOCK
        for first in sorted(each for each in held if each < lowest):
            yield block_of(symbol, first), _joined(held.pop(first))
    for first in sorted(held):
        yield block_of(symbol, first), _joined(held[first])


def pack_blocks(
    symbol: str, batch: pa.RecordBatch, level: int = zlib.Z_DEFAULT_COMPRESSION
) -> list[PackedBlock]:
    """Make the blocks of some trades, with their descriptions.

    Args:
        level: level of the compression, of zlib.
    """
    return [_pack(block_of(symbol, first), part, level) for first, part in _parts(canonical(batch))]


def write_lines(symbol: str, batch: pa.RecordBatch) -> bytes:
    """Return each trade as ``archive.line`` writes it, in the order of the batch."""
    return _text(_lines(symbol, batch))


def canonical(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the trades that ``pack_block`` writes, in its order.

    Repeats come once, and a void is omitted if there is a trade with its id. Different trades with
    one id all stay.
    """
    ids = integers(batch.column(0))
    if (ids[1:] > ids[:-1]).all():
        return batch
    price, quantity = halves(batch.column(1)), halves(batch.column(2))
    times, makers = integers(batch.column(3)), batch.column(4).to_numpy(zero_copy_only=False)
    keys = (makers, times, *quantity, *price, ids)
    order = np.lexsort(keys)
    is_new = np.ones(len(order), bool)
    is_new[1:] = np.logical_or.reduce([key[order[1:]] != key[order[:-1]] for key in keys])
    order = order[is_new]
    ids = ids[order]
    is_void = (price[0][order] == 0) & (price[1][order] == 0)
    shared = np.zeros(len(order) + 1, bool)
    shared[1:-1] = ids[1:] == ids[:-1]
    doubtful = np.isin(ids, ids[is_void & (shared[1:] | shared[:-1])])
    if not doubtful.any():
        return batch.take(pa.array(order))
    kept = without_filled_voids(to_trades("", batch.take(pa.array(order[doubtful]))))
    both = pa.concat_batches([batch.take(pa.array(order[~doubtful])), from_trades(kept)])
    return canonical(both)


def _parts(batch: pa.RecordBatch) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield the first possible id of each block, and the trades of the block."""
    blocks = integers(batch.column(0)) // BLOCK
    if not len(blocks):
        return
    starts = np.append(0, np.flatnonzero(blocks[1:] != blocks[:-1]) + 1).tolist()
    for start, end in zip(starts, [*starts[1:], len(blocks)], strict=True):
        yield int(blocks[start]) * BLOCK, batch[start:end]


def _joined(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    return parts[0] if len(parts) == 1 else canonical(pa.concat_batches(parts))


def _pack(key: BlockKey, batch: pa.RecordBatch, level: int) -> PackedBlock:
    lines = _lines(key.symbol, batch)
    item = ArchiveObject(str(key), zlib.compress(_text(lines), level, wbits=_GZIP))
    ids, hours = integers(batch.column(0)), integers(batch.column(3)) // HOUR
    return PackedBlock(
        key,
        item,
        {
            hour * HOUR: _hour(ids[held], lines.filter(pa.array(held)))
            for hour in np.unique(hours).tolist()
            for held in [hours == hour]
        },
    )


def _hour(ids: Integers, lines: pa.Array) -> HourOfBlock:
    breaks = np.flatnonzero(ids[1:] - ids[:-1] > 1)
    firsts = ids[np.append(0, breaks + 1)].tolist()
    lasts = ids[np.append(breaks, len(ids) - 1)].tolist()
    digest = hashlib.sha256(_text(lines)).hexdigest()[:16]
    return HourOfBlock(tuple(zip(firsts, lasts, strict=True)), len(ids), digest)


def _text(lines: pa.Array) -> bytes:
    """Return the lines behind each other."""
    if not len(lines):
        return b""
    _, offsets, text = lines.buffers()
    ends = np.frombuffer(offsets, np.int32)
    begin, end = int(ends[lines.offset]), int(ends[lines.offset + len(lines)])
    return bytes(memoryview(text)[begin:end])


def _lines(symbol: str, batch: pa.RecordBatch) -> pa.Array:
    price, quantity = _texts(batch.column(1)), _texts(batch.column(2))
    tail = pc.if_else(batch.column(4), "true}\n", "false}\n")
    is_void = numbers(batch.column(1)).are_zero if batch.num_rows else np.zeros(0, bool)
    if is_void.any():
        tail = pc.if_else(pa.array(is_void), 'false,"X":"NA"}\n', tail)
        quantity = pc.if_else(pa.array(is_void), "0", quantity)
    return pc.binary_join_element_wise(
        f'{{"s":"{symbol}","t":',
        batch.column(0).cast(pa.string()),
        ',"p":"',
        price,
        '","q":"',
        quantity,
        '","T":',
        batch.column(3).cast(pa.string()),
        ',"m":',
        tail,
        "",
    )


def _texts(column: pa.Array) -> pa.Array:
    """Return the canonical texts of a column of numbers."""
    if not len(column):
        return pa.array([], pa.string())
    values, places, _, _ = numbers(column)
    if values is None:
        return pa.array(list(map(to_text, column.to_pylist())), pa.string())
    if not places:
        return pa.array(values).cast(pa.string())
    whole, rest = np.divmod(values, 10**places)
    decimals = pc.ascii_lpad(pa.array(rest).cast(pa.string()), places, "0")
    texts = pc.binary_join_element_wise(pa.array(whole).cast(pa.string()), decimals, ".")
    return pc.ascii_rtrim(pc.ascii_rtrim(texts, "0"), ".")
