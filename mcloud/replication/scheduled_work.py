"""Schedule the work of a pair of sites, with growing pauses while a site is unavailable."""

from collections.abc import Callable
from typing import Protocol

from mcloud.backoff import Backoff, Jitter
from mcloud.errors import McloudError

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds, after a failure
NEVER = float("inf")


class Work(Protocol):
    """One kind of work of a pair, which is done in bounded pieces."""

    def next_due(self) -> float:
        """Return the time, by the pair's clock, when work is due; NEVER if there is none."""
        ...

    def take(self) -> None:
        """Do a bounded piece of the work."""
        ...


class ScheduledWork:
    """Runs a piece of work when it is due, and retries it after growing pauses if it fails.

    Args:
        clock: returns monotonic seconds.
        jitter: returns a random number between its two arguments.
    """

    def __init__(
        self,
        work: Work,
        clock: Callable[[], float],
        jitter: Jitter,
    ) -> None:
        self._work = work
        self._clock = clock
        self._backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE, jitter)
        self._not_before = 0.0
        self.error = ""

    @property
    def failures(self) -> int:
        """Number of failures in a row."""
        return self._backoff.failures

    @property
    def due(self) -> float:
        """Time by ``clock`` of the next piece of work or retry."""
        return max(self._work.next_due(), self._not_before)

    def take(self) -> None:
        """Do a piece of the work if it is due."""
        if self.due > self._clock():
            return
        try:
            self._work.take()
        except Exception as error:  # noqa: BLE001 - no error may stop the other work and pairs
            self._backoff.failed()
            self._not_before = self._clock() + self._backoff.pause()
            is_ours = isinstance(error, McloudError)
            self.error = str(error) if is_ours else f"{type(error).__name__}: {error}"
        else:
            self._backoff.succeeded()
            self.error, self._not_before = "", 0.0
