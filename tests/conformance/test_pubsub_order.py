"""Ordering keys, exactly-once delivery, and filters."""

from typing import Any
from uuid import uuid4

import pytest
from google.api_core import exceptions
from google.protobuf.field_mask_pb2 import FieldMask

from .pubsub_client import PROJECT, Cloud


def keyed(*bodies: str, key: str = "k") -> list[dict[str, Any]]:
    return [{"data": body.encode(), "ordering_key": key} for body in bodies]


def bodies(received: list[Any]) -> str:
    return " ".join(one.message.data.decode() for one in received)


class TestOrder:
    def test_messages_of_a_key_come_in_their_order(self, cloud: Cloud) -> None:
        topic = cloud.topic()
        subscription = cloud.subscription(topic, enable_message_ordering=True)
        cloud.publish(topic, *keyed("1", "2", "3"))
        received = cloud.drain(subscription, 3, ack=False)
        assert bodies(received) == "1 2 3"
        assert {one.message.ordering_key for one in received} == {"k"}

    def test_a_nack_repeats_the_later_messages(self, cloud: Cloud) -> None:
        """As documented; Google's emulator repeats the one message only."""
        if not cloud.is_ours:
            pytest.skip("Google's emulator repeats no later messages")
        topic = cloud.topic()
        subscription = cloud.subscription(topic, enable_message_ordering=True)
        cloud.publish(topic, *keyed("1", "2", "3"))
        first = cloud.drain(subscription, 3, ack=False)[0]
        cloud.nack(subscription, first)
        assert bodies(cloud.drain(subscription, 3, ack=False)) == "1 2 3"

    def test_a_key_waits_while_an_earlier_message_is_leased(self, cloud: Cloud) -> None:
        topic = cloud.topic()
        subscription = cloud.subscription(topic, enable_message_ordering=True)
        cloud.publish(topic, *keyed("1", "2"), *keyed("other", key="l"))
        (first,) = cloud.pull(subscription, 1)
        assert bodies([first]) == "1"
        assert bodies(cloud.pull(subscription, 10)) == "other"
        assert cloud.pull_now(subscription) == []
        cloud.subscriber.acknowledge(subscription=subscription, ack_ids=[first.ack_id])
        assert bodies(cloud.pull(subscription, 10)) == "2"

    def test_the_order_is_chosen_once(self, cloud: Cloud) -> None:
        subscription = cloud.subscription(cloud.topic(), enable_message_ordering=True)
        with pytest.raises(exceptions.InvalidArgument):
            cloud.subscriber.update_subscription(
                subscription={"name": subscription, "enable_message_ordering": False},
                update_mask=FieldMask(paths=["enable_message_ordering"]),
            )


class TestExactlyOnce:
    def test_an_ack_id_counts_once(self, cloud: Cloud) -> None:
        topic = cloud.topic()
        subscription = cloud.subscription(topic, enable_exactly_once_delivery=True)
        cloud.publish(topic, {"data": b"a"}, {"data": b"b"})
        first, second = (one.ack_id for one in cloud.drain(subscription, 2, ack=False))
        cloud.subscriber.acknowledge(subscription=subscription, ack_ids=[first])
        # The second one is acknowledged all the same.
        with pytest.raises(exceptions.InvalidArgument) as refused:
            cloud.subscriber.acknowledge(subscription=subscription, ack_ids=[first, second])
        (detail,) = refused.value.details
        assert detail.reason == "EXACTLY_ONCE_ACKID_FAILURE"
        assert dict(detail.metadata) == {first: "PERMANENT_FAILURE_INVALID_ACK_ID"}
        with pytest.raises(exceptions.InvalidArgument):
            cloud.subscriber.modify_ack_deadline(
                subscription=subscription, ack_ids=[second], ack_deadline_seconds=10
            )
        assert cloud.pull_now(subscription) == []

    def test_it_can_be_switched_on(self, cloud: Cloud) -> None:
        topic = cloud.topic()
        subscription = cloud.subscription(topic)
        settings = cloud.subscriber.update_subscription(
            subscription={"name": subscription, "enable_exactly_once_delivery": True},
            update_mask=FieldMask(paths=["enable_exactly_once_delivery"]),
        )
        assert settings.enable_exactly_once_delivery


class TestFilter:
    def test_only_messages_that_pass_are_delivered(self, cloud: Cloud) -> None:
        """As documented; Google's emulator stores the filter, and delivers everything."""
        topic = cloud.topic()
        subscription = cloud.subscription(topic, filter='attributes.kind = "trade"')
        assert (
            cloud.subscriber.get_subscription(subscription=subscription).filter
            == 'attributes.kind = "trade"'
        )
        cloud.publish(
            topic,
            {"data": b"1", "attributes": {"kind": "trade"}},
            {"data": b"2", "attributes": {"kind": "candle"}},
        )
        assert bodies(cloud.drain(subscription, 1 if cloud.is_ours else 2)) == (
            "1" if cloud.is_ours else "1 2"
        )
        assert cloud.pull_now(subscription) == []

    def test_a_filter_is_chosen_once(self, cloud: Cloud) -> None:
        subscription = cloud.subscription(cloud.topic(), filter="attributes:kind")
        with pytest.raises(exceptions.InvalidArgument):
            cloud.subscriber.update_subscription(
                subscription={"name": subscription, "filter": "attributes:other"},
                update_mask=FieldMask(paths=["filter"]),
            )

    def test_what_is_no_filter_is_refused(self, cloud: Cloud) -> None:
        """As documented; Google's emulator accepts any text."""
        if not cloud.is_ours:
            pytest.skip("Google's emulator does not parse filters")
        topic = cloud.topic()
        name = f"projects/{PROJECT}/subscriptions/s-{uuid4().hex}"
        with pytest.raises(exceptions.InvalidArgument, match="Invalid filter"):
            cloud.subscriber.create_subscription(
                request={"name": name, "topic": topic, "filter": "kind = trade"}
            )
