"""Cloud Storage subscriptions, through the real clients and on a real server of objects.

Google's emulator has none, so that each case requires what Google documents:
https://cloud.google.com/pubsub/docs/cloudstorage and
https://cloud.google.com/pubsub/docs/create-cloudstorage-subscription.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud.pubsub_v1 import PublisherClient, SubscriberClient
from google.cloud.pubsub_v1.types import CloudStorageConfig
from google.cloud.storage import Bucket, Client
from google.protobuf.field_mask_pb2 import FieldMask
from google.pubsub_v1.types import Subscription

from mcloud.local.gcp.pubsub_flush import flush

from .emulators import cloud_storage, ours
from .pubsub_client import Cloud

UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
State = CloudStorageConfig.State


@dataclass
class Site:
    """Pub/Sub and a Cloud Storage that it writes to."""

    cloud: Cloud
    host: str
    storage: Client

    def bucket(self) -> Bucket:
        return self.storage.create_bucket(f"b-{uuid4().hex}")

    def subscription(self, topic: str, to: Bucket, **config: Any) -> str:
        config = {"bucket": to.name} | config
        return self.cloud.subscription(topic, cloud_storage_config=config)

    def settings(self, subscription: str) -> Subscription:
        return self.cloud.subscriber.get_subscription(subscription=subscription)

    def files(self, bucket: Bucket) -> dict[str, bytes]:
        """Return the objects of a bucket after everything that was published is written."""
        flush(self.host)
        return {blob.name: blob.download_as_bytes() for blob in bucket.list_blobs()}


@pytest.fixture(scope="module")
def storage_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with cloud_storage(tmp_path_factory.mktemp("storage")) as url:
        yield url


@pytest.fixture(scope="module")
def host(storage_url: str) -> Iterator[str]:
    with ours(storage_url=storage_url) as running:
        yield running.host


@pytest.fixture
def site(host: str, storage_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with connected(host, storage_url, monkeypatch) as site:
        yield site


class TestFiles:
    """https://cloud.google.com/pubsub/docs/create-cloudstorage-subscription#file_format"""

    def test_a_newline_separates_a_message_from_the_previous_one(self, site: Site) -> None:
        topic, bucket = site.cloud.topic(), site.bucket()
        site.subscription(topic, bucket, text_config={})
        site.cloud.publish(
            topic,
            {"data": b"one", "attributes": {"left": "out"}},
            {"data": b"two\nlines"},
            {"attributes": {"no": "payload"}},
            {"data": "é".encode()},
        )
        assert [*site.files(bucket).values()] == ["one\ntwo\nlines\n\né".encode()]

    def test_nothing_is_written_without_messages(self, site: Site) -> None:
        topic, bucket = site.cloud.topic(), site.bucket()
        site.subscription(topic, bucket)
        assert site.files(bucket) == {}
        site.cloud.publish(topic, {"data": b"x"})
        assert len(site.files(bucket)) == len(site.files(bucket)) == 1

    def test_every_message_is_in_a_file_of_each_subscription(self, site: Site) -> None:
        topic, buckets = site.cloud.topic(), [site.bucket(), site.bucket()]
        for bucket in buckets:
            site.subscription(topic, bucket, max_messages=1000)
        for part in range(3):
            numbers = range(part * 1000, part * 1000 + 1000)
            site.cloud.publish(topic, *({"data": b"%d" % number} for number in numbers))
        for bucket in buckets:
            lines = b"\n".join(site.files(bucket).values()).split(b"\n")
            assert sorted(map(int, lines)) == list(range(3000))

    def test_a_stopped_server_loses_nothing(
        self, storage_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with (
            ours(tmp_path, storage_url) as running,
            connected(running.host, storage_url, monkeypatch) as site,
        ):
            topic, bucket = site.cloud.topic(), site.bucket()
            site.subscription(topic, bucket)
            site.cloud.publish(topic, {"data": b"before"})
        with (
            ours(tmp_path, storage_url) as running,
            connected(running.host, storage_url, monkeypatch) as site,
        ):
            site.cloud.publish(topic, {"data": b"after"})
            lines = b"\n".join(site.files(bucket).values()).split(b"\n")
            assert set(lines) == {b"before", b"after"}


class TestNames:
    """https://cloud.google.com/pubsub/docs/create-cloudstorage-subscription#file_names"""

    @pytest.mark.parametrize(
        ("config", "name"),
        [
            ({}, rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00_{UUID}"),
            (
                {"filename_prefix": "prod_", "filename_suffix": "_archive"},
                rf"prod_\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00_{UUID}_archive",
            ),
            (
                {"filename_prefix": "a/b_", "filename_datetime_format": "YYYY-MM-DD/hh_mm_ssZ"},
                rf"a/b_\d{{4}}-\d\d-\d\d/\d\d_\d\d_\d\dZ_{UUID}",
            ),
            (
                {"filename_datetime_format": "YYYY-MM-DDThh_mm_ss-", "filename_suffix": ".jsonl"},
                rf"\d{{4}}-\d\d-\d\dT\d\d_\d\d_\d\d-{UUID}\.jsonl",
            ),
            (
                {"filename_datetime_format": "YY:MM:DD:hh:mm:ss"},
                rf"\d\d:\d\d:\d\d:\d\d:\d\d:\d\d_{UUID}",
            ),
        ],
    )
    def test_names(self, site: Site, config: dict[str, str], name: str) -> None:
        topic, bucket = site.cloud.topic(), site.bucket()
        site.subscription(topic, bucket, **config)
        site.cloud.publish(topic, {"data": b"x"})
        (found,) = site.files(bucket)
        assert re.fullmatch(name, found)

    def test_the_time_is_that_of_the_object_in_utc(self, site: Site) -> None:
        topic, bucket = site.cloud.topic(), site.bucket()
        site.subscription(topic, bucket)
        before = datetime.now(UTC).replace(microsecond=0)
        site.cloud.publish(topic, {"data": b"x"})
        (found,) = site.files(bucket)
        assert before <= datetime.fromisoformat(found[:25]) <= datetime.now(UTC)

    @pytest.mark.parametrize(
        "text",
        ["YY-YYYY", "MMM", "YYYY-MM-DD", "YYYY-MM-DDThh:mm:ss.000", "YYYY-MM-DDThh:mm:ssZ+00:00"],
    )
    def test_refused_datetime_formats(self, site: Site, text: str) -> None:
        with pytest.raises(exceptions.InvalidArgument, match="filename_datetime_format"):
            site.subscription(site.cloud.topic(), site.bucket(), filename_datetime_format=text)


class TestSettings:
    """https://cloud.google.com/pubsub/docs/create-cloudstorage-subscription#file_batching"""

    def test_defaults(self, site: Site) -> None:
        name = site.subscription(site.cloud.topic(), site.bucket())
        settings = site.settings(name)
        config = settings.cloud_storage_config
        assert config.max_duration.total_seconds() == 300
        assert (config.max_bytes, config.max_messages) == (0, 0)
        assert "text_config" in config
        assert config.state == State.ACTIVE
        assert settings.state == Subscription.State.ACTIVE

    @pytest.mark.parametrize(
        "config",
        [
            {"max_duration": {"seconds": 60}, "max_bytes": 1000, "max_messages": 1000},
            {"max_duration": {"seconds": 600}, "max_bytes": 10 * 1024**3},
        ],
    )
    def test_supported_export_settings_are_accepted(
        self, site: Site, config: dict[str, Any]
    ) -> None:
        site.subscription(site.cloud.topic(), site.bucket(), **config)

    @pytest.mark.parametrize(
        "config",
        [
            {"max_duration": {"seconds": 59}},
            {"max_duration": {"seconds": 601}},
            {"max_bytes": 999},
            {"max_bytes": 10 * 1024**3 + 1},
            {"max_messages": 999},
            {"filename_suffix": "folder/"},
            {"filename_prefix": "two\nlines"},
            {"filename_prefix": "x" * 1025},
            {"filename_prefix": ".well-known/acme-challenge/"},
            {"bucket": "gs://bucket"},
            {"bucket": ""},
        ],
    )
    def test_unsupported_export_settings_are_refused(
        self, site: Site, config: dict[str, Any]
    ) -> None:
        with pytest.raises(exceptions.InvalidArgument):
            site.subscription(site.cloud.topic(), site.bucket(), **config)

    def test_a_file_may_not_last_longer_than_the_acknowledgement_deadline(self, site: Site) -> None:
        """google/pubsub/v1/pubsub.proto, ``CloudStorageConfig.max_duration``."""
        topic, name = site.cloud.topic(), site.bucket().name
        config = {"bucket": name, "max_duration": {"seconds": 300}}
        with pytest.raises(exceptions.InvalidArgument, match="max_duration"):
            site.cloud.subscription(topic, ack_deadline_seconds=299, cloud_storage_config=config)
        site.cloud.subscription(topic, ack_deadline_seconds=300, cloud_storage_config=config)
        # Google's own examples leave the deadline out.
        site.cloud.subscription(topic, ack_deadline_seconds=0, cloud_storage_config=config)

    def test_the_bucket_must_exist(self, site: Site) -> None:
        with pytest.raises(exceptions.NotFound, match="no-such-bucket"):
            site.subscription(site.cloud.topic(), site.storage.bucket("no-such-bucket"))

    def test_one_kind_of_delivery(self, site: Site) -> None:
        with pytest.raises(exceptions.InvalidArgument):
            site.cloud.subscription(
                site.cloud.topic(),
                push_config={"push_endpoint": "http://127.0.0.1:9/"},
                cloud_storage_config={"bucket": site.bucket().name},
            )

    def test_it_cannot_be_pulled(self, site: Site) -> None:
        name = site.subscription(site.cloud.topic(), site.bucket())
        with pytest.raises(exceptions.FailedPrecondition):
            site.cloud.pull(name)

    @pytest.mark.parametrize(
        "config", [{"avro_config": {}}, {"service_account_email": "a@b.iam.gserviceaccount.com"}]
    )
    def test_unsupported_settings_are_refused(self, site: Site, config: dict[str, Any]) -> None:
        with pytest.raises(exceptions.MethodNotImplemented, match="does not offer"):
            site.subscription(site.cloud.topic(), site.bucket(), **config)

    def test_a_change_holds_from_the_next_file_on(self, site: Site) -> None:
        topic, bucket = site.cloud.topic(), site.bucket()
        name = site.subscription(topic, bucket, filename_prefix="old/")
        site.cloud.publish(topic, {"data": b"1"})
        config = {"bucket": bucket.name, "filename_prefix": "new/", "state": State.NOT_FOUND}
        changed = site.cloud.subscriber.update_subscription(
            subscription={"name": name, "cloud_storage_config": config},
            update_mask=FieldMask(paths=["cloud_storage_config"]),
        )
        assert changed.cloud_storage_config.state == State.ACTIVE
        site.cloud.publish(topic, {"data": b"2"})
        site.files(bucket)
        found = {name[:4]: body for name, body in site.files(bucket).items()}
        assert found == {"old/": b"1", "new/": b"2"}

    def test_a_server_without_cloud_storage(
        self, storage_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with (
            ours() as running,
            connected(running.host, storage_url, monkeypatch) as site,
            pytest.raises(exceptions.MethodNotImplemented, match="does not offer"),
        ):
            site.subscription(site.cloud.topic(), site.bucket())


@contextmanager
def connected(host: str, storage_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Open the clients of one Pub/Sub and one Cloud Storage."""
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", host)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage_url)
    storage = Client(project="conformance", credentials=AnonymousCredentials())
    publisher = PublisherClient()
    with SubscriberClient() as subscriber:
        yield Site(Cloud(publisher, subscriber, True), host, storage)
    publisher.stop()
    publisher.transport.close()
    storage.close()
