"""Compare and copy raw archives by the trades that they hold.

Comparing names is not enough: the export service of each site collects other messages in a staged
object, and compaction puts their trades into blocks at different times. Two sites can therefore
have the same trades in different objects. The key of an object in the folder of an hour shows which
ids it holds, unless ids are missing in between. The index of a block shows its ids; see ``blocks``.
"""

import hashlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mcloud.archive import blocks
from mcloud.archive.blocks import Listed
from mcloud.clouds.ports import Archive, StoredObject
from mcloud.errors import Refused
from mcloud.market.archive import (
    ArchiveObject,
    BadArchive,
    has_repeats,
    inflate,
    is_intact,
    pack,
    parse,
    parse_key,
    prefix,
    unpack,
)
from mcloud.market.block import BlockKey, is_index_key, parse_block_key
from mcloud.market.ids import Ids
from mcloud.market.trade import Trade, without_filled_voids


class Copied(NamedTuple):
    objects: int
    bytes: int
    damaged: list[str]
    """Keys of damaged objects of the source, which were not copied."""


@dataclass(frozen=True)
class Piece:
    """The trades of one hour in one object: either the whole object, or a part of a block."""

    stored: StoredObject
    hour: int
    """Start of the hour, in ms since 1970."""
    first_id: int
    last_id: int
    ids: Ids | None
    """Ids of the trades, or None if the object must be read to know them."""
    block: BlockKey | None = None
    digest: str = ""
    """Digest of the lines, for a part of a block."""
    has_repeats: bool = False
    """Whether some ids are known to have several trades."""
    share: float = 1.0
    """Share of the object's bytes that belongs to this piece."""
    hours: tuple[int, ...] = ()
    """Starts of all hours that the block has trades of, for a part of a block."""

    @property
    def key(self) -> str:
        return self.stored.key

    @property
    def is_first(self) -> bool:
        """Whether this is the earliest piece of its object."""
        return not self.hours or self.hour == self.hours[0]

    @property
    def range(self) -> Ids:
        """All ids from the first to the last, including any that are missing in between."""
        return Ids([(self.first_id, self.last_id)])

    @property
    def content(self) -> Hashable:
        """Identity of the object's content, equal for equal objects as far as listings show it."""
        return self.key, blocks.tag(self.stored)


def pieces(archive: Archive, symbol: str, hours: Iterable[int]) -> list[Piece]:
    """Return the pieces of some hours (their starts in ms): objects by key, then parts of blocks.

    Objects that mcloud did not write are left out.
    """
    hours = sorted(set(hours))
    # Hours come first, so that trades which compaction moves in the meantime are found in a block.
    found = [piece for hour in hours for piece in objects(archive, prefix(symbol, hour))]
    if settled := {hour for hour in hours if blocks.may_hold(hour)}:
        listed = blocks.listed(archive, symbol)
        found += [piece for piece in parts_of(listed) if piece.hour in settled]
    return found


def holdings(archive: Archive, symbol: str, hour: int) -> list[Piece]:
    """Return the pieces of one hour (its start in ms)."""
    return pieces(archive, symbol, [hour])


def objects(
    archive: Archive, folder: str, foreign: Callable[[str], None] = lambda key: None
) -> Iterator[Piece]:
    """Yield the objects in the folders of hours under a prefix, each as one piece, by key."""
    for stored in archive.list(folder):
        holding = parse_key(stored.key)
        if holding is not None:
            ids = Ids([(holding.first_id, holding.last_id)]) if holding.is_dense else None
            yield Piece(stored, holding.hour, holding.first_id, holding.last_id, ids)
        elif not parse_block_key(stored.key) and not is_index_key(stored.key):
            foreign(stored.key)


def parts_of(listed: Iterable[Listed]) -> Iterator[Piece]:
    """Yield the pieces of blocks.

    A damaged block is one piece, which is placed in the last hour of the blocks before it.
    """
    latest = 0
    for key, stored, entry in listed:
        if entry is None:
            yield Piece(stored, latest, key.first_id, key.last_id, None, key)
            continue
        lines = sum(held.lines for held in entry.hours.values())
        hours = tuple(sorted(entry.hours))
        for hour, held in entry.hours.items():
            ids = Ids(held.runs)
            yield Piece(
                stored,
                hour,
                held.runs[0][0],
                held.runs[-1][1],
                ids,
                key,
                held.digest,
                held.lines > ids.count,
                held.lines / lines,
                hours,
            )
        latest = max(latest, *entry.hours)


