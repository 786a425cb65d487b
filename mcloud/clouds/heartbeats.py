"""The heartbeats of a site: a few documents for all symbols, which the function's instances share.

A write for each symbol would cost as much as the candles do. A document is read, changed and
written on the condition that it is unchanged. A process that was the last writer twice in a row
expects to be the only one, and does not read the document again until a condition fails.
"""

import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from secrets import token_hex
from typing import Any, Generic, NamedTuple, TypeVar

from mcloud.clouds.optimistic import ATTEMPTS, attempts
from mcloud.clouds.ports import HEARTBEAT, Heartbeat
from mcloud.documents import Damaged, Kind, decode, encode
from mcloud.errors import Contention, DamagedData
from mcloud.market.shard import Shard

Version = TypeVar("Version")
Entries = Mapping[str, Any]
"""The heartbeats of a document by symbol. Each is a list of ``_FIELDS``, unless it is damaged."""

DOCUMENTS = 4
"""Number of documents. The heartbeat of a symbol takes about 50 bytes, and DynamoDB limits a
document to 400 KB, so that they hold about 32,000 symbols."""

_SHARDS = [Shard(number, DOCUMENTS) for number in range(DOCUMENTS)]
_FIELDS = ("last_trade_time", "trades", "messages", "at")


@dataclass(frozen=True)
class HeartbeatDocument:
    """The heartbeats of a share of the symbols."""

    symbols: Entries
    """By symbol: last trade time, trades, messages and write time, as in ``Heartbeat``. A list
    takes half the bytes of an object, and DynamoDB bills by the KiB."""
    write: str
    """Random name of the last write, by which its writer recognises it after a lost response."""


HEARTBEATS = Kind("heartbeats", HeartbeatDocument)


def document_of(symbol: str) -> str:
    """Return the key of the document that has the heartbeat of a symbol."""
    return next(f"{each.number + 1} of {each.of}" for each in _SHARDS if each.has(symbol))


def by_document(beats: Iterable[Heartbeat]) -> dict[str, list[Heartbeat]]:
    """Group heartbeats by the key of their document."""
    groups: dict[str, list[Heartbeat]] = {}
    for beat in beats:
        groups.setdefault(document_of(beat.symbol), []).append(beat)
    return groups


def read(
    documents: Mapping[str, Any], earlier: Iterable[Heartbeat | Damaged]
) -> list[Heartbeat | Damaged]:
    """Return the sums of stored heartbeats by symbol, and then the damaged documents.

    Args:
        documents: those of the kind ``HEARTBEATS``, by key.
        earlier: the heartbeats that functions of earlier releases store, one in a document.
    """
    found: dict[str, Heartbeat | Damaged] = {}
    broken: list[Heartbeat | Damaged] = []

    def add(symbol: str, beat: Heartbeat | Damaged) -> None:
        other = found.get(symbol)
        if isinstance(beat, Heartbeat) and isinstance(other, Heartbeat):
            beat = beat.plus(other)
        found[symbol] = other if isinstance(other, Damaged) else beat

    for beat in earlier:
        symbol = beat.symbol if isinstance(beat, Heartbeat) else beat.where.removeprefix(HEARTBEAT)
        add(symbol, beat)
    for key, stored in documents.items():
        document = HEARTBEATS.decode(key, stored)
        if isinstance(document, Damaged):
            broken.append(document)
            continue
        for symbol, entry in document.symbols.items():
            add(symbol, _heartbeat(symbol, entry))
    return [*(found[symbol] for symbol in sorted(found)), *broken]


class _Written(NamedTuple, Generic[Version]):
    """The last write of a document by this process."""

    document: HeartbeatDocument
    version: Version
    is_only_writer: bool
    """Whether this process also made the write before."""


class HeartbeatDocuments(Generic[Version]):
    """The documents of a site, in a store with conditional writes. It is thread-safe."""

    def __init__(
        self,
        read: Callable[[str], tuple[Any, Version | None]],
        write: Callable[[str, Any, Version | None], Version | None],
        *,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """
        Args:
            read: returns the document with a key, and its version; twice None if there is none.
            write: stores a document if the stored one has this version, or is missing if the
                version is None. Returns the new version, or None if another writer was first.
        """
        self._read = read
        self._write = write
        self._sleep = sleep
        self._jitter = jitter
        self._written: dict[str, _Written[Version]] = {}

    def add(self, beats: Iterable[Heartbeat]) -> list[Heartbeat]:
        """Implement ``ports.Control.beat``."""
        left: list[Heartbeat] = []
        for key, group in by_document(beats).items():
            entries = self._update(key, partial(_sums, group))
            left += [
                beat
                for beat in group
                if isinstance(_heartbeat(beat.symbol, entries[beat.symbol]), Damaged)
            ]
        return left

    def forget(self, symbol: str) -> None:
        """Delete the heartbeat of a symbol if it exists."""
        self._update(
            document_of(symbol),
            lambda entries: {name: entry for name, entry in entries.items() if name != symbol},
        )

    def _update(self, key: str, change: Callable[[Entries], Entries]) -> Entries:
        """Change a document, and return what it then contains.

        Raises:
            Contention: every attempt lost; nothing was written.
            DamagedData: the document is damaged.
        """
        name = token_hex(4)
        last = self._written.get(key)
        if last is not None and last.is_only_writer:
            changed = self._try(key, change, name, last.document, last.version, last)
            if changed is not None:
                return changed
        for _ in attempts(self._sleep, self._jitter):
            stored, version = self._read(key)
            document = HeartbeatDocument({}, "")
            if stored is not None:
                decoded = HEARTBEATS.decode(key, stored)
                if isinstance(decoded, Damaged):
                    raise DamagedData(str(decoded))
                document = decoded
            if document.write == name:  # the write was made, and its response was lost
                return document.symbols
            changed = self._try(key, change, name, document, version, last)
            if changed is not None:
                return changed
        raise Contention(
            f"other writers changed the heartbeats {key} during each of {ATTEMPTS} attempts to "
            "write them"
        )

    def _try(
        self,
        key: str,
        change: Callable[[Entries], Entries],
        name: str,
        document: HeartbeatDocument,
        version: Version | None,
        last: _Written[Version] | None,
    ) -> Entries | None:
        """Make one attempt. Return None if another writer was first."""
        entries = change(document.symbols)
        if entries == document.symbols:
            return entries
        changed = HeartbeatDocument(entries, name)
        written = self._write(key, encode(changed), version)
        if written is None:
            return None
        is_only_writer = last is not None and last.version == version
        self._written[key] = _Written(changed, written, is_only_writer)
        return entries


def _sums(beats: Iterable[Heartbeat], entries: Entries) -> Entries:
    """Add heartbeats to the stored ones. Damaged ones stay as they are."""
    changed = dict(entries)
    for beat in beats:
        if beat.symbol in changed:
            stored = _heartbeat(beat.symbol, changed[beat.symbol])
            if isinstance(stored, Damaged):
                continue
            beat = beat.plus(stored)
        changed[beat.symbol] = [beat.last_trade_time, beat.trades, beat.messages, round(beat.at, 3)]
    return changed


def _heartbeat(symbol: str, entry: object) -> Heartbeat | Damaged:
    where = HEARTBEAT + symbol
    if not isinstance(entry, list) or len(entry) != len(_FIELDS):
        return Damaged("it is not a list of four numbers", where, found=entry)
    fields = dict(zip(_FIELDS, entry, strict=True))
    return decode(Heartbeat, {"symbol": symbol, **fields}, where)
