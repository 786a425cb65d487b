"""Snapshots, and seeks to them and to times."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from google.api_core import exceptions

from .pubsub_client import PROJECT, Cloud
from .test_pubsub_order import bodies

HOUR = timedelta(hours=1)


def snapshot(cloud: Cloud, subscription: str) -> str:
    name = f"projects/{PROJECT}/snapshots/s-{uuid4().hex}"
    cloud.subscriber.create_snapshot(name=name, subscription=subscription)
    return name


class TestSeek:
    def test_a_time_in_the_past_brings_back_what_is_retained(self, cloud: Cloud) -> None:
        topic = cloud.topic()
        kept = cloud.subscription(topic, retain_acked_messages=True)
        dropped = cloud.subscription(topic)
        cloud.publish(topic, {"data": b"1"}, {"data": b"2"})
        for name in (kept, dropped):
            cloud.drain(name, 2)
            request = {"subscription": name, "time": datetime.now(UTC) - HOUR}
            cloud.subscriber.seek(request=request)
        assert sorted(bodies(cloud.drain(kept, 2)).split()) == ["1", "2"]
        assert cloud.pull_now(dropped) == []

    def test_a_time_in_the_future_acknowledges_everything(self, cloud: Cloud) -> None:
        topic = cloud.topic()
        subscription = cloud.subscription(topic)
        cloud.publish(topic, {"data": b"1"})
        request = {"subscription": subscription, "time": datetime.now(UTC) + HOUR}
        cloud.subscriber.seek(request=request)
        assert cloud.pull_now(subscription) == []

    def test_a_snapshot_brings_back_its_backlog_and_what_came_later(self, cloud: Cloud) -> None:
        topic = cloud.topic()
        subscription = cloud.subscription(topic)
        cloud.publish(topic, {"data": b"acknowledged"})
        cloud.drain(subscription, 1)
        cloud.publish(topic, {"data": b"waiting"})
        name = snapshot(cloud, subscription)
        cloud.publish(topic, {"data": b"later"})
        cloud.drain(subscription, 2)
        cloud.subscriber.seek(request={"subscription": subscription, "snapshot": name})
        assert sorted(bodies(cloud.drain(subscription, 2)).split()) == ["later", "waiting"]
        assert cloud.pull_now(subscription) == []


class TestSnapshots:
    def test_they_are_found_and_deleted(self, cloud: Cloud) -> None:
        topic = cloud.topic()
        subscription = cloud.subscription(topic)
        name = snapshot(cloud, subscription)
        found = cloud.subscriber.get_snapshot(snapshot=name)
        assert (found.name, found.topic) == (name, topic)
        week = found.expire_time - datetime.now(UTC)
        assert timedelta(days=6) < week <= timedelta(days=7)
        listed = cloud.subscriber.list_snapshots(project=f"projects/{PROJECT}")
        assert name in {each.name for each in listed}
        with pytest.raises(exceptions.AlreadyExists):
            cloud.subscriber.create_snapshot(name=name, subscription=subscription)
        cloud.subscriber.delete_snapshot(snapshot=name)
        with pytest.raises(exceptions.NotFound):
            cloud.subscriber.seek(request={"subscription": subscription, "snapshot": name})
