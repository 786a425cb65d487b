"""The blocks of a site's raw archive: what they hold, and the trades in them.

A listing names the blocks of a symbol, and the indexes beside them tell what most of them hold.
Only a block that no index describes is read for that. What was read is remembered by its content,
so that equal blocks of two sites are read once, and the hours of one block one after the other.
"""

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Generic, NamedTuple, TypeVar

from mcloud.clouds import optimistic
from mcloud.clouds.ports import Archive, Stored
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

A message can wait in a queue for longer than that. Its trades then come into an object of their
own, and into the block with the next compaction."""

REMEMBERED = 16 * 1024 * 1024
"""Bytes of compressed blocks whose lines are kept in memory, as about ten times as many bytes."""

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Listed(NamedTuple):
    """A block that is stored, and what it holds."""

    key: BlockKey
    stored: Stored
    entry: BlockEntry | None
    """None if the block is damaged."""


class _Memory(Generic[Key, Value]):
    """Values that were used last, as long as their sizes together stay under a limit."""

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

    It answers yes some time before compaction takes them, since clocks differ.
    """
    return now() * 1000 >= hour + HOUR + SETTLED / 2


def is_settled(hour: int, now: Callable[[], float] = time.time) -> bool:
    """Return whether compaction takes the trades of an hour (its start in ms)."""
    return now() * 1000 >= hour + HOUR + SETTLED


def tag(stored: Stored) -> str:
    """Return what names the content of an object, see ``BlockEntry.tag``."""
    return stored.md5 or stored.version


def listed(archive: Archive, symbol: str) -> list[Listed]:
    """Return the blocks of a symbol, by id."""
    blocks: list[tuple[BlockKey, Stored]] = []
    known: dict[BlockKey, BlockEntry] = {}
    for stored in archive.list(block_prefix(symbol)):
        if is_index_key(stored.key):
            known |= _index(archive, stored)
        elif key := parse_block_key(stored.key):
            blocks.append((key, stored))
    return [Listed(key, stored, _entry(archive, key, stored, known)) for key, stored in blocks]


def read(archive: Archive, key: BlockKey, stored: Stored) -> Block | None:
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
    """Replace the trades of a block, in place; return whether it changed.

    Args:
        change: returns the trades that the block is to hold. It is given those that the block holds
            (none if there is no such block) and its body, and is called again if somebody else
            changes the block meanwhile.

    Raises:
        Contention: somebody else changed it each time.
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
    raise Contention(f"{key} changed under every attempt to write it", remedy="try again later")


def _entry(
    archive: Archive, key: BlockKey, stored: Stored, known: dict[BlockKey, BlockEntry]
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
        if _blocks.get(content) is not block:  # it is newer than the listing
            return BlockEntry("", block.hours)
        entry = BlockEntry(tag(stored), block.hours)
    return _entries.keep(content, entry)


def _index(archive: Archive, stored: Stored) -> dict[BlockKey, BlockEntry]:
    content = _content(archive, stored)
    found = _indexes.get(content)
    if found is None:
        found = _indexes.keep(content, unpack_index(stored.key, archive.get(stored.key)))
    return found


def _content(archive: Archive, stored: Stored) -> Hashable:
    # An MD5 means the same content at every site, a version only at its own.
    return stored.key, stored.md5 or (stored.version, stored.size, id(archive))
