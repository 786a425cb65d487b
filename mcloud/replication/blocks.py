"""The blocks of a site's raw archive: their ids and hours, and the trades in them.

A listing names the blocks of a symbol, and the indexes beside them describe most of the blocks.
Only a block that no index describes has to be read. A block that was read is remembered by its
content, so that equal blocks of two sites are read once, and so is a block with several hours.
"""

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Generic, NamedTuple, TypeVar

from mcloud.clouds import optimistic
from mcloud.clouds.ports import Archive, StoredObject
from mcloud.errors import Contention
from mcloud.market.archive import HOUR, BadArchive
from mcloud.market.block import (
    Block,
    BlockEntry,
    BlockKey,
    block_prefix,
    is_index_key,
    pack_block,
    parse_block_key,
    unpack_index,
)
from mcloud.market.trade import Trade

SETTLED = HOUR
"""Time after the end of an hour, in ms, before which its trades are never put into a block.

A message can wait in a queue for longer than that. Its trades are then stored in an object of
their own, and the next compaction adds them to the block."""

REMEMBERED = 16 * 1024 * 1024
"""Maximum size of the compressed blocks in memory, in bytes.

Their lines take about ten times as much memory."""

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Listed(NamedTuple):
    """A stored block and the description of its content."""

    key: BlockKey
    stored: StoredObject
    entry: BlockEntry | None
    """None if the block is damaged."""


class _Memory(Generic[Key, Value]):
    """A cache of the most recently used values, with a limit on the sum of their sizes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._values: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self._changing = threading.Lock()

    def get(self, key: Key) -> Value | None:
        with self._changing:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key][0]

    def keep(self, key: Key, value: Value, size: int = 1) -> Value:
        with self._changing:
            if key not in self._values:
                self._values[key] = value, size
                self._size += size
            while self._size > self._limit and len(self._values) > 1:
                self._size -= self._values.popitem(last=False)[1][1]
        return value


_blocks = _Memory[Hashable, Block](REMEMBERED)
_entries = _Memory[Hashable, BlockEntry](100_000)
_indexes = _Memory[Hashable, dict[BlockKey, BlockEntry]](100)


def may_hold(hour: int, now: Callable[[], float] = time.time) -> bool:
    """Return whether blocks may hold trades of an hour (its start in ms).

    It returns True half an hour before compaction takes the trades, since clocks differ.
    """
    return now() * 1000 >= hour + HOUR + SETTLED / 2


def is_settled(hour: int, now: Callable[[], float] = time.time) -> bool:
    """Return whether compaction takes the trades of an hour (its start in ms)."""
    return now() * 1000 >= hour + HOUR + SETTLED


def tag(stored: StoredObject) -> str:
    """Return a name for the content of an object; see ``BlockEntry.tag``."""
    return stored.md5 or stored.version


def listed(archive: Archive, symbol: str) -> list[Listed]:
    """Return the blocks of a symbol, ordered by id."""
    blocks: list[tuple[BlockKey, StoredObject]] = []
    known: dict[BlockKey, BlockEntry] = {}
    for stored in archive.list(block_prefix(symbol)):
        if is_index_key(stored.key):
            known |= _index(archive, stored)
        elif key := parse_block_key(stored.key):
            blocks.append((key, stored))
    return [Listed(key, stored, _entry(archive, key, stored, known)) for key, stored in blocks]


def read(archive: Archive, key: BlockKey, stored: StoredObject) -> Block | None:
    """Return the block of a listing, or None if it is damaged.

    If the block was replaced after the listing, the new one is returned.
    """
    content = _content(archive, stored)
    block = _blocks.get(content)
    if block is None:
        body = archive.get(stored.key)
        if stored.md5:  # the body may be newer than the listing
            md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
            content = _content(archive, replace(stored, md5=md5))
        try:
            block = _blocks.keep(content, Block(key, body), len(body))
        except BadArchive:
            return None
    return block


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
        stored = next((each for each in archive.list(str(key)) if each.key == str(key)), None)
        body = archive.get(stored.key) if stored else b""
        trades = Block(key, body).trades() if stored else []
        changed = change(trades, body)
        if changed == trades:
            return False
        if not changed:
            archive.remove(str(key))
            return True
        item = pack_block(changed)
        if archive.swap(item, stored.version) if stored else archive.put(item):
            return True
    raise Contention(
        f"another process changed {key} during every attempt to write it", remedy="try again later"
    )


def _entry(
    archive: Archive, key: BlockKey, stored: StoredObject, known: dict[BlockKey, BlockEntry]
) -> BlockEntry | None:
    content = _content(archive, stored)
    found = _entries.get(content)
    if found is not None:
        return found
    entry = known.get(key)
    if entry is None or entry.tag != tag(stored):
        block = read(archive, key, stored)
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


def _content(archive: Archive, stored: StoredObject) -> Hashable:
    # An MD5 identifies content across sites. A version is valid at its own site only.
    return stored.key, stored.md5 or (stored.version, stored.size, id(archive))
