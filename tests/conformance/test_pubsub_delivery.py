"""Pulls: leases, redelivery and dead letters."""

import queue
import threading
import time
from collections import Counter
from typing import Any

import pytest

from .pubsub_client import PATIENCE, PROJECT, Cloud


class TestLeases:
    def test_acknowledged_messages_are_gone_and_leased_ones_hidden(self, cloud: Cloud) -> None:
        topic = cloud.topic()
        subscription = cloud.subscription(topic)
        cloud.publish(topic, {"data": b"x"})
        (received,) = cloud.pull(subscription)
        assert cloud.pull_now(subscription) == []
        cloud.subscriber.acknowledge(subscription=subscription, ack_ids=[received.ack_id])
        cloud.subscriber.acknowledge(subscription=subscription, ack_ids=[received.ack_id])
        assert cloud.pull_now(subscription) == []

    def test_a_nack_causes_a_redelivery(self, cloud: Cloud) -> None:
        topic = cloud.topic()
        subscription = cloud.subscription(topic)
        (message_id,) = cloud.publish(topic, {"data": b"x"})
        (first,) = cloud.pull(subscription)
        cloud.nack(subscription, first)
        (second,) = cloud.pull(subscription)
        assert second.message.message_id == message_id
        assert second.ack_id != first.ack_id

    def test_an_expired_deadline_causes_a_redelivery_and_an_extension_prevents_it(
        self, cloud: Cloud
    ) -> None:
        topic = cloud.topic()
        subscription = cloud.subscription(topic)
        cloud.publish(topic, {"data": b"short"}, {"data": b"long"})
        received = {one.message.data: one for one in cloud.drain(subscription, 2, ack=False)}
        cloud.extend(subscription, received[b"short"], 1)
        cloud.extend(subscription, received[b"long"], 60)
        (again,) = cloud.pull(subscription, 10)
        assert again.message.data == b"short"
        assert cloud.pull_now(subscription) == []

    def test_pullers_side_by_side_share_the_messages(self, cloud: Cloud) -> None:
        topic = cloud.topic()
        subscription = cloud.subscription(topic)
        ids = cloud.publish(topic, *({"data": b"%d" % i} for i in range(200)))
        seen: Counter[str] = Counter()

        def pull() -> None:
            while received := cloud.pull_now(subscription, 7):
                seen.update(one.message.message_id for one in received)

        pullers = [threading.Thread(target=pull) for _ in range(4)]
        for puller in pullers:
            puller.start()
        for puller in pullers:
            puller.join()
        assert seen == Counter(ids)

    def test_a_waiting_pull_is_answered_by_a_publish(self, cloud: Cloud) -> None:
        topic = cloud.topic()
        subscription = cloud.subscription(topic)
        answers: queue.Queue[list[Any]] = queue.Queue()
        puller = threading.Thread(target=lambda: answers.put(cloud.pull(subscription)))
        puller.start()
        with pytest.raises(queue.Empty):
            answers.get(timeout=0.3)
        cloud.publish(topic, {"data": b"at last"})
        assert [one.message.data for one in answers.get(timeout=PATIENCE)] == [b"at last"]
        puller.join()

    @pytest.mark.parametrize("seconds", [0.5, 2.0])
    def test_a_pull_answers_empty_before_its_deadline(self, cloud: Cloud, seconds: float) -> None:
        subscription = cloud.subscription(cloud.topic())
        answer = cloud.subscriber.pull(
            subscription=subscription, max_messages=1, timeout=seconds, retry=None
        )
        assert list(answer.received_messages) == []


class TestDeadLetters:
    def test_attempts_count_up_and_end_in_the_dead_letter_topic(self, cloud: Cloud) -> None:
        dead_topic = cloud.topic()
        dead = cloud.subscription(dead_topic)
        topic = cloud.topic()
        subscription = cloud.subscription(
            topic,
            dead_letter_policy={"dead_letter_topic": dead_topic, "max_delivery_attempts": 5},
        )
        (message_id,) = cloud.publish(topic, {"data": b"poison", "attributes": {"a": "b"}})
        for attempt in range(1, 6):
            (received,) = cloud.pull(subscription)
            assert received.delivery_attempt == attempt
            cloud.nack(subscription, received)
        # Google's emulator moves the message only with the next line.
        assert cloud.pull_now(subscription) == []
        (buried,) = cloud.pull(dead)
        assert buried.message.data == b"poison"
        assert buried.message.message_id != message_id
        attributes = dict(buried.message.attributes)
        assert attributes.pop("CloudPubSubDeadLetterSourceTopicPublishTime").endswith("Z")
        assert attributes == {
            "a": "b",
            "CloudPubSubDeadLetterSourceDeliveryCount": "5",
            "CloudPubSubDeadLetterSourceSubscription": subscription.rpartition("/")[2],
            "CloudPubSubDeadLetterSourceSubscriptionProject": PROJECT,
        }

    def test_a_retry_policy_delays_the_redelivery(self, cloud: Cloud) -> None:
        topic = cloud.topic()
        subscription = cloud.subscription(
            topic,
            retry_policy={"minimum_backoff": {"seconds": 2}, "maximum_backoff": {"seconds": 4}},
        )
        cloud.publish(topic, {"data": b"x"})
        (received,) = cloud.pull(subscription)
        nacked = time.monotonic()
        cloud.nack(subscription, received)
        (again,) = cloud.pull(subscription)
        assert again.message.message_id == received.message.message_id
        # This is documented, but Google's emulator follows the policy for pushes only.
        assert not cloud.is_ours or time.monotonic() - nacked > 1.5
