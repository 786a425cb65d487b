"""Runs several calls at once, and waits for each until a common deadline."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from mcloud.clock import Limit

Key = TypeVar("Key")
Value = TypeVar("Value")


def gather(
    calls: Mapping[Key, Callable[[], Value]], seconds: float
) -> dict[Key, Value | Exception]:
    """Return the result of every call, or the exception that it raised; TimeoutError if it is late.

    A late call continues in a daemon thread, which does not keep the process alive.
    """
    return Asker[Key]().gather(calls, seconds)


class Asker(Generic[Key]):
    """Runs the same calls repeatedly. No call is repeated while ``most`` earlier ones of its key
    hang."""

    def __init__(self, most: int = 8, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._out: Counter[Key] = Counter()

    def gather(
        self, calls: Mapping[Key, Callable[[], Value]], seconds: float
    ) -> dict[Key, Value | Exception]:
        """Return the results, as the function ``gather`` does. A key with too many unfinished calls
        is not called and counts as late."""
        answers: dict[Key, Value | Exception] = {}

        def ask(key: Key, call: Callable[[], Value]) -> None:
            try:
                answers[key] = call()
            except Exception as error:  # noqa: BLE001 - handed to the caller
                answers[key] = error
            finally:
                with self._lock:
                    self._out[key] -= 1

        threads = [
            threading.Thread(target=ask, args=(key, call), daemon=True)
            for key, call in calls.items()
            if self._begin(key)
        ]
        for thread in threads:
            thread.start()
        # A jump of the clock does not make an answer late; see ``Limit``.
        limit = Limit(seconds, self._clock)
        for thread in threads:
            while thread.is_alive() and (left := limit.left):
                thread.join(min(left, seconds / 4))
        late = TimeoutError(f"no answer within {seconds:.3g} s")
        # Copied key by key: a late call may still write.
        return {key: answers.get(key, late) for key in calls}

    def _begin(self, key: Key) -> bool:
        with self._lock:
            if self._out[key] >= self._most:
                return False
            self._out[key] += 1
            return True
