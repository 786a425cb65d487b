"""One view of the raw bucket of a site and of the staged objects that compaction has not moved yet.

The export service of a site writes staged objects to the staging bucket; see ``market.staged``.
Everything that reads the raw archive uses this view. It shows the trades of a staged object as the
objects of hours that ``market.archive.pack`` makes of them, so that no reader has to know where a
trade lies.

Staged objects never change. Each is read once, in parts that fit into memory, and the objects made
of it are kept compressed. If there are too many of them, a staged object is read again when
somebody asks for its trades.
"""

import hashlib
import math
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from heapq import merge

from mcloud.clouds.batches import batches
from mcloud.clouds.cache import Cache
from mcloud.clouds.ports import Archive, Cleared, StoredObject
from mcloud.errors import Refused
from mcloud.market.archive import ArchiveObject, pack, parse_key
from mcloud.market.block import SYMBOLS_PREFIX
from mcloud.market.staged import PREFIX, WINDOW, pack_foreign, parts
from mcloud.market.trade import is_reserved
from mcloud.workers import Workers

READERS = 16
"""Maximum number of staged objects that are read at the same time."""
READ_AT_ONCE = 64 * 1024 * 1024
"""Maximum size of these objects in bytes. A single object may be larger."""

KEPT = 256 * 1024 * 1024
"""Maximum size in bytes of the objects in memory. At ten bytes a trade this is the trades of two
hours at 3,000 trades a second."""


DELAY = 2 * WINDOW
"""Longest usual time in seconds until a trade is in a staged object. After that it counts as
missing."""

EMBEDDED_DELAY = 5.0
"""The same on the embedded clouds, whose export services write every second."""

FAST = 1
"""Level of the compression of the objects in memory."""

