"""One of the things that a pair of sites does, and its patience with a site that is away."""

from collections.abc import Callable
from typing import Protocol

from mcloud.errors import McloudError

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds, after a failure
NEVER = float("inf")


class Work(Protocol):
    def next_due(self) -> float:
        """When there is something to do, by the pair's clock; NEVER where there is nothing."""
        ...

    def take(self) -> None:
        """Do a bounded piece of it."""
        ...


class ScheduledWork:
    """
    Args:
        clock: monotonic seconds.
        jitter: a number between the two given.
    """

    def __init__(
        self,
        work: Work,
        clock: Callable[[], float],
        jitter: Callable[[float, float], float],
    ) -> None:
        self._work = work
        self._clock = clock
        self._jitter = jitter
        self._not_before = 0.0
        self.failures = 0
        self.error = ""

    @property
    def due(self) -> float:
        """By ``clock``."""
        return max(self._work.next_due(), self._not_before)

    def take(self) -> None:
        """Do it, if it is due."""
        if self.due > self._clock():
            return
        try:
            self._work.take()
        except Exception as error:  # noqa: BLE001 - whatever it is, the other pairs go on
            self.failures += 1
            longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self.failures - 1, 32))
            self._not_before = self._clock() + self._jitter(longest / 2, longest)
            is_ours = isinstance(error, McloudError)
            self.error = str(error) if is_ours else f"{type(error).__name__}: {error}"
        else:
            self.failures, self.error, self._not_before = 0, "", 0.0
