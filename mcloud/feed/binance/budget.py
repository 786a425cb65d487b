"""The weight of requests that may be sent to the exchange within a time window."""

import threading
from collections import deque
from collections.abc import Callable

MINUTE = 60.0  # seconds
# The exchange may count a request this much later than it is counted here. The weight therefore
# counts here for the window plus this time.
IN_FLIGHT = 10.0

MARGIN = 0.1  # share of the limit that is left for other programs with the same IP address


class WeightBudget:
    """Two counts of used weight: a sliding window over the weight that was granted here, and the
    weight that the exchange reported plus what was granted since. It is thread-safe.

    Args:
        limit: limit of the exchange, in weight per ``window``, of which ``margin`` is not used.
        clock: seconds, such as ``time.monotonic``.
        window: seconds.
    """

    def __init__(
        self,
        limit: int,
        *,
        clock: Callable[[], float],
        window: float = MINUTE + IN_FLIGHT,
        margin: float = MARGIN,
    ) -> None:
        self._clock = clock
        self._window = window
        self._margin = margin
        self._lock = threading.Lock()
        self._granted: deque[tuple[float, int]] = deque()
        self._used = 0
        self._counted = 0
        self._counted_until = self._blocked_until = float("-inf")
        self._capacity = 0
        self.learn_limit(limit)

    def ask(self, weight: int, share: float = 1.0) -> float:
        """Take ``weight`` and return 0, or take nothing and return the seconds to wait first.

        After the wait, the caller calls this again, because another thread may have been faster. A
        single weight above the limit is granted when nothing else is in the window, because it
        would never fit otherwise. With a ``share`` of the limit, the rest is left to other callers.
        """
        with self._lock:
            now = self._clock()
            self._forget(now)
            until = self._blocked_until
            capacity = int(self._capacity * share)
            if self._counted and self._counted + weight > capacity:
                until = max(until, self._counted_until)
            if self._used and self._used + weight > capacity:
                until = max(until, self._freed(self._used + weight - capacity))
            if until > now:
                return until - now
            self._granted.append((now, weight))
            self._used += weight
            self._counted += weight
            return 0.0

    def learn_used(self, used: int) -> None:
        """Note the weight that the exchange counted in its current minute for our IP address."""
        with self._lock:
            self._counted = used
            self._counted_until = self._clock() + MINUTE

    def learn_limit(self, limit: int) -> None:
        """Note the limit that the exchange reports."""
        with self._lock:
            self._capacity = int(limit * (1 - self._margin))

    def block(self, seconds: float) -> None:
        """Grant nothing for some seconds, as the exchange demands."""
        with self._lock:
            self._blocked_until = max(self._blocked_until, self._clock() + seconds)

    def _forget(self, now: float) -> None:
        while self._granted and self._granted[0][0] + self._window <= now:
            self._used -= self._granted.popleft()[1]
        if self._counted_until <= now:
            self._counted = 0

    def _freed(self, weight: int) -> float:
        """Return the time when this weight, or all that was granted, will have left the window."""
        left = 0.0
        for when, each in self._granted:
            left = when + self._window
            weight -= each
            if weight <= 0:
                break
        return left
