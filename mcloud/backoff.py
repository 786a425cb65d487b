"""Pauses that grow with each attempt at something that fails, or that is not finished yet."""

from collections.abc import Callable

Jitter = Callable[[float, float], float]
"""Returns a random number between its two arguments, as ``random.uniform`` does."""


def grown(first: float, times: int, longest: float, factor: float = 2.0) -> float:
    """Return ``first``, multiplied ``times`` times by ``factor``, but at most ``longest``.

    Any number of times is valid: an outage may last for weeks.
    """
    # The exponent is limited, since 2.0 ** 1024 is an error.
    return min(first * factor ** min(times, 64), longest)


class Backoff:
    """The pause before the next attempt. It doubles with each failure, and a success resets it.

    Args:
        first, longest: seconds.
        jitter: makes half of a pause random, so that callers that failed together do not retry
            together. Without it, the whole pause is fixed.
    """

    def __init__(self, first: float, longest: float, jitter: Jitter | None = None) -> None:
        self._first = first
        self._longest = longest
        self._jitter = jitter
        self.failures = 0
        """Number of failures in a row."""

    def succeeded(self) -> None:
        self.failures = 0

    def failed(self) -> None:
        self.failures += 1

    def pause(self) -> float:
        """Return the seconds to wait before the next attempt; 0 if the last one succeeded."""
        if not self.failures:
            return 0.0
        longest = grown(self._first, self.failures - 1, self._longest)
        return longest if self._jitter is None else self._jitter(longest / 2, longest)
