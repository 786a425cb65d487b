"""The third work of a pair: copy the raw trades that the target lacks, some hours at a time."""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field

from mcloud.archive import blocks, raw
from mcloud.archive.raw import Hour, HourComparison, Piece, Selected
from mcloud.clouds.ports import Archive
from mcloud.market.archive import HOUR, ArchiveObject
from mcloud.market.ids import Ids
from mcloud.replication.copier import Copier
from mcloud.replication.dispute_filter import DisputeFilter
from mcloud.replication.pair_state import PairState
from mcloud.replication.progress import ProgressTracker
from mcloud.replication.scheduled_work import NEVER
from mcloud.workers import Workers

HOURS = 1_000
"""Maximum number of hours that are compared together. Their objects are listed together."""
AT_ONCE = 16
"""Maximum number of hours whose trades are in memory at the same time, and of old hours that are
listed together: an archive that is not compacted yet may have thousands of objects in each."""
HELD = 10.0
"""Seconds that fewer hours wait for the comparison to find more."""
SETBACK = 1.0  # minimum seconds before an hour that failed is tried again
OBJECTS = 500  # raw objects copied at the same time
TURN = 5.0  # seconds after which changes are polled again before more objects are copied
FRESH = 30.0  # seconds for which the comparison of an hour that was just marked is used
LOOKS = 2  # number of listings of an hour while the export service of the source may still write


