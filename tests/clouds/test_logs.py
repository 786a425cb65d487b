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


def test_cloud_logging_lists_the_newest_lines_of_all_functions() -> None:
    asked: list[dict[str, Any]] = []
    text = {
        "textPayload": "Traceback (most recent call last):",
        "resource": {"labels": {"service_name": "mcloud-anomaly"}},
        "timestamp": "2026-11-25T20:53:05Z",
    }

    def answer(method: str, path: str) -> Answer:
        asked.append(json.loads(path.partition(" ")[2]))
        if len(asked) == 1:
            return 200, {"entries": [entry(1.0, 9.0)], "nextPageToken": "more"}
        return 200, {"entries": [text, text]}

    with serve(answer) as url:
        logs = CloudLogging(anonymous(), "my-project", "mcloud-eu-processor", url)
        found = logs.lines(1_795_639_980.0, 1_795_639_999.5, 2)
    assert [(each.function, each.level, each.text) for each in found] == [
        ("mcloud-anomaly", "", "Traceback (most recent call last):"),
        ("mcloud-processor", "INFO", "stored symbol=BTCUSDT first_id=1 last_id=9"),
    ]
    assert (asked[0]["orderBy"], asked[0]["pageSize"]) == ("timestamp desc", 2)
    names = '("mcloud-eu-processor" OR "mcloud-eu-anomaly" OR "mcloud-eu-compact")'
    assert f"resource.labels.service_name={names} AND" in asked[0]["filter"]


def test_lines_of_a_file_without_a_time_belong_to_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "function.log"
    assert FileLogs(path).lines(0, 1e10, 9) == []
    path.write_text(
        json.dumps({"time": "2026-11-25T20:53:05+00:00", "severity": "ERROR", "message": "no"})
        + "\nTraceback\n"
        + json.dumps({"time": "2026-11-25T20:53:09.5+00:00", **line(1, 9)})
    )
    begin = 1_795_639_985.0
    found = FileLogs(path).lines(begin, begin + 9, 9)
    assert [(each.at - begin, each.level, each.text) for each in found] == [
        (0.0, "ERROR", "no"),
        (0.0, "", "Traceback"),
        (4.5, "INFO", "stored symbol=BTCUSDT first_id=1 last_id=9"),
    ]
    assert [each.level for each in FileLogs(path).lines(begin, begin + 9, 1)] == ["INFO"]
    assert len(FileLogs(path).lines(begin + 1, begin + 9, 9)) == 1


def test_cloudwatch_lists_the_newest_lines_of_each_function() -> None:
    groups: list[str] = []

    def answer(method: str, path: str) -> Answer:
        asked = json.loads(path.partition(" ")[2])
        groups.append(asked["logGroupName"])
        if asked["logGroupName"].endswith("-compact"):
            kind = "ResourceNotFoundException"
            return 400, {"__type": kind, "message": "no such group"}
        if asked.get("nextToken"):
            return 200, {"events": [{"timestamp": 9_000, "message": json.dumps(line(1, 9))}]}
        start = json.dumps({"time": "…", "type": "platform.start", "record": {"requestId": "1"}})
        texts = ["START RequestId: 1\n", "1 oldest", "2 old", "END RequestId: 1\n", start]
        events = [{"timestamp": 7_000 + n, "message": each} for n, each in enumerate(texts)]
        return 200, {"events": events, **({"nextToken": "x"} if "processor" in groups[-1] else {})}

    with serve(answer) as url:
        client = make_client("logs", "us-east-1", url)
        found = CloudWatchLogs(client, "mcloud-processor").lines(1.0, 9.0, 2)
    assert [(each.at, each.function, each.level, each.text) for each in found] == [
        (7.001, "mcloud-anomaly", "", "1 oldest"),
        (7.002, "mcloud-processor", "", "2 old"),
        (7.002, "mcloud-anomaly", "", "2 old"),
        (9.0, "mcloud-processor", "INFO", "stored symbol=BTCUSDT first_id=1 last_id=9"),
    ]
    prefix = "/aws/lambda/mcloud"
    assert groups == [
        *(f"{prefix}-processor", f"{prefix}-processor", f"{prefix}-anomaly", f"{prefix}-compact")
    ]


def test_the_lines_of_functions_that_a_role_may_not_read_are_left_out() -> None:
    """The operator's role of an earlier release reads the log of the processor only."""

    def answer(method: str, path: str) -> Answer:
        group = json.loads(path.partition(" ")[2])["logGroupName"]
        if not group.endswith("-processor"):
            return 400, {"__type": "AccessDeniedException", "message": "not you"}
        return 200, {"events": [{"timestamp": 7_000, "message": "here"}]}

    with serve(answer) as url:
        client = make_client("logs", "us-east-1", url)
        found = CloudWatchLogs(client, "mcloud-processor").lines(1.0, 9.0, 2)
    assert [(each.function, each.text) for each in found] == [("mcloud-processor", "here")]


def test_a_role_that_may_read_no_log_is_refused() -> None:
    with serve(lambda method, path: (400, {"__type": "AccessDeniedException"})) as url:
        client = make_client("logs", "us-east-1", url)
        with pytest.raises(Refused):
            CloudWatchLogs(client, "mcloud-processor").lines(1.0, 9.0, 2)