UNCHANGED = 5.0
"""Seconds for which a listing of the staging bucket is used again. Readers list once for each
symbol and hour, but staged objects change only once in a ``WINDOW``."""


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
    """Implementation of ``ports.Archive`` over the raw bucket and the staging bucket.

    Args:
        archive: the raw bucket, with the objects of hours and the blocks. Everything is written to
            it.
        staging: the staging bucket.
        delay: see ``ports.Archive``.
        unchanged: seconds for which a listing of the staging bucket is used again.
        kept: maximum size of the objects in memory, in bytes.
        clock: returns a number of seconds.
        limit: maximum size in bytes of the staged objects that are shown until ``clear``. The
            oldest are shown, at least one, and after ``clear`` those that come next. None means
            that all of them are shown.
        is_ready: whether to show a staged object at all.
        hours: whether to list the objects of hours in the raw bucket as well. Each listing costs as
            much as a write.
    """

    def __init__(
        self,
        archive: Archive,
        staging: Archive,
        *,
        delay: float = DELAY,
        unchanged: float = 0.0,
        kept: int = KEPT,
        clock: Callable[[], float] = time.monotonic,
        limit: int | None = None,
        is_ready: Callable[[StoredObject], bool] = lambda stored: True,
        hours: bool = True,
    ) -> None:
        self.delay = delay
        self._hours = hours
        self._limit = limit
        self._is_ready = is_ready
        self._has_more = False
        self._unchanged = unchanged
        self._clock = clock
        self._listed: float | None = None
        """When the staging bucket was listed last."""
        self._archive = archive
        self._staging = staging
        self._sources: dict[str, _Source] = {}
        self._bodies = Cache[str, bytes](kept)
        self._twice: set[str] = set()
        """Keys that a listing found in a staged object and in the raw bucket as well."""
        self._cleared: set[str] = set()
        """Keys of the staged objects that were deleted, or that are not shown again."""
        self._left: dict[str, StoredObject] = {}
        """The staged objects of the last listing that were not deleted."""
        self._changing = threading.RLock()

    def put(self, item: ArchiveObject) -> bool:
        return self._archive.put(item)

    def replace(self, item: ArchiveObject) -> None:
        self._archive.replace(item)

    def swap(self, item: ArchiveObject, version: str) -> bool:
        return self._archive.swap(item, version)

    def remove(self, key: str) -> None:
        # A staged object cannot be changed, so its other trades move to the raw bucket first.
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

    def clear(self) -> Cleared:
        kept = []
        for source in self._known():
            if source.left:
                if self._limit is not None:
                    self._forget(source)
                continue
            for canary in filter(_is_canary, source.keys):
                self._archive.put(ArchiveObject(canary, self.get(canary)))
            kept.append(self._clear(source))
        self._listed = None
        with self._changing:
            since = [each.written for each in self._left.values() if each.written is not None]
            return Cleared(
                list(filter(None, kept)), self._has_more, len(self._left), min(since, default=None)
            )

    def get(self, key: str) -> bytes:
        sources = [] if key in self._twice else self._holding(key)
        body = self._bodies.get(key) if sources else None
        if body is not None:
            return body
        for source in sources:
            for item in self._read(source.key):
                if item.key == key:
                    return item.body
        return self._archive.get(key)

    def stat(self, key: str) -> StoredObject | None:
        for source in self._known():
            if key in source.objects:
                return source.objects[key]
        return self._archive.stat(key)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        # Staged objects are listed first. What compaction moves meanwhile is then found in both.
        staged = iter(self._staged(prefix))
        if not self._hours and not _is_of_blocks(prefix):
            yield from staged
            return
        yield from self._together(self._archive.list(prefix), staged)

    def list_hours(self) -> Iterator[StoredObject]:
        staged = iter(self._staged(SYMBOLS_PREFIX))
        archived = self._archive.list_hours() if self._hours else iter(())
        yield from self._together(archived, staged)

    def _together(
        self, archived: Iterator[StoredObject], staged: Iterator[StoredObject]
    ) -> Iterator[StoredObject]:
        """Yield the objects of both listings by key, and those of both once."""
        latest = ""
        both = merge(
            ((each.key, 0, each) for each in archived),
            ((each.key, 1, each) for each in staged),
        )
        for key, rank, stored in both:
            if rank:
                (self._twice.add if key == latest else self._twice.discard)(key)
            if key != latest:
                yield stored
                latest = key

    def symbols(self) -> Iterator[str]:
        names = set(self._archive.symbols()) if self._hours else set()
        for source in self._refreshed():
            names |= {held.symbol for key in source.keys if (held := parse_key(key))}
        yield from sorted(names, key=lambda name: f"{name}/")

    def _staged(self, prefix: str) -> Sequence[StoredObject]:
        """Return the objects under a prefix that are made of staged objects, by key."""
        if _is_of_blocks(prefix):
            return []
        found = {each.key: each for source in self._refreshed() for each in source.under(prefix)}
        return [found[key] for key in sorted(found)]

    def _refreshed(self) -> Sequence[_Source]:
        """List the staging bucket, read what is new in it, and return everything."""
        with self._changing:  # so that two threads do not read the same object
            now = self._clock()
            unchanged = self._unchanged if self._limit is None else math.inf
            if self._listed is not None and now - self._listed < unchanged:
                return self._known()
            listed = {each.key: each for each in self._staging.list(PREFIX)}
            for key in self._sources.keys() - listed.keys():
                del self._sources[key]
            seen = self._sources.keys() | self._cleared
            fresh = [each for key, each in listed.items() if key not in seen]
            ready = sorted(filter(self._is_ready, fresh), key=_age)
            shown = ready if self._limit is None else _oldest(ready, self._limit)
            self._has_more = len(shown) < len(ready)
            for batch in batches(shown, lambda each: each.size, most=READERS, limit=READ_AT_ONCE):
                for stored, text in zip(batch, self._texts(batch), strict=True):
                    if text is not None:
                        self._add(stored, text)
            self._listed = now
            self._left = listed
            return self._known()

    def _texts(self, batch: Sequence[StoredObject]) -> Sequence[bytes | None]:
        """Return the texts of staged objects. None means that there is no such object any more."""
        if len(batch) == 1:
            return [self._text(batch[0].key)]
        with closing(Workers(min(READERS, len(batch)))) as workers:
            return workers.map(self._text, [each.key for each in batch])

    def _text(self, key: str) -> bytes | None:
        try:
            return self._staging.get(key)
        except Refused:
            if self._staging.stat(key) is not None:
                raise
            return None  # a compaction has moved its trades in the meantime

    def _known(self) -> Sequence[_Source]:
        with self._changing:
            return list(self._sources.values())

    def _add(self, stored: StoredObject, text: bytes) -> None:
        source = _Source(stored.key)
        for part in parts(text):
            source.has_foreign |= bool(part.foreign)
            for item in pack(part.trades, FAST):
                md5 = hashlib.md5(item.body, usedforsecurity=False).hexdigest()
                size = len(item.body)
                source.objects[item.key] = StoredObject(item.key, size, md5, stored.written)
                self._bodies.keep(item.key, item.body, size)
        source.keys = sorted(source.objects)
        source.left = {key for key in source.keys if not _is_canary(key)}
        self._sources[stored.key] = source

    def _read(self, key: str) -> Iterator[ArchiveObject]:
        for part in parts(self._text(key) or b""):
            yield from pack(part.trades, FAST)

    def _holding(self, key: str) -> Sequence[_Source]:
        return [source for source in self._known() if key in source.objects]

    def _remove_archived(self, key: str, sources: Collection[_Source]) -> None:
        """Remove an object from the raw bucket, unless it is only in staged objects."""
        # Deleting a missing object would leave a marker of the deletion in a versioned bucket.
        if key in self._twice or not sources:
            self._archive.remove(key)
            self._twice.discard(key)

    def _clear(self, source: _Source) -> str:
        """Delete a staged object. Return the key under which its foreign lines are kept, if any."""
        kept = ""
        if source.has_foreign and (text := self._text(source.key)) is not None:
            lines = [line for part in parts(text) for line in part.foreign]
            item = pack_foreign(source.key, lines)
            self._staging.put(item)
            kept = item.key
        self._staging.remove(source.key)
        with self._changing:
            self._left.pop(source.key, None)
        self._forget(source)
        return kept

    def _forget(self, source: _Source) -> None:
        with self._changing:
            self._sources.pop(source.key, None)
            self._cleared.add(source.key)


def _is_of_blocks(prefix: str) -> bool:
    return "/block" in prefix


def _age(stored: StoredObject) -> tuple[float, str]:
    """Sort key: the oldest first."""
    return stored.written or 0.0, stored.key


def _oldest(listed: Sequence[StoredObject], limit: int) -> Sequence[StoredObject]:
    """Return the first objects, of at most ``limit`` bytes together but at least one."""
    size = 0
    for number, stored in enumerate(listed):
        size += stored.size
        if number and size > limit:
            return listed[:number]
    return listed


def _is_canary(key: str) -> bool:
    held = parse_key(key)
    return held is not None and is_reserved(held.symbol)
