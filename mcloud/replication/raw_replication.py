"""The third work of a pair: copy the raw trades that the target lacks, an hour at a time."""

from collections.abc import Callable

from mcloud.archive import raw
from mcloud.archive.raw import Piece
from mcloud.clouds.ports import Archive
from mcloud.market.archive import HOUR
from mcloud.replication.copier import Copier
from mcloud.replication.dispute_filter import DisputeFilter
from mcloud.replication.pair_state import PairState
from mcloud.replication.progress import ProgressTracker
from mcloud.replication.scheduled_work import NEVER

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
        self._copier = copier
        self._pause = pause
        self._delay = target.delay if waits else 0.0
        self._source_delay = source.delay if waits else 0.0
        self._clock = clock
        self._wall = wall
        self._not_before: dict[tuple[str, int], float] = {}
        """Earliest time of the next attempt for an hour, by symbol and start."""
        self._seen: dict[tuple[str, int], tuple[int, float]] = {}
        """Pages of changes of an hour, and when that number of pages was seen first."""

    def next_due(self) -> float:
        return min(map(self._due, self._state.marks), default=NEVER)

    def take(self) -> None:
        """Copy the missing raw trades of one marked hour to the target."""
        now = self._clock()
        marks = self._state.marks
        due = [hour for hour in marks if self._due(hour) <= now]
        # Hours with current changes come before hours from the comparison.
        hour = min(due, key=lambda hour: (not marks[hour], marks[hour], hour))
        # If this hour fails, the other hours come first.
        self._not_before[hour] = now + max(self._pause, SETBACK)
        is_whole = self._is_whole(hour, now)
        exported = self._state.as_of - self._source_delay  # by the clock of the source
        lacking, parts, young = raw.select(
            self._source,
            self._target,
            *hour,
            lambda: self._dispute_filter.misplaced(*hour),
            lambda piece: self._wait(piece) > 0,
        )
        copied = self._copier.copy([piece.stored for piece in lacking[:OBJECTS]])
        put = [len(item.body) for item in parts if self._target.put(item)]
        del self._not_before[hour]
        self._tracker.count(objects=copied.objects + len(put), bytes=copied.bytes + sum(put))
        self._tracker.report_damaged(copied.damaged)
        if young:
            wait = max(self._pause, min(map(self._wait, young)))
            self._not_before[hour] = now + (wait if len(lacking) <= OBJECTS else self._pause)
        elif len(lacking) <= OBJECTS and not is_whole:
            self._state.note_copied(*hour, exported)
            self._not_before[hour] = now + max(self._pause, self._source_delay / LOOKS)
        elif len(lacking) <= OBJECTS:
            self._state.clear(*hour)
            self._seen.pop(hour, None)
            self._not_before = {h: at for h, at in self._not_before.items() if at > now}
            self._not_before[hour] = now + self._pause

    def _is_whole(self, hour: tuple[str, int], now: float) -> bool:
        """Return whether the source has the raw trades of all changes of an hour."""
        start = hour[1] / 1000
        if not self._state.marks[hour] and self._wall() > start + HOUR / 1000 + self._source_delay:
            return True  # marked by the comparison, long after the hour
        pages = self._state.pages(*hour)
        if hour not in self._seen or self._seen[hour][0] != pages:
            self._seen[hour] = pages, now
        return now >= self._seen[hour][1] + self._source_delay

    def _wait(self, piece: Piece) -> float:
        """Return the seconds until a piece may be copied, or less than 0 if it may be now."""
        if not self._delay or piece.stored.written is None:
            return -1.0
        return piece.stored.written + self._delay - self._wall()

    def _due(self, hour: tuple[str, int]) -> float:
        return self._not_before.get(hour, 0.0)
