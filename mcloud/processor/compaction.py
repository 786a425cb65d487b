"""The scheduled compaction of a site's archive: one run of a function."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from mcloud.archive.blocks import is_settled
from mcloud.archive.compact import Compacted, compact
from mcloud.clouds.ports import Archive, Control, StoredObject
from mcloud.clouds.staged import StagedArchive
from mcloud.documents import Count, Damaged, Kind, Seconds, Time, encode
from mcloud.errors import McloudError
from mcloud.market.archive import HOUR
from mcloud.processor.log import log

RESERVE = 60.0
"""Seconds before its timeout in which a function begins no other block. To finish one block, to
remove what it was made of and to write the indexes takes less."""

NAMED = 10
"""Maximum number of problems in the document. The log has all of them."""

PART = 64 * 1024 * 1024
"""Maximum size in bytes of the staged objects that are compacted together, unless a single one is
larger. These are about 10,000,000 trades, which takes a third of the time of a function on AWS. A
part is repeated as a whole if the time runs out in it."""

FULL_EVERY = 24 * 3600.0 - 1800.0
"""Seconds after which a run lists the raw bucket as well. There, replicators and repairs leave
objects of hours, which lose nothing if they wait. It is less than a day, because a run may begin a
little earlier than the one of the day before."""


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
    staged: Count = 0
    """Number of staged objects that remained."""
    staged_since: Time | None = None
    """Time when the oldest of these was written. None if none remained."""
    full_at: Time | None = None
    """Begin of the last complete run that listed the raw bucket. None if there was none."""


COMPACTIONS, LAST = Kind("compaction", LastCompaction), "last"
"""Kind and key of the document in the control store."""


def last_compaction(control: Control) -> LastCompaction | Damaged | None:
    """Return the outcome of the last scheduled compaction, or None if there was none."""
    document = control.get(COMPACTIONS.name, LAST)
    return None if document is None else COMPACTIONS.decode(LAST, document)


SMALL = 1024 * 1024
"""Size in bytes up to which it is cheap to read a staged object that cannot be compacted yet."""


def _staged_view(archive: Archive, staging: Archive, clock: Callable[[], float]) -> StagedArchive:
    """Return the view of a site's archive for a compaction of what is staged. It shows staged
    objects in parts, and no large ones that were written in an hour whose trades are not compacted
    yet.
    """

    def is_ready(stored: StoredObject) -> bool:
        if stored.written is None or stored.size <= SMALL:
            return True
        return is_settled(int(stored.written * 1000) // HOUR * HOUR, clock)

    return StagedArchive(archive, staging, limit=PART, is_ready=is_ready, hours=False)


def compact_scheduled(
    archive: Archive,
    staging: Archive | None,
    control: Control,
    timeout: float,
    clock: Callable[[], float] = time.time,
) -> LastCompaction:
    """Compact an archive until the time runs out, from the symbol at which the last run stopped.

    Most runs move staged objects only, which needs no listing of the raw bucket.

    Args:
        archive: the raw bucket.
        staging: the staging bucket; None if the site has none.
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
    full_at = before.full_at if before else None
    is_full = staging is None or full_at is None or begun - full_at >= FULL_EVERY
    run = partial(compact, begin=begin, is_time_left=lambda: clock() < end, clock=clock)
    done = Compacted()
    if staging is not None:
        done = run(_staged_view(archive, staging, clock), lists_blocks=False)
    if is_full and not done.next_symbol:
        done = done.plus(run(archive))
    for problem in done.problems:
        log("ERROR", "cannot compact", problem=problem)
    for key in done.foreign:
        log("WARNING", "kept lines that are no messages", key=key)
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
        staged=done.staged,
        staged_since=done.staged_since,
        full_at=begun if is_full and not done.next_symbol else full_at,
    )
    control.keep(COMPACTIONS.name, LAST, encode(last))
    log("INFO", "compacted", **encode(last))
    if done.problems:
        raise McloudError(f"{len(done.problems)} objects cannot be compacted: {done.problems[0]}")
    return last
