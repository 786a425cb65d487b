"""How long to wait before the next attempt."""

from collections.abc import Callable


class Backoff:
    """Doubles with each failure up to a cap, jittered, and forgets after a healthy time.

    Args:
        jitter: a number between the two given, such as ``random.uniform``. Half of a wait is
            random, so that connections that were cut together do not come back together.
        first, longest: seconds.
        healthy: seconds that a connection lives to count as sound.
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
        """A connection was open for so long."""
        if seconds >= self._healthy:
            self._failures = 0

    def failed(self) -> None:
        """A connection was lost, or an attempt to open one came to nothing."""
        self._failures += 1

    def wait(self) -> float:
        """Seconds to wait before the next attempt; none before the first."""
        if not self._failures:
            return 0.0
        # The exponent is bounded: after a night of failures 2**n is no float any more.
        delay = min(self._longest, self._first * 2 ** min(self._failures - 1, 32))
        return self._jitter(delay / 2, delay)
