"""Which clock is for what, and how not to be misled by one that jumps.

- The wall clock (``time.time``) says when something happened, to people and to other machines. It
  may be set forward and back, and those of two machines differ. A time that it gave is compared
  with care: one from the future is no fresh one.
- The monotonic clock (``time.monotonic``) says how long something takes. It never goes back, but
  leaps forward where a machine was suspended or moved, and nothing was done meanwhile.

Whoever decides by time takes its clocks as arguments, so that tests can have them jump.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

AHEAD = 60.0  # seconds that the clock of another machine may be ahead of ours
SET = 5.0  # seconds; a smaller difference between two clocks is no jump


@dataclass(frozen=True)
class Clocks:
    """Both clocks, for whoever needs both."""

    wall: Callable[[], float] = time.time
    timer: Callable[[], float] = time.monotonic

    def now_ms(self) -> int:
        """Return the wall time in ms since 1970."""
        return int(self.wall() * 1000)


SYSTEM = Clocks()


class Limit:
    """A limit for a wait, by looks at a monotonic clock.

    One look counts for a quarter of it at most. So a leap of the clock ends no wait: what is waited
    for has had no chance to come in that time either.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._most = seconds / 4
        self._left = seconds
        self._last = clock()

    @property
    def left(self) -> float:
        """Seconds, 0 where it is over; each call is a look."""
        now = self._clock()
        self._left -= min(max(0.0, now - self._last), self._most)
        self._last = now
        return max(0.0, self._left)

    @property
    def is_over(self) -> bool:
        return self.left <= 0.0


class Jumps:
    """Finds out by how much the wall clock was set between two looks at it."""

    def __init__(self, wall: Callable[[], float], clock: Callable[[], float]) -> None:
        self._wall = wall
        self._clock = clock
        self._last = wall(), clock()

    def look(self) -> float:
        """Return the seconds by which it was set since the last look, negative for back."""
        now = self._wall(), self._clock()
        by_wall, by_clock = (new - old for new, old in zip(now, self._last, strict=True))
        self._last = now
        # The monotonic clock may have leapt instead: time has passed only if both say so.
        passed = by_clock if by_wall < 0 else min(by_wall, by_clock)
        jump = by_wall - passed
        return jump if abs(jump) > SET else 0.0


def is_recent(at: float, now: float, seconds: float, ahead: float = AHEAD) -> bool:
    """Return whether a wall time is less than ``seconds`` ago, and not from the future."""
    return -ahead <= now - at < seconds
