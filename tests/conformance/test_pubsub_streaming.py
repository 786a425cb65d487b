"""Streaming pull: the subscriber client, flow control, acknowledgements on the stream."""

import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud.pubsub_v1.types import FlowControl

from .pubsub_client import LEASE, PATIENCE, Cloud, Stream


class TestStreamingPull:
    def test_the_subscriber_client_gets_everything(self, cloud: Cloud) -> None:
        topic = cloud.topic()
        subscription = cloud.subscription(topic)
        got: queue.Queue[str] = queue.Queue()

        def take(message: Any) -> None:
            got.put(message.message_id)
            message.ack()

        with subscribed(cloud, subscription, take):
            ids = cloud.publish(topic, *({"data": b"%d" % i} for i in range(500)))
            assert {got.get(timeout=PATIENCE) for _ in ids} == set(ids)
        assert cloud.pull_now(subscription) == []

    def test_a_nack_on_the_stream(self, cloud: Cloud) -> None:
        topic = cloud.topic()
        subscription = cloud.subscription(topic)
        got: queue.Queue[bytes] = queue.Queue()

        def refuse_once(message: Any) -> None:
            (message.nack if got.empty() else message.ack)()
            got.put(message.data)

        with subscribed(cloud, subscription, refuse_once):
            cloud.publish(topic, {"data": b"x"})
            assert [got.get(timeout=PATIENCE), got.get(timeout=PATIENCE)] == [b"x", b"x"]

    def test_the_client_holds_no_more_than_its_flow_control(self, cloud: Cloud) -> None:
        topic = cloud.topic()
        subscription = cloud.subscription(topic)
        held: queue.Queue[Any] = queue.Queue()
        with subscribed(cloud, subscription, held.put, max_messages=3):
            cloud.publish(topic, *({"data": b"%d" % i} for i in range(10)))
            seen = set()
            for _ in range(10):
                message = held.get(timeout=PATIENCE)
                assert held.qsize() <= 2
                seen.add(message.data)
                message.ack()
            assert len(seen) == 10

    def test_the_server_enforces_the_flow_control(self, cloud: Cloud) -> None:
        if not cloud.is_ours:
            pytest.skip("Google's emulator leaves the documented flow control to the client")
        topic = cloud.topic()
        subscription = cloud.subscription(topic)
        cloud.publish(topic, *({"data": b"%d" % i} for i in range(6)))
        with Stream(cloud, subscription, max_outstanding_messages=2) as stream:
            first = [stream.next(), stream.next()]
            assert stream.is_quiet()
            stream.send(ack_ids=[first[0].ack_id])
            stream.next()
            assert stream.is_quiet()

    def test_acknowledgements_on_the_stream(self, cloud: Cloud) -> None:
        topic = cloud.topic()
        subscription = cloud.subscription(topic)
        cloud.publish(topic, {"data": b"x"})
        with Stream(cloud, subscription) as stream:
            first = stream.next()
            stream.send(modify_deadline_ack_ids=[first.ack_id], modify_deadline_seconds=[0])
            second = stream.next()
            assert second.message.message_id == first.message.message_id
            stream.send(modify_deadline_ack_ids=[second.ack_id], modify_deadline_seconds=[1])
            third = stream.next()
            stream.send(ack_ids=[third.ack_id])
            assert stream.is_quiet()
        assert cloud.pull_now(subscription) == []

    def test_deleting_the_subscription_ends_its_streams(self, cloud: Cloud) -> None:
        subscription = cloud.subscription(cloud.topic())
        with Stream(cloud, subscription) as stream:
            assert stream.is_quiet()
            cloud.subscriber.delete_subscription(subscription=subscription)
            with pytest.raises(exceptions.NotFound):
                stream.next()


@contextmanager
def subscribed(
    cloud: Cloud, subscription: str, callback: Callable[[Any], object], **limits: int
) -> Iterator[None]:
    flow_control = FlowControl(min_duration_per_lease_extension=LEASE, **limits)
    streaming = cloud.subscriber.subscribe(subscription, callback, flow_control=flow_control)
    try:
        yield
    finally:
        streaming.cancel()
        streaming.result(timeout=PATIENCE)
