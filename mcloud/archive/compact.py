"""Compaction: move the trades of staged objects, and of the objects of hours, to blocks.

A block is written and checked before the objects that it was made of are removed. It is replaced
only if no other process changed it in the meantime. Several compactions can therefore run at once,
beside export services, replicators and repairs. If a compaction is interrupted, every trade is in
its old place or in both places, and the next compaction continues.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter

from mcloud.archive import blocks, raw
from mcloud.archive.raw import Piece
from mcloud.clouds.ports import Archive
from mcloud.errors import Contention, Refused
from mcloud.market.archive import BadArchive, hours_prefix, order, parse
from mcloud.market.block import BLOCK, BlockKey, PlainLines, block_of, plain_lines
from mcloud.market.trade import Trade, is_reserved, without_filled_voids
from mcloud.workers import Workers

THREADS = 16
AT_ONCE = 2_000
"""Maximum number of objects that are read before their blocks are written."""
TRADES_AT_ONCE = 100_000
"""Number of trades from which on no further object is read before blocks are written. The trades
and the blocks that they belong to take less than 300 MB."""


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


def compact(
    archive: Archive,
    has: Callable[[str], bool] = lambda symbol: not is_reserved(symbol),
    *,
    begin: str = "",
    dry_run: bool = False,
    is_time_left: Callable[[], bool] = lambda: True,
    tell: Callable[[str], None] = lambda words: None,
    clock: Callable[[], float] = time.time,
) -> Compacted:
    """Put the trades of an archive into blocks, symbol by symbol.

    Args:
        has: tells whether to compact a symbol.
        begin: symbol to begin with. The symbols before it, by name, come last.
        dry_run: count the objects and change nothing.
        is_time_left: called before each block. The compaction stops when it returns False.
        tell: called with a short progress message.
        clock: returns the time in seconds since 1970.

    Raises:
        Unavailable: the archive cannot be reached; the next compaction continues.
    """
    done = Compacted()
    seen: set[str] = set()
    pending: set[str] = set()
    with closing(Workers(THREADS)) as workers:
        while True:
            symbols = sorted(filter(has, archive.symbols()), key=lambda each: (each < begin, each))
            for symbol in symbols:
                if not is_time_left():
                    done.next_symbol = symbol
                    break
                seen.add(symbol)
                each = _SymbolCompaction(
                    archive, symbol, workers, done, pending, is_time_left, tell, clock
                )
                if not each.compact(dry_run):
                    done.next_symbol = symbol
                    break
            done.symbols, done.pending = len(seen), len(pending)
            if dry_run:
                return done
            cleared = archive.clear()
            done.foreign += cleared.foreign
            done.staged, done.staged_since = cleared.left, cleared.left_since
            if done.next_symbol or not cleared.has_more:
                return done


class _SymbolCompaction:
    """Compacts the archive of one symbol."""

    def __init__(
        self,
        archive: Archive,
        symbol: str,
        workers: Workers,
        done: Compacted,
        pending: set[str],
        is_time_left: Callable[[], bool],
        tell: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._archive = archive
        self._symbol = symbol
        self._workers = workers
        self._done = done
        self._pending = pending
        self._is_time_left = is_time_left
        self._tell = tell
        self._clock = clock

    def compact(self, dry_run: bool) -> bool:
        """Return whether all objects of settled hours were put into blocks, as far as possible."""
        is_complete = True
        for part in self._parts():
            if dry_run:
                self._done.objects += len(part)
                self._done.bytes += sum(piece.stored.size for piece in part)
            elif self._is_time_left():
                self._tell(f"{self._symbol}: {self._done.objects:,} objects compacted")
                is_complete = self._move(part) and is_complete
            else:
                is_complete = False
        if not dry_run:
            blocks.write_indexes(self._archive, self._symbol, self._is_time_left)
        return is_complete

    def _parts(self) -> Iterator[list[Piece]]:
        """Yield the objects to compact, as many at a time as fit into memory."""
        part: list[Piece] = []
        count = 0
        for piece in raw.objects(self._archive, hours_prefix(self._symbol)):
            if not blocks.is_settled(piece.hour, self._clock):
                self._pending.add(piece.key)
                continue
            part.append(piece)
            count += piece.range.count
            if len(part) >= AT_ONCE or count >= TRADES_AT_ONCE:
                yield part
                part, count = [], 0
        if part:
            yield part

    def _move(self, part: list[Piece]) -> bool:
        """Put the trades of objects into their blocks, then remove the objects.

        Return False if the time ran out before all blocks were written.
        """
        contents = self._workers.map(self._read, part)
        additions: defaultdict[BlockKey, _Addition] = defaultdict(_Addition)
        homes: dict[str, set[BlockKey]] = {}
        for piece, content in zip(part, contents, strict=True):
            if content is not None:
                homes[piece.key] = self._add(content, additions)
        failed: set[BlockKey] = set()
        is_complete = True
        for key, addition in sorted(additions.items(), key=itemgetter(0)):
            if not self._is_time_left():
                is_complete = False
                failed.add(key)
                continue
            try:
                self._fill(key, addition)
            except (BadArchive, Contention, Refused) as error:
                failed.add(key)
                self._note(f"{key}: {error}")
        moved = [
            (piece, content)
            for piece, content in zip(part, contents, strict=True)
            if content is not None and not homes[piece.key] & failed
        ]
        self._workers.map(self._archive.release, [piece.key for piece, _ in moved])
        self._done.objects += len(moved)
        self._done.bytes += sum(piece.stored.size for piece, _ in moved)
        self._done.trades += sum(len(content) for _, content in moved)
        return is_complete

    def _read(self, piece: Piece) -> PlainLines | list[Trade] | None:
        """Return the lines of an object, or its trades if they have to be compared, or None if it
        cannot be compacted.
        """
        try:
            text = raw.read_text(self._archive, piece.key)
            if text is not None:
                return plain_lines(self._symbol, text) or parse(text)
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
        if problem not in self._done.problems:
            self._done.problems.append(problem)

    def _add(
        self, content: PlainLines | list[Trade], additions: Mapping[BlockKey, "_Addition"]
    ) -> set[BlockKey]:
        """Add the content of an object to those of its blocks, and return their keys."""
        found = set()
        if isinstance(content, dict):
            for first_id, ids in groupby(content, lambda id_: id_ // BLOCK * BLOCK):
                key = BlockKey(self._symbol, first_id)
                found.add(key)
                additions[key].add_lines({id_: content[id_] for id_ in ids})
        else:
            for trade in content:
                key = block_of(self._symbol, trade.id)
                found.add(key)
                additions[key].trades.add(trade)
        return found

    def _fill(self, key: BlockKey, addition: "_Addition") -> None:
        """Add trades to a block, and make sure that it holds them."""
        # The last call only checks the stored block: it changes nothing if the block is correct.
        if not addition.trades:
            while changed := blocks.add_lines(self._archive, key, addition.lines):
                self._done.blocks += 1
            if changed is not None:
                return
        trades = {*addition.trades, *parse(b"".join(addition.lines.values()))}

        def together(held: list[Trade], body: bytes) -> list[Trade]:
            return without_filled_voids(sorted({*held, *trades}, key=order))

        while blocks.rewrite(self._archive, key, together):
            self._done.blocks += 1


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
