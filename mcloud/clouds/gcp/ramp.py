"""The rate of bulk writes to Firestore, which needs time to distribute new traffic over its
servers.
"""

import threading
import time
from collections.abc import Callable

FIRST_RATE = 500.0  # writes per second in the first phase
GROWTH = 1.5
PHASE = 300.0  # seconds in a phase


class WriteRamp:
    """Google's rule "500/50/5": 500 writes per second at first, and 50% more every five minutes.

    After a pause as long as a phase, the rule starts again. All threads that write share one ramp.

    https://firebase.google.com/docs/firestore/best-practices#ramping_up_traffic
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._begun = self._free = float("-inf")

    def wait(self, writes: int) -> None:
        """Wait until this number of further writes may be sent."""
        with self._lock:
            now = self._clock()
            if now - self._free >= PHASE:
                self._begun = now
            start = max(now, self._free)
            rate = FIRST_RATE * GROWTH ** ((start - self._begun) // PHASE)
            self._free = start + writes / rate
        if start > now:
            self._sleep(start - now)