def read(archive: Archive, piece: Piece) -> list[Trade] | None:
    """Return the trades of a piece, or None if its object is damaged."""
    if piece.block is not None:
        block = blocks.read(archive, piece.block, piece.stored)
        return None if block is None else block.trades(piece.hour)
    return read_object(archive, piece.key)


def read_object(archive: Archive, key: str) -> list[Trade] | None:
    """Return the trades of an object that is no block, or None if it is damaged."""
    text = read_text(archive, key)
    try:
        return None if text is None else parse(text)
    except BadArchive:
        return None


def read_text(archive: Archive, key: str) -> bytes | None:
    """Return the lines of an object that is no block, or None if it is damaged."""
    body = archive.get(key)
    return inflate(body) if is_intact(key, body) else None


def ids_of(trades: Iterable[Trade]) -> Ids:
    return Ids((trade.id, trade.id) for trade in trades)


def coverage(archive: Archive, piece: Piece) -> Ids:
    """Return the ids of a piece. They are empty if the object must be read and is damaged."""
    return ids_of(read(archive, piece) or ()) if piece.ids is None else piece.ids


def covered(archive: Archive, found: Iterable[Piece]) -> Ids:
    """Return the ids of some pieces together."""
    ids = Ids()
    for piece in found:
        ids.update(coverage(archive, piece))
    return ids


class HourComparison(NamedTuple):
    """The pieces of an hour in two archives."""

    theirs: list[Piece]
    """Those of the source."""
    ours: list[Piece]
    """Those of the target; empty if the source has none."""
    lacking: list[Piece]
    """Pieces of the source that hold ids which the target lacks. Pieces of damaged objects are
    included if they have to be read; ``copy`` reports them."""


def compare(source: Archive, target: Archive, symbol: str, hour: int) -> HourComparison:
    """Compare the ids of an hour in two archives."""
    theirs = holdings(source, symbol, hour)
    if not theirs:
        return HourComparison([], [], [])
    ours = holdings(target, symbol, hour)
    known = {piece.key for piece in ours if piece.block is None}
    candidates = [piece for piece in theirs if piece.key not in known]
    if not candidates:
        return HourComparison(theirs, ours, [])
    have = covered(target, ours)
    ids = ((piece, coverage(source, piece)) for piece in candidates)
    lacks = [piece for piece, held in ids if not held or held.minus(have)]
    return HourComparison(theirs, ours, lacks)


def archived(archive: Archive, symbol: str, hour: int, ids: Ids) -> list[Trade]:
    """Return the trades with these ids in an hour, from all objects that can be read.

    A trade in several objects is returned several times.
    """
    found: list[Trade] = []
    for piece in holdings(archive, symbol, hour):
        if ids.common(piece.range):
            found += (each for each in read(archive, piece) or () if each.id in ids)
    return found


class Selected(NamedTuple):
    whole: list[Piece]
    """Pieces whose objects can be copied: the target lacks some of their ids, and nothing
    contradicts them."""
    parts: list[ArchiveObject]
    """New objects, made of the trades in other objects that the target lacks and that are not
    disputed."""
    young: list[Piece]
    """Pieces that hold something that the target lacks, but are too young to copy."""


def select(
    source: Archive,
    target: Archive,
    symbol: str,
    hour: int,
    find_disputed: Callable[[], Ids] = Ids,
    is_young: Callable[[Piece], bool] = lambda piece: False,
    compared: HourComparison | None = None,
) -> Selected:
    """Select the raw trades of an hour to copy so that no id gets a second content at the target.

    Only objects whose ids overlap with those of others have to be read for that.

    Args:
        find_disputed: returns the ids that have two contents anywhere. These are not copied. It is
            called only if the target lacks anything.
        is_young: returns whether a piece is too young to copy.
        compared: the comparison of the hour, if it was just made.
    """
    wanted: list[Piece] = []
    young: list[Piece] = []
    for piece in (compared or compare(source, target, symbol, hour)).lacking:
        (young if is_young(piece) else wanted).append(piece)
    if not wanted:
        return Selected([], [], young)
    disputed = find_disputed()
    # Meanwhile the target may have got other objects.
    ours, theirs = holdings(target, symbol, hour), holdings(source, symbol, hour)
    both = [(source, each) for each in theirs] + [(target, each) for each in ours]
    whole: list[Piece] = []
    parts: list[ArchiveObject] = []
    for piece, beside in zip(wanted, _overlapping(wanted, both), strict=True):
        if not beside and _may_be_copied(piece, target, disputed):
            whole.append(piece)
            continue
        trades = read(source, piece)
        if trades is None:
            whole.append(piece)  # the copy reports it as damaged
            continue
        known: dict[int, set[Trade]] = {}
        for archive, other in beside:
            for trade in read(archive, other) or ():
                known.setdefault(trade.id, set()).add(trade)
        sound = [
            trade
            for trade in trades
            if trade.id not in disputed and known.get(trade.id, {trade}) == {trade}
        ]
        if len(sound) == len(trades) and piece.block is None:
            whole.append(piece)
        else:
            if piece.block is not None:
                # Another hour of the block may have been copied in the meantime.
                ours = holdings(target, symbol, hour)
            have = covered(target, ours)
            parts += pack(trade for trade in undisputed(sound) if trade.id not in have)
    return Selected(whole, parts, young)


