"""How much may be asked of the exchange: so much weight within so many seconds, never more."""

import threading
from collections import deque
from collections.abc import Callable

MINUTE = 60.0  # seconds
# A request may be under way for as long, and count at the exchange that much later than here:
# what was asked for stays on the books for the minute and this on top.
IN_FLIGHT = 10.0

MARGIN = 0.1  # of the limit, left for other programs behind the same address


class WeightBudget:
    """Two accounts, for any number of threads: a sliding window over what was granted here, and
    what the exchange said it counted, with what was granted since.

    Args:
        limit: of the exchange, in weight a minute (or ``window``), of which ``margin`` is not used.
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

        After the wait ask again: another thread may have been quicker. A single weight above the
        limit goes out alone, rather than never. With a ``share`` of the limit the rest of it is
        left to the others.
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
        """The exchange counted ``used`` in its present minute, for all behind our address."""
        with self._lock:
            self._counted = used
            self._counted_until = self._clock() + MINUTE

    def learn_limit(self, limit: int) -> None:
        """The exchange says that its limit is this one."""
        with self._lock:
            self._capacity = int(limit * (1 - self._margin))

    def block(self, seconds: float) -> None:
        """The exchange wants no request for so long."""
        with self._lock:
            self._blocked_until = max(self._blocked_until, self._clock() + seconds)

    def _forget(self, now: float) -> None:
        while self._granted and self._granted[0][0] + self._window <= now:
            self._used -= self._granted.popleft()[1]
        if self._counted_until <= now:
            self._counted = 0

    def _freed(self, weight: int) -> float:
        """When so much of what was granted will have left the window, or all of it."""
        left = 0.0
        for when, each in self._granted:
            left = when + self._window
            weight -= each
            if weight <= 0:
                break
        return left
