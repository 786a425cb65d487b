"""How far a pair of sites is: told by the one thread that works on it, asked by any."""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from mcloud.clouds.ports import Lag
from mcloud.documents import Seconds
from mcloud.replication.pair_state import Checkpoint, Marks
from mcloud.replication.scope import Scope

EXAMPLES = 100  # of disagreements and damaged objects that are kept
NONE: Marks = MappingProxyType({})


@dataclass(frozen=True)
class PairProgress:
    """What a pair did since it was started, and how far it is."""

    source: str
    target: str
    phase: str = "starting"
    """``starting``, ``comparing`` or ``following``."""
    seen: int = 0
    """Candles that had changed, or were compared."""
    written: int = 0
    """Candles that the target has by it, or has more of."""
    objects: int = 0
    """Raw objects that were copied."""
    bytes: int = 0
    candles_s: Seconds | None = None
    """See ``ports.Lag``, as for the next three."""
    candles: int = 0
    raw_s: Seconds | None = None
    raw: int = 0
    trimmed: int = 0
    """How often the source no longer knew what had changed, and all was compared again."""
    disagreements: tuple[str, ...] = ()
    """Two trades under one id; the first few."""
    damaged: tuple[str, ...] = ()
    """Candles and raw objects that are not what they should be, and are left out; the first few."""
    error: str = ""
    """What it cannot do just now, and tries again."""

    @property
    def moved(self) -> int:
        return self.written + self.objects

    def lag(self, part: str, at: float) -> Lag:
        return Lag(
            self.source, self.target, part, self.candles_s, self.candles, self.raw_s, self.raw, at
        )


class ProgressTracker:
    """Where a pair stands, and what it did so far.

    Args:
        clock: monotonic seconds.
        wall: seconds since 1970, by a clock that may be wrong: it only guesses a lag until the
            source has told its own time.
    """

    def __init__(
        self,
        source: str,
        target: str,
        scope: Scope,
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
        self._checkpoint: Checkpoint | None = None
        self._marks: dict[tuple[str, int], float] = {}
        self._offset: float | None = None
        """What to add to ``clock`` for the source's time; None until the source has told it."""
        self._progress = PairProgress(source, target)
        self._changing = threading.Lock()

    @property
    def checkpoint(self) -> Checkpoint | None:
        """None before the pair has begun."""
        return self._checkpoint

    @property
    def is_compared(self) -> bool:
        """True where the target has what the source had before the first position."""
        return self._checkpoint is not None and self._checkpoint.is_compared

    @property
    def marks(self) -> Mapping[tuple[str, int], float]:
        """Hours whose raw trades the target may lack; see ``state.Marks``."""
        return self._marks

    def set(self, checkpoint: Checkpoint, marks: Marks = NONE) -> None:
        """The pair is there now, and these hours are marked as well."""
        with self._changing:
            self._checkpoint = checkpoint
            self._marks = {**marks, **self._marks}

    def clear(self, hour: tuple[str, int]) -> None:
        """Take the mark from an hour."""
        with self._changing:
            del self._marks[hour]

    def hear(self, now: float, asked: float) -> None:
        """It was ``now`` at the source when ``clock`` said ``asked``."""
        self._offset = now - asked

    def note(self, **values: Any) -> None:
        """Set fields of the progress."""
        with self._changing:
            self._progress = replace(self._progress, **values)

    def count(self, **more: int) -> None:
        """Add to fields of the progress."""
        with self._changing:
            sums = {name: getattr(self._progress, name) + count for name, count in more.items()}
            self._progress = replace(self._progress, **sums)

    def report(self, name: str, found: Iterable[str]) -> None:
        """Log and keep what nobody has reported yet: ``disagreements`` or what is ``damaged``."""
        with self._changing:
            known = getattr(self._progress, name)
            new = [each for each in found if each not in known][: EXAMPLES - len(known)]
            values: dict[str, Any] = {name: (*known, *new)}
            self._progress = replace(self._progress, **values)
        for each in new:
            self.log.warning("%s: %s: %s", self.name, name, each)

    def progress(self) -> PairProgress:
        """What the pair did, and how far it is at this moment."""
        with self._changing:
            progress, checkpoint, marks = self._progress, self._checkpoint, dict(self._marks)
        if checkpoint is None:
            return progress
        now = self._wall() if self._offset is None else self._clock() + self._offset
        # What is not compared yet may be of any age.
        is_known = checkpoint.is_compared and checkpoint.as_of > 0
        candles_s = max(0.0, now - checkpoint.as_of) if is_known else None
        raw_s = candles_s
        if marks and candles_s is not None:
            oldest = min(marks.values())
            raw_s = max(candles_s, now - oldest) if oldest else None
        return replace(
            progress,
            phase="following" if checkpoint.is_compared else "comparing",
            candles_s=candles_s if self._scope.candles else None,
            raw_s=raw_s if self._scope.raw else None,
            raw=len(marks),
        )
