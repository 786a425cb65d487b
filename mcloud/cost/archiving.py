"""The work for the raw archive: the export to staged objects, and the compaction.

An export service collects the messages of all symbols in a staged object, and once an hour a
function makes blocks of these; see ``market.staged`` and ``archive.compact``. The number of
requests therefore depends on the number of symbols, and hardly on the number of messages.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp

from mcloud.market.block import BLOCK, INDEXED
from mcloud.market.staged import LARGEST, WINDOW

WINDOWS = 60 / WINDOW
"""Staged objects per minute, if there are trades all the time."""
PAGE = 1_000  # names in a page of a listing
_COMPACTED = 50_000  # trades that a whole CPU decodes and adds to blocks in a second, measured
_REWRITE = 0.25  # seconds of a whole CPU to read and write a block that is half full, measured


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


def staged_objects(messages: float, size: float) -> float:
    """Return the staged objects per minute of a number of messages, and of their bytes."""
    return max(min(messages, WINDOWS), size / LARGEST)


def compaction(
    rates: Iterable[float], staged: float, fills: float, months: float
) -> CompactionWork:
    """Return the work of an hour.

    Args:
        rates: trades per second of each symbol.
        staged: staged objects per minute.
        fills: trades at the same moment, on average.
        months: time since the deployment.
    """
    # One listing finds the symbols, and another one the staged objects.
    work = CompactionWork(lists=2, reads=60 * staged)
    for rate in rates:
        trades = 3600 * rate
        is_active = 1 - exp(-trades / fills)  # the share of hours with trades
        blocks = is_active + trades / BLOCK  # one that was begun earlier, and those that begin now
        stored = months * 30 * 24 * trades / BLOCK
        # Each block is read before it is written, and again to check it, with a read of its version
        # each time. The objects of hours, and the blocks with their indexes, are listed once.
        work.lists += 1 + max(1, stored * (1 + 1 / INDEXED) / PAGE)
        work.reads += 4 * blocks - trades / BLOCK + is_active
        work.writes += blocks + is_active
        work.cpu += trades / _COMPACTED + blocks * _REWRITE
    return work
