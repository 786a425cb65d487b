"""A pair's third work: raw trades that the target lacks are copied, an hour at a time."""

from collections.abc import Callable

from mcloud.clouds.ports import Archive
from mcloud.replication import raw
from mcloud.replication.copier import Copier
from mcloud.replication.dispute_filter import DisputeFilter
from mcloud.replication.pair_state import PairState
from mcloud.replication.progress import ProgressTracker
from mcloud.replication.scheduled_work import NEVER

SETBACK = 1.0  # seconds that an hour waits in which something was refused
OBJECTS = 500  # raw objects copied between two looks at what changed


class RawReplication:
    """See ``turn.Work``.

    Args:
        pause: seconds between two looks at the archives of one hour.
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
        clock: Callable[[], float],
    ) -> None:
        self._source = source
        self._target = target
        self._state = state
        self._tracker = tracker
        self._dispute_filter = dispute_filter
        self._copier = copier
        self._pause = pause
        self._clock = clock
        self._not_before: dict[tuple[str, int], float] = {}
        """When to look at an hour again, by symbol and start."""

    def next_due(self) -> float:
        return min(map(self._due, self._tracker.marks), default=NEVER)

    def take(self) -> None:
        """Copy what the target lacks of one marked hour."""
        now = self._clock()
        marks = self._tracker.marks
        due = [hour for hour in marks if self._due(hour) <= now]
        # Those that change just now before those that were there before.
        hour = min(due, key=lambda hour: (not marks[hour], marks[hour], hour))
        # Should this fail, the other hours come first.
        self._not_before[hour] = now + max(self._pause, SETBACK)
        lacking, parts = raw.select(
            self._source, self._target, *hour, lambda: self._dispute_filter.misplaced(*hour)
        )
        copied = self._copier.copy([piece.stored for piece in lacking[:OBJECTS]])
        put = [len(item.body) for item in parts if self._target.put(item)]
        del self._not_before[hour]
        self._tracker.count(objects=copied.objects + len(put), bytes=copied.bytes + sum(put))
        self._tracker.report("damaged", copied.damaged)
        if len(lacking) <= OBJECTS:
            self._state.clear(*hour)
            self._tracker.clear(hour)
            self._not_before = {h: at for h, at in self._not_before.items() if at > now}
            self._not_before[hour] = now + self._pause

    def _due(self, hour: tuple[str, int]) -> float:
        return self._not_before.get(hour, 0.0)
