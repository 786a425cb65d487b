"""Sends events through all channels. Each channel has its own thread, and the caller does not
wait.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from threading import Condition, Thread

from mcloud.backoff import Backoff, grown
from mcloud.clock import Limit
from mcloud.deadline import gather
from mcloud.errors import Throttled, Unavailable, reason_of
from mcloud.notify.channels import Channel
from mcloud.notify.event import FIRING, RESOLVED, Event, is_at_least
from mcloud.notify.ledger import Claim, EventLedger, NotClaimed
from mcloud.notify.memory import SentEvent, SentMemory

ATTEMPT = 10.0  # seconds for one attempt, including calls that hang
PATIENCE = 60.0  # seconds after which an event counts as failed
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds between two attempts
CLOSE_LOOK = 0.2  # seconds between two checks for completion while closing
LONGEST_HOLD = 3600.0  # maximum seconds of a wait that the server requests
WAITING = 200  # maximum number of events that wait in a channel; the oldest are dropped
# seconds until the next attempt at a failed event that is sent again
FIRST_RESEND, LONGEST_RESEND = 60.0, 900.0
TOLD = 50  # number of failures that are kept
LOOK_AGAIN = 15.0  # seconds until the next check of an event that is silenced or sent elsewhere
SHARE_AGAIN = 60.0  # seconds between two attempts to copy a sent event to the sites


class Notifier:
    """Sends events. ``send`` returns immediately and never raises, so that a failing channel delays
    no caller.
    """

    def __init__(
        self,
        channels: Mapping[str, Channel],
        memory: SentMemory | None = None,
        *,
        ledger: EventLedger | None = None,
        folder: str = "",
        holds_back: Callable[[Event], bool] = lambda event: False,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
        patience: float = PATIENCE,
        random: Random | None = None,
    ) -> None:
        """``clock`` is the wall clock, for the times of events; ``timer`` measures durations.

        Several watchers share ``ledger``. ``folder`` is the name of the watched folder.
        ``holds_back`` returns whether an event is silenced. A silenced event is sent after the
        silence, unless there is a newer event of its key.
        """
        self._timer = timer
        self._folder = folder
        self._failures: deque[str] = deque(maxlen=TOLD)
        self._lines = {
            name: _Line(
                channel,
                memory or SentMemory(),
                self._failures,
                ledger=ledger,
                holds_back=holds_back,
                clock=clock,
                timer=timer,
                patience=patience,
                random=random or Random(),
            )
            for name, channel in channels.items()
        }

    def send(self, event: Event, channels: Collection[str] | None = None) -> None:
        """Send an event through the given channels (by default, all) that carry its severity."""
        if event.is_of_folder and self._folder:
            event = replace(event, fields={**event.fields, "folder": self._folder})
        for name, line in self._lines.items():
            if channels is None or name in channels:
                line.add(event)

    def close(self, seconds: float) -> None:
        """Wait up to ``seconds`` for events in progress. The rest counts as failed."""
        limit = Limit(seconds, self._timer)
        for line in self._lines.values():
            line.close(limit)

    def failures(self) -> list[str]:
        """Return the failures as ``channel: event: reason``, the oldest first."""
        return list(self._failures)


class _Line:
    """The queue of one channel, and the thread that sends its events."""

    def __init__(
        self,
        channel: Channel,
        memory: SentMemory,
        failures: "deque[str]",
        *,
        ledger: EventLedger | None,
        holds_back: Callable[[Event], bool],
        clock: Callable[[], float],
        timer: Callable[[], float],
        patience: float,
        random: Random,
    ) -> None:
        self._channel = channel
        self._memory = memory
        self._failures = failures
        self._ledger = ledger
        self._holds_back = holds_back
        self._clock = clock
        self._timer = timer
        self._patience = patience
        self._random = random
        self._changed = Condition()
        self._waiting: deque[Event] = deque()
        self._held: list[_Held] = []
        self._was_silenced: set[str] = set()
        """Keys whose last firing event is silenced, or was silenced until its resolution."""
        self._shared: dict[str, float] = {}
        """Time of the last attempt to copy a sent event to the sites, by key."""
        self._at_work: Event | None = None
        self._closed = False
        self._failed: dict[str, _Failed] = {}
        """The last failure of each key."""
        self._held_until = float("-inf")
        """Monotonic time before which the channel's server accepts no request."""
        self._thread: Thread | None = None

    def add(self, event: Event) -> None:
        if not is_at_least(event.severity, self._channel.severity):
            return
        with self._changed:
            if self._closed:
                return
            if self._is_waiting(event):
                self._look_at_silenced(event.key)
                return
            if len(self._waiting) == WAITING:
                self._fail(
                    self._waiting.popleft(), "too many messages are waiting for this channel"
                )
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
        """Return whether the last waiting event of the same key is the same event."""
        there = (
            *(each.event for each in self._held),
            *([self._at_work] if self._at_work else []),
            *self._waiting,
        )
        same = [each for each in there if each.key == event.key]
        return bool(same) and _said(same[-1]) == _said(event)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._at_work = None
                self._changed.notify_all()
                while not self._closed and not self._take_up():
                    self._changed.wait(self._until_due())
                if self._closed:
                    return
                self._at_work = event = self._waiting.popleft()
            try:
                self._handle(event)
            except Exception as error:  # noqa: BLE001 - without this thread no further event would be sent
                with self._changed:
                    self._fail(event, f"{type(error).__name__}: {error}")

    def _look_at_silenced(self, key: str) -> None:
        """Check immediately whether a silenced event is still silenced."""
        now = self._timer()
        if key in self._was_silenced:
            self._held = [replace(h, until=now) if h.event.key == key else h for h in self._held]
        self._changed.notify_all()

    def _take_up(self) -> bool:
        """Move events that are due for another check to the front of the queue. Return whether
        any event waits.
        """
        now = self._timer()
        due = [each.event for each in self._held if each.until <= now]
        self._held = [each for each in self._held if each.until > now]
        self._waiting.extendleft(reversed(due))
        return bool(self._waiting)

    def _until_due(self) -> float | None:
        """Return the seconds until the next check of a held event, or None if none is held."""
        if not self._held:
            return None
        return max(0.0, min(each.until for each in self._held) - self._timer())

    def _handle(self, event: Event) -> None:
        if self._is_behind(event):
            return
        now = self._clock()
        failed = self._failed.get(event.key)
        if failed and failed.said == _said(event) and self._timer() < failed.until:
            return
        if not self._memory.is_news(self._channel.name, event, self._channel.repeat, now):
            self._share(event)
            return
        if event.state == FIRING and self._holds_back(event):
            self._was_silenced.add(event.key)
            self._hold(event)
            return
        # A wait that the server has requested applies to all events.
        if not self._waits_until(self._held_until):
            return
        if event.state == FIRING:
            self._was_silenced.discard(event.key)
        was_silenced = event.key in self._was_silenced
        last = self._memory.last(self._channel.name, event.key)
        if self._ledger is None:
            self._was_silenced.discard(event.key)
            if not (was_silenced and event.state == RESOLVED and last is None):
                self._deliver(event, None)
            return
        answer = self._ledger.claim(
            self._channel.name, event, self._channel.repeat, last, was_silenced=was_silenced
        )
        if answer is NotClaimed.BUSY:
            self._hold(event)
            return
        self._was_silenced.discard(event.key)
        if isinstance(answer, SentEvent):
            self._remember(event, answer)
        elif isinstance(answer, Claim):
            self._deliver(event, answer)

    def _is_behind(self, event: Event) -> bool:
        """Return whether an event has to wait for an earlier one of its key.

        An event does not wait for a silenced one, but replaces it.
        """
        with self._changed:
            earlier = [each for each in self._held if each.event.key == event.key]
            if earlier and event.key not in self._was_silenced:
                self._held.append(_Held(event, earlier[-1].until))
                return True
            self._held = [each for each in self._held if each.event.key != event.key]
        return False

    def _hold(self, event: Event) -> None:
        with self._changed:
            self._held.append(_Held(event, self._timer() + LOOK_AGAIN))

    def _share(self, event: Event) -> None:
        """Copy an event to the sites that was sent while none of them was reachable."""
        last = self._memory.last(self._channel.name, event.key)
        asked = self._shared.get(event.key)
        now = self._timer()
        if self._ledger is None or last is None or last.written:
            return
        if asked is None or now - asked >= SHARE_AGAIN:
            self._shared[event.key] = now
            told = self._ledger.share(self._channel.name, event, last)
            if told != last:
                self._remember(event, told)

    def _remember(self, event: Event, told: SentEvent) -> None:
        self._memory.keep(self._channel.name, event.key, told)

    def _deliver(self, event: Event, claim: Claim | None) -> None:
        error = self._get_through(event)
        if error is None:
            self._failed.pop(event.key, None)
            told = SentEvent(event.state, event.severity, event.at, self._clock())
            if claim is not None and self._ledger is not None:
                told = self._ledger.confirm(claim)
            self._remember(event, told)
            return
        if claim is not None and self._ledger is not None:
            self._ledger.give_up(claim)
        with self._changed:
            if not self._closed:  # otherwise ``close`` has counted it as failed
                self._fail(event, reason_of(error))

    def _get_through(self, event: Event) -> Exception | None:
        """Try until the event is sent, or another attempt is pointless. Return the last error."""
        limit, held_in_all = Limit(self._patience, self._timer), 0.0
        backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE, self._random.uniform)
        while True:
            error = gather({"": partial(self._channel.deliver, event)}, ATTEMPT)[""]
            if not isinstance(error, Exception):
                return None
            backoff.failed()
            until = self._timer() + backoff.pause()
            if isinstance(error, Throttled):
                held = min(error.retry_after, LONGEST_HOLD)
                until += held
                self._held_until = until
                # A wait that the server has requested is not a failure of the event, and is
                # followed by one attempt.
                held_in_all += until - self._timer()
                if held > self._patience:
                    self._failures.append(f"{self._channel.name}: waits for {held:.0f} s: {error}")
            if not isinstance(error, Unavailable | TimeoutError):
                return error
            if isinstance(error, Throttled):
                if held_in_all > self._patience + LONGEST_HOLD:
                    return error
            elif until - self._timer() > limit.left:
                return error
            if not self._waits_until(until):
                return error

    def _waits_until(self, moment: float) -> bool:
        """Wait until a given time. Return False if the notifier was closed, which counts as a
        failure.
        """
        with self._changed:
            return not self._changed.wait_for(
                lambda: self._closed, max(0.0, moment - self._timer())
            )

    def _fail(self, event: Event, why: str) -> None:
        before = self._failed.get(event.key)
        count = before.count + 1 if before and before.said == _said(event) else 1
        pause = grown(FIRST_RESEND, count - 1, LONGEST_RESEND)
        self._failed[event.key] = _Failed(_said(event), count, self._timer() + pause)
        self._failures.append(f"{self._channel.name}: {event.title}: {why}")


@dataclass(frozen=True)
class _Held:
    event: Event
    until: float
    """Monotonic time of the next check."""


@dataclass(frozen=True)
class _Failed:
    said: "Said"
    count: int
    """Number of failures in a row."""
    until: float
    """Time of the next attempt, by the line's timer."""


Said = tuple[str, str, float]


def _said(event: Event) -> Said:
    """Return the values that identify an event within its key: two events with equal values are the
    same.
    """
    return event.state, event.severity, event.at
