"""The time to wait before the next attempt."""

from collections.abc import Callable

from mcloud.clock import doubled


class Backoff:
    """A wait that doubles with each failure up to a limit, with jitter, and is reset by success.

    Args:
        jitter: returns a number between two others, such as ``random.uniform``. Half of a wait is
            random, so that connections that were lost together do not reconnect together.
        first, longest: seconds.
        healthy: seconds that a connection must last to reset the wait.
    """

    def __init__(
        self,
        jitter: Callable[[float, float], float],
        *,
        first: float = 0.5,
        longest: float = 60.0,
        healthy: float = 60.0,
    ) -> None:
        self._jitter = jitter
        self._first = first
        self._longest = longest
        self._healthy = healthy
        self._failures = 0

    def lived(self, seconds: float) -> None:
        """Note how long a connection was open."""
        if seconds >= self._healthy:
            self._failures = 0

    def failed(self) -> None:
        """Note that a connection was lost, or could not be opened."""
        self._failures += 1

    def wait(self) -> float:
        """Return the seconds to wait before the next attempt; 0 before the first."""
        if not self._failures:
            return 0.0
        delay = doubled(self._first, self._failures - 1, self._longest)
        return self._jitter(delay / 2, delay)
