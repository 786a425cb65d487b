"""Helpers of the Pub/Sub cases: the real clients, and a bare stream.

If Google's emulator differs from the documented service, a case follows the documentation, says so,
and expects from the emulator only what it supports.
"""

import queue
import threading
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from google.api_core import exceptions
from google.cloud.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1 import PublisherClient as BarePublisher

PROJECT = "conformance"
PATIENCE = 90  # seconds to wait; a pull itself may take 60 seconds and return nothing
LEASE = 600  # seconds; longer than any case, so that no message is redelivered


@dataclass
class Cloud:
    """The two clients, with short methods for the resources that a case needs."""

    publisher: PublisherClient
    subscriber: SubscriberClient
    is_ours: bool

    def topic(self) -> str:
        name = f"projects/{PROJECT}/topics/t-{uuid4().hex}"
        self.publisher.create_topic(name=name)
        return name

    def subscription(self, topic: str, **settings: Any) -> str:
        name = f"projects/{PROJECT}/subscriptions/s-{uuid4().hex}"
        request = {"name": name, "topic": topic, "ack_deadline_seconds": LEASE, **settings}
        self.subscriber.create_subscription(request=request)
        return name

    def publish(self, topic: str, *messages: dict[str, Any]) -> list[str]:
        """Publish in one request, without the client's batching."""
        return list(
            BarePublisher.publish(self.publisher, topic=topic, messages=list(messages)).message_ids
        )

    def pull(self, subscription: str, count: int = 1) -> list[Any]:
        """Pull until there is a message, since a pull may return before the first one."""
        for _ in range(10):
            answer = self.subscriber.pull(
                subscription=subscription, max_messages=count, timeout=PATIENCE
            )
            if answer.received_messages:
                break
        return list(answer.received_messages)

    def pull_now(self, subscription: str, count: int = 10) -> list[Any]:
        """Return the messages that are available at this moment."""
        request = {
            "subscription": subscription,
            "max_messages": count,
            "return_immediately": True,
        }
        return list(self.subscriber.pull(request=request).received_messages)

    def drain(self, subscription: str, count: int, ack: bool = True) -> list[Any]:
        received: list[Any] = []
        while len(received) < count:
            more = self.pull(subscription, 1000)
            received += more
            if ack:
                ack_ids = [one.ack_id for one in more]
                self.subscriber.acknowledge(subscription=subscription, ack_ids=ack_ids)
        return received

    def nack(self, subscription: str, received: Any) -> None:
        self.extend(subscription, received, 0)

    def extend(self, subscription: str, received: Any, seconds: int) -> None:
        self.subscriber.modify_ack_deadline(
            subscription=subscription,
            ack_ids=[received.ack_id],
            ack_deadline_seconds=seconds,
        )


class Stream:
    """A bare StreamingPull, without the subscriber client's own flow control and leases."""

    def __init__(self, cloud: Cloud, subscription: str, **limits: int) -> None:
        self._requests: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._requests.put(
            {"subscription": subscription, "stream_ack_deadline_seconds": LEASE, **limits}
        )
        self._messages: queue.Queue[Any] = queue.Queue()
        self._call = cloud.subscriber.streaming_pull(iter(self._requests.get, None))
        self._reader = threading.Thread(target=self._read)

    def __enter__(self) -> "Stream":
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._requests.put(None)
        self._call.cancel()
        self._reader.join()

    def send(self, **request: Any) -> None:
        self._requests.put(request)

    def next(self) -> Any:
        message = self._messages.get(timeout=PATIENCE)
        if isinstance(message, Exception):
            raise message
        return message

    def is_quiet(self) -> bool:
        try:
            self._messages.put(self._messages.get(timeout=0.5))
        except queue.Empty:
            return True
        return False

    def _read(self) -> None:
        try:
            for response in self._call:
                for message in response.received_messages:
                    self._messages.put(message)
        except exceptions.GoogleAPICallError as error:
            self._messages.put(error)
