"""One view of the raw archive of a site and of what compaction has not moved into it yet.

The export service of a site writes staged objects to a bucket of its own, see ``market.staged``.
Everything that reads the raw archive uses this view. It shows the trades of a staged object as the
objects of hours that ``market.archive.pack`` makes of them, so that no reader has to know where a
trade lies.

Staged objects never change. Each is read once, in parts that fit into memory, and the objects made
of it are kept compressed. If there are too many of them, a staged object is read again when
somebody asks for its trades.
"""

import hashlib
import threading
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import merge

from mcloud.clouds.cache import Cache
from mcloud.clouds.ports import Archive, StoredObject
from mcloud.errors import Refused
from mcloud.market.archive import ArchiveObject, pack, parse_key
from mcloud.market.staged import PREFIX, WINDOW, pack_foreign, parts
from mcloud.market.trade import is_reserved

KEPT = 256 * 1024 * 1024
"""Maximum size in bytes of the objects in memory. At ten bytes a trade this is the trades of two
hours at 3,000 trades a second."""


DELAY = 2 * WINDOW
"""Longest usual time in seconds until a trade is staged. After that it counts as missing."""

EMBEDDED_DELAY = 5.0
"""The same on the embedded clouds, which write what is staged every second."""


@dataclass
class _Source:
    """A staged object, and the objects of hours that are made of it."""

    key: str
    objects: dict[str, StoredObject] = field(default_factory=dict)
    """By key, ascending."""
    keys: list[str] = field(default_factory=list)
    left: set[str] = field(default_factory=set)
    """Keys of the objects that are not released, without those of canaries."""
    has_foreign: bool = False

    def under(self, prefix: str) -> Iterator[StoredObject]:
        for key in self.keys[bisect_left(self.keys, prefix) :]:
            if not key.startswith(prefix):
                return
            yield self.objects[key]


class StagedArchive:
    """Implementation of ``ports.Archive`` over the archive proper and the staging bucket.

    Args:
        archive: bucket of the objects of hours and of the blocks. Everything is written to it.
        staging: bucket of the staged objects.
        delay: see ``ports.Archive``.
        kept: maximum size of the objects in memory, in bytes.
    """

    def __init__(
        self, archive: Archive, staging: Archive, *, delay: float = DELAY, kept: int = KEPT
    ) -> None:
        self.delay = delay
        self._archive = archive
        self._staging = staging
        self._sources: dict[str, _Source] = {}
        self._bodies = Cache[str, bytes](kept)
        self._twice: set[str] = set()
        """Keys that a listing found staged and in the archive as well."""
        self._cleared: set[str] = set()
        self._changing = threading.RLock()

    def put(self, item: ArchiveObject) -> bool:
        return self._archive.put(item)

    def replace(self, item: ArchiveObject) -> None:
        self._archive.replace(item)

    def swap(self, item: ArchiveObject, version: str) -> bool:
        return self._archive.swap(item, version)

    def remove(self, key: str) -> None:
        # A staged object cannot be changed, so its other trades move to the archive first.
        sources = self._holding(key)
        for source in sources:
            for item in self._read(source.key):
                if item.key != key:
                    self._archive.put(item)
            self._clear(source)
        self._remove_archived(key, sources)

    def release(self, key: str) -> None:
        sources = self._holding(key)
        with self._changing:
            for source in sources:
                source.left.discard(key)
        self._remove_archived(key, sources)

    def clear(self) -> Sequence[str]:
        kept = []
        for source in self._known():
            if source.left:
                continue
            for canary in filter(_is_canary, source.keys):
                self._archive.put(ArchiveObject(canary, self.get(canary)))
            kept.append(self._clear(source))
        return list(filter(None, kept))

    def get(self, key: str) -> bytes:
        sources = [] if key in self._twice else self._holding(key)
        if not sources:
            return self._archive.get(key)
        body = self._bodies.get(key)
        if body is None:
            body = next(item.body for item in self._read(sources[0].key) if item.key == key)
        return body

    def list(self, prefix: str) -> Iterator[StoredObject]:
        # What is staged is listed first. What compaction moves meanwhile is then found in both.
        staged = iter(self._staged(prefix))
        latest = ""
        both = merge(
            ((each.key, 0, each) for each in self._archive.list(prefix)),
            ((each.key, 1, each) for each in staged),
        )
        for key, rank, stored in both:
            if rank:
                (self._twice.add if key == latest else self._twice.discard)(key)
            if key != latest:
                yield stored
                latest = key

    def symbols(self) -> Iterator[str]:
        names = set(self._archive.symbols())
        for source in self._refreshed():
            names |= {held.symbol for key in source.keys if (held := parse_key(key))}
        yield from sorted(names, key=lambda name: f"{name}/")

    def _staged(self, prefix: str) -> Sequence[StoredObject]:
        """Return the objects under a prefix that are made of staged objects, by key."""
        if "/block" in prefix:
            return []
        found = {each.key: each for source in self._refreshed() for each in source.under(prefix)}
        return [found[key] for key in sorted(found)]

    def _refreshed(self) -> Sequence[_Source]:
        """List the staging bucket, read what is new in it, and return everything."""
        before = set(self._sources)
        listed = {each.key: each for each in self._staging.list(PREFIX)}
        with self._changing:  # so that two threads do not read the same object
            for key in before - listed.keys():
                self._sources.pop(key, None)
            for key, stored in listed.items():
                if key not in self._sources and key not in self._cleared:
                    self._add(stored)
            return self._known()

    def _known(self) -> Sequence[_Source]:
        with self._changing:
            return list(self._sources.values())

    def _add(self, stored: StoredObject) -> None:
        source = _Source(stored.key)
        try:
            text = self._staging.get(stored.key)
        except Refused:
            if any(each.key == stored.key for each in self._staging.list(stored.key)):
                raise
            return  # a compaction has moved its trades in the meantime
        for part in parts(text):
            source.has_foreign |= bool(part.foreign)
            for item in pack(part.trades):
                md5 = hashlib.md5(item.body, usedforsecurity=False).hexdigest()
                size = len(item.body)
                source.objects[item.key] = StoredObject(item.key, size, md5, stored.written)
                self._bodies.keep(item.key, item.body, size)
        source.keys = sorted(source.objects)
        source.left = {key for key in source.keys if not _is_canary(key)}
        self._sources[stored.key] = source

    def _read(self, key: str) -> Iterator[ArchiveObject]:
        for part in parts(self._staging.get(key)):
            yield from pack(part.trades)

    def _holding(self, key: str) -> Sequence[_Source]:
        return [source for source in self._known() if key in source.objects]

    def _remove_archived(self, key: str, sources: Collection[_Source]) -> None:
        """Remove an object from the archive proper, unless it is only in staged objects."""
        # Deleting a missing object would leave a marker of the deletion in a versioned bucket.
        if key in self._twice or not sources:
            self._archive.remove(key)
            self._twice.discard(key)

    def _clear(self, source: _Source) -> str:
        """Delete a staged object. Return the key under which its foreign lines are kept, if any."""
        kept = ""
        if source.has_foreign:
            text = self._staging.get(source.key)
            lines = [line for part in parts(text) for line in part.foreign]
            item = pack_foreign(source.key, lines)
            self._staging.put(item)
            kept = item.key
        self._staging.remove(source.key)
        with self._changing:
            self._sources.pop(source.key, None)
            self._cleared.add(source.key)
        return kept


def _is_canary(key: str) -> bool:
    held = parse_key(key)
    return held is not None and is_reserved(held.symbol)
