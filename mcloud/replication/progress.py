"""Progress of a pair of sites, which the pair's thread updates and any thread can read."""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from mcloud.clouds.ports import Lag
from mcloud.documents import OTHER_TEXTS, Seconds
from mcloud.replication.pair_state import PairState
from mcloud.replication.scope import Scope
from mcloud.runs import RunState

EXAMPLES = 100  # maximum number of disagreements, and of damaged objects, that are kept


PairPhase = Literal["starting", "comparing", "following"]


@dataclass(frozen=True)
class PairProgress:
    """The work that a pair has done since it was started, and its lag."""

    source: str
    target: str
    phase: Annotated[PairPhase, OTHER_TEXTS] = "starting"
    seen: int = 0
    """Number of candles that had changed or were compared."""
    written: int = 0
    """Number of candles that were created or extended at the target."""
    objects: int = 0
    """Number of raw objects copied."""
    bytes: int = 0
    candles_s: Seconds | None = None
    """Lag of the candles, in seconds. For this and the next three fields see ``ports.Lag``."""
    candles: int = 0
    raw_s: Seconds | None = None
    raw: int = 0
    trimmed: int = 0
    """Number of times that the source no longer had the changes, so that all was compared again."""
    disagreements: tuple[str, ...] = ()
    """Ids with two trades; at most ``EXAMPLES`` entries."""
    damaged: tuple[str, ...] = ()
    """Damaged candles and raw objects, which are skipped; at most ``EXAMPLES`` entries."""
    error: str = ""
    """Errors of the work that fails now and is being retried."""

    @property
    def moved(self) -> int:
        return self.written + self.objects

    def lag(self, part: str, at: float) -> Lag:
        return Lag(
            self.source, self.target, part, self.candles_s, self.candles, self.raw_s, self.raw, at
        )


@dataclass(frozen=True, kw_only=True)
class ReplicatorState(RunState):
    """The state document of a replicator."""

    pairs: tuple[PairProgress, ...]
    name: str = ""
    what: tuple[str, ...] = ()
    """The data that is copied: ``candles``, ``raw`` or both."""
    symbols: tuple[str, ...] | None = None
    """Symbols that are copied. None for all of them."""
    shard: str | None = None
    once: bool = False
    """Whether the run ends when the sites are equal."""


class ProgressTracker:
    """Tracks the progress of a pair.

    Args:
        clock: returns monotonic seconds.
        wall: returns seconds since 1970 by a clock that may be wrong. It is used to estimate the
            lag only until the time of the source is known.
    """

    def __init__(
        self,
        source: str,
        target: str,
        scope: Scope,
        state: PairState,
        *,
        log: logging.Logger,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self.name = f"{source} to {target}"
        self.log = log
        self._scope = scope
        self._clock = clock
        self._wall = wall
        self._state = state
        self._offset: float | None = None
        """Difference between the source's time and ``clock``; None until it is known."""
        self._progress = PairProgress(source, target)
        self._changing = threading.Lock()

    def hear(self, now: float, asked: float) -> None:
        """Note that it was ``now`` at the source when ``clock`` returned ``asked``."""
        self._offset = now - asked

    def note_waiting(self, candles: int) -> None:
        """Set the number of candles that are known to be waiting."""
        with self._changing:
            self._progress = replace(self._progress, candles=candles)

    def note_error(self, error: str) -> None:
        """Set the current error, or clear it with an empty text."""
        with self._changing:
            self._progress = replace(self._progress, error=error)

    def count(self, **more: int) -> None:
        """Add to fields of the progress."""
        with self._changing:
            sums = {name: getattr(self._progress, name) + count for name, count in more.items()}
            self._progress = replace(self._progress, **sums)

    def report_disagreements(self, found: Iterable[str]) -> None:
        """Log and keep new disagreements."""
        with self._changing:
            known = self._progress.disagreements
            new = _new(found, known)
            self._progress = replace(self._progress, disagreements=(*known, *new))
        self._warn("disagreements", new)

    def report_damaged(self, found: Iterable[str]) -> None:
        """Log and keep new entries of damaged candles and raw objects."""
        with self._changing:
            known = self._progress.damaged
            new = _new(found, known)
            self._progress = replace(self._progress, damaged=(*known, *new))
        self._warn("damaged", new)

    def _warn(self, what: str, new: Iterable[str]) -> None:
        for each in new:
            self.log.warning("%s: %s: %s", self.name, what, each)

    def progress(self) -> PairProgress:
        """Return the work that the pair has done, and its current lag."""
        with self._changing:
            progress = self._progress
        checkpoint = self._state.checkpoint
        if checkpoint is None:
            return progress
        now = self._wall() if self._offset is None else self._clock() + self._offset
        # Data that is not compared yet may be of any age.
        is_known = checkpoint.is_compared and checkpoint.as_of > 0
        candles_s = max(0.0, now - checkpoint.as_of) if is_known else None
        raw_s = candles_s
        if checkpoint.marks and candles_s is not None:
            oldest = min(checkpoint.marks.values())
            raw_s = max(candles_s, now - oldest) if oldest else None
        return replace(
            progress,
            phase="following" if checkpoint.is_compared else "comparing",
            candles_s=candles_s if self._scope.candles else None,
            raw_s=raw_s if self._scope.raw else None,
            raw=len(checkpoint.marks),
        )


def _new(found: Iterable[str], known: Sequence[str]) -> list[str]:
    """Return the entries that are not known yet, up to the limit."""
    return [each for each in found if each not in known][: EXAMPLES - len(known)]
