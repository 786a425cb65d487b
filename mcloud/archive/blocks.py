"""The blocks of a site's raw archive: their ids and hours, and the trades in them.

A listing names the blocks of a symbol, and the indexes beside them describe most of the blocks.
Only a block that no index describes has to be read. A block that was read is remembered by its
content, so that equal blocks of two sites are read once, and so is a block with several hours.
"""

import hashlib
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from mcloud.clouds import optimistic
from mcloud.clouds.cache import Cache
from mcloud.clouds.ports import Archive, StoredObject
from mcloud.errors import Contention
from mcloud.market.archive import HOUR, ArchiveObject, BadArchive, inflate, order, parse
from mcloud.market.block import (
    Block,
    BlockEntry,
    BlockKey,
    HourOfBlock,
    PlainLines,
    block_prefix,
    hours_of,
    index_key,
    is_index_key,
    pack_block,
    pack_index,
    pack_lines,
    parse_block_key,
    plain_lines,
    unpack_index,
)
from mcloud.market.trade import Trade, without_filled_voids

SETTLED = HOUR
"""Time after the end of an hour, in ms, before which its trades are never put into a block.

A message can wait in a queue for longer than that. Its trades are then stored in an object of
their own, and the next compaction adds them to the block."""

REMEMBERED = 16 * 1024 * 1024
"""Maximum size of the compressed blocks in memory, in bytes.

Their lines take about ten times as much memory."""


class Listed(NamedTuple):
    """A stored block and the description of its content."""

    key: BlockKey
    stored: StoredObject
    entry: BlockEntry | None
    """None if the block is damaged."""


class _Listing(NamedTuple):
    """The blocks and the indexes of a symbol, as they are stored."""

    blocks: list[tuple[BlockKey, StoredObject]]
    indexes: dict[str, dict[BlockKey, BlockEntry]]
    """Entries of each index, by its key."""

    @property
    def entries(self) -> dict[BlockKey, BlockEntry]:
        return {key: entry for each in self.indexes.values() for key, entry in each.items()}


_blocks = Cache[Hashable, Block](REMEMBERED)
_entries = Cache[Hashable, BlockEntry](100_000)
_indexes = Cache[Hashable, dict[BlockKey, BlockEntry]](100)


def may_hold(hour: int, now: Callable[[], float] = time.time) -> bool:
    """Return whether blocks may hold trades of an hour (its start in ms).

    It returns True half an hour before compaction takes the trades, since clocks differ.
    """
    return now() * 1000 >= hour + HOUR + SETTLED / 2


def is_settled(hour: int, now: Callable[[], float] = time.time) -> bool:
    """Return whether compaction takes the trades of an hour (its start in ms)."""
    return now() * 1000 >= hour + HOUR + SETTLED


