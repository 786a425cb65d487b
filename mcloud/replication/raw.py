"""Raw archives, compared by the trades that they hold.

Not by names alone: the Lambda function archives a batch of messages, the Cloud Function each
message, so that two sites with the same trades have them in different objects. A key tells which
ids are inside; only an object with missing ids in between has to be read to know them.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from mcloud.clouds.ports import Archive, Stored
from mcloud.errors import Refused
from mcloud.market.archive import (
    ArchiveObject,
    BadArchive,
    has_repeats,
    is_intact,
    pack,
    parse_key,
    prefix,
    unpack,
)
from mcloud.market.trade import Trade, without_filled_voids
from mcloud.replication.ids import Ids

KEPT = 64  # objects whose trades are kept in memory


class Copied(NamedTuple):
    objects: int
    bytes: int
    damaged: list[str]
    """Keys of the source whose content is not what they promise; these were not copied."""


def holdings(archive: Archive, symbol: str, hour: int) -> list[Stored]:
    """The objects of one hour (its start in ms) by key.

    Objects that somebody else put there are left out.
    """
    return [each for each in archive.list(prefix(symbol, hour)) if parse_key(each.key)]


def read(archive: Archive, key: str) -> list[Trade] | None:
    """The trades in an object; None where they are not what its key promises.

    The bytes may differ all the same: builds of zlib compress the same lines differently.
    """
    body = archive.get(key)
    try:
        return unpack(body) if is_intact(key, body) else None
    except BadArchive:
        return None


def ids_of(trades: Iterable[Trade]) -> Ids:
    return Ids((trade.id, trade.id) for trade in trades)


def coverage(archive: Archive, stored: Stored) -> Ids:
    """The ids that a key promises; none where its object must be read for that, and is damaged."""
    holding = parse_key(stored.key)
    if holding is None:
        return Ids()
    if holding.is_dense:
        return Ids([(holding.first_id, holding.last_id)])
    return ids_of(read(archive, stored.key) or ())


def covered(archive: Archive, objects: Iterable[Stored]) -> Ids:
    """The ids that some objects promise together."""
    ids = Ids()
    for stored in objects:
        ids.update(coverage(archive, stored))
    return ids


def lacking(source: Archive, target: Archive, symbol: str, hour: int) -> list[Stored]:
    """The source's objects of an hour that hold ids which the target lacks.

    With them come those that must be read for that and are damaged: ``copy`` names them.
    """
    theirs = holdings(source, symbol, hour)
    if not theirs:
        return []
    ours = holdings(target, symbol, hour)
    names = {stored.key for stored in ours}
    candidates = [stored for stored in theirs if stored.key not in names]
    if not candidates:
        return []
    have = covered(target, ours)
    ids = ((stored, coverage(source, stored)) for stored in candidates)
    return [stored for stored, held in ids if not held or held.minus(have)]


def archived(archive: Archive, symbol: str, hour: int, ids: Ids) -> list[Trade]:
    """The trades of these ids in an hour, from all objects that can be read; some maybe twice."""
    found: list[Trade] = []
    for stored in holdings(archive, symbol, hour):
        if ids.common(_range(stored)):
            found += (each for each in read(archive, stored.key) or () if each.id in ids)
    return found


class Selected(NamedTuple):
    whole: list[Stored]
    """The source's objects that hold ids which the target lacks, and contradict nothing."""
    parts: list[ArchiveObject]
    """Made of the others: what the target lacks of them, without what is disputed."""


def select(
    source: Archive,
    target: Archive,
    symbol: str,
    hour: int,
    find_disputed: Callable[[], Ids] = Ids,
) -> Selected:
    """What to bring to the target of an hour of the source, so that no id gets a second content.

    Only objects that overlap with others by id have to be read for that.

    Args:
        find_disputed: tells ids that have two contents somewhere; of these nothing is brought. It
            is called where the target lacks anything.
    """
    wanted = lacking(source, target, symbol, hour)
    if not wanted:
        return Selected([], [])
    disputed = find_disputed()
    ours = holdings(target, symbol, hour)
    theirs = holdings(source, symbol, hour)
    both = [(True, each) for each in theirs] + [(False, each) for each in ours]
    overlapping = _overlapping(wanted, both)

    @lru_cache(KEPT)  # neighbours overlap with the same ones
    def once(is_theirs: bool, key: str) -> list[Trade] | None:
        return read(source if is_theirs else target, key)

    whole: list[Stored] = []
    parts: list[ArchiveObject] = []
    for stored, beside in zip(wanted, overlapping, strict=True):
        if not beside and not _range(stored).common(disputed):
            whole.append(stored)
            continue
        trades = once(True, stored.key)
        if trades is None:
            whole.append(stored)  # whoever copies it names it as damaged
            continue
        known: dict[int, set[Trade]] = {}
        for is_theirs, other in beside:
            for trade in once(is_theirs, other.key) or ():
                known.setdefault(trade.id, set()).add(trade)
        sound = [
            trade
            for trade in trades
            if trade.id not in disputed and known.get(trade.id, {trade}) == {trade}
        ]
        if len(sound) == len(trades):
            whole.append(stored)
        else:
            have = covered(target, ours)
            parts += pack(trade for trade in undisputed(sound) if trade.id not in have)
    return Selected(whole, parts)


def undisputed(trades: Iterable[Trade]) -> list[Trade]:
    """The trades whose id no other one of them has with another content.

    A trade and a void do not disagree: the trade is right.
    """
    distinct = without_filled_voids(set(trades))
    counts = Counter(trade.id for trade in distinct)
    return [trade for trade in distinct if counts[trade.id] == 1]


def copy(source: Archive, target: Archive, objects: Iterable[Stored]) -> Copied:
    """Copy objects, checked on the way; one that is there already is left alone.

    Of an object that holds two trades under one id only the other trades are written.

    Raises:
        Refused: one of them, after all others are copied.
        McloudError: at once, where a site is away.
    """
    count = size = 0
    damaged = []
    refused = None
    for stored in objects:
        try:
            body = source.get(stored.key)
            if not is_intact(stored.key, body):
                damaged.append(stored.key)
                continue
            items = [ArchiveObject(stored.key, body)]
            if has_repeats(stored.key, body):
                items = pack(undisputed(unpack(body)))
            for item in items:
                if target.put(item):
                    count, size = count + 1, size + len(item.body)
        except Refused as error:
            refused = refused or error
    if refused:
        raise refused
    return Copied(count, size, damaged)


def _range(stored: Stored) -> Ids:
    """All ids from the first to the last that a key names."""
    holding = parse_key(stored.key)
    return Ids() if holding is None else Ids([(holding.first_id, holding.last_id)])


def _overlapping(
    objects: Sequence[Stored], others: Sequence[tuple[bool, Stored]]
) -> list[list[tuple[bool, Stored]]]:
    """For each object those of the others, apart from itself, whose range of ids it overlaps."""
    ranges = sorted(
        (run, number) for number, (_, other) in enumerate(others) for run in _range(other).runs
    )
    widest = max((last - first for (first, last), _ in ranges), default=0)
    found = []
    for stored in objects:
        ((first, last),) = _range(stored).runs
        begin = bisect_left(ranges, ((first - widest, 0), 0))
        beside = []
        for (other_first, other_last), number in ranges[begin:]:
            if other_first > last:
                break
            if other_last >= first and others[number][1].key != stored.key:
                beside.append(others[number])
        found.append(beside)
    return found
