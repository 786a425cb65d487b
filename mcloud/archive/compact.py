"""Compaction: move the trades of staged objects, and of the objects of hours, to blocks.

A block is written and checked before the objects that it was made of are removed. It is replaced
only if no other process changed it in the meantime. Several compactions can therefore run at once,
beside export services, replicators and repairs. If a compaction is interrupted, every trade is in
its old place or in both places, and the next compaction continues.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby

from mcloud.archive import blocks, raw
from mcloud.archive.blocks import Filled
from mcloud.archive.raw import Piece
from mcloud.clouds.ports import Archive
from mcloud.errors import Contention, Refused
from mcloud.market.archive import BadArchive, hours_prefix, parse
from mcloud.market.block import (
    BLOCK,
    BlockEntry,
    BlockKey,
    PlainLines,
    block_of,
    index_key,
    plain_lines,
)
from mcloud.market.trade import Trade, is_reserved
from mcloud.workers import Workers

THREADS = 16
"""Number of objects that are read or removed at the same time."""
FILLED_AT_ONCE = 4
"""Number of blocks that are filled at the same time. Each takes up to 60 MB."""
AT_ONCE = 2_000
"""Maximum number of objects that are read before their blocks are written."""
TRADES_AT_ONCE = 100_000
"""Number of trades from which on no further object is read before blocks are written. These trades
take less than 100 MB."""


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
    next_symbol: str = ""
    """Symbol at which the time ran out; empty if the compaction is complete."""
    foreign: list[str] = field(default_factory=list)
    """Keys of the objects in the staging bucket that keep lines of staged objects that are no
    messages."""
    staged: int = 0
    """Number of staged objects that remain."""
    staged_since: float | None = None
    """Time when the oldest of these was written, in seconds since 1970. None if none remains."""

    def plus(self, raw_bucket: "Compacted") -> "Compacted":
        """Return the outcome of a compaction that was followed by one of the raw bucket only."""
        return Compacted(
            symbols=max(self.symbols, raw_bucket.symbols),
            blocks=self.blocks + raw_bucket.blocks,
            objects=self.objects + raw_bucket.objects,
            bytes=self.bytes + raw_bucket.bytes,
            trades=self.trades + raw_bucket.trades,
            pending=self.pending + raw_bucket.pending,
            problems=[*self.problems, *raw_bucket.problems],
            next_symbol=raw_bucket.next_symbol,
            foreign=self.foreign,
            staged=self.staged,
            staged_since=self.staged_since,
        )


def compact(
    archive: Archive,
    has: Callable[[str], bool] = lambda symbol: not is_reserved(symbol),
    *,
    begin: str = "",
    dry_run: bool = False,
    lists_blocks: bool = True,
    is_time_left: Callable[[], bool] = lambda: True,
    tell: Callable[[str], None] = lambda words: None,
    clock: Callable[[], float] = time.time,
) -> Compacted:
    """Put the trades of an archive into blocks, symbol by symbol.

    Args:
        has: tells whether to compact a symbol.
        begin: symbol to begin with. The symbols before it, by name, come last.
        dry_run: count the objects and change nothing.
        lists_blocks: whether to list the blocks of each symbol, and to update all of their indexes.
            Otherwise, the indexes get the blocks that this compaction has filled.
        is_time_left: called for each symbol, each batch of objects and each block. The compaction
            stops when it returns False.
        tell: called with a short progress message.
        clock: returns the time in seconds since 1970.

    Raises:
        Unavailable: the archive cannot be reached; the next compaction continues.
    """
    with closing(Workers(THREADS)) as readers, closing(Workers(FILLED_AT_ONCE)) as fillers:
        run = _Compaction(
            archive, readers, fillers, lists_blocks and not dry_run, is_time_left, tell, clock
        )
        while True:
            symbols = sorted(filter(has, archive.symbols()), key=lambda each: (each < begin, each))
            run.compact(symbols, dry_run)
            if dry_run:
                return run.done
            cleared = archive.clear()
            done = run.done
            done.foreign += cleared.foreign
            done.staged, done.staged_since = cleared.left, cleared.left_since
            if done.next_symbol or not cleared.has_more:
                return done


class _Compaction:
    """Compacts the symbols of an archive, in batches of objects of any symbols."""

    def __init__(
        self,
        archive: Archive,
        readers: Workers,
        fillers: Workers,
        lists_blocks: bool,
        is_time_left: Callable[[], bool],
        tell: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self.done = Compacted()
        self._archive = archive
        self._readers = readers
        self._fillers = fillers
        self._lists_blocks = lists_blocks
        self._is_time_left = is_time_left
        self._tell = tell
        self._clock = clock
        self._seen: set[str] = set()
        self._pending: set[str] = set()
        self._filled: dict[str, dict[BlockKey, BlockEntry]] = {}
        """Descriptions of the blocks that were filled, by the key of their index."""

    def compact(self, symbols: Iterable[str], dry_run: bool) -> None:
        """Put the objects of settled hours into blocks, until the time runs out."""
        for batch in self._batches(symbols):
            if dry_run:
                self.done.objects += len(batch.pieces)
                self.done.bytes += sum(piece.stored.size for _, piece in batch.pieces)
                continue
            if batch.pieces:
                self._tell(f"{batch.pieces[0][0]}: {self.done.objects:,} objects compacted")
                self._stop_at(self._move(batch.pieces))
            if self._lists_blocks:
                for symbol in batch.ended:
                    blocks.write_indexes(self._archive, symbol, self._is_time_left)
            if self.done.next_symbol:
                break
        if not self._lists_blocks:
            self._readers.map(partial(blocks.update_index, self._archive), self._filled.values())
        self._filled.clear()
        self.done.symbols, self.done.pending = len(self._seen), len(self._pending)

    def _stop_at(self, symbol: str) -> None:
        """Note the symbol at which the time ran out, if any."""
        self.done.next_symbol = self.done.next_symbol or symbol

    def _batches(self, symbols: Iterable[str]) -> Iterator["_Batch"]:
        """Yield the objects to compact, as many at a time as fit into memory."""
        batch = _Batch()
        for symbol in symbols:
            if not self._is_time_left():
                self._stop_at(symbol)
                break
            self._seen.add(symbol)
            for piece in raw.objects(self._archive, hours_prefix(symbol)):
                if not blocks.is_settled(piece.hour, self._clock):
                    self._pending.add(piece.key)
                    continue
                batch.add(symbol, piece)
                if batch.is_full:
                    yield batch
                    batch = _Batch()
            batch.ended.append(symbol)
            if self._lists_blocks:  # takes time for each symbol, so some of them are done
                yield batch
                batch = _Batch()
        yield batch

    def _move(self, batch: list[tuple[str, Piece]]) -> str:
        """Put the trades of objects into their blocks, then remove the objects.

        Return the symbol at which the time ran out, if it did.
        """
        if not self._is_time_left():
            return batch[0][0]
        contents = self._readers.map(self._read, batch)
        additions: defaultdict[BlockKey, _Addition] = defaultdict(_Addition)
        homes: dict[str, set[BlockKey]] = {}
        for (symbol, piece), content in zip(batch, contents, strict=True):
            if content is not None:
                homes[piece.key] = self._add(symbol, content, additions)
        outcomes = self._fillers.map(self._try_to_fill, additions.items())
        failed: set[BlockKey] = set()
        late: set[str] = set()
        for key, outcome in zip(additions, outcomes, strict=True):
            match outcome:
                case None:
                    late.add(key.symbol)
                    failed.add(key)
                case str():
                    failed.add(key)
                    self._note(f"{key}: {outcome}")
                case Filled(writes, entry):
                    self.done.blocks += writes
                    if entry is not None:
                        self._filled.setdefault(index_key(key), {})[key] = entry
        moved = [
            (piece, content)
            for (_, piece), content in zip(batch, contents, strict=True)
            if content is not None and not homes[piece.key] & failed
        ]
        self._readers.map(self._archive.release, [piece.key for piece, _ in moved])
        self.done.objects += len(moved)
        self.done.bytes += sum(piece.stored.size for piece, _ in moved)
        self.done.trades += sum(len(content) for _, content in moved)
        return next((symbol for symbol, _ in batch if symbol in late), "")

    def _read(self, named: tuple[str, Piece]) -> PlainLines | list[Trade] | None:
        """Return the lines of an object, or its trades if they have to be compared, or None if it
        cannot be compacted.
        """
        symbol, piece = named
        try:
            text = raw.read_text(self._archive, piece.key)
            if text is not None:
                return plain_lines(symbol, text) or parse(text)
        except BadArchive:
            text = None
        except Refused as error:
            if self._archive.stat(piece.key) is None:
                return None  # another compaction has already moved it
            self._note(f"{piece.key}: {error}")
            return None
        self._note(f"{piece.key} is damaged: its content does not match its name")
        return None

    def _note(self, problem: str) -> None:
        # What cannot be compacted is found again after ``Archive.clear``.
        if problem not in self.done.problems:
            self.done.problems.append(problem)

    def _add(
        self,
        symbol: str,
        content: PlainLines | list[Trade],
        additions: Mapping[BlockKey, "_Addition"],
    ) -> set[BlockKey]:
        """Add the content of an object to those of its blocks, and return their keys."""
        found = set()
        if isinstance(content, dict):
            for first_id, ids in groupby(content, lambda id_: id_ // BLOCK * BLOCK):
                key = BlockKey(symbol, first_id)
                found.add(key)
                additions[key].add_lines({id_: content[id_] for id_ in ids})
        else:
            for trade in content:
                key = block_of(symbol, trade.id)
                found.add(key)
                additions[key].trades.add(trade)
        return found

    def _try_to_fill(self, item: tuple[BlockKey, "_Addition"]) -> Filled | str | None:
        """Return why a block could not be filled, or None if the time ran out."""
        if not self._is_time_left():
            return None
        try:
            key, addition = item
            return blocks.add(self._archive, key, addition.lines, addition.trades)
        except (BadArchive, Contention, Refused) as error:
            return str(error)


@dataclass
class _Batch:
    """Objects that are compacted together."""

    pieces: list[tuple[str, Piece]] = field(default_factory=list)
    """Objects, each after its symbol."""
    ended: list[str] = field(default_factory=list)
    """Symbols of which no later batch has objects."""
    trades: int = 0

    @property
    def is_full(self) -> bool:
        return len(self.pieces) >= AT_ONCE or self.trades >= TRADES_AT_ONCE

    def add(self, symbol: str, piece: Piece) -> None:
        self.pieces.append((symbol, piece))
        self.trades += piece.range.count


@dataclass
class _Addition:
    """The trades that are added to a block."""

    lines: PlainLines = field(default_factory=dict)
    trades: set[Trade] = field(default_factory=set)
    """Trades that are not in ``lines``: voids, and other contents of an id."""

    def add_lines(self, lines: PlainLines) -> None:
        for id_, line in lines.items():
            if self.lines.setdefault(id_, line) != line:
                self.trades.update(parse(line))
