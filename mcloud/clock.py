"""The use of the two clocks, and protection against clocks that jump.

- The wall clock (``time.time``) gives the time of an event to people and to other machines. It can
  be set forward or back, and the clocks of two machines differ. Its times are therefore compared
  with care: a time in the future does not count as recent.
- The monotonic clock (``time.monotonic``) measures durations. It never goes back, but it jumps
  forward if a machine was suspended or moved, and no work was done meanwhile.

Code that decides by time takes its clocks as arguments, so that tests can make them jump.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

AHEAD = 60.0  # seconds that the clock of another machine may be ahead of ours
SET = 5.0  # seconds; a smaller difference between two clocks is not a jump


@dataclass(frozen=True)
class Clocks:
    """The wall clock and the monotonic clock, for code that needs both."""

    wall: Callable[[], float] = time.time
    timer: Callable[[], float] = time.monotonic

    def now_ms(self) -> int:
        """Return the wall time in ms since 1970."""
        return int(self.wall() * 1000)


SYSTEM = Clocks()


class Limit:
    """A time limit for a wait, by repeated checks of a monotonic clock.

    One check counts for at most a quarter of the limit. A jump of the clock therefore does not end
    a wait, since the awaited event could not happen during the jump either.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._most = seconds / 4
        self._left = seconds
        self._last = clock()

    @property
    def left(self) -> float:
        """Remaining time in seconds, or 0 if the limit is over. Each access is a check."""
        now = self._clock()
        self._left -= min(max(0.0, now - self._last), self._most)
        self._last = now
        return max(0.0, self._left)

    @property
    def is_over(self) -> bool:
        return self.left <= 0.0


class Jumps:
    """Detects by how much the wall clock was set between two checks."""

    def __init__(self, wall: Callable[[], float], clock: Callable[[], float]) -> None:
        self._wall = wall
        self._clock = clock
        self._last = wall(), clock()

    def look(self) -> float:
        """Return the seconds by which the wall clock was set since the last check; negative for
        back."""
        now = self._wall(), self._clock()
        by_wall, by_clock = (new - old for new, old in zip(now, self._last, strict=True))
        self._last = now
        # The monotonic clock may have jumped instead: time has passed only if both clocks agree.
        passed = by_clock if by_wall < 0 else min(by_wall, by_clock)
        jump = by_wall - passed
        return jump if abs(jump) > SET else 0.0


def is_recent(at: float, now: float, seconds: float, ahead: float = AHEAD) -> bool:
    """Return whether a wall time is less than ``seconds`` ago, and not from the future."""
    return -ahead <= now - at < seconds
