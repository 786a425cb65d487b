"""The first work of a pair: bring the changes of the source to the target."""

from collections.abc import Callable
from dataclasses import dataclass

from mcloud.backoff import grown
from mcloud.clouds.ports import Site
from mcloud.errors import DamagedData, Trimmed
from mcloud.market.archive import HOUR, prefix
from mcloud.market.candle import Candle
from mcloud.replication import hour_digest
from mcloud.replication.candle_writer import CandleWriter
from mcloud.replication.dispute_filter import DisputeFilter
from mcloud.replication.known_states import KnownStates, states
from mcloud.replication.pair_state import Checkpoint, PairState
from mcloud.replication.progress import ProgressTracker
from mcloud.replication.scope import Scope

SEEN = 10_000  # candles
CALM = 30.0  # seconds without a change after which the source is polled less often
FIRST_PAUSE = 0.5  # seconds between polls when nothing changes
PACE = 5.0  # minimum seconds between two pages of changes during the comparison
SHARE = 0.05  # maximum share of the time for changes during the comparison


@dataclass(frozen=True)
class Pauses:
    """Seconds between two polls."""

    busy: float = 1.0
    """Seconds between two reads of the changes, after a change. DynamoDB allows five reads per
    second and shard. A read each second costs $0.50 a month there and $0.80 on Firestore.
    """
    idle: float = 5.0
    """Seconds between two reads of the changes, when nothing has changed for a while."""
    raw: float = 10.0
    """Seconds between two listings of one hour's raw archive. A listing costs twelve times as much
    as a read.
    """
    waits: bool = True
    """Whether to wait for the export services: for that of the source to write the raw trades of a
    change, and for that of the target before they are copied.
    """


class ChangeFollower:
    """Reads the changes of the source and writes them to the target; a ``scheduled_work.Work``.

    Args:
        compare_all: starts again: from now on the source is followed, and everything before is
            compared.
        target_known: candle states that the target is known to hold.
    """

    def __init__(
        self,
        source: Site,
        target: Site,
        state: PairState,
        scope: Scope,
        *,
        tracker: ProgressTracker,
        candle_writer: CandleWriter,
        dispute_filter: DisputeFilter,
        compare_all: Callable[[], Checkpoint],
        target_known: KnownStates,
        pauses: Pauses,
        clock: Callable[[], float],
    ) -> None:
        self._source = source
        self._target = target
        self._state = state
        self._scope = scope
        self._tracker = tracker
        self._candle_writer = candle_writer
        self._dispute_filter = dispute_filter
        self._compare_all = compare_all
        self._target_known = target_known
        self._pauses = pauses
        self._clock = clock
        self._pause = pauses.busy
        self._look_at = clock()
        self._has_more = False
        """Whether the last poll found more changes than one page holds."""
        self._calm_at = clock()
        self._quiet_polls = 0
        """Number of polls without a change since the source became calm."""
        self._seen = KnownStates(SEEN)
        """Changes that have been processed. A source may report a change again."""
        self.is_quiet = False
        """Whether the last poll found no change."""

    def next_due(self) -> float:
        # The pause between two pages leaves time for the comparison. It ends when the comparison is
        # complete.
        return 0.0 if self._has_more and self._state.is_compared else self._look_at

    def look_again(self) -> None:
        """Make another poll due now; ``is_quiet`` is False until it is done."""
        self.is_quiet = False
        self._look_at = self._clock()

    def take(self) -> None:
        """Copy one page of changes to the target."""
        before = self._state.checkpoint or self._start()
        asked = self._clock()
        try:
            page = self._source.candles.changes(before.position)
        except (Trimmed, DamagedData) as error:  # DamagedData: the stored position is not valid
            self._warn(f"{error}; comparing everything again")
            self._tracker.count(trimmed=1)
            self._compare_all()
            return
        # The last of several changes of a candle includes the others.
        latest = {(each.symbol, each.start): each for each in page.candles if self._has(each)}
        self._tracker.report_damaged(f"{self._source.name}: {why}" for why in page.damaged)
        held = self._seen.lacking(states(latest.values()))
        self._tracker.count(seen=len(held))
        if self._scope.candles:
            sound = [self._dispute_filter.sound(latest[key]) for key in held]
            self._candle_writer.bring([each for each in sound if each.fragments], held)
        marks: dict[tuple[str, int], float] = {}
        if self._scope.raw:
            # The time is of the source's clock: the changes were made after the poll before this
            # one.
            since = before.as_of or page.as_of
            marks = {(symbol, start // HOUR * HOUR): since for symbol, start in held}
        self._state.advance(page.position, page.as_of, marks)
        if page.is_last:
            self._tracker.hear(page.as_of, asked)
        self._seen.add(held)
        self.is_quiet = page.is_last and not held
        if held:
            self._calm_at, self._quiet_polls = asked + CALM, 0
            self._pause = self._pauses.busy
        elif asked < self._calm_at:
            self._pause = max(self._pauses.busy, FIRST_PAUSE)
        else:
            self._quiet_polls += 1
            first = max(self._pauses.busy, FIRST_PAUSE)
            self._pause = grown(first, self._quiet_polls, self._pauses.idle)
        self._has_more = not page.is_last
        if self._has_more:
            # The comparison needs time as well, so these changes may be read a little later.
            took = self._clock() - asked
            self._pause = 0.0 if before.is_compared else max(PACE, took / SHARE)
        self._look_at = self._clock() + self._pause

    def _start(self) -> Checkpoint:
        if self._state.was_damaged:
            self._warn("the state file was damaged; comparing everything again")
        checkpoint = self._state.saved()
        if checkpoint is None:
            return self._compare_all()
        if self._is_emptied(checkpoint):
            self._warn("the target is empty; comparing everything again")
            self._target_known.forget()
            return self._compare_all()
        self._tracker.log.info("%s: continuing from the saved position", self._tracker.name)
        self._state.resume(checkpoint)
        return checkpoint

    def _is_emptied(self, checkpoint: Checkpoint) -> bool:
        """Return whether the target is empty, although the source has data that it had."""
        symbols = sorted(hour_digest.symbols(self._source, self._scope))
        here, there = self._source, self._target
        if self._scope.candles and not any(_has_candles(there, symbol) for symbol in symbols):
            return any(_has_candles(here, symbol) for symbol in symbols)
        if self._scope.raw and checkpoint.is_compared and not checkpoint.marks:
            return any(_has_raw(here, symbol) for symbol in symbols) and not any(
                _has_raw(there, symbol) for symbol in symbols
            )
        return False

    def _has(self, candle: Candle) -> bool:
        return self._scope.has(candle.symbol)

    def _warn(self, words: str) -> None:
        self._tracker.log.warning("%s: %s", self._tracker.name, words)


def _has_candles(site: Site, symbol: str) -> bool:
    try:
        return site.candles.last(symbol) is not None
    except DamagedData:  # a damaged candle also proves that there is data
        return True


def _has_raw(site: Site, symbol: str) -> bool:
    return next(iter(site.archive.list(prefix(symbol))), None) is not None
