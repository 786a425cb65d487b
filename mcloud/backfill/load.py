"""Write the trades of one file to the raw archives and the candle stores of sites.

Everything is merged with what a site has, by conditional writes, so that live production and
compaction can run at the same time, and a file that is loaded twice changes nothing.
"""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pyarrow as pa

from mcloud.archive import blocks
from mcloud.archive.blocks import Filled
from mcloud.bulk.columns import integers, to_trades
from mcloud.bulk.fold import fold, join
from mcloud.bulk.write_lines import PackedBlock, pack_blocks
from mcloud.clouds.ports import Site
from mcloud.errors import Contention, DamagedData
from mcloud.market.archive import ArchiveObject, BadArchive, inflate, pack, parse
from mcloud.market.block import BLOCK, BlockEntry, BlockKey, index_key, plain_lines
from mcloud.market.candle import MINUTE, Candle, Folded, merge
from mcloud.replication.candle_streams import merge_into, stream
from mcloud.workers import Workers

CHUNK = 500  # candles that are read and written together
NAMED = 50
"""Maximum number of disagreements that are named."""


@dataclass
class Loaded:
    """The outcome of loading a file, or several files."""

    trades: int = 0
    """Number of trades read, including repeats."""
    candles: Counter[str] = field(default_factory=Counter)
    """Number of candles that were created or extended, by site."""
    blocks: Counter[str] = field(default_factory=Counter)
    """Number of objects of the raw archive that were written, by site."""
    disputed: int = 0
    """Number of trades, or of ranges of them, that differ from those of a site, or within the
    file. What was first stays."""
    disagreements: list[str] = field(default_factory=list)
    """The first of these disagreements."""
    unchanged: list[str] = field(default_factory=list)
    """Candles and blocks of a site that were left as they are, with the reason: they are damaged,
    or other processes changed them all the time."""

    def add(self, other: "Loaded") -> None:
        """Add the outcome of another file."""
        self.trades += other.trades
        self.candles.update(other.candles)
        self.blocks.update(other.blocks)
        self.disputed += other.disputed
        self.disagreements += other.disagreements[: NAMED - len(self.disagreements)]
        self.unchanged += (each for each in other.unchanged if each not in self.unchanged)

    def note(self, disagreements: Sequence[str]) -> None:
        self.disputed += len(disagreements)
        self.disagreements += disagreements[: NAMED - len(self.disagreements)]


