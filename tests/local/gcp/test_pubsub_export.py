"""When files of a Cloud Storage subscription end, and what happens if they cannot be written."""

import queue
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.pubsub_v1 import PublisherClient, SubscriberClient
from google.cloud.pubsub_v1.types import CloudStorageConfig
from google.protobuf.field_mask_pb2 import FieldMask
from google.pubsub_v1 import PublisherClient as BarePublisher
from google.pubsub_v1.types import Subscription
from patience import PATIENCE, eventually

from mcloud.errors import LocalError
from mcloud.local.gcp import pubsub_export
from mcloud.local.gcp.pubsub import PubSub
from mcloud.local.gcp.pubsub_export import BucketExporter, Buckets
from mcloud.local.gcp.pubsub_flush import flush

from .serving import Serving

TOPIC = "projects/p/topics/trades"
DEAD_TOPIC = "projects/p/topics/dead"
NAME = "projects/p/subscriptions/files"
DEAD = "projects/p/subscriptions/dead"
State = CloudStorageConfig.State


class Storage:
    """A Cloud Storage whose next answers a test chooses. It has every bucket."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.written: queue.Queue[tuple[str, bytes]] = queue.Queue()
        storage = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(200)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = storage.answers.pop(0) if storage.answers else 200
                if status == 200:
                    query = parse_qs(urlsplit(self.path).query)
                    assert query["ifGenerationMatch"] == ["0"]
                    storage.written.put((query["name"][0], body))
                self._answer(status)

            def _answer(self, status: int) -> None:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.05])
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Cloud:
    """Pub/Sub with a clock that a test sets, one topic, and the clients."""

    def __init__(
        self,
        storage: Storage,
        monkeypatch: pytest.MonkeyPatch,
        longest: float | None = None,
    ) -> None:
        self.now = 1_695_615_000.0  # 2023-09-25T04:10:00Z
        self.out = False
        self.exported: list[tuple[str, bytes]] = []
        self.pubsub = PubSub(
            lambda: self.now,
            lambda service: self.out,
            exported=lambda name, message: self.exported.append((name, message.data)),
            buckets=Buckets(storage.url),
            longest=longest,
        )
        self._serving = Serving(self.pubsub.services())
        self.host = self._serving.host
        self.run: Callable[[Callable[[], Any]], None] = self._serving.run
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", self.host)
        self.publisher = PublisherClient(credentials=AnonymousCredentials())
        self.subscriber = SubscriberClient(credentials=AnonymousCredentials())
        self.publisher.create_topic(name=TOPIC)

    def subscribe(self, **config: Any) -> None:
        export = {"bucket": "bucket", **config}
        request = {"name": NAME, "topic": TOPIC, "cloud_storage_config": export}
        self.subscriber.create_subscription(request=request)

    def publish(self, *data: bytes) -> None:
        messages = [{"data": each} for each in data]
        BarePublisher.publish(self.publisher, topic=TOPIC, messages=messages)

    def wait(self, seconds: float) -> None:
        """Advance the clock of the service, and let it do the work that is due."""
        self.now += seconds
        self.run(self.pubsub._subscriptions[NAME]._expire)

    def settings(self) -> Subscription:
        return self.subscriber.get_subscription(subscription=NAME)

    def stop(self) -> None:
        self.subscriber.close()
        self.publisher.stop()
        self.publisher.transport.close()
        self._serving.stop()


@pytest.fixture
def storage() -> Iterator[Storage]:
    storage = Storage()
    yield storage
    storage.stop()


@pytest.fixture
def cloud(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    cloud = Cloud(storage, monkeypatch)
    yield cloud
    cloud.stop()


def next_file(storage: Storage) -> tuple[str, bytes]:
    return storage.written.get(timeout=PATIENCE)


def test_a_file_ends_when_its_duration_has_passed(cloud: Cloud, storage: Storage) -> None:
    cloud.subscribe(max_duration={"seconds": 60})
    cloud.publish(b"1")
    cloud.wait(30)
    cloud.publish(b"2")
    cloud.wait(29)
    assert storage.written.empty()
    assert len(cloud.pubsub._subscriptions[NAME].backlog) == 2
    cloud.wait(1)
    name, body = next_file(storage)
    assert (name[:25], body) == ("2023-09-25T04:10:00+00:00", b"1\n2")
    eventually(lambda: not len(cloud.pubsub._subscriptions[NAME].backlog))
    short = NAME.rpartition("/")[2]
    eventually(lambda: cloud.exported == [(short, b"1"), (short, b"2")])


def test_a_server_can_end_files_earlier(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud(storage, monkeypatch, longest=2.0)
    cloud.subscribe(max_duration={"seconds": 60})
    cloud.publish(b"1")
    cloud.wait(1.9)
    assert storage.written.empty()
    cloud.wait(0.1)
    assert next_file(storage)[1] == b"1"
    cloud.stop()


def test_a_file_ends_before_it_exceeds_its_bytes(cloud: Cloud, storage: Storage) -> None:
    cloud.subscribe(max_bytes=1000)
    large = b"x" * 2000
    cloud.publish(b"a" * 500, b"b" * 499, b"c", large, b"d")
    flush(cloud.host)
    bodies = sorted((next_file(storage)[1] for _ in range(4)), key=lambda body: (len(body), body))
    assert bodies == [b"c", b"d", b"a" * 500 + b"\n" + b"b" * 499, large]
    assert storage.written.empty()


def test_a_file_ends_with_its_last_message(cloud: Cloud, storage: Storage) -> None:
    cloud.subscribe(max_messages=1000)
    cloud.publish(*(b"%d" % number for number in range(1000)))
    assert next_file(storage)[1].count(b"\n") == 999


def test_memory_is_bounded(cloud: Cloud, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pubsub_export, "MAX_FILE_BYTES", 10)
    cloud.subscribe()
    cloud.publish(b"12345", b"67890")
    assert next_file(storage)[1] == b"12345"


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (403, State.PERMISSION_DENIED),
        (401, State.PERMISSION_DENIED),
        (404, State.NOT_FOUND),
        (503, State.ACTIVE),
    ],
)
def test_a_refused_file_is_retried_and_the_state_has_the_reason(
    cloud: Cloud, storage: Storage, status: int, state: Any
) -> None:
    cloud.subscribe()
    cloud.publish(b"1", b"2")
    storage.answers.append(status)
    with pytest.raises(LocalError, match=f"HTTP {status}"):
        flush(cloud.host)
    settings = cloud.settings()
    assert settings.cloud_storage_config.state == state
    healthy = state == State.ACTIVE
    assert (settings.state == Subscription.State.ACTIVE) is healthy
    assert len(cloud.pubsub._subscriptions[NAME].backlog) == 2
    flush(cloud.host)
    assert sorted(next_file(storage)[1].split(b"\n")) == [b"1", b"2"]
    assert cloud.settings().cloud_storage_config.state == State.ACTIVE
    assert len(cloud.pubsub._subscriptions[NAME].backlog) == 0


def test_refused_files_wait_as_pushes_do(cloud: Cloud, storage: Storage) -> None:
    cloud.subscribe(max_duration={"seconds": 60})
    cloud.publish(b"1")
    storage.answers.append(403)
    cloud.wait(60)
    eventually(lambda: cloud.settings().cloud_storage_config.state == State.PERMISSION_DENIED)
    backlog = cloud.pubsub._subscriptions[NAME].backlog
    assert not backlog.has_free
    assert backlog.next_due() == pytest.approx(cloud.now + 0.1)


def test_messages_that_cannot_be_written_become_dead_letters(
    cloud: Cloud, storage: Storage
) -> None:
    cloud.publisher.create_topic(name=DEAD_TOPIC)
    cloud.subscriber.create_subscription(request={"name": DEAD, "topic": DEAD_TOPIC})
    cloud.subscribe()
    cloud.subscriber.update_subscription(
        subscription={
            "name": NAME,
            "dead_letter_policy": {"dead_letter_topic": DEAD_TOPIC, "max_delivery_attempts": 5},
        },
        update_mask=FieldMask(paths=["dead_letter_policy"]),
    )
    cloud.publish(b"poison")
    storage.answers += [403] * 5
    for _ in range(5):
        with pytest.raises(LocalError):
            flush(cloud.host)
    flush(cloud.host)
    assert storage.written.empty()
    dead = cloud.subscriber.pull(subscription=DEAD, max_messages=10, timeout=PATIENCE)
    assert [received.message.data for received in dead.received_messages] == [b"poison"]


def test_nothing_is_written_while_pubsub_is_out(cloud: Cloud, storage: Storage) -> None:
    cloud.subscribe(max_duration={"seconds": 60})
    cloud.publish(b"1")
    cloud.out = True
    cloud.wait(60)
    delivery = cloud.pubsub._subscriptions[NAME].delivery
    assert isinstance(delivery, BucketExporter)
    assert delivery._file is not None
    cloud.out = False
    cloud.wait(0)
    assert next_file(storage)[1] == b"1"


def test_deleting_the_subscription_writes_the_collected_messages(
    cloud: Cloud, storage: Storage
) -> None:
    cloud.subscribe()
    cloud.publish(b"1")
    delivery = cloud.pubsub._subscriptions[NAME].delivery
    assert isinstance(delivery, BucketExporter)
    cloud.subscriber.delete_subscription(subscription=NAME)
    assert next_file(storage)[1] == b"1"
    eventually(lambda: not delivery._uploads)
