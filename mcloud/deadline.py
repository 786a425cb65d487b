"""Ask many things at once and wait for none of them longer than agreed."""

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
    """The answer of every call, or what it raised; TimeoutError for one that is not back in time.

    A late call goes on in a daemon thread, which keeps no process alive.
    """
    return Asker[Key]().gather(calls, seconds)


class Asker(Generic[Key]):
    """Gathers again and again, and piles up no more than ``most`` calls of a key that hang."""

    def __init__(self, most: int = 8, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._out: Counter[Key] = Counter()

    def gather(
        self, calls: Mapping[Key, Callable[[], Value]], seconds: float
    ) -> dict[Key, Value | Exception]:
        """See ``gather``; a key of which too many calls are still out is not asked, and late."""
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
        # A leap of the clock makes no answer late: see ``Limit``.
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
