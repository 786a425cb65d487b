"""Compare and copy raw archives by the trades that they hold.

Comparing names is not enough: the export service of each site collects other messages in a staged
object, and compaction puts their trades into blocks at different times. Two sites can therefore
have the same trades in different objects. The key of an object in the folder of an hour shows which
ids it holds, unless ids are missing in between. The index of a block shows its ids; see ``blocks``.
"""

import hashlib
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeVar

from mcloud.archive import blocks
from mcloud.archive.blocks import Listed
from mcloud.clouds.ports import Archive, StoredObject
from mcloud.errors import Refused
from mcloud.market.archive import (
    ArchiveObject,
    BadArchive,
    Holding,
    has_repeats,
    hours_prefix,
    inflate,
    is_intact,
    pack,
    parse,
    parse_key,
    prefix,
    unpack,
)
from mcloud.market.block import BlockKey, HourOfBlock, is_index_key, parse_block_key
from mcloud.market.ids import Ids
from mcloud.market.trade import Trade, without_filled_voids

Item = TypeVar("Item")
Result = TypeVar("Result")
Hour = tuple[str, int]
"""A symbol, and the start of an hour in ms since 1970."""

PAGE = 1_000
"""Objects in a page of a listing, which is one request."""
FEW = 2
"""Maximum number of symbols whose objects are listed one symbol at a time."""


class Mapper(Protocol):
    """Calls a function for all items, maybe in several threads, like ``Workers.map``."""

    def __call__(
        self, call: Callable[[Item], Result], items: Iterable[Item], /
    ) -> list[Result]: ...


def in_turn(call: Callable[[Item], Result], items: Iterable[Item], /) -> list[Result]:
    """The ``Mapper`` that calls the function for one item after the other."""
    return [call(item) for item in items]


class Whole(NamedTuple):
    """An object to copy as it is."""

    stored: StoredObject
    has_repeats: bool | None = None
    """Whether some ids have several trades in it, according to the index that describes it. None
    if the object has to be read to know that."""


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
    hours: Mapping[int, HourOfBlock] = field(default_factory=dict)
    """All hours of the block by their start, for a part of a block."""
    whole: Whole | None = None
    """The block of this part."""

    @property
    def key(self) -> str:
        return self.stored.key

    @property
    def to_copy(self) -> Whole:
        """The object of this piece, for ``copy``."""
        return self.whole or Whole(self.stored)

    @property
    def is_first(self) -> bool:
        """Whether this is the earliest piece of its object."""
        return not self.hours or self.hour == min(self.hours)

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
    return found + _in_blocks(archive, symbol, hours)


def holdings(archive: Archive, symbol: str, hour: int) -> list[Piece]:
    """Return the pieces of one hour (its start in ms)."""
    return pieces(archive, symbol, [hour])


def pieces_of(
    archive: Archive, wanted: Collection[Hour], each: Mapper = in_turn
) -> dict[Hour, list[Piece]]:
    """Return the ``pieces`` of hours of many symbols, with as few requests as possible.

    The hours that have none are left out.
    """
    of_symbol: defaultdict[str, list[int]] = defaultdict(list)
    for symbol, hour in sorted(set(wanted)):
        of_symbol[symbol].append(hour)
    found: defaultdict[Hour, list[Piece]] = defaultdict(list)
    for symbol, piece in _objects_of(archive, of_symbol, each):
        found[symbol, piece.hour].append(piece)

    def in_blocks(symbol: str) -> list[Piece]:
        return _in_blocks(archive, symbol, of_symbol[symbol])

    for symbol, parts in zip(of_symbol, each(in_blocks, of_symbol), strict=True):
        for piece in parts:
            found[symbol, piece.hour].append(piece)
    return dict(found)


