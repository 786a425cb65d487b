"""Asking many things again and again, each at its own interval, and waiting for none of them."""

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from mcloud.clock import SET
from mcloud.deadline import gather

PATIENCE = 5.0  # seconds after which a question counts as not answered
URGENT = 10.0  # seconds between two tries at what is urgent, whatever its interval
LONGEST = 60.0  # seconds between two tries at what fails, where its interval is no longer

Value = TypeVar("Value")
Key = tuple[str, str]
"""A site's name, empty for this machine, and a part of it."""


@dataclass(frozen=True)
class Seen(Generic[Value]):
    """The last answer to a question, and why there is no newer one."""

    value: Value | None = None
    at: float | None = None
    """When it was given, seconds since 1970; None before the first."""
    took: float = 0.0
    """Seconds that it took."""
    problem: str = ""
    """Empty where the last try brought an answer, or none has ended yet."""
    waits: float = 0.0
    """Seconds that there has been no answer to the try under way, where that is the problem."""

    @property
    def known(self) -> bool:
        return self.at is not None

    @property
    def why(self) -> str:
        """Why there is no value; empty where there is one."""
        return "" if self.known else self.problem or "not asked yet"


@dataclass(frozen=True)
class Part:
    """One question."""

    call: Callable[[], Any]
    interval: float
    """Seconds between two beginnings, at the usual pace."""
    hurries: bool = True
    """False for what costs money or changes by the minute: it can be slowed down, not sped up."""


class Collector:
    """Used by one thread, which calls ``tick`` a few times a second.

    A question has one thread at most: while it waits for its answer it is not asked again. One that
    fails is asked less and less often, and the last answer stays.
    """

    def __init__(
        self,
        parts: Mapping[Key, Part],
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        spawn: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        self.pace = 1.0
        """How much longer than usual the intervals are."""
        self._parts = parts
        self._clock = clock
        self._wall = wall
        self._spawn = spawn or _thread
        self._states = {key: _State() for key in parts}

    def tick(self, urgent: Collection[Key] = ()) -> None:
        """Ask what is due and not under way."""
        now = self._clock()
        for key, part in self._parts.items():
            state = self._states[key]
            wait = self._wait(part, state.failures)
            if key in urgent:
                wait = min(wait, URGENT)
            if not state.is_under_way and now >= state.begun + wait:
                state.begun, state.is_under_way = now, True
                state.asked += 1
                self._spawn(lambda part=part, state=state: self._ask(part, state))  # type: ignore[misc]

    def seen(self) -> dict[Key, Seen[Any]]:
        """What is known by now."""
        now, wall = self._clock(), self._wall()
        return {key: state.seen_at(now, wall) for key, state in self._states.items()}

    def asked(self) -> dict[Key, int]:
        """How often each was asked."""
        return {key: state.asked for key, state in self._states.items()}

    @property
    def is_complete(self) -> bool:
        """True once every question has been answered, or its answer is late."""
        return all(each.known or each.problem for each in self.seen().values())

    @property
    def answers(self) -> int:
        """How many there were, failures too."""
        return sum(state.answers for state in self._states.values())

    def intervals(self) -> dict[Key, float]:
        """Seconds between two beginnings of each, at the present pace."""
        return {key: self._wait(part, 0) for key, part in self._parts.items()}

    def _wait(self, part: Part, failures: int) -> float:
        interval = part.interval * (self.pace if part.hurries else max(1.0, self.pace))
        # The exponent is bounded, or a long absence would make a number too large for a float.
        return min(interval * 2.0 ** min(failures, 16), max(interval, LONGEST))

    def _ask(self, part: Part, state: "_State") -> None:
        begun = self._clock()
        try:
            value = part.call()
        except Exception as error:  # noqa: BLE001 - shown beside what was known before
            state.failed(reason(error))
        else:
            now = self._clock()
            state.answered(Seen(value, self._wall(), now - begun), now)


class _State:
    """Of a question. Its fields are set one at a time, so that any thread may look."""

    def __init__(self) -> None:
        self.seen: Seen[Any] = Seen()
        self.answered_at = float("-inf")
        """By the collector's clock, as ``begun``."""
        self.begun = float("-inf")
        self.is_under_way = False
        self.failures = 0
        self.asked = 0
        self.answers = 0

    def seen_at(self, now: float, wall: float) -> Seen[Any]:
        seen, at = self.seen, wall - (now - self.answered_at)
        # As old as it is, although the clock of the wall was set since.
        if seen.at is not None and abs(at - seen.at) > SET:
            seen = replace(seen, at=at)
        waited = now - self.begun
        if self.is_under_way and waited > PATIENCE:
            return replace(seen, problem=f"no answer for {waited:.0f} s", waits=waited)
        return seen

    def answered(self, seen: Seen[Any], now: float) -> None:
        self.seen, self.answered_at, self.failures = seen, now, 0
        self.answers += 1
        self.is_under_way = False

    def failed(self, problem: str) -> None:
        self.seen = replace(self.seen, problem=problem)
        self.failures += 1
        self.answers += 1
        self.is_under_way = False


def ask_once(parts: Mapping[Key, Part], seconds: float) -> dict[Key, Seen[Any]]:
    """Ask everything at once, one time; back within ``seconds``."""

    def ask(part: Part) -> Seen[Any]:
        begun = time.monotonic()
        value = part.call()
        return Seen(value, time.time(), time.monotonic() - begun)

    calls: dict[Key, Callable[[], Any]] = {
        key: lambda part=part: ask(part)  # type: ignore[misc]
        for key, part in parts.items()
    }
    return {
        key: Seen(problem=reason(answer)) if isinstance(answer, Exception) else answer
        for key, answer in gather(calls, seconds).items()
    }


def reason(error: Exception) -> str:
    """What it says; never empty, since an empty reason would look like none."""
    return str(error) or type(error).__name__


def _thread(call: Callable[[], None]) -> None:
    threading.Thread(target=call, daemon=True).start()