def undisputed(trades: Iterable[Trade]) -> list[Trade]:
    """Return the trades whose id has only one content among them.

    A trade and a void with the same id do not disagree: the trade is kept.
    """
    distinct = without_filled_voids(set(trades))
    counts = Counter(trade.id for trade in distinct)
    return [trade for trade in distinct if counts[trade.id] == 1]


def copy(source: Archive, target: Archive, objects: Iterable[StoredObject]) -> Copied:
    """Copy and check objects. An object that already exists at the target is left unchanged.

    If an object has ids with two trades, only its other trades are written.

    Raises:
        Refused: one object was refused, after all others were copied.
        McloudError: a site cannot be reached. This is raised immediately.
    """
    count = size = 0
    damaged = []
    refused = None
    for stored in objects:
        try:
            items = _checked(source, stored)
            if items is None:
                damaged.append(stored.key)
                continue
            while items:
                item = items.pop()
                if target.put(item):
                    count, size = count + 1, size + len(item.body)
                elif parse_block_key(item.key) and not _is_there(target, item):
                    # Compaction has made the block in the meantime. It will add these objects too.
                    items += pack(undisputed(unpack(item.body)))
        except Refused as error:
            refused = refused or error
    if refused:
        raise refused
    return Copied(count, size, damaged)


def _checked(source: Archive, stored: StoredObject) -> list[ArchiveObject] | None:
    """Return the objects to write in place of one of the source, or None if it is damaged."""
    item = ArchiveObject(stored.key, source.get(stored.key))
    if key := parse_block_key(item.key):
        hours = blocks.hours(source, key, stored, item.body)
        if hours is None:
            return None
        repeats = any(each.lines > Ids(each.runs).count for each in hours.values())
    elif is_intact(item.key, item.body):
        repeats = has_repeats(item.key, item.body)
    else:
        return None
    return pack(undisputed(unpack(item.body))) if repeats else [item]


def _is_there(archive: Archive, item: ArchiveObject) -> bool:
    md5 = hashlib.md5(item.body, usedforsecurity=False).hexdigest()
    stored = archive.stat(item.key)
    return stored is not None and stored.md5 == md5


def _may_be_copied(piece: Piece, target: Archive, disputed: Ids) -> bool:
    """Return whether an object may be copied as it is: nothing else has its ids or disputes them.

    For a block, this takes into account all of its hours.
    """
    if piece.block is None:
        return not piece.range.common(disputed)
    key = piece.block
    everything = Ids([(key.first_id, key.last_id)])
    if everything.common(disputed) or target.stat(str(key)) is not None:
        return False
    days = {prefix(key.symbol, hour).partition("hour=")[0] for hour in piece.hours}
    return not any(
        everything.common(each.range) for day in sorted(days) for each in objects(target, day)
    )


def _overlapping(
    wanted: Sequence[Piece], others: Sequence[tuple[Archive, Piece]]
) -> list[list[tuple[Archive, Piece]]]:
    """Return, for each piece, the other pieces whose range of ids overlaps with its own."""
    ranges = sorted(
        (other.first_id, other.last_id, number) for number, (_, other) in enumerate(others)
    )
    widest = max((last - first for first, last, _ in ranges), default=0)
    found = []
    for piece in wanted:
        begin = bisect_left(ranges, (piece.first_id - widest, 0, 0))
        beside = []
        for first, last, number in ranges[begin:]:
            if first > piece.last_id:
                break
            archive, other = others[number]
            if last >= piece.first_id and other.content != piece.content:
                beside.append((archive, other))
        found.append(beside)
    return found