def _objects_of(
    archive: Archive, hours: Mapping[str, Sequence[int]], each: Mapper
) -> list[tuple[str, Piece]]:
    """Return the objects of some hours of each symbol, after their symbol and by key."""
    together = _listed_together(archive, hours, lambda held: held.hour in hours[held.symbol])
    if together is not None:
        return together

    def of_symbol(symbol: str) -> list[tuple[str, Piece]]:
        wanted = set(hours[symbol])
        folder = hours_prefix(symbol) if len(wanted) > 1 else prefix(symbol, *wanted)
        return [(symbol, each) for each in objects(archive, folder) if each.hour in wanted]

    return [named for several in each(of_symbol, hours) for named in several]


def _in_blocks(archive: Archive, symbol: str, hours: Iterable[int]) -> list[Piece]:
    """Return the parts of blocks that belong to some hours of a symbol."""
    settled = {hour for hour in hours if blocks.may_hold(hour)}
    if not settled:
        return []
    return [each for each in parts_of(blocks.listed(archive, symbol)) if each.hour in settled]


def objects(
    archive: Archive, folder: str, foreign: Callable[[str], None] = lambda key: None
) -> Iterator[Piece]:
    """Yield the objects in the folders of hours under a prefix, each as one piece, by key."""
    for stored in archive.list(folder):
        holding = parse_key(stored.key)
        if holding is not None:
            yield _piece(stored, holding)
        elif not parse_block_key(stored.key) and not is_index_key(stored.key):
            foreign(stored.key)


def _piece(stored: StoredObject, held: Holding) -> Piece:
    """Return the object of an hour as a piece."""
    ids = Ids([(held.first_id, held.last_id)]) if held.is_dense else None
    return Piece(stored, held.hour, held.first_id, held.last_id, ids)


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
        # The index describes the content with this MD5.
        is_described = stored.md5 != "" and stored.md5 == entry.tag
        whole = Whole(stored, _repeats(entry.hours.values()) if is_described else None)
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
                entry.hours,
                whole,
            )
        latest = max(latest, *entry.hours)


def _repeats(hours: Iterable[HourOfBlock]) -> bool:
    """Return whether some ids of a block have several trades."""
    return any(each.lines > Ids(each.runs).count for each in hours)


def read(archive: Archive, piece: Piece) -> list[Trade] | None:
    """Return the trades of a piece, or None if its object is damaged."""
    if piece.block is not None:
        block = blocks.read(archive, piece.block, piece.stored)
        return None if block is None else block.trades(piece.hour)
    return read_object(archive, piece.key)


def text(archive: Archive, piece: Piece) -> bytes | None:
    """Return the lines of a piece, or None if its object is damaged."""
    if piece.block is not None:
        block = blocks.read(archive, piece.block, piece.stored)
        return None if block is None else block.text(piece.hour)
    return read_text(archive, piece.key)


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
    return compare_hours(source, target, [(symbol, hour)])[0]


def compare_hours(
    source: Archive, target: Archive, hours: Sequence[Hour], each: Mapper = in_turn
) -> list[HourComparison]:
    """Compare the ids of hours of many symbols in two archives, with few requests."""
    theirs = pieces_of(source, hours, each)
    ours = pieces_of(target, theirs.keys(), each)

    def compared(hour: Hour) -> HourComparison:
        return _compared(source, target, theirs.get(hour, []), ours.get(hour, []))

    return each(compared, hours)


def _compared(
    source: Archive, target: Archive, theirs: list[Piece], ours: list[Piece]
) -> HourComparison:
    known = {piece.key for piece in ours if piece.block is None}
    candidates = [piece for piece in theirs if piece.key not in known]
    if not candidates:
        return HourComparison(theirs, ours, [])
    have = covered(target, ours)
    ids = ((piece, coverage(source, piece)) for piece in candidates)
    lacks = [piece for piece, held in ids if not held or held.minus(have)]
    return HourComparison(theirs, ours, lacks)


