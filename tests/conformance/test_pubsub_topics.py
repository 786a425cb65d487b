"""Topics, subscriptions and their settings, and the errors for invalid requests."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from google.api_core import exceptions
from google.protobuf.field_mask_pb2 import FieldMask

from .pubsub_client import PROJECT, Cloud, Stream


class TestTopicsAndSubscriptions:
    def test_settings_come_back_with_defaults(self, cloud: Cloud) -> None:
        topic = cloud.topic()
        name = cloud.subscription(topic, labels={"function": "f"}, ack_deadline_seconds=0)
        settings = cloud.subscriber.get_subscription(subscription=name)
        assert (settings.topic, settings.ack_deadline_seconds) == (topic, 10)
        assert settings.message_retention_duration.total_seconds() == 7 * 24 * 3600
        assert settings.labels["function"] == "f"
        assert cloud.publisher.get_topic(topic=topic).name == topic

    def test_lists_by_page(self, cloud: Cloud) -> None:
        project = f"projects/p-{uuid4().hex}"
        names = [f"{project}/topics/topic-{i}" for i in range(5)]
        for name in names:
            cloud.publisher.create_topic(name=name)
        request = {"project": project, "page_size": 2}
        pages = list(cloud.publisher.list_topics(request=request).pages)
        assert [topic.name for page in pages for topic in page.topics] == names
        assert [len(page.topics) for page in pages] == [2, 2, 1]

    def test_lists_the_subscriptions_of_a_topic(self, cloud: Cloud) -> None:
        topic = cloud.topic()
        names = {cloud.subscription(topic), cloud.subscription(topic)}
        cloud.subscription(cloud.topic())
        assert set(cloud.publisher.list_topic_subscriptions(topic=topic)) == names

    def test_a_deleted_topic_leaves_its_subscriptions(self, cloud: Cloud) -> None:
        topic = cloud.topic()
        subscription = cloud.subscription(topic)
        cloud.publish(topic, {"data": b"kept"})
        cloud.publisher.delete_topic(topic=topic)
        settings = cloud.subscriber.get_subscription(subscription=subscription)
        assert settings.topic == "_deleted-topic_"
        assert [one.message.data for one in cloud.pull(subscription)] == [b"kept"]
        with pytest.raises(exceptions.NotFound):
            cloud.publish(topic, {"data": b"x"})

    def test_updates_only_what_the_mask_names(self, cloud: Cloud) -> None:
        name = cloud.subscription(cloud.topic(), labels={"a": "b"})
        cloud.subscriber.update_subscription(
            subscription={"name": name, "ack_deadline_seconds": 33, "labels": {"c": "d"}},
            update_mask=FieldMask(paths=["ack_deadline_seconds"]),
        )
        settings = cloud.subscriber.get_subscription(subscription=name)
        assert settings.ack_deadline_seconds == 33
        assert dict(settings.labels) == {"a": "b"}

    @pytest.mark.parametrize("paths", [[], ["bogus"], ["topic"], ["name"]])
    def test_refuses_an_update_of_what_cannot_change(self, cloud: Cloud, paths: list[str]) -> None:
        name = cloud.subscription(cloud.topic())
        with pytest.raises(exceptions.InvalidArgument):
            cloud.subscriber.update_subscription(
                subscription={"name": name}, update_mask=FieldMask(paths=paths)
            )


class TestErrors:
    def test_missing(self, cloud: Cloud) -> None:
        missing_topic = f"projects/{PROJECT}/topics/missing"
        missing = f"projects/{PROJECT}/subscriptions/missing"
        calls: list[Callable[[], object]] = [
            lambda: cloud.publisher.get_topic(topic=missing_topic),
            lambda: cloud.publisher.delete_topic(topic=missing_topic),
            lambda: cloud.publish(missing_topic, {"data": b"x"}),
            lambda: cloud.subscription(missing_topic),
            lambda: cloud.subscriber.get_subscription(subscription=missing),
            lambda: cloud.subscriber.delete_subscription(subscription=missing),
            lambda: cloud.pull(missing),
            lambda: cloud.subscriber.acknowledge(subscription=missing, ack_ids=["a"]),
            lambda: cloud.subscriber.modify_push_config(subscription=missing, push_config={}),
        ]
        for call in calls:
            with pytest.raises(exceptions.NotFound):
                call()
        with Stream(cloud, missing) as stream, pytest.raises(exceptions.NotFound):
            stream.next()

    def test_creating_an_existing_resource_is_refused(self, cloud: Cloud) -> None:
        topic = cloud.topic()
        name = cloud.subscription(topic)
        with pytest.raises(exceptions.AlreadyExists):
            cloud.publisher.create_topic(name=topic)
        with pytest.raises(exceptions.AlreadyExists):
            cloud.subscriber.create_subscription(request={"name": name, "topic": topic})

    @pytest.mark.parametrize("name", ["1abc", "ab", "googly", "sp ace"])
    def test_bad_names(self, cloud: Cloud, name: str) -> None:
        with pytest.raises(exceptions.InvalidArgument):
            cloud.publisher.create_topic(name=f"projects/{PROJECT}/topics/{name}")

    @pytest.mark.parametrize("name", ["topics/123", "topics/goog-a", "subscriptions/abc", "x"])
    def test_bad_names_of_topics(self, cloud: Cloud, name: str) -> None:
        full = f"projects/{PROJECT}/{name}"
        calls: list[Callable[[], object]] = [
            lambda: cloud.publisher.get_topic(topic=full),
            lambda: cloud.publisher.delete_topic(topic=full),
            lambda: cloud.publish(full, {"data": b"x"}),
        ]
        for call in calls:
            with pytest.raises(exceptions.InvalidArgument):
                call()

    @pytest.mark.parametrize("name", ["subscriptions/123", "subscriptions/goog-a", "topics/abc"])
    def test_bad_names_of_subscriptions(self, cloud: Cloud, name: str) -> None:
        full = f"projects/{PROJECT}/{name}"
        calls: list[Callable[[], object]] = [
            lambda: cloud.subscriber.get_subscription(subscription=full),
            lambda: cloud.subscriber.delete_subscription(subscription=full),
            lambda: cloud.subscriber.acknowledge(subscription=full, ack_ids=["a"]),
            lambda: cloud.pull(full),
        ]
        for call in calls:
            with pytest.raises(exceptions.InvalidArgument):
                call()
        with Stream(cloud, full) as stream, pytest.raises(exceptions.InvalidArgument):
            stream.next()

    @pytest.mark.parametrize(
        "settings",
        [
            {"ack_deadline_seconds": 601},
            {"retry_policy": {"minimum_backoff": {"seconds": 700}}},
            {
                "retry_policy": {
                    "minimum_backoff": {"seconds": 30},
                    "maximum_backoff": {"seconds": 10},
                }
            },
            {"push_config": {"push_endpoint": "ftp:nowhere"}},
        ],
    )
    def test_bad_settings(self, cloud: Cloud, settings: dict[str, Any]) -> None:
        topic = cloud.topic()
        with pytest.raises(exceptions.InvalidArgument):
            cloud.subscription(topic, **settings)

    def test_bad_acknowledgements(self, cloud: Cloud) -> None:
        name = cloud.subscription(cloud.topic())
        with pytest.raises(exceptions.InvalidArgument):
            cloud.subscriber.acknowledge(subscription=name, ack_ids=["nonsense"])
        with pytest.raises(exceptions.InvalidArgument):
            cloud.subscriber.acknowledge(subscription=name, ack_ids=[])

    def test_a_push_subscription_cannot_be_pulled(self, cloud: Cloud) -> None:
        if not cloud.is_ours:
            pytest.skip("Google's emulator answers no messages; the service FAILED_PRECONDITION")
        name = cloud.subscription(
            cloud.topic(), push_config={"push_endpoint": "http://127.0.0.1:9/"}
        )
        with pytest.raises(exceptions.FailedPrecondition):
            cloud.pull(name)

    @pytest.mark.parametrize(
        "settings",
        [
            {"detached": True},
            {"message_transforms": [{"javascript_udf": {"function_name": "f", "code": "f"}}]},
            {"push_config": {"push_endpoint": "http://127.0.0.1:9/", "no_wrapper": {}}},
        ],
    )
    def test_unsupported_settings_are_refused(self, cloud: Cloud, settings: dict[str, Any]) -> None:
        if not cloud.is_ours:
            pytest.skip("Google's emulator has these")
        topic = cloud.topic()
        with pytest.raises(exceptions.MethodNotImplemented, match="does not offer"):
            cloud.subscription(topic, **settings)
