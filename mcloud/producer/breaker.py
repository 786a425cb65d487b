"""A circuit breaker: after some failures, a site is not called for a while, then tried once."""

from collections.abc import Callable
from typing import Final, Literal

from mcloud.backoff import Backoff, Jitter

FAILURES = 3  # number of failures in a row after which the breaker opens
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds

BreakerState = Literal["closed", "open", "half-open"]

CLOSED: Final = "closed"
OPEN: Final = "open"
HALF_OPEN: Final = "half-open"


class Breaker:
    """The breaker of one site. It is not thread-safe, so its owner calls it under a lock."""

    def __init__(self, clock: Callable[[], float], jitter: Jitter) -> None:
        self._clock = clock
        self._backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE, jitter)
        self._until = 0.0

    @property
    def state(self) -> BreakerState:
        if self._backoff.failures < FAILURES:
            return CLOSED
        return OPEN if self.wait() else HALF_OPEN

    def wait(self) -> float:
        """Return the number of seconds until the next attempt is allowed; 0 if it is now."""
        return max(0.0, self._until - self._clock())

    def succeed(self) -> None:
        self._backoff.succeeded()
        self._until = 0.0

    def fail(self, at_least: float = 0.0) -> None:
        """Count a failure. The next attempt waits longer, and at least for ``at_least`` seconds.

        The first failures in a row also wait, so that throttling is obeyed before it opens.
        """
        self._backoff.failed()
        self._until = self._clock() + max(at_least, self._backoff.pause())
