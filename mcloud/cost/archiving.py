"""The work for the raw archive: the export to staged objects, and the compaction.

An export service collects the messages of all symbols in a staged object, and once an hour a
function makes blocks of these; see ``market.staged`` and ``archive.compact``. The number of
requests therefore depends on the number of symbols, and hardly on the number of messages. Once a
day, the compaction also lists the raw bucket.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp

from mcloud.market.block import BLOCK, INDEXED
from mcloud.market.staged import LARGEST, WINDOW

WINDOWS = 60 / WINDOW
"""Staged objects per minute, if there are trades all the time."""
PAGE = 1_000  # names in a page of a listing
_COMPACTED = 140_000  # trades that a whole CPU decodes and adds to blocks in a second, measured
_REWRITE = 0.13  # seconds of a whole CPU to read and write a block that is half full, measured
FILLED_AT_ONCE = 4
"""Blocks that a compaction fills at the same time, as in ``archive.compact``."""
FULL_RUN = 24
"""Hours after which a compaction lists the raw bucket as well."""


@dataclass
class CompactionWork:
    """The work of the compaction in an hour."""

    writes: float = 0
    """Writes of blocks and indexes."""
    lists: float = 0
    """Pages of listings."""
    reads: float = 0
    """Reads of staged objects, blocks and indexes."""
    cpu: float = 0
    """Seconds of a whole CPU."""

    @property
    def requests(self) -> float:
        return self.writes + self.lists + self.reads

    def add(self, other: "CompactionWork", times: float = 1.0) -> None:
        """Add other work, as many times."""
        self.writes += times * other.writes
        self.lists += times * other.lists
        self.reads += times * other.reads
        self.cpu += times * other.cpu


def staged_objects(messages: float, size: float) -> float:
    """Return the staged objects per minute of a number of messages, and of their bytes."""
    return max(min(messages, WINDOWS), size / LARGEST)


def compaction(
    rates: Iterable[float], staged: float, fills: float, months: float
) -> CompactionWork:
    """Return the work of an hour, on average.

    Args:
        rates: trades per second of each symbol.
        staged: staged objects per minute.
        fills: trades at the same moment, on average.
        months: time since the deployment.
    """
    rates = list(rates)
    work = moving(rates, staged, fills)
    work.add(listing(rates, months), 1 / FULL_RUN)
    return work


def moving(rates: Iterable[float], staged: float, fills: float) -> CompactionWork:
    """Return the work of an hour that moves its staged objects to blocks; see ``compaction``."""
    work = CompactionWork(lists=1, reads=60 * staged)
    for rate in rates:
        trades = 3600 * rate
        is_active = 1 - exp(-trades / fills)  # the share of hours with trades
        begun = trades / BLOCK  # blocks that begin now; another one was begun earlier
        # The version and the content of a block are read before it is written, unless it is new,
        # and its version is read again to check it. The same is read of its index.
        work.reads += 3 * is_active + 2 * begun + 2 * is_active
        work.writes += is_active + begun + is_active
        work.cpu += trades / _COMPACTED + (is_active + begun) * _REWRITE
    return work


def listing(rates: Iterable[float], months: float) -> CompactionWork:
    """Return the work of a run that lists the raw bucket, in addition to ``moving``: the symbols,
    and the objects of hours and the blocks of each. See ``compaction``."""
    work = CompactionWork(lists=1)
    for rate in rates:
        blocks = months * 30 * 24 * 3600 * rate / BLOCK
        work.lists += 1 + max(1, blocks * (1 + 1 / INDEXED) / PAGE)
        work.reads += max(1, blocks / INDEXED)  # the indexes
    return work
