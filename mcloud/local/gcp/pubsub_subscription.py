"""One subscription: its settings, its backlog, its consumers, and its timer."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import grpc
from google.rpc.error_details_pb2 import ErrorInfo

from mcloud.local.gcp.monitoring_distribution import Histogram
from mcloud.local.gcp.pubsub_backlog import Backlog, Consumer, Owed
from mcloud.local.gcp.pubsub_filter import MessageFilter
from mcloud.local.gcp.pubsub_rules import policy_of
from mcloud.local.gcp.rpc import Refusal, invalid


class Delivery(Protocol):
    """Delivery by the server itself: see ``pubsub_push`` and ``pubsub_export``."""

    consumer: Consumer

    def serves(self, settings: Any) -> bool:
        """Return whether this delivery also fits a subscription with these settings."""
        ...

    def close(self) -> None: ...


class Subscription:
    """A subscription, created, used and closed on the event loop.

    Args:
        settings: the raw protobuf ``Subscription``, checked and complete.
        clock: seconds since the epoch.
        bury: publishes a message to the dead-letter topic; False if that topic does not exist.
        deliver: starts the delivery of a subscription; None if its clients pull.
        is_out: returns whether a service of the site is out (see ``PubSub``, also for ``pushed``).
    """

    def __init__(
        self,
        settings: Any,
        clock: Callable[[], float],
        bury: Callable[["Subscription", Owed], bool],
        deliver: Callable[["Subscription"], Delivery | None],
        is_out: Callable[[str], bool] = lambda service: False,
        pushed: Callable[[str, Any], None] = lambda subscription, message: None,
    ) -> None:
        self.name: str = settings.name
        self.backlog = Backlog(settings.name, clock, lambda owed: bury(self, owed))
        self.consumers: set[Consumer] = set()
        self.delivery: Delivery | None = None
        self.is_out = is_out
        self.pushed = pushed
        # latencies of pushes in ms, by class of response code
        self.latencies: dict[str, Histogram] = {}
        self._clock = clock
        self._deliver = deliver
        self._timer: asyncio.TimerHandle | None = None
        self._closed: Refusal | None = None
        self.configure(settings)

    def configure(self, settings: Any) -> None:
        """Change the settings. They apply from the next delivery on."""
        self.settings = settings
        self._filter = MessageFilter(settings.filter)
        self.backlog.policy = policy_of(settings)
        if self.delivery and not self.delivery.serves(settings):
            self.delivery.close()
            self.consumers.discard(self.delivery.consumer)
            self.delivery = None
        if not self.delivery:
            self.delivery = self._deliver(self)
            if self.delivery:
                self.consumers.add(self.delivery.consumer)
        self.settle()

    def offer(self, message: Any, size: int, attempts: int = 0) -> None:
        """Add a message that the filter lets pass; call ``settle()`` after the last one of a
        batch.
        """
        if self._filter.passes(message.attributes):
            self.backlog.offer(message, size, attempts)

    def acknowledge(self, ack_ids: Iterable[str]) -> None:
        """Acknowledge messages.

        Raises:
            Refusal: with exactly-once delivery, the lease of a message is over. The others are
                acknowledged.
        """
        with _ack_ids_checked():
            failed = self._without_lease(ack_ids)
            self.backlog.acknowledge(each for each in ack_ids if each not in failed)
        if self.backlog.policy.keeps_order:
            self.settle()
        _report(failed)

    def modify_deadline(self, ack_ids: Iterable[str], seconds: int) -> None:
        """Move the end of leases to ``seconds`` from now; 0 releases the messages."""
        with _ack_ids_checked():
            failed = self._without_lease(ack_ids)
            if seconds:
                self.backlog.extend(ack_ids, seconds)
            else:
                self.backlog.release(ack_ids)
        self.settle()
        _report(failed)

    def lease(self, consumer: Consumer, limit: int, seconds: float) -> list[Owed]:
        """Lease free messages to any consumer, or none while the queue is out."""
        if self.is_out("queue"):
            return []
        taken = self.backlog.take(consumer, limit, seconds)
        if taken:
            self._set_timer()
        return taken

    def take(self, consumer: Consumer, limit: int, seconds: float) -> list[Owed]:
        """Lease free messages to a consumer.

        Raises:
            Refusal: The subscription is closed, or its clients do not pull.
        """
        self.check_pullable()
        return self.lease(consumer, limit, seconds)

    def check_pullable(self) -> None:
        """Refuse a pull from a subscription that is closed or pushes its messages."""
        if self._closed:
            raise self._closed
        if self.delivery:
            raise Refusal(
                grpc.StatusCode.FAILED_PRECONDITION,
                "This method is not supported for this subscription type.",
            )

    def settle(self) -> None:
        """Set the timer after a change, and wake the consumers if there are messages for them."""
        self._set_timer()
        # All consumers are woken after new settings too, because a stream may no longer be allowed
        # to pull.
        if self.backlog.has_free or self.delivery:
            for consumer in tuple(self.consumers):
                consumer.wake()

    def received(self, owed: Iterable[Owed], response: Any) -> Any:
        """Put leased messages into a pull response."""
        has_dead_letters = self.backlog.policy.max_attempts is not None
        for one in owed:
            response.received_messages.add(
                ack_id=self.backlog.ack_id(one),
                message=one.message,
                delivery_attempt=one.attempts if has_dead_letters else 0,
            )
        return response

    def close(self, why: Refusal) -> None:
        """Stop the timer and the delivery, and end the open pulls and streams with ``why``."""
        self._closed = why
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self.delivery:
            self.delivery.close()
            self.delivery = None
        for consumer in tuple(self.consumers):
            consumer.wake()

    def _without_lease(self, ack_ids: Iterable[str]) -> set[str]:
        """Return the ack ids that count as failed, which exactly-once delivery reports."""
        if not self.settings.enable_exactly_once_delivery:
            return set()
        return self.backlog.without_lease(ack_ids)

    def _set_timer(self) -> None:
        due = self.backlog.next_due()
        if self._closed or due is None:
            return
        loop = asyncio.get_running_loop()
        when = loop.time() + max(0.0, due - self._clock())
        # A timer that is too early is harmless: it finds no work and sets the next one.
        if self._timer and self._timer.when() <= when:
            return
        if self._timer:
            self._timer.cancel()
        self._timer = loop.call_at(when, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self.backlog.expire()
        self.settle()


def _report(failed: set[str]) -> None:
    """Refuse ack ids, each by its name.

    https://cloud.google.com/pubsub/docs/exactly-once-delivery
    """
    if failed:
        metadata = dict.fromkeys(failed, "PERMANENT_FAILURE_INVALID_ACK_ID")
        raise Refusal(
            grpc.StatusCode.INVALID_ARGUMENT,
            "Some acknowledgement ids are invalid.",
            ErrorInfo(
                reason="EXACTLY_ONCE_ACKID_FAILURE",
                domain="pubsub.googleapis.com",
                metadata=metadata,
            ),
        )


@contextmanager
def _ack_ids_checked() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise invalid(f"Invalid ack id (ack_id={error}).") from error