class _Held:
    """The trades of an hour in an archive, as far as listings and indexes show them."""

    def __init__(self) -> None:
        self.ids = Ids()
        self.others: set[Hashable] = set()
        """Contents whose ids only reading them would show."""
        self.parts: list[Piece] = []
        """Parts of blocks. There are few of them, unlike objects."""
        self.has_objects = False

    def add(self, piece: Piece) -> None:
        if piece.ids is None:
            self.others.add(piece.content)
        else:
            self.ids.update(piece.ids)
        if piece.block is None:
            self.has_objects = True
        else:
            self.parts.append(piece)

    def may_exceed(self, other: "_Held") -> bool:
        """Return whether the other archive may lack some of the trades."""
        return bool(self.ids.minus(other.ids) or self.others - other.others)


def lacking_hours(
    source: Archive, target: Archive, symbols: Sequence[str], each: Mapper = in_turn
) -> dict[Hour, HourComparison | None]:
    """Return the hours of some symbols of which the target seems to lack trades of the source.

    No object is read except for blocks without an index. An hour with contents that only reading
    them would compare is returned, unless the target has the same objects. The comparison is None
    unless all trades of the hour are in blocks at both sites.
    """
    theirs, ours = (_held(archive, symbols, each) for archive in (source, target))
    found: dict[Hour, HourComparison | None] = {}
    for hour, held in theirs.items():
        there = ours.get(hour) or _Held()
        if not held.may_exceed(there):
            continue
        is_complete = not (held.has_objects or held.others or there.has_objects or there.others)
        found[hour] = _compared(source, target, held.parts, there.parts) if is_complete else None
    return found


def _held(archive: Archive, symbols: Sequence[str], each: Mapper) -> dict[Hour, _Held]:
    """Return what an archive has of some symbols in each hour."""
    found: defaultdict[Hour, _Held] = defaultdict(_Held)

    def objects_of(symbol: str) -> dict[Hour, _Held]:
        held: defaultdict[Hour, _Held] = defaultdict(_Held)
        for piece in objects(archive, hours_prefix(symbol)):
            held[symbol, piece.hour].add(piece)
        return held

    def listed_blocks(symbol: str) -> list[Listed]:
        return blocks.listed(archive, symbol)

    # Blocks come last, so that trades which compaction moves in the meantime are found there.
    together = _listed_together(archive, symbols)
    if together is None:
        for held in each(objects_of, symbols):
            found.update(held)
    for symbol, piece in together or ():
        found[symbol, piece.hour].add(piece)
    for symbol, listed in zip(symbols, each(listed_blocks, symbols), strict=True):
        for piece in parts_of(listed):
            found[symbol, piece.hour].add(piece)
    return dict(found)


def _listed_together(
    archive: Archive, symbols: Collection[str], has: Callable[[Holding], bool] = lambda held: True
) -> list[tuple[str, Piece]] | None:
    """Return the objects of hours of some symbols, by key, each after its symbol.

    Return None if it takes fewer requests to list one symbol at a time.
    """
    if len(symbols) <= FEW:
        return None
    found = []
    wanted = set(symbols)
    for number, stored in enumerate(archive.list_hours()):
        if number >= PAGE * len(symbols):
            return None
        held = parse_key(stored.key)
        if held is not None and held.symbol in wanted and has(held):
            found.append((held.symbol, _piece(stored, held)))
    return found


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


NOTHING: Mapping[int, list[Piece]] = {}


