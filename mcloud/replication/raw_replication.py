"""The third work of a pair: copy the raw trades that the target lacks, some hours at a time."""

from collections.abc import Callable, Sequence

from mcloud.archive import raw
from mcloud.archive.raw import HourComparison, Piece, Selected
from mcloud.clouds.ports import Archive
from mcloud.market.archive import HOUR
from mcloud.market.ids import Ids
from mcloud.replication.copier import Copier
from mcloud.replication.dispute_filter import DisputeFilter
from mcloud.replication.pair_state import PairState
from mcloud.replication.progress import ProgressTracker
from mcloud.replication.scheduled_work import NEVER
from mcloud.workers import Workers

Hour = tuple[str, int]
"""A symbol, and the start of an hour in ms since 1970."""

HOURS = 16
"""Maximum number of hours that are compared at the same time."""
HELD = 10.0
"""Seconds that fewer hours wait for the comparison to find more."""
SETBACK = 1.0  # minimum seconds before an hour that failed is tried again
OBJECTS = 500  # raw objects copied between two polls for changes
LOOKS = 4  # number of listings of an hour while the export service of the source may still write


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
        """Number of hours to take next."""
        self._pause = pause
        self._delay = target.delay if waits else 0.0
        self._source_delay = source.delay if waits else 0.0
        self._clock = clock
        self._wall = wall
        self._held_since: float | None = None
        """When the first of some hours of the comparison was found, which wait for more."""
        self._not_before: dict[Hour, float] = {}
        """Earliest time of the next attempt for an hour, by symbol and start."""
        self._seen: dict[Hour, tuple[int, float]] = {}
        """Pages of changes of an hour, and when that number of pages was seen first."""

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
        for hour in due[:count]:
            self._not_before[hour] = now + max(self._pause, SETBACK)
        self._copy(due[:count], now)
        self._hours = min(2 * count, HOURS)

    def _copy(self, hours: Sequence[Hour], now: float) -> None:
        whole = {hour for hour in hours if self._is_whole(hour, now)}
        exported = self._state.as_of - self._source_delay  # by the clock of the source
        compared = self._workers.map(lambda hour: self._compare(*hour), hours)
        wall = self._wall()
        # Only this thread may use the filter.
        disputed = {
            hour: self._dispute_filter.misplaced(*hour)
            for hour, each in zip(hours, compared, strict=True)
            if not all(self._wait(piece, wall) > 0 for piece in each.lacking)
        }

        def select(of: tuple[Hour, HourComparison]) -> Selected:
            hour, each = of

            def find_disputed() -> Ids:
                return disputed[hour]

            return raw.select(
                self._source,
                self._target,
                *hour,
                find_disputed,
                lambda piece: self._wait(piece, wall) > 0,
                compared=each,
            )

        selected = self._workers.map(select, zip(hours, compared, strict=True))
        # A block has several hours.
        lacking = list(
            {piece.key: piece.stored for each in selected for piece in each.whole}.values()
        )
        copied = self._copier.copy(lacking[:OBJECTS])
        parts = [item for each in selected for item in each.parts]
        put = [len(item.body) for item in parts if self._target.put(item)]
        self._tracker.count(objects=copied.objects + len(put), bytes=copied.bytes + sum(put))
        self._tracker.report_damaged(copied.damaged)
        for hour, each in zip(hours, selected, strict=True):
            if len(lacking) > OBJECTS:
                pause = 0.0
            elif each.young:
                pause = min(self._wait(piece, self._wall()) for piece in each.young)
            elif hour not in whole:
                self._state.note_copied(*hour, exported)
                pause = self._source_delay / LOOKS
            else:
                self._state.clear(*hour)
                self._seen.pop(hour, None)
                pause = 0.0
            self._not_before[hour] = self._clock() + max(self._pause, pause)
        now = self._clock()
        self._not_before = {hour: at for hour, at in self._not_before.items() if at > now}

    def _compare(self, symbol: str, hour: int) -> HourComparison:
        return raw.compare(self._source, self._target, symbol, hour)

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