class RawReplication:
    """Copies the raw trades of marked hours to the target; a ``scheduled_work.Work``.

    Trades that the export service of the target may still write are not copied yet. An hour stays
    marked while the export service of the source may still write trades of a candle that changed:
    nothing else would show that they have come.

    Args:
        pause: seconds between two listings of the archives of one hour.
        waits: whether to wait for the export services of both sites.
        wall: returns the time in seconds since 1970.
    """

    def __init__(
        self,
        source: Archive,
        target: Archive,
        state: PairState,
        *,
        tracker: ProgressTracker,
        dispute_filter: DisputeFilter,
        workers: Workers,
        copier: Copier,
        pause: float,
        waits: bool,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._source = source
        self._target = target
        self._state = state
        self._tracker = tracker
        self._dispute_filter = dispute_filter
        self._workers = workers
        self._copier = copier
        self._hours = HOURS
        """Maximum number of hours to take next."""
        self._pause = pause
        self._delay = target.delay if waits else 0.0
        self._source_delay = source.delay if waits else 0.0
        self._clock = clock
        self._wall = wall
        self._offered: dict[Hour, tuple[float, HourComparison]] = {}
        """Comparisons of hours that were just marked, with the time of each."""
        self._held_since: float | None = None
        """When the first of some hours of the comparison was found, which wait for more."""
        self._not_before: dict[Hour, float] = {}
        """Earliest time of the next attempt for an hour, by symbol and start."""
        self._seen: dict[Hour, tuple[int, float]] = {}
        """Pages of changes of an hour, and when that number of pages was seen first."""

    def offer(self, found: Mapping[Hour, HourComparison | None]) -> None:
        """Take the comparisons of hours that were just marked, so that they are not repeated."""
        now = self._clock()
        for hour, each in found.items():
            if each is not None and len(self._offered) < HOURS:
                self._offered[hour] = now, each

    def next_due(self) -> float:
        marks = self._state.marks
        due = min(map(self._due, marks), default=NEVER)
        if not marks or self._state.is_compared or len(marks) >= HOURS or any(marks.values()):
            self._held_since = None
            return due
        # The comparison may find more hours to take together.
        if self._held_since is None:
            self._held_since = self._clock()
        return max(due, self._held_since + HELD)

    def take(self) -> None:
        """Copy the missing raw trades of some marked hours to the target."""
        now = self._clock()
        marks = self._state.marks
        due = [hour for hour in marks if self._due(hour) <= now]
        # Hours with current changes come before hours from the comparison.
        due.sort(key=lambda hour: (not marks[hour], marks[hour], hour))
        # If one of these hours fails, it comes alone, and the other hours come first.
        count, self._hours = self._hours, 1
        self._held_since = None
        taken = self._together(due, count)
        if len(taken) < count:
            taken += self._soon(now, count - len(taken))
        for hour in taken:
            self._not_before[hour] = now + max(self._pause, SETBACK)
        self._copy(taken, now)
        self._hours = min(2 * count, HOURS)

    def _together(self, due: Sequence[Hour], count: int) -> list[Hour]:
        """Return the first hours, with at most ``AT_ONCE`` old ones that have to be listed."""
        taken: list[Hour] = []
        listed = 0
        for hour in due:
            if len(taken) == count:
                break
            if hour not in self._offered and blocks.may_hold(hour[1], self._wall):
                listed += 1
                if listed > AT_ONCE:
                    continue
            taken.append(hour)
        return taken

    def _soon(self, now: float, count: int) -> list[Hour]:
        """Return hours that are due later, and whose objects the same listing shows.

        The hours of all symbols are then due at the same time.
        """
        until = now + max(self._pause, self._source_delay / LOOKS)
        hours = [
            hour
            for hour in self._state.marks
            if now < self._due(hour) <= until and not blocks.may_hold(hour[1], self._wall)
        ]
        return sorted(hours)[:count]

    def _copy(self, hours: Sequence[Hour], now: float) -> None:
        whole = {hour for hour in hours if self._is_whole(hour, now)}
        exported = self._state.as_of - self._source_delay  # by the clock of the source
        self._dispute_filter.prepare({symbol for symbol, _ in hours}, self._workers)
        compared = self._compare(hours, now)
        batch = _Batch()
        for begin in range(0, len(hours), AT_ONCE):
            if begin and self._clock() > now + TURN:
                break
            some = hours[begin : begin + AT_ONCE]
            for hour, selected in self._select(some, compared, batch.wanted).items():
                batch.add(hour, selected, compared[hour])
            self._put(batch)
            if len(batch.left) >= OBJECTS:
                self._move(batch, now)
        self._move(batch, now)
        for hour in hours:
            self._note(hour, batch, hour in whole, exported)
        now = self._clock()
        self._not_before = {hour: at for hour, at in self._not_before.items() if at > now}

    def _compare(self, hours: Sequence[Hour], now: float) -> dict[Hour, HourComparison]:
        offered, self._offered = self._offered, {}
        compared = {hour: each for hour, (at, each) in offered.items() if at + FRESH >= now}
        left = [hour for hour in hours if hour not in compared]
        found = raw.compare_hours(self._source, self._target, left, self._workers.map)
        return compared | dict(zip(left, found, strict=True))

    def _select(
        self,
        hours: Sequence[Hour],
        compared: Mapping[Hour, HourComparison],
        copied: Container[str],
    ) -> dict[Hour, Selected]:
        """Select what to copy of some hours. Objects with keys in ``copied`` are left out."""
        wall = self._wall()

        def is_young(piece: Piece) -> bool:
            return self._wait(piece, wall) > 0

        lacking: dict[Hour, HourComparison] = {}
        wanted: dict[Hour, Ids] = {}
        for hour in hours:
            left = [piece for piece in compared[hour].lacking if piece.key not in copied]
            lacking[hour] = compared[hour]._replace(lacking=left)
            for piece in left:
                if not is_young(piece):
                    _add_ids(wanted, hour[0], piece)
        misplaced = self._dispute_filter.misplaced(wanted, self._workers)
        disputed = {symbol: self._dispute_filter.disputed(symbol) for symbol, _ in wanted}
        ours: dict[str, dict[int, list[Piece]]] = {}
        for (symbol, start), each in compared.items():
            ours.setdefault(symbol, {})[start] = each.ours

        def select(hour: Hour) -> Selected:
            symbol, start = hour

            def find_disputed() -> Ids:
                return _union([disputed[symbol], misplaced.get(hour, Ids())])

            def find_disputed_in(block: Piece) -> Ids:
                return _union([misplaced.get((symbol, each), Ids()) for each in block.hours])

            return raw.select(
                self._source,
                self._target,
                symbol,
                start,
                find_disputed,
                is_young,
                compared=lacking[hour],
                others=ours[symbol],
                find_disputed_in=find_disputed_in,
            )

        return dict(zip(hours, self._workers.map(select, hours), strict=True))

    def _put(self, batch: "_Batch") -> None:
        """Write the new objects, whose bodies take memory."""
        parts, batch.parts = batch.parts, []
        is_new = self._workers.map(self._target.put, parts)
        put = [len(item.body) for item, new in zip(parts, is_new, strict=True) if new]
        self._tracker.count(objects=len(put), bytes=sum(put))

    def _move(self, batch: "_Batch", begun: float) -> None:
        """Copy the objects, until it takes too long."""
        while batch.left:
            some = list(batch.left.values())[:OBJECTS]
            done = self._copier.copy(some)
            for each in some:
                del batch.left[each.stored.key]
            self._tracker.count(objects=done.objects, bytes=done.bytes)
            self._tracker.report_damaged(done.damaged)
            if self._clock() > begun + TURN:
                return

    def _note(self, hour: Hour, batch: "_Batch", is_whole: bool, exported: float) -> None:
        """Note what was copied of an hour, and when to compare it again."""
        pause = 0.0
        if hour not in batch.of_hour or batch.of_hour[hour] & batch.left.keys():
            pass  # the rest comes after the next poll for changes
        elif young := batch.young[hour]:
            pause = min(self._wait(piece, self._wall()) for piece in young)
        elif not is_whole:
            self._state.note_copied(*hour, exported)
            pause = self._source_delay / LOOKS
        else:
            self._state.clear(*hour)
            self._seen.pop(hour, None)
        self._not_before[hour] = self._clock() + max(self._pause, pause)

    def _is_whole(self, hour: Hour, now: float) -> bool:
        """Return whether the source has the raw trades of all changes of an hour."""
        start = hour[1] / 1000
        pages = self._state.pages(*hour)
        is_old = self._wall() > start + HOUR / 1000 + self._source_delay
        if not self._state.marks[hour] and not pages and is_old:
            return True  # marked by the comparison only, long after the hour
        if hour not in self._seen or self._seen[hour][0] != pages:
            self._seen[hour] = pages, now
        return now >= self._seen[hour][1] + self._source_delay

    def _wait(self, piece: Piece, wall: float) -> float:
        """Return the seconds until a piece may be copied, or less than 0 if it may be now."""
        if not self._delay or piece.stored.written is None:
            return -1.0
        return piece.stored.written + self._delay - wall

    def _due(self, hour: Hour) -> float:
        return self._not_before.get(hour, 0.0)


@dataclass
class _Batch:
    """The objects of some hours that are to be copied."""

    wanted: set[str] = field(default_factory=set)
    """Keys of all objects that are to be copied as they are."""
    left: dict[str, raw.Whole] = field(default_factory=dict)
    """Those of them that are not copied yet, by key."""
    parts: list[ArchiveObject] = field(default_factory=list)
    """New objects that are not written yet."""
    of_hour: dict[Hour, set[str]] = field(default_factory=dict)
    """Keys of the objects that an hour needs."""
    young: dict[Hour, list[Piece]] = field(default_factory=dict)

    def add(self, hour: Hour, selected: Selected, compared: HourComparison) -> None:
        for piece in selected.whole:
            if piece.key not in self.wanted:  # a block has several hours
                self.wanted.add(piece.key)
                self.left[piece.key] = piece.to_copy
        self.of_hour[hour] = self.wanted & {piece.key for piece in compared.lacking}
        self.young[hour] = selected.young
        self.parts += selected.parts


def _add_ids(wanted: dict[Hour, Ids], symbol: str, piece: Piece) -> None:
    """Add the ids that an object may bring to the target, by hour."""
    if not piece.hours:
        wanted.setdefault((symbol, piece.hour), Ids()).update(piece.range)
    for hour, held in piece.hours.items():
        wanted.setdefault((symbol, hour), Ids()).update(Ids(held.runs))


def _union(sets: Sequence[Ids]) -> Ids:
    union = Ids()
    for each in sets:
        union.update(each)
    return union
