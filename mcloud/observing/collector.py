"""Repeats many queries, each at its own interval, without waiting for any of them."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from mcloud.backoff import grown
from mcloud.clock import SET
from mcloud.clouds.observation import Observation
from mcloud.deadline import gather

PATIENCE = 5.0  # seconds after which a question counts as not answered
LATE = 2.0  # the same for a question that is answered quickly, unless its client is being made
LONGEST = 60.0  # maximum seconds between two tries after failures, unless the interval is longer

Key = tuple[str, str]
"""Name of a site, or empty for this machine, and name of a part."""


@dataclass(frozen=True)
class TimedQuery:
    """A question."""

    call: Callable[[], Any]
    interval: float
    """Seconds from one start to the next, at the usual pace."""
    hurries: bool = True
    """Whether the interval can be shortened. False for a question that costs money, or whose answer
    changes by the minute.
    """
    late: float = PATIENCE
    """Seconds after which the question counts as not answered, once it has been answered."""


class Collector:
    """Asks the questions. Not thread-safe: one thread calls ``tick`` a few times per second.

    Each question has at most one thread: it is not asked again while it waits for its answer. A
    question that fails is asked less and less often, and its last answer stays.
    """

    def __init__(
        self,
        parts: Mapping[Key, TimedQuery],
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        spawn: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        self.pace = 1.0
        """Factor on the usual intervals."""
        self._parts = parts
        self._clock = clock
        self._wall = wall
        self._spawn = spawn or _thread
        self._states = {key: _QueryState(part.late) for key, part in parts.items()}

    def tick(self, urgent: Mapping[Key, float] = MappingProxyType({})) -> None:
        """Ask the questions that are due and not in progress.

        ``urgent`` has the maximum number of seconds from one start to the next of some questions,
        whatever their interval and their failures.
        """
        now = self._clock()
        for key, part in self._parts.items():
            state = self._states[key]
            wait = self._wait(part, state.failures)
            wait = min(wait, urgent.get(key, wait))
            if not state.is_under_way and now >= state.begun + wait:
                state.begun, state.is_under_way = now, True
                state.asked += 1
                self._spawn(lambda part=part, state=state: self._ask(part, state))  # type: ignore[misc]

    def seen(self) -> dict[Key, Observation[Any]]:
        """Return the latest answer to every question."""
        now, wall = self._clock(), self._wall()
        return {key: state.seen_at(now, wall) for key, state in self._states.items()}

    def asked(self) -> dict[Key, int]:
        """Return the number of tries by question."""
        return {key: state.asked for key, state in self._states.items()}

    @property
    def is_complete(self) -> bool:
        """Whether every question has an answer, or its answer is late."""
        return all(each.known or each.problem for each in self.seen().values())

    @property
    def answers(self) -> int:
        """Number of answers so far, including failures."""
        return sum(state.answers for state in self._states.values())

    def intervals(self) -> dict[Key, float]:
        """Return the seconds from one start to the next by question, at the present pace."""
        return {key: self._wait(part, 0) for key, part in self._parts.items()}

    def _wait(self, part: TimedQuery, failures: int) -> float:
        interval = part.interval * (self.pace if part.hurries else max(1.0, self.pace))
        return grown(interval, failures, max(interval, LONGEST))

    def _ask(self, part: TimedQuery, state: "_QueryState") -> None:
        begun = self._clock()
        try:
            value = part.call()
        except Exception as error:  # noqa: BLE001 - shown beside what was known before
            state.failed(error, self._wall())
        else:
            now = self._clock()
            state.answered(Observation(value, self._wall(), now - begun), now)


class _QueryState:
    """State of a question. Its fields are set one at a time, so that any thread may read them."""

    def __init__(self, late: float) -> None:
        self._late = late
        self.seen: Observation[Any] = Observation()
        self.answered_at = float("-inf")
        """Time of the last answer by the collector's clock, as for ``begun``."""
        self.begun = float("-inf")
        self.is_under_way = False
        self.failures = 0
        self.asked = 0
        self.answers = 0

    def seen_at(self, now: float, wall: float) -> Observation[Any]:
        seen, at = self.seen, wall - (now - self.answered_at)
        # This keeps the age correct, even if the wall clock was set in the meantime.
        if seen.at is not None and abs(at - seen.at) > SET:
            seen = replace(seen, at=at)
        waited = now - self.begun
        # The first answer takes longer: the client is made, and it signs in.
        if self.is_under_way and waited > (self._late if self.answers else PATIENCE):
            return replace(seen, problem=f"no answer for {waited:.0f} s", waits=waited)
        return seen

    def answered(self, seen: Observation[Any], now: float) -> None:
        self.seen, self.answered_at, self.failures = seen, now, 0
        self.answers += 1
        self.is_under_way = False

    def failed(self, error: Exception, at: float) -> None:
        self.seen = self.seen.then(error, at)
        self.failures += 1
        self.answers += 1
        self.is_under_way = False


def ask_once(parts: Mapping[Key, TimedQuery], seconds: float) -> dict[Key, Observation[Any]]:
    """Ask everything once, at the same time, within ``seconds``."""

    def ask(part: TimedQuery) -> Observation[Any]:
        begun = time.monotonic()
        value = part.call()
        return Observation(value, time.time(), time.monotonic() - begun)

    calls: dict[Key, Callable[[], Any]] = {
        key: lambda part=part: ask(part)  # type: ignore[misc]
        for key, part in parts.items()
    }
    return {
        key: Observation().then(answer, time.time()) if isinstance(answer, Exception) else answer
        for key, answer in gather(calls, seconds).items()
    }


def _thread(call: Callable[[], None]) -> None:
    threading.Thread(target=call, daemon=True).start()
