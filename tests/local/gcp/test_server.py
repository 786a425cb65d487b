"""The server as a process: start, state, stop."""

import json
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.api_core import exceptions
from google.cloud import firestore, monitoring_v3
from google.cloud.monitoring_v3.services.metric_service.transports import (
    MetricServiceGrpcTransport,
)
from google.cloud.pubsub_v1 import PublisherClient, SubscriberClient

TOPIC = "projects/p/topics/trades"
SUBSCRIPTION = "projects/p/subscriptions/trades"


@contextmanager
def _server(state: Path | None = None) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Yield a running server and its "host:port"."""
    command = [sys.executable, "-m", "mcloud.local.gcp.server", "--port", "0"]
    process = subprocess.Popen(
        [*command, *(["--state", str(state)] if state else [])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        yield process, process.stdout.readline().removeprefix("ready on ").strip()
    finally:
        process.kill()
        process.communicate()


def _stop(process: "subprocess.Popen[str]") -> tuple[int, str]:
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


@pytest.mark.slow
def test_everything_survives_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / "new" / "state"
    with _server(state) as (process, host):
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", host)
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", host)
        publisher = PublisherClient()
        publisher.create_topic(name=TOPIC)
        with SubscriberClient() as subscriber:
            subscriber.create_subscription(
                request={
                    "name": SUBSCRIPTION,
                    "topic": TOPIC,
                    "dead_letter_policy": {"dead_letter_topic": TOPIC},
                }
            )
            ids = [publisher.publish(TOPIC, b"%d" % i, n="v").result() for i in range(3)]
            received = subscriber.pull(subscription=SUBSCRIPTION, max_messages=2)
            subscriber.acknowledge(
                subscription=SUBSCRIPTION, ack_ids=[received.received_messages[0].ack_id]
            )
        firestore.Client(project="p").collection("c").document("d").set({"price": "1.5"})
        _write_custom(host, 7)
        assert _stop(process) == (0, "")
    assert [path.name for path in state.iterdir()] == ["gcp.json"]

    with _server(state) as (process, host):
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", host)
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", host)
        with SubscriberClient() as subscriber:
            received = subscriber.pull(subscription=SUBSCRIPTION, max_messages=10)
            assert [
                (one.message.message_id, one.message.data, one.delivery_attempt)
                for one in received.received_messages
            ] == [(ids[1], b"1", 2), (ids[2], b"2", 1)]
            assert PublisherClient().publish(TOPIC, b"new").result() not in ids
        document = firestore.Client(project="p").collection("c").document("d").get()
        assert document.to_dict() == {"price": "1.5"}
        assert _read_custom(host) == [7]
        assert _stop(process) == (0, "")


@pytest.mark.slow
def test_a_restart_keeps_snapshots_and_what_was_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = "projects/p/snapshots/snapshot"
    with _server(tmp_path) as (process, host):
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", host)
        PublisherClient().create_topic(name=TOPIC)
        with SubscriberClient() as subscriber:
            settings = {"name": SUBSCRIPTION, "topic": TOPIC, "retain_acked_messages": True}
            subscriber.create_subscription(request=settings)
            PublisherClient().publish(TOPIC, b"before").result()
            _acknowledge(subscriber)
            subscriber.create_snapshot(name=snapshot, subscription=SUBSCRIPTION)
            PublisherClient().publish(TOPIC, b"after").result()
            _acknowledge(subscriber)
        assert _stop(process) == (0, "")

    with _server(tmp_path) as (process, host):
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", host)
        with SubscriberClient() as subscriber:
            subscriber.seek(request={"subscription": SUBSCRIPTION, "snapshot": snapshot})
            assert _acknowledge(subscriber) == [b"after"]
            subscriber.seek(request={"subscription": SUBSCRIPTION, "time": {"seconds": 0}})
            assert _acknowledge(subscriber) == [b"before", b"after"]
        assert _stop(process) == (0, "")


def _acknowledge(subscriber: SubscriberClient) -> list[bytes]:
    """Acknowledge what waits, and return it."""
    found = subscriber.pull(subscription=SUBSCRIPTION, max_messages=10).received_messages
    subscriber.acknowledge(subscription=SUBSCRIPTION, ack_ids=[one.ack_id for one in found])
    return [one.message.data for one in found]


def test_without_a_state_folder_it_keeps_nothing(tmp_path: Path) -> None:
    with _server() as (process, _):
        assert _stop(process) == (0, "")
    assert list(tmp_path.iterdir()) == []


def test_open_streams_and_pulls_do_not_hold_the_exit_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with _server() as (process, host):
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", host)
        PublisherClient().create_topic(name=TOPIC)
        with SubscriberClient() as subscriber, ThreadPoolExecutor() as threads:
            subscriber.create_subscription(request={"name": SUBSCRIPTION, "topic": TOPIC})
            requests: queue.Queue[dict[str, Any] | None] = queue.Queue()
            requests.put({"subscription": SUBSCRIPTION, "stream_ack_deadline_seconds": 10})
            stream = subscriber.streaming_pull(iter(requests.get, None))
            PublisherClient().publish(TOPIC, b"x").result()
            assert next(stream).received_messages
            pull = threads.submit(
                subscriber.pull, subscription=SUBSCRIPTION, max_messages=1, retry=None
            )
            with pytest.raises(TimeoutError):
                pull.result(timeout=0.2)
            assert _stop(process) == (0, "")
            with pytest.raises(exceptions.ServiceUnavailable, match="is stopping"):
                next(stream)
            with pytest.raises(exceptions.ServiceUnavailable, match="is stopping"):
                pull.result()
            requests.put(None)


def test_a_taken_port_is_one_line() -> None:
    with _server() as (_, host):
        port = host.split(":")[1]
        second = subprocess.run(
            [sys.executable, "-m", "mcloud.local.gcp.server", "--port", port],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert second.returncode == 1
    assert second.stderr == f"cannot listen on 127.0.0.1:{port}: Address already in use\n"


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"version": 99}', '{"version": 1}', '{"version": 1, "pubsub": {"last_id": "x"}}'],
)
def test_a_damaged_state_is_one_line_and_stays(tmp_path: Path, content: str) -> None:
    path = tmp_path / "gcp.json"
    path.write_text(content)
    started = subprocess.run(
        [
            *(sys.executable, "-m", "mcloud.local.gcp.server"),
            *("--port", "0", "--state", str(tmp_path)),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert started.returncode == 1
    assert started.stderr.startswith(str(path))
    assert started.stderr.count("\n") == 1
    assert path.read_text() == content


@pytest.mark.slow
def test_a_state_that_cannot_be_read_as_messages_is_damaged(tmp_path: Path) -> None:
    with _server(tmp_path) as (process, _):
        assert _stop(process) == (0, "")
    state = json.loads((tmp_path / "gcp.json").read_text())
    state["pubsub"]["topics"] = ["/w=="]  # base64, but no protobuf
    (tmp_path / "gcp.json").write_text(json.dumps(state))
    with _server(tmp_path) as (process, _):
        assert process.wait(timeout=60) == 1
        assert process.stderr
        assert "is damaged" in process.stderr.read()


def test_an_unknown_method_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    with _server() as (_, host):
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", host)
        with pytest.raises(exceptions.MethodNotImplemented, match="Publisher/DetachSubscription"):
            PublisherClient().detach_subscription(
                request={"subscription": SUBSCRIPTION}, timeout=60
            )


def _metrics(host: str) -> monitoring_v3.MetricServiceClient:
    channel = grpc.insecure_channel(host)
    return monitoring_v3.MetricServiceClient(transport=MetricServiceGrpcTransport(channel=channel))


def _write_custom(host: str, value: int) -> None:
    series = monitoring_v3.TimeSeries(
        metric={"type": "custom.googleapis.com/heartbeat"},
        points=[{"interval": {"end_time": _stamp()}, "value": {"int64_value": value}}],
    )
    _metrics(host).create_time_series(name="projects/p", time_series=[series])


def _read_custom(host: str) -> list[int]:
    end = int(time.time()) + 1
    found = _metrics(host).list_time_series(
        name="projects/p",
        filter='metric.type = "custom.googleapis.com/heartbeat"',
        interval={"start_time": {"seconds": end - 300}, "end_time": {"seconds": end}},
        view=monitoring_v3.ListTimeSeriesRequest.TimeSeriesView.FULL,
    )
    return [point.value.int64_value for series in found for point in series.points]


def _stamp() -> dict[str, int]:
    return {"seconds": int(time.time())}