def select(
    source: Archive,
    target: Archive,
    symbol: str,
    hour: int,
    find_disputed: Callable[[], Ids] = Ids,
    is_young: Callable[[Piece], bool] = lambda piece: False,
    compared: HourComparison | None = None,
    others: Mapping[int, list[Piece]] = NOTHING,
    find_disputed_in: Callable[[Piece], Ids] = lambda block: Ids(),
) -> Selected:
    """Select the raw trades of an hour to copy so that no id gets a second content at the target.

    Only objects whose ids overlap with those of others have to be read for that.

    Args:
        find_disputed: returns the ids that have two contents anywhere. These are not copied. It is
            called only if the target lacks anything.
        is_young: returns whether a piece is too young to copy.
        compared: the comparison of the hour, if it was just made.
        others: pieces of the target in other hours of the symbol, if they were just listed.
        find_disputed_in: returns the same ids as ``find_disputed`` for all hours of a block.
    """
    wanted: list[Piece] = []
    young: list[Piece] = []
    found = compared or compare(source, target, symbol, hour)
    for piece in found.lacking:
        (young if is_young(piece) else wanted).append(piece)
    if not wanted:
        return Selected([], [], young)
    disputed = find_disputed()
    # Meanwhile the target may have got other objects.
    ours = found.ours if compared else holdings(target, symbol, hour)
    both = [(source, each) for each in found.theirs] + [(target, each) for each in ours]
    whole: list[Piece] = []
    parts: list[ArchiveObject] = []
    for piece, beside in zip(wanted, _overlapping(wanted, both), strict=True):
        in_object = disputed if piece.block is None else _union(disputed, find_disputed_in(piece))
        if not beside and _may_be_copied(piece, target, in_object, {hour: ours, **others}):
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


def _union(one: Ids, other: Ids) -> Ids:
    ids = Ids(one.runs)
    ids.update(other)
    return ids


def undisputed(trades: Iterable[Trade]) -> list[Trade]:
    """Return the trades whose id has only one content among them.

    A trade and a void with the same id do not disagree: the trade is kept.
    """
    distinct = without_filled_voids(set(trades))
    counts = Counter(trade.id for trade in distinct)
    return [trade for trade in distinct if counts[trade.id] == 1]


def copy(source: Archive, target: Archive, objects: Iterable[Whole]) -> Copied:
    """Copy and check objects. An object that already exists at the target is left unchanged.

    If an object has ids with two trades, only its other trades are written.

    Raises:
        Refused: one object was refused, after all others were copied.
        McloudError: a site cannot be reached. This is raised immediately.
    """
    count = size = 0
    damaged = []
    refused = None
    for whole in objects:
        try:
            items = _checked(source, whole)
            if items is None:
                damaged.append(whole.stored.key)
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


def _checked(source: Archive, whole: Whole) -> list[ArchiveObject] | None:
    """Return the objects to write in place of one of the source, or None if it is damaged."""
    stored = whole.stored
    item = ArchiveObject(stored.key, source.get(stored.key))
    if whole.has_repeats is not None and _md5(item.body) == stored.md5:
        repeats = whole.has_repeats
    elif key := parse_block_key(item.key):
        hours = blocks.hours(source, key, stored, item.body)
        if hours is None:
            return None
        repeats = _repeats(hours.values())
    elif is_intact(item.key, item.body):
        repeats = has_repeats(item.key, item.body)
    else:
        return None
    return pack(undisputed(unpack(item.body))) if repeats else [item]


def _is_there(archive: Archive, item: ArchiveObject) -> bool:
    stored = archive.stat(item.key)
    return stored is not None and stored.md5 == _md5(item.body)


def _md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def _may_be_copied(
    piece: Piece, target: Archive, disputed: Ids, ours: Mapping[int, list[Piece]]
) -> bool:
    """Return whether an object may be copied as it is: nothing else has its ids or disputes them.

    For a block, this takes into account all of its hours.

    Args:
        ours: pieces of the target by hour, as far as they are known.
    """
    if piece.block is None:
        return not piece.range.common(disputed)
    key = piece.block
    everything = Ids([(key.first_id, key.last_id)])
    if everything.common(disputed) or target.stat(str(key)) is not None:
        return False
    listed = [each for hour in piece.hours for each in ours.get(hour, ())]
    if left := [hour for hour in piece.hours if hour not in ours]:
        listed += [each for _, each in _objects_of(target, {key.symbol: left}, in_turn)]
    return not any(everything.common(each.range) for each in listed)


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
