"""The queue of trades in Pub/Sub."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mcloud.clouds.batches import batches
from mcloud.clouds.gcp.client import TIMEOUT, retry, translated
from mcloud.clouds.gcp.metrics import CloudMonitoring
from mcloud.clouds.ports import DEAD_LETTER_HOLD, DeadLetter, Depth, Unsent
from mcloud.clouds.resources import GcpResources
from mcloud.market.envelope import Message

MAX_MESSAGES = 1000  # maximum number of messages in a publish request
MAX_REQUEST = 9_000_000  # bytes; the limit is 10 MB, including the overhead of protobuf
# maximum number in an acknowledgement; its limit of 512 KiB is about twice as many
MAX_RECEIPTS = 1000
REDELIVERY = 600.0  # seconds; ack deadline and longest backoff in terraform/gcp/messaging.tf


@dataclass(frozen=True)
class PullPatience:
    """Time to keep pulling. While messages wait, Pub/Sub may answer a pull late, in part or with
    nothing.

    https://cloud.google.com/pubsub/docs/pull#unary_pull_code_samples
    """

    timeout: float
    """Seconds to wait for an answer."""
    seconds: float
    """Minimum time without a dead letter after which the queue counts as read."""
    empty: int
    """Number of empty answers in a row after which the queue counts as read."""
    pause: float = 1.0
    """Seconds between an empty answer and the next pull."""


PATIENT = PullPatience(timeout=10.0, seconds=15.0, empty=3)
EMBEDDED = PullPatience(timeout=3.0, seconds=0.0, empty=1)


class PubSubQueue:
    """Publishes with its own requests instead of the client's background batcher.

    Each call returns when its messages are in the topic, needs no flow control, and leaves nothing
    in memory.
    """

    is_live = False

    def __init__(
        self,
        publisher: Any,
        subscriber: Any,
        metrics: CloudMonitoring,
        to: GcpResources,
        patience: PullPatience | None = None,
    ) -> None:
        self._publisher = publisher
        self._subscriber = subscriber
        self._metrics = metrics
        self._to = to
        self.patience = patience or (EMBEDDED if to.pubsub_endpoint else PATIENT)
        self._topic = f"projects/{to.project}/topics/{to.topic}"
        self._dlq = f"projects/{to.project}/subscriptions/{to.dlq_subscription}"

    def send(self, messages: Sequence[Message]) -> list[Unsent]:
        from google.pubsub_v1.types import PubsubMessage

        for batch in batches(
            messages, lambda each: each.size, most=MAX_MESSAGES, limit=MAX_REQUEST
        ):
            with translated(f"Pub/Sub {self._topic}"):
                self._publisher.publish(
                    topic=self._topic,
                    messages=[
                        PubsubMessage(data=m.body.encode(), attributes=m.attributes) for m in batch
                    ],
                    timeout=TIMEOUT,
                    retry=None,  # the caller retries, and needs to know the reason
                )
        return []  # Pub/Sub accepts either all messages of a request or none

    def depth(self) -> Depth:
        backlog = self._metrics.backlog(self._to.subscription)
        return backlog if self._to.pubsub_endpoint else replace(backlog, redelivery=REDELIVERY)

    def dead_letter_depth(self) -> Depth:
        return self._metrics.backlog(self._to.dlq_subscription)

    def dead_letters(self, limit: int) -> list[DeadLetter]:
        letters = self.take_dead_letters(limit)
        self.release_dead_letters(letters)
        return letters

    def take_dead_letters(self, limit: int) -> list[DeadLetter]:
        patience = self.patience
        found: dict[str, DeadLetter] = {}
        empty, since = 0, time.monotonic()
        with translated(f"Pub/Sub {self._dlq}"):
            while len(found) < limit:
                letters = self._pull(limit - len(found))
                if letters:
                    self._hold(letters, DEAD_LETTER_HOLD)
                    found |= {letter.id: letter for letter in letters}
                    empty, since = 0, time.monotonic()
                    continue
                empty += 1
                if empty >= patience.empty and time.monotonic() - since >= patience.seconds:
                    break
                time.sleep(patience.pause)
        return list(found.values())

    def _pull(self, limit: int) -> list[DeadLetter]:
        from google.api_core.exceptions import DeadlineExceeded

        try:
            answer = self._subscriber.pull(
                subscription=self._dlq,
                max_messages=limit,
                timeout=self.patience.timeout,
                retry=None,
            )
        except DeadlineExceeded:
            return []
        return [_dead_letter(received) for received in answer.received_messages]

    def delete_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        # Pub/Sub does not report letters whose hold had expired. They may be delivered again.
        with translated(f"Pub/Sub {self._dlq}"):
            for receipts in _receipts(letters):
                self._subscriber.acknowledge(
                    subscription=self._dlq, ack_ids=receipts, timeout=TIMEOUT, retry=retry()
                )

    def release_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        with translated(f"Pub/Sub {self._dlq}"):
            self._hold(letters, 0)

    def _hold(self, letters: Sequence[DeadLetter], seconds: int) -> None:
        for receipts in _receipts(letters):
            self._subscriber.modify_ack_deadline(
                subscription=self._dlq,
                ack_ids=receipts,
                ack_deadline_seconds=seconds,
                timeout=TIMEOUT,
                retry=retry(),
            )


def _receipts(letters: Sequence[DeadLetter]) -> Iterator[list[str]]:
    for begin in range(0, len(letters), MAX_RECEIPTS):
        yield [letter.receipt for letter in letters[begin : begin + MAX_RECEIPTS]]


def _dead_letter(received: Any) -> DeadLetter:
    attributes = dict(received.message.attributes)
    count = attributes.get("CloudPubSubDeadLetterSourceDeliveryCount")
    return DeadLetter(
        id=received.message.message_id,
        receipt=received.ack_id,
        body=received.message.data,
        attributes=attributes,
        deliveries=int(count) if count else None,
    )