class Loader:
    """Loads trades of one symbol into sites.

    The raw trades of a block are written before their candles, because without them nobody can
    make a candle again.
    """

    def __init__(
        self,
        symbol: str,
        sites: Mapping[str, Site],
        workers: Workers,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.done = Loaded()
        self._symbol = symbol
        self._workers = workers
        self._clock = clock
        lock = threading.Lock()
        self._writers = [_SiteWriter(name, site, self.done, lock) for name, site in sites.items()]
        self._waiting: dict[int, list[pa.RecordBatch]] = {}
        """Trades of the blocks that may get more trades, by the first id of the block."""
        self._candles: list[Candle] = []
        """Candles that are not written yet."""
        self._has_new_blocks = False
        """Whether a block has been written since candles were."""

    def load(self, batches: Iterable[pa.RecordBatch]) -> Loaded:
        """Load batches of trades, best in the order of their ids, and return the outcome.

        Raises:
            Unavailable, Refused: a site does not accept the data. Loading it again continues.
        """
        for folded in join(self._folds(batches)):
            self._candles.append(folded.candle)
            self.done.note([str(each) for each in folded.disagreements])
            # Candles become ready only when a block has been written.
            if self._has_new_blocks and len(self._candles) >= CHUNK:
                self._write_candles()
        self._write_blocks(list(self._waiting))
        self._write_candles()
        self._workers.map(_SiteWriter.update_indexes, self._writers)
        return self.done

    def _folds(self, batches: Iterable[pa.RecordBatch]) -> Iterator[list[Folded]]:
        for batch in batches:
            self.done.trades += batch.num_rows
            for first_id, part in by_block(batch):
                self._waiting.setdefault(first_id, []).append(part)
            newest = max(self._waiting, default=0)
            self._write_blocks([each for each in self._waiting if each < newest])
            yield fold(self._symbol, batch)

    def _write_blocks(self, first_ids: Sequence[int]) -> None:
        for first_id in sorted(first_ids):
            batches = self._waiting.pop(first_id)
            prepared = _prepared(BlockKey(self._symbol, first_id), batches, self._clock)
            self._workers.map(partial(_SiteWriter.write_raw, block=prepared), self._writers)
            self._has_new_blocks = True

    def _write_candles(self) -> None:
        """Write the candles whose raw trades are written."""
        self._has_new_blocks = False
        ready = self._merged(each for each in self._candles if not self._is_waiting(each))
        self._candles = [each for each in self._candles if self._is_waiting(each)]
        chunks = [ready[begin : begin + CHUNK] for begin in range(0, len(ready), CHUNK)]
        jobs = [(writer, chunk) for writer in self._writers for chunk in chunks]
        self._workers.map(lambda job: job[0].write_candles(job[1]), jobs)

    def _merged(self, candles: Iterable[Candle]) -> list[Candle]:
        """Return one candle for each minute, in the order of time."""
        found: dict[int, Candle] = {}
        for each in candles:
            if known := found.get(each.start):
                each, disagreements = merge(known, each)
                self.done.note([str(one) for one in disagreements])
            found[each.start] = each
        return [found[start] for start in sorted(found)]

    def _is_waiting(self, candle: Candle) -> bool:
        return any(
            first_id <= candle.last_id and candle.first_id < first_id + BLOCK
            for first_id in self._waiting
        )


@dataclass(frozen=True)
class _PreparedBlock:
    """The trades of one block, in the forms in which the raw archive keeps them."""

    key: BlockKey
    packed: Sequence[PackedBlock]
    """The block of the trades that are old enough for a block, if there are any."""
    recent: Sequence[ArchiveObject]
    """Objects of hours with the other trades."""


def _prepared(
    key: BlockKey, batches: Sequence[pa.RecordBatch], clock: Callable[[], float]
) -> _PreparedBlock:
    batch = pa.concat_batches(batches)
    settled, recent = by_time(batch, blocks.settled_until(clock))
    return _PreparedBlock(
        key,
        pack_blocks(key.symbol, settled),
        pack(to_trades(key.symbol, recent)) if recent.num_rows else (),
    )


class _SiteWriter:
    """Writes to one site. Its methods may be called from several threads."""

    def __init__(self, name: str, site: Site, done: Loaded, lock: threading.Lock) -> None:
        """``lock`` protects ``done``, which the writers of all sites share."""
        self._name = name
        self._archive = site.archive
        self._candles = site.candles
        self._done = done
        self._lock = lock
        self._entries: defaultdict[str, dict[BlockKey, BlockEntry]] = defaultdict(dict)
        """Descriptions of the written blocks, by the key of their index."""

    def write_raw(self, block: _PreparedBlock) -> None:
        written = sum(self._archive.put(item) for item in block.recent)
        for packed in block.packed:
            try:
                filled = self._fill(block.key, packed)
            except (BadArchive, Contention) as error:
                self._report(f"{block.key}: {error}")
            else:
                written += filled.writes
                if filled.entry:
                    with self._lock:
                        self._entries[index_key(block.key)][block.key] = filled.entry
        with self._lock:
            self._done.blocks[self._name] += written

    def _fill(self, key: BlockKey, packed: PackedBlock) -> Filled:
        whole = blocks.add_whole(self._archive, packed.item, packed.hours)
        if whole is not None:
            return whole
        text = inflate(packed.item.body)
        lines = plain_lines(key.symbol, text)
        if lines is None:
            return blocks.add(self._archive, key, {}, parse(text))
        return blocks.add(self._archive, key, lines, ())

    def write_candles(self, candles: Sequence[Candle]) -> None:
        """Create or extend candles of any minutes, in ascending order."""
        symbol = candles[0].symbol
        held = {
            each.start: each
            for each in stream(
                self._candles,
                symbol,
                candles[0].start,
                candles[-1].start + MINUTE,
                lambda minute, why: None,  # one of ours is reported when it is merged
            )
        }
        new = [each for each in candles if each.start not in held]
        # A minute that another writer has created since, or whose candle is damaged, is not new.
        left = self._candles.create(new)
        created = len(new) - len(left)
        differing = [
            each
            for each in candles
            if each.start in held and merge(held[each.start], each) != (held[each.start], ())
        ]
        for each in (*left, *differing):
            try:
                merged = merge_into(self._candles, each)
            except (DamagedData, Contention) as error:
                self._report(f"{each.symbol} {each.timestamp}: {error}")
                continue
            created += merged.changed
            with self._lock:
                self._done.note([f"{self._name}: {each}" for each in merged.disagreements])
        with self._lock:
            self._done.candles[self._name] += created

    def update_indexes(self) -> None:
        """Describe the written blocks in the indexes of the archive."""
        for entries in self._entries.values():
            blocks.update_index(self._archive, entries)

    def _report(self, reason: str) -> None:
        with self._lock:
            if (said := f"{self._name}: {reason}") not in self._done.unchanged:
                self._done.unchanged.append(said)


def by_block(batch: pa.RecordBatch) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield the first id of each block that a batch has trades of, and these trades."""
    first_ids = integers(batch.column(0)) // BLOCK * BLOCK
    for first_id in np.unique(first_ids).tolist():
        yield first_id, batch.filter(pa.array(first_ids == first_id))


def by_time(batch: pa.RecordBatch, until: int) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Return the trades before a time (ms), and the others."""
    is_before = integers(batch.column(3)) < until
    if is_before.all():
        return batch, batch.slice(0, 0)
    return batch.filter(pa.array(is_before)), batch.filter(pa.array(~is_before))
