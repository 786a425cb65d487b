"""Runs several calls at once, and waits for each until a common deadline. Marks calls that should
fail quickly, for the clients that would retry them.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextvars import ContextVar, copy_context
from typing import Generic, TypeVar

from mcloud.clock import Limit

TICK = 0.05  # seconds between two checks of overlapping calls
GRACE = 0.1  # seconds for calls that nobody waits for, and that may answer immediately
MOST_PASSED = 0.5  # seconds that count between two checks

Key = TypeVar("Key")
Value = TypeVar("Value")

_is_brief: ContextVar[bool] = ContextVar("is_brief", default=False)


def is_brief() -> bool:
    """Return whether the current call should fail quickly."""
    return _is_brief.get()


def briefly(call: Callable[[], Value]) -> Value:
    """Return the result of a call that should fail quickly."""
    token = _is_brief.set(True)
    try:
        return call()
    finally:
        _is_brief.reset(token)


def gather(
    calls: Mapping[Key, Callable[[], Value]], seconds: float
) -> dict[Key, Value | Exception]:
    """Return the result of every call, or the exception that it raised; TimeoutError if it is late.

    A late call continues in a daemon thread, which does not keep the process alive.
    """
    return Asker[Key]().gather(calls, seconds)


class Asker(Generic[Key]):
    """Runs the same calls repeatedly. No call is repeated while ``most`` earlier ones of its key
    hang: they were late, and have not returned since. Thread-safe."""

    def __init__(self, most: int = 8, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._hanging: Counter[Key] = Counter()

    def gather(
        self, calls: Mapping[Key, Callable[[], Value]], seconds: float
    ) -> dict[Key, Value | Exception]:
        """Return the results, as the function ``gather`` does. A key with too many hanging calls is
        not called and counts as late."""
        answers: dict[Key, Value | Exception] = {}
        returned: set[Key] = set()
        hanging: set[Key] = set()

        def ask(key: Key, call: Callable[[], Value]) -> None:
            try:
                answers[key] = call()
            except Exception as error:  # noqa: BLE001 - handed to the caller
                answers[key] = error
            finally:
                with self._lock:
                    returned.add(key)
                    self._hanging[key] -= key in hanging

        threads = {
            # A brief call stays brief in the threads that it starts.
            key: threading.Thread(target=copy_context().run, args=(ask, key, call), daemon=True)
            for key, call in calls.items()
            if self._hanging[key] < self._most
        }
        for thread in threads.values():
            thread.start()
        # A jump of the clock does not make an answer late; see ``Limit``.
        limit = Limit(seconds, self._clock)
        for thread in threads.values():
            while thread.is_alive() and (left := limit.left):
                thread.join(min(left, seconds / 4))
        late = TimeoutError(f"no answer within {seconds:.3g} s")
        # Copied key by key: a late call may still write.
        given = {key: answers.get(key, late) for key in calls}
        with self._lock:
            hanging.update(threads.keys() - returned)
            self._hanging.update(hanging)
        return given


class OverlappingAsker(Generic[Key]):
    """Runs the same calls repeatedly, while earlier ones may still be waiting.

    A service that hangs is thus found by several calls in the time that one of them may take. At
    most ``most`` calls of a key wait at the same time; a further one counts as late. Not
    thread-safe.
    """

    def __init__(self, most: int = 32, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._changed = threading.Condition()
        self._running: Counter[Key] = Counter()
        """Number of threads by key, including those of late calls."""
        self._calls: list[_OverlappingCall[Key]] = []

    def gather(
        self,
        calls: Mapping[Key, Callable[[], object]],
        seconds: float,
        patience: float,
        *,
        awaited: Collection[Key] | None = None,
        wait_for_all: bool = False,
    ) -> dict[Key, object]:
        """Start the calls, and return the results and errors that are known within ``patience``
        seconds, also those of earlier calls. A call is late ``seconds`` after its start.

        The result has TimeoutError for a late call, once, and no key for one that still waits. It
        is returned as soon as nothing is waited for, or any call is late. With ``awaited``, it is
        returned GRACE seconds after each of these keys has a result, which may be that of an
        earlier call, and late calls of other keys end no waiting. With ``wait_for_all``, it is
        returned as soon as each of these calls has returned or is late, whatever ``patience``.
        """
        keys = None if awaited is None else set(awaited)
        grace_ends: float | None = None
        started = [self._start(key, call, seconds) for key, call in calls.items()]
        limit = Limit(patience, self._clock)
        with self._changed:
            while True:
                now = self._clock()
                for each in self._calls:
                    each.pass_time(now)
                waiting = [each for each in self._calls if not each.is_over]
                is_late = any(
                    each.is_late for each in self._calls if keys is None or each.key in keys
                )
                known = {each.key for each in self._calls if each.is_over}
                if keys is not None and grace_ends is None and keys <= known:
                    grace_ends = now + GRACE
                left = limit.left
                if grace_ends is not None:
                    left = min(left, grace_ends - now)
                if wait_for_all:
                    if all(each.is_over for each in started):
                        break
                    left = TICK
                elif not waiting or is_late or left <= 0:
                    break
                self._changed.wait(min(left, TICK))
            over = [each for each in self._calls if each.is_over]
            self._calls = waiting
        # The calls are in the order of their starts, so that the newest answer of a key counts.
        return {each.key: each.answer for each in over}

    @property
    def waiting(self) -> set[Key]:
        """Keys with a call that has not returned and is not late."""
        return {each.key for each in self._calls}

    def _start(
        self, key: Key, call: Callable[[], object], seconds: float
    ) -> "_OverlappingCall[Key]":
        mine = _OverlappingCall(key, seconds, self._clock())
        self._calls.append(mine)
        with self._changed:
            if self._running[key] >= self._most:
                mine.is_refused = True
                return mine
            self._running[key] += 1

        def ask() -> None:
            answer: object
            try:
                answer = call()
            except Exception as error:  # noqa: BLE001 - handed to the caller
                answer = error
            with self._changed:
                self._running[key] -= 1
                if not mine.is_over:
                    mine.answer, mine.is_answered = answer, True
                self._changed.notify_all()

        # A brief call stays brief in the threads that it starts.
        threading.Thread(target=copy_context().run, args=(ask,), daemon=True).start()
        return mine


class _OverlappingCall(Generic[Key]):
    def __init__(self, key: Key, seconds: float, now: float) -> None:
        self.key = key
        self.left = seconds
        self.is_answered = False
        self.is_refused = False
        """Whether too many earlier calls still wait. It counts as late, but ends no waiting."""
        self.answer: object = TimeoutError(f"no answer within {seconds:.3g} s")
        self._seen = now

    def pass_time(self, now: float) -> None:
        """Count the time since the last check. A machine that was too busy to check, or that was
        suspended, does not make a call late.
        """
        self.left -= min(max(0.0, now - self._seen), MOST_PASSED)
        self._seen = now

    @property
    def is_late(self) -> bool:
        return not self.is_answered and self.left <= 0

    @property
    def is_over(self) -> bool:
        return self.is_answered or self.is_refused or self.left <= 0
