"""The backlog of one subscription: the state of each message, free, leased or resting, and its end.

There is no I/O and there are no timers: the clock is passed in, and the owner of a backlog calls
``expire()`` at ``next_due()``. A message is in exactly one of three states, so two consumers never
hold the same:

    free ──take──▶ leased ──acknowledge──▶ gone
     ▲               │ release, or the deadline passes
     └── resting ◀───┘ (for the backoff; or gone, to the dead-letter topic)
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from mcloud.backoff import grown


@dataclass(frozen=True, slots=True)
class Policy:
    """A subscription's policy for messages that were not acknowledged. Times are in seconds."""

    minimum_backoff: float = 0.0
    maximum_backoff: float = 0.0
    max_attempts: int | None = None
    retains: bool = False
    """Whether acknowledged messages are kept, so that a seek can bring them back."""
    keeps_order: bool = False
    """Whether messages with the same ordering key are delivered in the order of publication."""

    def backoff(self, attempts: int) -> float:
        """Return the pause after the given number of failed deliveries. It doubles from the
        minimum.
        """
        return grown(self.minimum_backoff, attempts - 1, self.maximum_backoff)


@dataclass(slots=True, eq=False)
class Consumer:
    """A stream, a pull or a pusher, with its limits for leased messages; None is no limit."""

    wake: Callable[[], None]
    max_messages: int | None = None
    max_bytes: int | None = None
    messages: int = 0
    bytes: int = 0

    def has_room(self) -> bool:
        """Return whether no limit is reached yet. As on Google's service, the last message may
        exceed it.
        """
        return (self.max_messages is None or self.messages < self.max_messages) and (
            self.max_bytes is None or self.bytes < self.max_bytes
        )


@dataclass(slots=True, eq=False)
class Owed:
    """A message that has not been acknowledged. ``attempts`` is the number of deliveries that were
    started.
    """

    message: Any
    size: int
    attempts: int = 0
    due: float | None = None
    holder: Consumer | None = None
    before: Owed | None = field(default=None, repr=False)
    after: Owed | None = field(default=None, repr=False)
    """The neighbours with the same ordering key, if the subscription keeps the order."""
    waits: bool = False
    """Whether it is free, but may not be delivered before the messages before it."""
    gone: bool = field(default=False, repr=False)


