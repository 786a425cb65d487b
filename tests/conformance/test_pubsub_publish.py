"""Publishing, and which subscriptions receive a message."""

import time
from typing import Any

import pytest
from google.api_core import exceptions

from .pubsub_client import PATIENCE, Cloud


class TestPublish:
    def test_messages_arrive_unchanged(self, cloud: Cloud) -> None:
        topic = cloud.topic()
        subscription = cloud.subscription(topic)
        before = time.time()
        data = bytes(range(256))
        ids = cloud.publish(topic, {"data": data, "attributes": {"symbol": "BTCUSDT", "ü": "→"}})
        (received,) = cloud.pull(subscription)
        assert received.message.message_id == ids[0]
        assert received.message.data == data
        assert dict(received.message.attributes) == {"symbol": "BTCUSDT", "ü": "→"}
        assert before - 1 < received.message.publish_time.timestamp() < time.time() + 1
        assert received.delivery_attempt == 0

    def test_ids_differ_and_every_subscription_gets_a_copy(self, cloud: Cloud) -> None:
        topic = cloud.topic()
        subscriptions = [cloud.subscription(topic), cloud.subscription(topic)]
        ids = cloud.publish(topic, *({"data": b"%d" % i} for i in range(50)))
        assert len(set(ids)) == 50
        for name in subscriptions:
            assert {one.message.message_id for one in cloud.drain(name, 50)} == set(ids)

    def test_a_new_subscription_gets_no_earlier_messages(self, cloud: Cloud) -> None:
        topic = cloud.topic()
        cloud.publish(topic, {"data": b"before"})
        subscription = cloud.subscription(topic)
        cloud.publish(topic, {"data": b"after"})
        assert [one.message.data for one in cloud.pull(subscription, 10)] == [b"after"]

    def test_a_message_may_have_attributes_only(self, cloud: Cloud) -> None:
        topic = cloud.topic()
        subscription = cloud.subscription(topic)
        cloud.publish(topic, {"attributes": {"a": "b"}})
        assert cloud.pull(subscription)[0].message.data == b""

    @pytest.mark.parametrize(
        "messages", [[], [{}], [{"data": b"good"}, {}], [{"data": b"x"}] * 1001]
    )
    def test_invalid_messages_are_refused(
        self, cloud: Cloud, messages: list[dict[str, Any]]
    ) -> None:
        topic = cloud.topic()
        subscription = cloud.subscription(topic)
        with pytest.raises(exceptions.InvalidArgument):
            cloud.publish(topic, *messages)
        assert cloud.pull_now(subscription) == []

    @pytest.mark.parametrize(
        "message",
        [
            {"data": b"x", "attributes": {"k" * 257: "v"}},
            {"data": b"x", "attributes": {"k": "v" * 1025}},
            {"data": b"x", "attributes": {"": "v"}},
            {"data": b"x", "attributes": {"googly": "v"}},
            {"data": b"x", "attributes": {f"k{i}": "v" for i in range(101)}},
            {"data": b"x" * (10 * 1024 * 1024)},
        ],
        ids=["long key", "long value", "empty key", "goog key", "101 attributes", "10 MiB"],
    )
    def test_documented_limits_are_enforced(self, cloud: Cloud, message: dict[str, Any]) -> None:
        if not cloud.is_ours:
            pytest.skip("Google's emulator does not hold these limits of the service")
        topic = cloud.topic()
        with pytest.raises(exceptions.InvalidArgument):
            cloud.publish(topic, message)

    def test_large_messages_are_accepted_and_delivered(self, cloud: Cloud) -> None:
        topic = cloud.topic()
        assert cloud.publish(topic, {"data": b"x" * 9_990_000})
        subscription = cloud.subscription(topic)
        # With an emulator the client accepts answers of at most 4 MiB.
        cloud.publish(topic, {"data": b"small"}, {"data": b"x" * 4_190_000})
        sizes = {len(one.message.data) for one in cloud.drain(subscription, 2)}
        assert sizes == {5, 4_190_000}

    def test_the_batching_client_publishes_every_message(self, cloud: Cloud) -> None:
        topic = cloud.topic()
        subscription = cloud.subscription(topic)
        futures = [cloud.publisher.publish(topic, b"%d" % i, n=str(i)) for i in range(300)]
        ids = {future.result(timeout=PATIENCE) for future in futures}
        assert {one.message.message_id for one in cloud.drain(subscription, 300)} == ids
