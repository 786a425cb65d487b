"""Sends events through all channels, each at its own speed; whoever sends waits for none."""

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from random import Random
from threading import Condition, Thread

from mcloud.clock import Limit
from mcloud.deadline import gather
from mcloud.errors import Throttled, Unavailable
from mcloud.notify.channels import Channel
from mcloud.notify.event import Event, is_at_least
from mcloud.notify.memory import Memory

ATTEMPT = 10.0  # seconds for one attempt, whatever hangs in it
PATIENCE = 60.0  # seconds after which an event is given up
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds between two attempts
CLOSE_LOOK = 0.2  # seconds between two looks whether all is sent, at the end
LONGEST_HOLD = 3600.0  # seconds that a channel waits at most where its server asks for more
WAITING = 200  # events of a channel; the oldest are given up
SULK, LONGEST_SULK = 60.0, 900.0  # seconds until a failed event that is sent again is tried again
TOLD = 50  # failures that are remembered


class Notifier:
    """``send`` returns at once and never raises: a channel that fails holds up nobody."""

    def __init__(
        self,
        channels: Mapping[str, Channel],
        memory: Memory | None = None,
        *,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
        patience: float = PATIENCE,
        random: Random | None = None,
    ) -> None:
        """``clock`` is the wall's, for what was told when; ``timer`` says how long things take."""
        self._timer = timer
        self._failures: deque[str] = deque(maxlen=TOLD)
        self._lines = {
            name: _Line(
                channel,
                memory or Memory(),
                self._failures,
                clock=clock,
                timer=timer,
                patience=patience,
                random=random or Random(),
            )
            for name, channel in channels.items()
        }

    def send(self, event: Event, channels: Collection[str] | None = None) -> None:
        """Send it through those channels that carry its severity, all by default."""
        for name, line in self._lines.items():
            if channels is None or name in channels:
                line.add(event)

    def close(self, seconds: float) -> None:
        """Wait up to that long for what is under way; the rest counts as failed."""
        limit = Limit(seconds, self._timer)
        for line in self._lines.values():
            line.close(limit)

    def failures(self) -> list[str]:
        """What did not get through, ``channel: event: why``, the oldest first."""
        return list(self._failures)


class _Line:
    """The events that wait for one channel, and the thread that takes them there."""

    def __init__(
        self,
        channel: Channel,
        memory: Memory,
        failures: "deque[str]",
        *,
        clock: Callable[[], float],
        timer: Callable[[], float],
        patience: float,
        random: Random,
    ) -> None:
        self._channel = channel
        self._memory = memory
        self._failures = failures
        self._clock = clock
        self._timer = timer
        self._patience = patience
        self._random = random
        self._changed = Condition()
        self._waiting: deque[Event] = deque()
        self._at_work: Event | None = None
        self._closed = False
        self._failed: dict[str, _Failed] = {}
        """The last of each key."""
        self._held_until = float("-inf")
        """Time of the monotonic clock before which the channel's server wants no request."""
        self._thread: Thread | None = None

    def add(self, event: Event) -> None:
        if not is_at_least(event.severity, self._channel.severity):
            return
        with self._changed:
            if self._closed or self._is_waiting(event):
                return
            if len(self._waiting) == WAITING:
                self._fail(self._waiting.popleft(), "too much waits for this channel")
            self._waiting.append(event)
            if self._thread is None:
                thread = Thread(target=self._work, name=f"notify {self._channel.name}", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:  # no more threads, or the process is ending
                    self._fail(self._waiting.pop(), str(error))
                    return
                self._thread = thread
            self._changed.notify_all()

    def close(self, limit: Limit) -> None:
        with self._changed:
            while (self._waiting or self._at_work) and (left := limit.left):
                self._changed.wait(min(left, CLOSE_LOOK))
            self._closed = True
            held = self._held_until > self._timer()
            why = "its server asked to wait" if held else "no answer yet"
            for event in (*([self._at_work] if self._at_work else []), *self._waiting):
                self._fail(event, f"{why} when the process ended")
            self._waiting.clear()
            self._changed.notify_all()

    def _is_waiting(self, event: Event) -> bool:
        """True where the last that waits of this key says the same."""
        there = (*([self._at_work] if self._at_work else []), *self._waiting)
        same = [each for each in there if each.key == event.key]
        return bool(same) and _said(same[-1]) == _said(event)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._at_work = None
                self._changed.notify_all()
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                self._at_work = event = self._waiting.popleft()
            if self._is_due(event):
                self._deliver(event)

    def _is_due(self, event: Event) -> bool:
        failed = self._failed.get(event.key)
        if failed and failed.said == _said(event) and self._timer() < failed.until:
            return False
        channel = self._channel
        return self._memory.is_news(channel.name, event, channel.repeat, self._clock())

    def _deliver(self, event: Event) -> None:
        # What its server asked for with an earlier event holds for this one as well.
        if not self._waits_until(self._held_until):
            return
        limit, held_in_all = Limit(self._patience, self._timer), 0.0
        pause = FIRST_PAUSE
        while True:
            error = self._attempt(event)
            if error is None:
                self._failed.pop(event.key, None)
                return
            # Half of it by chance: channels that failed together do not come back together.
            until = self._timer() + pause * self._random.uniform(0.5, 1.0)
            if isinstance(error, Throttled):
                held = min(error.retry_after, LONGEST_HOLD)
                until += held
                self._held_until = until
                # A wait that the server asks for is no failure of the event: one try follows it.
                held_in_all += until - self._timer()
                if held > self._patience:
                    self._failures.append(f"{self._channel.name}: waits for {held:.0f} s: {error}")
            if not isinstance(error, Unavailable | TimeoutError):
                break
            if isinstance(error, Throttled):
                if held_in_all > self._patience + LONGEST_HOLD:
                    break
            elif until - self._timer() > limit.left:
                break
            if not self._waits_until(until):
                return
            pause = min(2 * pause, LONGEST_PAUSE)
        with self._changed:
            if not self._closed:
                self._fail(event, str(error) or type(error).__name__)

    def _waits_until(self, moment: float) -> bool:
        """Wait; False where the notifier was closed, which counted the event as failed."""
        with self._changed:
            return not self._changed.wait_for(
                lambda: self._closed, max(0.0, moment - self._timer())
            )

    def _attempt(self, event: Event) -> Exception | None:
        answer = gather({"": lambda: self._channel.deliver(event)}, ATTEMPT)[""]
        if isinstance(answer, Exception):
            return answer
        self._memory.note(self._channel.name, event, self._clock())
        return None

    def _fail(self, event: Event, why: str) -> None:
        before = self._failed.get(event.key)
        count = before.count + 1 if before and before.said == _said(event) else 1
        sulk = min(SULK * 2 ** (count - 1), LONGEST_SULK)
        self._failed[event.key] = _Failed(_said(event), count, self._timer() + sulk)
        self._failures.append(f"{self._channel.name}: {event.title}: {why}")


@dataclass(frozen=True)
class _Failed:
    said: "Said"
    count: int
    """In a row."""
    until: float
    """Not tried again before that, by the line's timer."""


Said = tuple[str, str, float]


def _said(event: Event) -> Said:
    """Two events of a key that agree in this are one that was sent twice."""
    return event.state, event.severity, event.at