class Backlog:
    """The messages of one subscription.

    Args:
        name: the subscription's full name, which is part of every ack id.
        clock: seconds since the epoch.
        bury: takes a message after its last attempt; False if there is no dead-letter topic. The
            message is then delivered again.
    """

    def __init__(
        self,
        name: str,
        clock: Callable[[], float],
        bury: Callable[[Owed], bool],
        policy: Policy | None = None,
    ) -> None:
        self.policy = policy or Policy()
        self._name = name
        self._clock = clock
        self._bury = bury
        self._owed: dict[str, Owed] = {}
        self._acknowledged: dict[str, Any] = {}  # messages that are retained, by id
        self._free: deque[Owed] = deque()
        self._last: dict[str, Owed] = {}  # by ordering key
        self._timers: list[tuple[float, int, Owed]] = []
        self._order = itertools.count()

    def __len__(self) -> int:
        """Return the number of messages that are not acknowledged."""
        return len(self._owed)

    @property
    def has_free(self) -> bool:
        return bool(self._free)

    def oldest(self) -> Owed | None:
        """Return the unacknowledged message that arrived first."""
        return next(iter(self._owed.values()), None)

    def pending(self) -> Iterable[Owed]:
        """Return every unacknowledged message, oldest first."""
        return self._owed.values()

    def offer(self, message: Any, size: int, attempts: int = 0) -> None:
        """Add a published message. Its ``message_id`` is unique, and its ``size`` is in bytes."""
        owed = Owed(message, size, attempts)
        self._owed[message.message_id] = owed
        self._free.append(owed)
        if self.policy.keeps_order and message.ordering_key:
            owed.before = self._last.get(message.ordering_key)
            if owed.before:
                owed.before.after = owed
            self._last[message.ordering_key] = owed

    def take(
        self, consumer: Consumer, limit: int, seconds: float, *, max_bytes: int = 1 << 20
    ) -> list[Owed]:
        """Lease up to ``limit`` free messages for some seconds. Their total size exceeds
        ``max_bytes`` only if a single message does.
        """
        taken: list[Owed] = []
        newest: dict[str, Owed] = {}  # by ordering key
        size = 0
        due = self._clock() + seconds
        while self._free and len(taken) < limit and consumer.has_room():
            owed = self._free[0]
            if taken and not owed.gone and size + owed.size > max_bytes:
                break
            self._free.popleft()
            if owed.gone:
                continue
            # Several messages of a key may come in one answer, but not in two at a time.
            if owed.before and owed.before is not newest.get(owed.message.ordering_key):
                owed.waits = True
                continue
            owed.attempts += 1
            owed.holder = consumer
            consumer.messages += 1
            consumer.bytes += owed.size
            size += owed.size
            self._set_timer(owed, due)
            taken.append(owed)
            newest[owed.message.ordering_key] = owed
            self._let_go(owed.after)
        return taken

    def ack_id(self, owed: Owed) -> str:
        """Return the name of a message's current lease."""
        return f"{self._name}:{owed.message.message_id}-{owed.attempts}"

    def acknowledge(self, ack_ids: Iterable[str]) -> None:
        """Acknowledge messages. This also works after a lease has expired, which avoids a
        redelivery.

        Raises:
            ValueError: this subscription never issued one of the ack ids; nothing is acknowledged.
        """
        for message_id, _ in [self._parse(ack_id) for ack_id in ack_ids]:
            owed = self._owed.get(message_id)
            if owed:
                self.remove(owed)
                if self.policy.retains:
                    self._acknowledged[message_id] = owed.message

    def acknowledged(self) -> Iterable[Any]:
        """Return the acknowledged messages that are retained."""
        return self._acknowledged.values()

    def retain(self, message: Any) -> None:
        """Add a message that was acknowledged before."""
        self._acknowledged[message.message_id] = message

    def seek(self, is_owed: Callable[[Any], bool], more: Iterable[Any] = ()) -> None:
        """Make the messages for which ``is_owed`` the backlog, and acknowledge all others.

        Args:
            more: messages that this backlog may no longer have.
        """
        known = {message.message_id: message for message in (*self._acknowledged.values(), *more)}
        known |= {owed.message.message_id: owed.message for owed in self._owed.values()}
        for owed in tuple(self._owed.values()):
            self.remove(owed)
        self._acknowledged.clear()
        for _, message in sorted(known.items(), key=lambda item: int(item[0])):
            if is_owed(message):
                self.offer(message, message.ByteSize())
            elif self.policy.retains:
                self._acknowledged[message.message_id] = message

    def remove(self, owed: Owed) -> None:
        """Drop a message."""
        del self._owed[owed.message.message_id]
        owed.gone = True
        self._end_lease(owed)
        before, after = owed.before, owed.after
        if before:
            before.after = after
        if after:
            after.before = before
            if not before:
                self._let_go(after)
        key = owed.message.ordering_key
        if self._last.get(key) is owed:
            if before:
                self._last[key] = before
            else:
                del self._last[key]

    def without_lease(self, ack_ids: Iterable[str]) -> set[str]:
        """Return the ack ids that are not those of a current lease."""
        ids = set(ack_ids)
        return ids - {self.ack_id(owed) for owed in self._leased(ids)}

    def extend(self, ack_ids: Iterable[str], seconds: float) -> None:
        """Let leases end ``seconds`` from now. Ids of expired leases are ignored."""
        due = self._clock() + seconds
        for owed in self._leased(ack_ids):
            self._set_timer(owed, due)

    def release(self, ack_ids: Iterable[str]) -> None:
        """Release unprocessed messages: a negative acknowledgement."""
        for owed in self._leased(ack_ids):
            self._return(owed)

    def expire(self) -> None:
        """Release messages whose lease has expired, and free messages whose pause has ended."""
        now = self._clock()
        while (due := self.next_due()) is not None and due <= now:
            owed = heapq.heappop(self._timers)[2]
            if owed.holder:
                self._return(owed)
            else:
                self._set_free(owed)

    def rouse(self) -> None:
        """Free what rests, before its backoff has passed."""
        for owed in self._owed.values():
            if owed.due is not None and owed.holder is None:
                self._set_free(owed)

    def next_due(self) -> float | None:
        """Return the time when ``expire()`` next has work, or None."""
        while self._timers and self._is_stale(self._timers[0]):
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def _parse(self, ack_id: str) -> tuple[str, str]:
        name, _, lease = ack_id.rpartition(":")
        message_id, dash, attempt = lease.partition("-")
        if name != self._name or not dash:
            raise ValueError(ack_id)
        return message_id, attempt

    def _leased(self, ack_ids: Iterable[str]) -> list[Owed]:
        found = []
        for message_id, attempt in [self._parse(ack_id) for ack_id in ack_ids]:
            owed = self._owed.get(message_id)
            if owed and owed.holder and attempt == str(owed.attempts):
                found.append(owed)
        return found

    def _return(self, owed: Owed) -> None:
        if owed.holder is None:  # the same ack id occurs twice in one request
            return
        self._end_lease(owed)
        attempts_left = self.policy.max_attempts is None or owed.attempts < self.policy.max_attempts
        if not attempts_left and self._bury(owed):
            self.remove(owed)
            return
        self._return_later_ones(owed)
        rest = self.policy.backoff(owed.attempts)
        if rest > 0:
            self._set_timer(owed, self._clock() + rest)
        else:
            self._set_free(owed)

    def _end_lease(self, owed: Owed) -> None:
        consumer, owed.holder, owed.due = owed.holder, None, None
        if consumer:
            consumer.messages -= 1
            consumer.bytes -= owed.size
            consumer.wake()

    def _return_later_ones(self, owed: Owed) -> None:
        """Deliver the messages of the same key again that come after one that was not
        acknowledged.

        Google's service also repeats those that were acknowledged meanwhile, which are gone here.
        https://cloud.google.com/pubsub/docs/ordering#order_messages_for_redelivery
        """
        later = owed.after
        while later:
            if later.holder:
                self._end_lease(later)
                self._set_free(later)
            later = later.after

    def _let_go(self, owed: Owed | None) -> None:
        if owed and owed.waits:
            owed.waits = False
            self._free.append(owed)

    def _set_free(self, owed: Owed) -> None:
        owed.due = None
        self._free.append(owed)

    def _set_timer(self, owed: Owed, due: float) -> None:
        owed.due = due
        heapq.heappush(self._timers, (due, next(self._order), owed))
        # The timers of acknowledged messages remain. Without this they would accumulate for the
        # length of a lease, which is up to ten minutes.
        if len(self._timers) > 2 * len(self._owed) + 1000:
            self._timers = [timer for timer in self._timers if not self._is_stale(timer)]
            heapq.heapify(self._timers)

    @staticmethod
    def _is_stale(timer: tuple[float, int, Owed]) -> bool:
        due, _, owed = timer
        return owed.gone or owed.due != due
