"""The bridge that does the work of a Cloud Storage subscription for another Pub/Sub.

It pulls our Pub/Sub and Google's emulator in the same way, and writes the objects that Google
documents: https://cloud.google.com/pubsub/docs/create-cloudstorage-subscription.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Bucket, Client
from patience import eventually

from mcloud.errors import LocalError
from mcloud.local.gcp.pubsub_bridge import BridgeOptions
from mcloud.local.gcp.pubsub_flush import flush

from .emulators import cloud_storage, ours
from .pubsub_client import Cloud

pytestmark = pytest.mark.slow  # each case starts a server


@dataclass
class Bridged:
    """A topic whose messages a bridge writes to a bucket."""

    cloud: Cloud
    topic: str
    subscription: str
    bucket: Bucket
    host: str

    def publish(self, *data: bytes) -> None:
        self.cloud.publish(self.topic, *({"data": each} for each in data))

    def lines(self) -> list[bytes]:
        blobs = self.bucket.list_blobs()
        return [line for blob in blobs for line in blob.download_as_bytes().split(b"\n")]


@pytest.fixture(scope="module")
def storage_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with cloud_storage(tmp_path_factory.mktemp("storage")) as url:
        yield url


@contextmanager
def bridged(
    cloud: Cloud, pubsub: str, url: str, monkeypatch: pytest.MonkeyPatch, *more: str
) -> Iterator[Bridged]:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
    storage = Client(project="conformance", credentials=AnonymousCredentials())
    topic, name = cloud.topic(), f"b-{uuid4().hex}"
    subscription = cloud.subscription(topic)
    config = {"bucket": name, "filename_prefix": "staged/", "filename_suffix": ".txt"}
    options = BridgeOptions(pubsub, subscription, config).encode()
    with ours(storage_url=url, more=("--bridge", options, *more)) as running:
        yield Bridged(cloud, topic, subscription, storage.bucket(name), running.host)
    storage.close()


def test_a_flush_writes_everything_that_was_published(
    cloud: Cloud, pubsub_host: str, storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bridged(cloud, pubsub_host, storage_url, monkeypatch) as site:
        site.bucket.create()
        for part in range(3):
            site.publish(*(b"%d" % number for number in range(part * 1000, part * 1000 + 1000)))
        flush(site.host)
        assert sorted(map(int, site.lines())) == list(range(3000))
        (name, *_) = [blob.name for blob in site.bucket.list_blobs()]
        assert re.fullmatch(
            r"staged/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00_[-0-9a-f]{36}\.txt", name
        )
        flush(site.host)
        assert len(site.lines()) == 3000
        assert cloud.pull_now(site.subscription) == []


def test_a_message_is_acknowledged_after_it_was_written(
    cloud: Cloud, pubsub_host: str, storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bridged(cloud, pubsub_host, storage_url, monkeypatch) as site:
        site.publish(b"1", b"2")
        with pytest.raises(LocalError, match="HTTP 404"):
            flush(site.host)
        site.bucket.create()
        flush(site.host)
        assert sorted(site.lines()) == [b"1", b"2"]


def test_a_stopped_bridge_loses_nothing(
    cloud: Cloud, pubsub_host: str, storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bridged(cloud, pubsub_host, storage_url, monkeypatch) as site:
        site.bucket.create()
        site.publish(b"1")
        options = BridgeOptions(pubsub_host, site.subscription, {"bucket": site.bucket.name})
    with ours(storage_url=storage_url, more=("--bridge", options.encode())) as again:
        flush(again.host)
        assert site.lines() == [b"1"]


def test_files_are_written_on_time(
    cloud: Cloud, pubsub_host: str, storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bridged(cloud, pubsub_host, storage_url, monkeypatch, "--export-seconds", "0.1") as site:
        site.bucket.create()
        site.publish(b"1")
        eventually(lambda: site.lines() == [b"1"])
