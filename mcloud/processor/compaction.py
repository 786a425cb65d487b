"""The scheduled compaction of a site's archive: one run of a function."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from mcloud.archive.compact import compact
from mcloud.clouds.ports import Archive, Control
from mcloud.documents import Count, Damaged, Kind, Seconds, Time, encode
from mcloud.errors import McloudError
from mcloud.processor.log import log

RESERVE = 60.0
"""Seconds before its timeout in which a function begins no other block. To finish one block, to
remove what it was made of and to write the indexes takes less."""

NAMED = 10
"""Maximum number of problems in the document. The log has all of them."""


@dataclass(frozen=True)
class LastCompaction:
    """The outcome of the last scheduled compaction of a site."""

    at: Time
    """Time of its end, in seconds since 1970."""
    seconds: Seconds
    """Its duration."""
    objects: Count
    """Number of objects that were put into blocks and removed."""
    blocks: Count
    """Number of blocks that were written."""
    trades: Count
    """Number of trades in the objects."""
    pending: Count
    """Number of objects whose hour had ended too recently."""
    problems: Count
    """Number of objects and blocks that could not be compacted."""
    named: tuple[str, ...] = ()
    """The first of the problems."""
    next_symbol: str = ""
    """Symbol at which the time ran out, and with which the next compaction begins; empty if this
    one was complete."""


COMPACTIONS, LAST = Kind("compaction", LastCompaction), "last"
"""Kind and key of the document in the control store."""


def last_compaction(control: Control) -> LastCompaction | Damaged | None:
    """Return the outcome of the last scheduled compaction, or None if there was none."""
    document = control.get(COMPACTIONS.name, LAST)
    return None if document is None else COMPACTIONS.decode(LAST, document)


def compact_scheduled(
    archive: Archive,
    control: Control,
    timeout: float,
    clock: Callable[[], float] = time.time,
) -> LastCompaction:
    """Compact an archive until the time runs out, from the symbol at which the last run stopped.

    Args:
        timeout: seconds after which the platform stops the function.
        clock: returns the time in seconds since 1970.

    Raises:
        McloudError: something could not be compacted, or a store does not answer. Everything else
            is done; the next run tries the rest again.
    """
    begun = clock()
    end = begun + timeout - min(RESERVE, timeout / 3)
    before = last_compaction(control)
    if isinstance(before, Damaged):
        log("ERROR", "cannot read the note of the last compaction", reason=str(before))
        before = None
    begin = before.next_symbol if before else ""
    done = compact(archive, begin=begin, is_time_left=lambda: clock() < end, clock=clock)
    for problem in done.problems:
        log("ERROR", "cannot compact", problem=problem)
    ended = clock()
    last = LastCompaction(
        at=ended,
        seconds=ended - begun,
        objects=done.objects,
        blocks=done.blocks,
        trades=done.trades,
        pending=done.pending,
        problems=len(done.problems),
        named=tuple(done.problems[:NAMED]),
        next_symbol=done.next_symbol,
    )
    control.keep(COMPACTIONS.name, LAST, encode(last))
    log("INFO", "compacted", **encode(last))
    if done.problems:
        raise McloudError(f"{len(done.problems)} objects cannot be compacted: {done.problems[0]}")
    return last