def settled_until(now: Callable[[], float] = time.time) -> int:
    """Return the time in ms up to which all hours are settled."""
    return int((now() * 1000 - SETTLED) // HOUR * HOUR)


def tag(stored: StoredObject) -> str:
    """Return a name for the content of an object; see ``BlockEntry.tag``."""
    return stored.md5 or stored.version


def listed(archive: Archive, symbol: str) -> list[Listed]:
    """Return the blocks of a symbol, ordered by id."""
    listing = _list(archive, symbol)
    known = listing.entries
    return [
        Listed(key, stored, _entry(archive, key, stored, known)) for key, stored in listing.blocks
    ]


def write_indexes(archive: Archive, symbol: str, may_read: Callable[[], bool]) -> None:
    """Write each index of a symbol's blocks that has a missing or outdated entry.

    ``may_read`` is called before each block that has to be read. If it returns False, the block is
    left out: an index is only a cache.
    """
    listing = _list(archive, symbol)
    known = listing.entries
    wanted: defaultdict[str, dict[BlockKey, BlockEntry]] = defaultdict(dict)
    for key, stored in listing.blocks:
        entry = _entry(archive, key, stored, known, may_read)
        if entry is not None and entry.tag:
            wanted[index_key(key)][key] = entry
    for name, entries in wanted.items():
        if entries != listing.indexes.get(name):
            archive.replace(pack_index(entries))


def update_index(archive: Archive, entries: dict[BlockKey, BlockEntry]) -> None:
    """Put entries into the index that they all belong to, without listing the blocks."""
    name = index_key(next(iter(entries)))
    stored = archive.stat(name)
    known = _index(archive, stored) if stored else {}
    if known | entries != known:
        archive.replace(pack_index(known | entries))


def read(archive: Archive, key: BlockKey, stored: StoredObject) -> Block | None:
    """Return the block of a listing, or None if it is damaged.

    If the block was replaced after the listing, the new one is returned.
    """
    content = _content(archive, stored)
    block = _blocks.get(content)
    if block is None:
        body = archive.get(stored.key)
        if stored.md5:  # the body may be newer than the listing
            content = _content(archive, replace(stored, md5=_md5(body)))
        try:
            block = _blocks.keep(content, Block(key, body), len(body))
        except BadArchive:
            return None
    return block


def hours(
    archive: Archive, key: BlockKey, stored: StoredObject, body: bytes
) -> Mapping[int, HourOfBlock] | None:
    """Return the ``Block.hours`` of the body of a block, or None if it is damaged.

    The body is parsed only if its content has not been described yet.
    """
    if stored.md5 and stored.md5 == _md5(body):
        known = _entries.get(_content(archive, stored))
        if known is not None:
            return known.hours
    try:
        return Block(key, body).hours
    except BadArchive:
        return None


def rewrite(
    archive: Archive, key: BlockKey, change: Callable[[list[Trade], bytes], list[Trade]]
) -> bool:
    """Replace the trades of a block, in place, and return whether the block changed.

    Args:
        change: returns the trades that the block should hold. Its arguments are the trades that the
            block holds now (none if there is no such block) and the body of the block. It is called
            again if another process changes the block in the meantime.

    Raises:
        Contention: another process changed the block during every attempt.
        BadArchive: the block is damaged.
    """
    for _ in optimistic.attempts():
        stored, body = _stored(archive, key)
        block = Block(key, body) if stored else None
        trades = block.trades() if block else []
        changed = change(trades, body)
        if changed == trades:
            if block:
                _keep_entry(archive, stored, partial(getattr, block, "hours"), body)
            return False
        if not changed:
            archive.remove(str(key))
            return True
        if _write(archive, pack_block(changed), stored):
            return True
    raise _contention(key)


class Filled(NamedTuple):
    """The outcome of adding trades to a block."""

    writes: int
    """Number of times that the block was written."""
    entry: BlockEntry | None
    """Description of the block; None if the store does not tell the MD5 of its content."""


def add(archive: Archive, key: BlockKey, lines: PlainLines, trades: Collection[Trade]) -> Filled:
    """Add trades to a block, and make sure that it holds them.

    Args:
        lines: trades by their lines.
        trades: trades that have no plain line, and other contents of the ids in ``lines``.

    Raises:
        Contention: another process changed the block during every attempt.
        BadArchive: the block is damaged.
    """
    if not trades:
        filled = add_lines(archive, key, lines)
        if filled is not None:
            return filled
    added = {*trades, *parse(b"".join(lines.values()))}

    def together(held: list[Trade], body: bytes) -> list[Trade]:
        return without_filled_voids(sorted({*held, *added}, key=order))

    # The last call only checks the stored block: it changes nothing if the block is correct.
    writes = 0
    while rewrite(archive, key, together):
        writes += 1
    return Filled(writes, None)


def add_whole(
    archive: Archive, item: ArchiveObject, hours: Mapping[int, HourOfBlock]
) -> Filled | None:
    """Write a block that does not exist yet. Return None if it exists with another content.

    ``hours`` is the ``Block.hours`` of the block.
    """
    stored, writes = archive.stat(item.key), 0
    if stored is None:
        writes = int(archive.put(item))
        stored = archive.stat(item.key)
    entry = _keep_entry(archive, stored, lambda: hours, item.body)
    return Filled(writes, entry) if entry else None


def add_lines(archive: Archive, key: BlockKey, lines: PlainLines) -> Filled | None:
    """Add trades to a block by their lines, and make sure that it holds them.

    This is much faster than ``rewrite``, which parses the trades. Return None if they have to be
    parsed: the block is not plain, one of the ids has another line there, or the block holds ids of
    another one.

    Raises:
        Contention: another process changed the block during every attempt.
        BadArchive: the block is damaged.
    """
    writes = 0
    for _ in optimistic.attempts():
        stored, body = _stored(archive, key)
        held = plain_lines(key.symbol, inflate(body)) if stored else {}
        if held is None or not _belong(held, key):
            return None
        both = held | lines
        if any(both[id_] is not line and both[id_] != line for id_, line in held.items()):
            return None
        if len(both) == len(held):
            if list(held) != sorted(held):
                return None  # another program wrote it, and readers refuse it
            return Filled(writes, _keep_entry(archive, stored, partial(hours_of, held), body))
        item = pack_lines(key, both)
        if _write(archive, item, stored):
            writes += 1
            # The MD5 that the store has computed proves that it holds what was sent.
            entry = _keep_entry(archive, archive.stat(str(key)), partial(hours_of, both), item.body)
            if entry is not None:
                return Filled(writes, entry)
    raise _contention(key)


def _belong(lines: PlainLines, key: BlockKey) -> bool:
    return not lines or key.first_id <= min(lines) <= max(lines) <= key.last_id


def _stored(archive: Archive, key: BlockKey) -> tuple[StoredObject | None, bytes]:
    """Return the current object of a block and its body; None if there is no such object."""
    stored = archive.stat(str(key))
    return stored, archive.get(stored.key) if stored else b""


def _write(archive: Archive, item: ArchiveObject, stored: StoredObject | None) -> bool:
    """Return False, and write nothing, if another process has changed the object."""
    return archive.swap(item, stored.version) if stored else archive.put(item)


def _keep_entry(
    archive: Archive,
    stored: StoredObject | None,
    hours: Callable[[], Mapping[int, HourOfBlock]],
    body: bytes,
) -> BlockEntry | None:
    """Remember the description of a block, so that its index can be written without reading it
    again. Return None if the stored object has another body, or one that is not known."""
    if stored is None or stored.md5 != _md5(body):
        return None
    content = _content(archive, stored)
    return _entries.get(content) or _entries.keep(content, BlockEntry(tag(stored), hours()))


def _contention(key: BlockKey) -> Contention:
    return Contention(
        f"another process changed {key} during every attempt to write it", remedy="try again later"
    )


def _list(archive: Archive, symbol: str) -> _Listing:
    listing = _Listing([], {})
    for stored in archive.list(block_prefix(symbol)):
        if is_index_key(stored.key):
            listing.indexes[stored.key] = _index(archive, stored)
        elif key := parse_block_key(stored.key):
            listing.blocks.append((key, stored))
    return listing


def _entry(
    archive: Archive,
    key: BlockKey,
    stored: StoredObject,
    known: dict[BlockKey, BlockEntry],
    may_read: Callable[[], bool] = lambda: True,
) -> BlockEntry | None:
    content = _content(archive, stored)
    found = _entries.get(content)
    if found is not None:
        return found
    entry = known.get(key)
    if entry is None or entry.tag != tag(stored):
        block = read(archive, key, stored) if may_read() else None
        if block is None:
            return None
        if _blocks.get(content) is not block:  # the block is newer than the listing
            return BlockEntry("", block.hours)
        entry = BlockEntry(tag(stored), block.hours)
    return _entries.keep(content, entry)


def _index(archive: Archive, stored: StoredObject) -> dict[BlockKey, BlockEntry]:
    content = _content(archive, stored)
    found = _indexes.get(content)
    if found is None:
        found = _indexes.keep(content, unpack_index(stored.key, archive.get(stored.key)))
    return found


def _md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def _content(archive: Archive, stored: StoredObject) -> Hashable:
    # An MD5 identifies content across sites. A version is valid at its own site only.
    return stored.key, stored.md5 or (stored.version, stored.size, id(archive))
