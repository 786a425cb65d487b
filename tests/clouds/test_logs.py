"""Search the function's log: Cloud Logging's REST format, CloudWatch on the embedded AWS."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from mcloud.clouds.aws.client import make_client
from mcloud.clouds.aws.logs import CloudWatchLogs
from mcloud.clouds.gcp.logs import CloudLogging, FileLogs
from mcloud.clouds.ports import LogLine
from mcloud.errors import Refused, Unavailable
from mcloud.local.state import State

from .web import Answer, anonymous, serve


def line(first: int, last: int, symbol: str = "BTCUSDT", **more: Any) -> dict[str, Any]:
    ids = {"symbol": symbol, "first_id": first, "last_id": last}
    return {"severity": "INFO", "message": "stored", **ids, **more}


# An answer of entries:list. Severity, trace and similar fields are moved out of the payload, and
# numbers are floats. https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry
def entry(first: float, last: float) -> dict[str, Any]:
    ids = {"symbol": "BTCUSDT", "first_id": first, "last_id": last}
    return {
        "jsonPayload": {"message": "stored", **ids},
        "resource": {"type": "cloud_run_revision", "labels": {"service_name": "mcloud-processor"}},
        "timestamp": "2026-11-25T20:53:06.919123456Z",
        "severity": "INFO",
        "trace": "projects/p/traces/66b55ad7fa4d98ff8c63ef245a31f4d7",
        "traceSampled": True,
        "insertId": "1",
    }


def test_cloud_logging_is_read_page_by_page() -> None:
    asked: list[dict[str, Any]] = []

    def answer(method: str, path: str) -> Answer:
        head, _, body = path.partition(" ")
        assert (method, head) == ("POST", "/v2/entries:list")
        asked.append(json.loads(body))
        if len(asked) == 1:
            return 200, {"nextPageToken": "more"}  # a page may be empty although more follow
        return 200, {"entries": [entry(1.0, 9.0), entry(10.0, 19.0)]}

    with serve(answer) as url:
        logs = CloudLogging(anonymous(), "my-project", "mcloud-processor", url)
        (found,) = logs.find("BTCUSDT", 12, 1_795_639_986.0, 1_795_639_999.5)
    assert (found.message, found.fields["first_id"]) == ("stored", 10.0)
    assert found.at == pytest.approx(1_795_639_986.919, abs=0.001)
    assert [each.get("pageToken") for each in asked] == [None, "more"]
    assert asked[0]["resourceNames"] == ["projects/my-project"]
    assert asked[0]["filter"] == (
        'resource.type="cloud_run_revision" AND resource.labels.service_name="mcloud-processor"'
        ' AND timestamp>="2026-11-25T20:53:06.000000Z" AND timestamp<="2026-11-25T20:53:19.500000Z"'
        ' AND jsonPayload.symbol="BTCUSDT" AND jsonPayload.first_id<=12 AND jsonPayload.last_id>=12'
    )


@pytest.mark.parametrize(
    ("status", "kind"), [(403, Refused), (429, Unavailable), (500, Unavailable)]
)
def test_a_refusal_of_cloud_logging(status: int, kind: type[Exception]) -> None:
    with serve(lambda *_: (status, {})) as url, pytest.raises(kind, match=f"HTTP {status}"):
        CloudLogging(anonymous(), "p", "f", url).find("BTCUSDT", 1, 0, 1)


def test_a_file_is_searched_as_a_log_is(tmp_path: Path) -> None:
    path = tmp_path / "function.log"
    assert FileLogs(path).find("BTCUSDT", 5, 0, 100) == []
    lines = [
        "not JSON, about BTCUSDT",
        '"BTCUSDT"',
        json.dumps({"message": "stored", "symbol": "BTCUSDT"}),
        json.dumps(line(1, 9, stored=50_000)),
        json.dumps(line(1, 9, "ETHUSDT", stored=50_000)),
        json.dumps(line(4, 5, stored=200_000)),
        json.dumps(
            {**line(1, 9, reason="volumes beyond 38 digits"), "message": "refused a message"}
        ),
    ]
    path.write_text("\n".join(lines))
    stored, refused = FileLogs(path).find("BTCUSDT", 5, 0, 100)
    assert (stored.at, stored.message) == (50.0, "stored")
    assert (refused.at, refused.message) == (None, "refused a message")
    assert refused.fields["reason"] == "volumes beyond 38 digits"


def test_cloudwatch_finds_lines_of_a_function(embedded: State) -> None:
    to = embedded.outputs["aws"]
    client = make_client("logs", to["region"], to["endpoint_url"])
    group = "/aws/lambda/tracelogs"
    assert CloudWatchLogs(client, "tracelogs").find("BTCUSDT", 5, 0, time.time()) == []
    client.create_log_group(logGroupName=group)
    client.create_log_stream(logGroupName=group, logStreamName="one")
    now = int(time.time() * 1000)
    texts = [
        "START RequestId: 1 Version: $LATEST",
        json.dumps(line(1, 9)),
        json.dumps(line(10, 19)),
        json.dumps(line(1, 9, "ETHUSDT")),
        json.dumps({"severity": "INFO", "message": "no heartbeat"}),
    ]
    events = [{"timestamp": now + n, "message": text} for n, text in enumerate(texts)]
    client.put_log_events(logGroupName=group, logStreamName="one", logEvents=events)
    logs = CloudWatchLogs(client, "tracelogs")
    (found,) = logs.find("BTCUSDT", 5, now / 1000 - 60, now / 1000 + 60)
    expected = {"severity": "INFO", "symbol": "BTCUSDT", "first_id": 1, "last_id": 9}
    assert found == LogLine((now + 1) / 1000, "stored", expected)
    assert logs.find("BTCUSDT", 5, now / 1000 - 60, now / 1000 - 30) == []


def test_cloudwatch_continues_with_the_next_page() -> None:
    asked: list[dict[str, Any]] = []

    def answer(method: str, path: str) -> Answer:
        asked.append(json.loads(path.partition(" ")[2]))
        if len(asked) == 1:
            return 200, {"events": [], "nextToken": "more"}
        return 200, {"events": [{"timestamp": 7_000, "message": json.dumps(line(1, 9))}]}

    with serve(answer) as url:
        client = make_client("logs", "us-east-1", url)
        (found,) = CloudWatchLogs(client, "f").find("BTCUSDT", 5, 1.0, 9.0)
    assert found.at == 7.0
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
    first = {
        "logGroupName": "/aws/lambda/f",
        "filterPattern": '{ $.symbol = "BTCUSDT" && $.first_id <= 5 && $.last_id >= 5 }',
        "startTime": 1_000,
        "endTime": 9_000,
    }
    assert asked == [first, {**first, "nextToken": "more"}]
