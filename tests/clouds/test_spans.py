"""Spans as sent to a UDP socket and an HTTP server, in the documented formats."""

import json
import re
import socket
from collections.abc import Mapping

import pytest

from mcloud.clouds.aws.spans import XRay
from mcloud.clouds.gcp.spans import CloudTrace
from mcloud.clouds.otlp import Otlp
from mcloud.clouds.spans import Span
from mcloud.errors import Refused, Unavailable

from .web import Answer, anonymous, serve

TRACE = "66b55ad7fa4d98ff8c63ef245a31f4d7"
ABOUT: dict[str, str | int] = {"symbol": "BTCUSDT", "first_id": 3735683259}
SPANS = [
    Span("queue", TRACE, "1" * 16, "b" * 16, 1_723_161_255.25, 1_723_161_256.0, ABOUT),
    Span("mcloud-processor", TRACE, "2" * 16, "b" * 16, 1_723_161_256.0, 1_723_161_257.5, ABOUT),
    Span("archive", TRACE, "3" * 16, "2" * 16, 1_723_161_256.0, 1_723_161_257.0, ABOUT),
]


def test_xray_gets_a_segment_a_packet() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(("127.0.0.1", 0))
        daemon.settimeout(30)
        port = daemon.getsockname()[1]
        XRay(f"127.0.0.1:{port}").export(SPANS)
        XRay(f"tcp:127.0.0.1:1 udp:127.0.0.1:{port}").export(SPANS[:1])
        packets = [daemon.recv(65_536).split(b"\n") for _ in range(3)]
    assert {header for header, _ in packets} == {b'{"format":"json","version":1}'}
    queue, work, again = (json.loads(body) for _, body in packets)
    # https://docs.aws.amazon.com/xray/latest/devguide/xray-api-segmentdocuments.html
    for segment in (queue, work):
        assert re.fullmatch("1-[0-9a-f]{8}-[0-9a-f]{24}", segment["trace_id"])
        assert re.fullmatch("[0-9a-f]{16}", segment["id"])
        assert re.fullmatch(r"[\w\s.:/%&#=+\-@]{1,200}", segment["name"])
        assert segment["start_time"] <= segment["end_time"]
        assert all(re.fullmatch("[A-Za-z0-9_]+", key) for key in segment["annotations"])
    assert work == {
        "name": "mcloud-processor",
        "id": "2" * 16,
        "trace_id": "1-66b55ad7-fa4d98ff8c63ef245a31f4d7",
        "parent_id": "b" * 16,
        "start_time": 1_723_161_256.0,
        "end_time": 1_723_161_257.5,
        "annotations": ABOUT,
        "subsegments": [
            {
                "name": "archive",
                "id": "3" * 16,
                "start_time": 1_723_161_256.0,
                "end_time": 1_723_161_257.0,
            }
        ],
    }
    assert "subsegments" not in queue
    assert again == queue


def test_a_missing_daemon_causes_no_wait() -> None:
    XRay("127.0.0.1:1").export(SPANS)  # UDP is not connected, so a missing listener causes no error
    with pytest.raises(Unavailable, match="no-such-host"):
        XRay("no-such-host.invalid:2000").export(SPANS)


def test_cloud_trace_gets_a_batch() -> None:
    asked: list[str] = []

    def answer(method: str, path: str) -> Answer:
        asked.append(f"{method} {path}")
        return 200, {}

    with serve(answer) as url:
        CloudTrace("my-project", anonymous(), url).export(SPANS)
    (request,) = asked
    head, _, body = request.partition(" {")
    assert head == "POST /v2/projects/my-project/traces:batchWrite"
    first, work, archive = json.loads("{" + body)["spans"]
    # https://cloud.google.com/trace/docs/reference/v2/rest/v2/projects.traces.spans#Span
    assert archive == {
        "name": f"projects/my-project/traces/{TRACE}/spans/{'3' * 16}",
        "spanId": "3" * 16,
        "parentSpanId": "2" * 16,
        "displayName": {"value": "archive"},
        "startTime": "2024-08-08T23:54:16.000000Z",
        "endTime": "2024-08-08T23:54:17.000000Z",
        "attributes": {
            "attributeMap": {
                "symbol": {"stringValue": {"value": "BTCUSDT"}},
                "first_id": {"intValue": "3735683259"},
            }
        },
    }
    assert first["startTime"] == "2024-08-08T23:54:15.250000Z"
    assert work["parentSpanId"] == "b" * 16


@pytest.mark.parametrize(
    ("status", "kind"), [(403, Refused), (429, Unavailable), (503, Unavailable)]
)
def test_a_refusal_of_cloud_trace(status: int, kind: type[Exception]) -> None:
    with serve(lambda *_: (status, {})) as url, pytest.raises(kind, match=f"HTTP {status}"):
        CloudTrace("p", anonymous(), url).export(SPANS)


def test_a_server_that_cannot_be_reached_is_reported() -> None:
    for exporter in (
        CloudTrace("p", anonymous(), "http://127.0.0.1:1"),
        otlp("http://127.0.0.1:1"),
    ):
        with pytest.raises(Unavailable):
            exporter.export(SPANS)


def test_a_collector_gets_otlp() -> None:
    asked: list[str] = []

    def answer(method: str, path: str) -> Answer:
        asked.append(f"{method} {path}")
        return 200, {"partialSuccess": {}}

    with serve(answer) as url:
        otlp(f"{url}/").export(SPANS)
    head, _, body = asked[0].partition(" {")
    assert head == "POST /v1/traces"
    (resource,) = json.loads("{" + body)["resourceSpans"]
    assert resource["resource"]["attributes"] == [
        {"key": "service.name", "value": {"stringValue": "mcloud-processor"}}
    ]
    (scope,) = resource["scopeSpans"]
    queue, work, archive = scope["spans"]
    # https://github.com/open-telemetry/opentelemetry-proto/blob/main/examples/trace.json
    assert archive == {
        "traceId": TRACE,
        "spanId": "3" * 16,
        "parentSpanId": "2" * 16,
        "name": "archive",
        "kind": 1,
        "startTimeUnixNano": "1723161256000000000",
        "endTimeUnixNano": "1723161257000000000",
        "attributes": [
            {"key": "symbol", "value": {"stringValue": "BTCUSDT"}},
            {"key": "first_id", "value": {"intValue": "3735683259"}},
        ],
    }
    assert (queue["kind"], work["kind"]) == (5, 5)


def test_a_collector_that_wants_a_header() -> None:
    heard: list[Mapping[str, str]] = []
    with serve(lambda *_: (503, {}), heard=heard) as url:
        exporter = Otlp(url, "authorization=Bearer%20abc, x-team = desk,bad", {})
        with pytest.raises(Unavailable, match="HTTP 503"):
            exporter.export(SPANS)
    (seen,) = heard
    assert (seen["authorization"], seen["x-team"]) == ("Bearer abc", "desk")
    assert seen["Content-Type"] == "application/json"


def otlp(url: str) -> Otlp:
    return Otlp(url, "", {"service.name": "mcloud-processor"})
