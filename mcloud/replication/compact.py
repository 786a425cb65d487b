"""Compaction: turn the objects that functions write for each message into blocks.

A block is written and checked before the objects that it was made of are removed. It is replaced
only if no other process changed it in the meantime. Several compactions can therefore run at once,
beside functions, replicators and repairs. If a compaction is interrupted, every trade is in its old
place or in both places, and the next compaction continues.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby

from mcloud.clouds.ports import Archive, Site
from mcloud.errors import Contention, Refused
from mcloud.market.archive import BadArchive, order, prefix
from mcloud.market.block import (
    BlockEntry,
    BlockKey,
    block_of,
    block_prefix,
    index_key,
    is_index_key,
    pack_index,
    unpack_index,
)
from mcloud.market.trade import Trade, without_filled_voids
from mcloud.replication import blocks, raw
from mcloud.replication.raw import Piece
from mcloud.replication.scope import Scope
from mcloud.replication.workers import Workers

THREADS = 16
AT_ONCE = 2_000
"""Number of objects that are read before their blocks are written."""


@dataclass
class Compacted:
    """The outcome of compacting the archive of one site."""

    symbols: int = 0
    blocks: int = 0
    """Number of blocks written."""
    objects: int = 0
    """Number of objects that were put into blocks and removed."""
    bytes: int = 0
    """Size of these objects."""
    trades: int = 0
    """Number of trades in these objects. A trade in several objects is counted several times."""
    pending: int = 0
    """Number of objects left for a later compaction, since their hour ended too recently."""
    problems: list[str] = field(default_factory=list)
    """Objects that cannot be put into a block, with the reasons. They stay where they are."""


def compact(
    site: Site,
    scope: Scope,
    *,
    dry_run: bool = False,
    tell: Callable[[str], None] = lambda words: None,
    clock: Callable[[], float] = time.time,
) -> Compacted:
    """Put the trades of a site's archive into blocks.

    Args:
        dry_run: count the objects and change nothing.
        tell: called with a short progress message.
        clock: returns the time in seconds since 1970.

    Raises:
        Unavailable: the archive cannot be reached; the next compaction continues.
    """
    done = Compacted()
    with closing(Workers(THREADS)) as workers:
        for symbol in sorted(filter(scope.has, site.archive.symbols())):
            done.symbols += 1
            _SymbolCompaction(site.archive, symbol, workers, done, tell, clock).compact(dry_run)
    return done


class _SymbolCompaction:
    """Compacts the archive of one symbol."""

    def __init__(
        self,
        archive: Archive,
        symbol: str,
        workers: Workers,
        done: Compacted,
        tell: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._archive = archive
        self._symbol = symbol
        self._workers = workers
        self._done = done
        self._tell = tell
        self._clock = clock

    def compact(self, dry_run: bool) -> None:
        for part in self._parts():
            if dry_run:
                self._done.objects += len(part)
                self._done.bytes += sum(piece.stored.size for piece in part)
            else:
                self._tell(f"{self._symbol}: {self._done.objects:,} objects compacted")
                self._move(part)
        if not dry_run:
            self._index()

    def _parts(self) -> Iterator[list[Piece]]:
        """Yield the objects to compact, in groups of whole hours."""
        part: list[Piece] = []
        found = raw.objects(self._archive, prefix(self._symbol))
        for hour, group in groupby(found, key=lambda piece: piece.hour):
            if not blocks.is_settled(hour, self._clock):
                self._done.pending += sum(1 for _ in group)
                continue
            part += group
            if len(part) >= AT_ONCE:
                yield part
                part = []
        if part:
            yield part

    def _move(self, part: list[Piece]) -> None:
        """Put the trades of objects into their blocks, then remove the objects."""
        contents = self._workers.map(self._read, part)
        trades: defaultdict[BlockKey, set[Trade]] = defaultdict(set)
        homes: dict[str, set[BlockKey]] = {}
        for piece, content in zip(part, contents, strict=True):
            if content is not None:
                for trade in content:
                    trades[block_of(self._symbol, trade.id)].add(trade)
                homes[piece.key] = {block_of(self._symbol, trade.id) for trade in content}
        failed: set[BlockKey] = set()
        for key, mine in sorted(trades.items()):
            try:
                self._fill(key, mine)
            except (BadArchive, Contention, Refused) as error:
                failed.add(key)
                self._done.problems.append(f"{key}: {error}")
        moved = [
            (piece, content)
            for piece, content in zip(part, contents, strict=True)
            if content is not None and not homes[piece.key] & failed
        ]
        self._workers.map(self._archive.remove, [piece.key for piece, _ in moved])
        self._done.objects += len(moved)
        self._done.bytes += sum(piece.stored.size for piece, _ in moved)
        self._done.trades += sum(len(content) for _, content in moved)

    def _read(self, piece: Piece) -> list[Trade] | None:
        """Return the trades of an object, or None if it cannot be compacted."""
        try:
            trades = raw.read(self._archive, piece)
        except Refused as error:
            if not any(each.key == piece.key for each in self._archive.list(piece.key)):
                return None  # another compaction has already moved it
            self._done.problems.append(f"{piece.key}: {error}")
            return None
        if trades is None:
            self._done.problems.append(
                f"{piece.key} is damaged: its content does not match its name"
            )
        return trades

    def _fill(self, key: BlockKey, trades: set[Trade]) -> None:
        """Add trades to a block, and make sure that it holds them."""

        def together(held: list[Trade], body: bytes) -> list[Trade]:
            return without_filled_voids(sorted({*held, *trades}, key=order))

        # The last call only checks the stored block: it changes nothing if the block is correct.
        while blocks.rewrite(self._archive, key, together):
            self._done.blocks += 1

    def _index(self) -> None:
        """Write each index that has a missing or outdated entry."""
        stored = [
            each
            for each in self._archive.list(f"{block_prefix(self._symbol)}-index=")
            if is_index_key(each.key)
        ]
        known = {each.key: unpack_index(each.key, self._archive.get(each.key)) for each in stored}
        wanted: defaultdict[str, dict[BlockKey, BlockEntry]] = defaultdict(dict)
        for key, _, entry in blocks.listed(self._archive, self._symbol):
            if entry is not None and entry.tag:
                wanted[index_key(key)][key] = entry
        for name, entries in wanted.items():
            if entries != known.get(name):
                self._archive.replace(pack_index(entries))
