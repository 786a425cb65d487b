"""One ordered pair of sites: replicates from the source to the target, and reports the progress.

A pair follows the changes of the source from a position on. At the same time it compares everything
from before that position. Raw trades follow their candles: a changed candle marks its hour, and the
archives of marked hours are compared, until the source should have exported the change. Once a day,
the raw archives are compared as a whole.

Nothing is deleted anywhere: if a source loses its data, the target keeps its own.
"""

import logging
import random
import time
from collections.abc import Callable, Mapping

from mcloud.backoff import Jitter
from mcloud.clouds.ports import Site
from mcloud.errors import McloudError
from mcloud.replication.candle_writer import CandleWriter
from mcloud.replication.change_follower import ChangeFollower, Pauses
from mcloud.replication.copier import Copier
from mcloud.replication.dispute_filter import DisputeFilter
from mcloud.replication.history_comparison import HistoryComparison
from mcloud.replication.known_states import KnownStates
from mcloud.replication.pair_state import PairState
from mcloud.replication.progress import PairProgress, ProgressTracker
from mcloud.replication.raw_comparison import RawComparison
from mcloud.replication.raw_replication import RawReplication
from mcloud.replication.scheduled_work import ScheduledWork
from mcloud.replication.scope import Scope
from mcloud.workers import Workers

_SILENT = logging.getLogger("mcloud.replication")
_SILENT.addHandler(logging.NullHandler())


class Pair:
    """Replicates one site to another. Only one thread may use it, except for ``progress``.

    Args:
        known: candle states that each site is known to hold, by name; shared by all pairs.
        clock: returns monotonic seconds.
        wall: returns seconds since 1970; see ``ProgressTracker``.
        jitter: returns a random number between its two arguments.
    """

    def __init__(
        self,
        source: Site,
        target: Site,
        state: PairState,
        scope: Scope,
        *,
        known: Mapping[str, KnownStates],
        workers: Workers,
        copier: Copier,
        pauses: Pauses,
        log: logging.Logger | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        jitter: Jitter = random.uniform,
    ) -> None:
        self.name = f"{source.name} to {target.name}"
        self._target = target
        self._state = state
        self._log = log or _SILENT
        self._clock = clock
        self._wall = wall
        self._tracker = ProgressTracker(
            source.name, target.name, scope, state, log=self._log, clock=clock, wall=wall
        )
        dispute_filter = DisputeFilter(source, target, state, known, self._tracker, clock)
        candle_writer = CandleWriter(source, target, known, workers, self._tracker)
        copying = RawReplication(
            source.archive,
            target.archive,
            state,
            tracker=self._tracker,
            dispute_filter=dispute_filter,
            workers=workers,
            copier=copier,
            pause=pauses.raw,
            waits=pauses.waits,
            clock=clock,
            wall=wall,
        )
        comparing = HistoryComparison(
            source,
            target,
            state,
            scope,
            tracker=self._tracker,
            candle_writer=candle_writer,
            dispute_filter=dispute_filter,
            offer=copying.offer,
            workers=workers,
            wall=wall,
        )
        self._following = ChangeFollower(
            source,
            target,
            state,
            scope,
            tracker=self._tracker,
            candle_writer=candle_writer,
            dispute_filter=dispute_filter,
            compare_all=comparing.begin,
            target_known=known[target.name],
            pauses=pauses,
            clock=clock,
        )
        self._comparing_again = RawComparison(
            source,
            target,
            state,
            scope,
            tracker=self._tracker,
            workers=workers,
            waits=pauses.waits,
            clock=clock,
            wall=wall,
        )
        self._turns = [
            ScheduledWork(work, clock, jitter)
            for work in (self._following, comparing, copying, self._comparing_again)
        ]

    def step(self) -> float:
        """Do a bounded piece of each work that is due, and return the seconds until more is due.

        Work that fails is retried later, with growing pauses, and does not delay other work. If the
        process ends at any moment, the next one repeats whatever was not finished.
        """
        for turn in self._turns:
            before = turn.error
            turn.take()
            if turn.error != before:
                self._log.warning("%s: %s", self.name, turn.error or "working again")
        errors = dict.fromkeys(turn.error for turn in self._turns if turn.error)
        self._tracker.note_error("; ".join(errors))
        return max(0.0, min(turn.due for turn in self._turns) - self._clock())

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to do, as of the last poll."""
        is_done = self._state.is_compared and self._following.is_quiet and not self._state.marks
        return is_done and not self.failures and not self._comparing_again.is_due

    @property
    def failures(self) -> int:
        """Number of consecutive failures of the work that fails most."""
        return max(turn.failures for turn in self._turns)

    def close(self) -> None:
        """Close the state file. Later steps fail."""
        self._state.close()

    def look_again(self) -> None:
        """Poll for changes again before the pair counts as idle."""
        self._following.look_again()

    def progress(self) -> PairProgress:
        """Return the work that the pair has done, and its current lag. Any thread may call it."""
        return self._tracker.progress()

    def note_lag(self, part: str) -> None:
        """Record the current lag at the target, for status displays. A failure is only logged."""
        if self.failures:
            return
        try:
            self._target.control.note_lag(self.progress().lag(part, self._wall()))
        except McloudError as error:
            self._log.info("%s: the lag cannot be recorded at the target: %s", self.name, error)
