"""Figures of the metrics services, for every kind of site."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import pytest

from mcloud.clouds.aws import metrics
from mcloud.clouds.aws.client import make_client
from mcloud.clouds.aws.metrics import METRICS, CloudWatchMetrics
from mcloud.clouds.factory import open_site
from mcloud.clouds.figures import FIGURES
from mcloud.clouds.ports import Figure, Figures, Site
from mcloud.market.envelope import Message

from .conftest import EMBEDDED

WINDOW = 900.0
NOW = 1_723_161_300.0  # a whole minute

# Real metrics are minutes late.
embedded_only = pytest.mark.parametrize("site", EMBEDDED, indirect=True)


@embedded_only
def test_missing_figures_are_unknown_and_never_zero(site: Site) -> None:
    to = replace(site.resources, function="there-is-none-such")  # type: ignore[attr-defined]
    seen = open_site(site.name, to).metrics.figures(WINDOW)
    for figure in (seen["calls"], seen["errors"], seen["throttles"], seen["p95"]):
        assert figure.value is None
    assert seen.window >= WINDOW
    # The depth comes either from the queue itself or from the metrics.
    assert (seen.queue is None) == (seen.dead_letters is None) == site.queue.is_live


@embedded_only
def test_the_backlog_comes_from_the_queue_or_from_the_metrics(
    site: Site, request: pytest.FixtureRequest
) -> None:
    assert site.queue.send([Message(str(number)) for number in range(3)]) == []
    seen = site.metrics.figures(WINDOW)
    if site.queue.is_live:
        assert site.queue.depth().ready == 3
        assert seen.queue is None
        return
    assert seen.queue is not None
    assert seen.dead_letters is not None
    if request.node.callspec.params["site"] == "gcp-official":  # it has no metrics
        assert seen.queue.ready is seen.dead_letters.ready is seen["oldest_age"].value is None
        return
    assert (seen.queue.ready, seen.dead_letters.ready) == (3, 0)
    assert seen["oldest_age"].value is not None
    assert 0 <= seen["oldest_age"].value < 600
    assert seen["oldest_age"].as_of <= time.time()


@pytest.mark.parametrize("site", ["aws"], indirect=True)
def test_cloudwatch_figures_equal_the_stored_ones(site: Site) -> None:
    to = site.resources  # type: ignore[attr-defined]
    # Names of their own, since the embedded cloud measures its queues and tables as well.
    to = replace(
        to,
        function=to.candles_table.replace("candles", "processor"),
        queue_url=f"{to.queue_url}-measured",
        candles_table=f"{to.candles_table}-measured",
    )
    cloudwatch = make_client("cloudwatch", to.region, to.endpoint_url)
    # The minute before the last one, so that it is complete.
    minute = time.time() // 60 * 60 - 120

    def put(namespace: str, dimension: str, of: str, name: str, *values: float) -> None:
        cloudwatch.put_metric_data(
            Namespace=namespace,
            MetricData=[
                {
                    "MetricName": name,
                    "Dimensions": [{"Name": dimension, "Value": of}],
                    "Timestamp": datetime.fromtimestamp(minute + 60 * (n % 2), UTC),
                    "Value": value,
                }
                for n, value in enumerate(values)
            ],
        )

    queue = to.queue_url.rpartition("/")[2]
    put("AWS/SQS", "QueueName", queue, "ApproximateAgeOfOldestMessage", 80, 7)
    put("AWS/Lambda", "FunctionName", to.function, "Invocations", 5, 3, 2)
    put("AWS/Lambda", "FunctionName", to.function, "Errors", 0, 1)
    put("AWS/Lambda", "FunctionName", to.function, "Throttles", 0, 4)
    put("AWS/Lambda", "FunctionName", to.function, "Duration", 9000, *[120] * 5)
    put("AWS/DynamoDB", "TableName", to.candles_table, "ConsumedWriteCapacityUnits", 11, 22.5)
    seen = open_site("aws", to).metrics.figures(WINDOW)
    assert seen["oldest_age"] == Figure(7.0, minute + 120)
    assert [each.value for each in (seen["calls"], seen["errors"], seen["throttles"])] == [10, 1, 4]
    assert seen["p95"].value == pytest.approx(0.12)
    assert seen["writes"].value == 33.5
    assert seen["write_throttles"].value == 0  # there were writes, and no throttle was reported
    assert seen["calls"].as_of <= time.time()


class FakeCloudWatch:
    """Answers with these points for each metric, in pages of one, and counts the requests."""

    def __init__(self, points: dict[str, dict[float, float]]) -> None:
        self._points = points
        self.asked: list[dict[str, Any]] = []

    def get_paginator(self, name: str) -> "FakeCloudWatch":
        assert name == "get_metric_data"
        return self

    def paginate(self, **request: Any) -> list[dict[str, Any]]:
        self.asked.append(request)
        return [
            {
                "MetricDataResults": [
                    {
                        "Id": id_,
                        "Timestamps": [datetime.fromtimestamp(stamp, UTC)],
                        "Values": [value],
                    }
                ]
            }
            for id_, points in self._points.items()
            for stamp, value in points.items()
        ]


def cloudwatch(
    monkeypatch: pytest.MonkeyPatch, points: dict[str, dict[float, float]]
) -> tuple[Figures, FakeCloudWatch]:
    monkeypatch.setattr(metrics.time, "time", lambda: NOW + 30)
    fake = FakeCloudWatch(points)
    client = CloudWatchMetrics(fake, "f", "https://sqs/1/q", "t")
    return client.figures(WINDOW), fake


def test_all_figures_take_one_request_with_the_declared_number_of_metrics(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, fake = cloudwatch(monkeypatch, {})
    (request,) = fake.asked
    assert len(request["MetricDataQueries"]) == METRICS
    names = chain(
        each["MetricStat"]["Metric"]["Dimensions"] for each in request["MetricDataQueries"]
    )
    assert {each["Value"] for (each,) in names} == {"f", "q", "t"}
    assert request["StartTime"].timestamp() % 60 == 0
    assert request["StartTime"].timestamp() <= NOW + 30 - WINDOW


def test_a_count_ends_at_the_last_minute_that_must_have_been_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # One call ten minutes ago. Later calls may still be in transit.
    seen, _ = cloudwatch(monkeypatch, {"calls": {NOW - 600: 1.0}, "errors": {NOW - 600: 0.0}})
    assert seen["calls"] == Figure(1.0, NOW + 30 - 120)
    assert seen["errors"] == Figure(0.0, NOW + 30 - 120)
    seen, _ = cloudwatch(monkeypatch, {"calls": {NOW - 60: 1.0, NOW: 2.0}})
    assert seen["calls"] == Figure(3.0, NOW + 30)


def test_a_level_is_that_of_its_last_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, _ = cloudwatch(monkeypatch, {"oldest_age": {NOW - 120: 5.0, NOW - 180: 90.0}})
    assert seen["oldest_age"] == Figure(5.0, NOW - 60)


def test_throttles_are_none_only_in_a_table_that_is_written_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen, _ = cloudwatch(monkeypatch, {})
    assert seen["write_throttles"].value is None
    seen, _ = cloudwatch(monkeypatch, {"writes": {NOW - 60: 3.0}})
    assert seen["write_throttles"].value == 0
    seen, _ = cloudwatch(monkeypatch, {"write_throttles": {NOW - 60: 2.0}})
    assert seen["write_throttles"].value == 2


CALLS = "run.googleapis.com/request_count"
PUSHES = "pubsub.googleapis.com/subscription/push_request_count"
LABELS = {CALLS: "response_code_class", PUSHES: "response_class"}


class FakeMonitoring:
    """Answers with the series of each metric: response class, age in seconds, and value."""

    def __init__(self, series: dict[str, dict[str, dict[float, int]]]) -> None:
        self._series = series

    def list_time_series(self, *, request: Any, **_: Any) -> list[Any]:
        from google.cloud.monitoring_v3.types import TimeSeries

        metric = next((each for each in self._series if f'"{each}"' in request.filter), "")
        return [
            TimeSeries(
                metric={"type": metric, "labels": {LABELS[metric]: name}},
                points=[
                    {
                        "interval": {"end_time": {"seconds": int(NOW - ago)}},
                        "value": {"int64_value": value},
                    }
                    for ago, value in points.items()
                ],
            )
            for name, points in self._series.get(metric, {}).items()
        ]


@pytest.mark.parametrize(
    ("calls", "count", "errors", "as_of"),
    [
        ({}, None, None, NOW),
        ({"2xx": {90: 5, 150: 3}}, 8, 0, NOW - 90),
        # The last failure is long ago, and none has been reported since.
        ({"2xx": {90: 5}, "5xx": {800: 1}, "4xx": {400: 2}}, 8, 3, NOW - 90),
        ({"5xx": {700: 1}}, 1, 1, NOW - 300),
    ],
)
def test_google_counts_calls_by_the_class_of_their_answer(
    monkeypatch: pytest.MonkeyPatch,
    calls: dict[str, dict[float, int]],
    count: int | None,
    errors: int | None,
    as_of: float,
) -> None:
    from mcloud.clouds.gcp.metrics import CloudMonitoring
    from mcloud.clouds.resources import GcpResources

    monkeypatch.setattr(metrics.time, "time", lambda: NOW)
    to = GcpResources(**dict.fromkeys(GcpResources.__dataclass_fields__, "x"))
    client = FakeMonitoring({CALLS: calls})
    seen = CloudMonitoring(client, to).figures(WINDOW)
    assert (seen["calls"].value, seen["errors"].value) == (count, errors)
    assert seen["calls"].as_of == seen["errors"].as_of == as_of
    assert seen["throttles"].value is None


@pytest.mark.parametrize(
    ("pushes", "throttles"),
    [
        ({}, None),
        ({"ack": {90: 5}}, 0),
        ({"ack": {90: 5}, "remote_server_5xx": {90: 4}, "deadline_exceeded": {90: 1}}, 0),
        ({"ack": {90: 5}, "remote_server_4xx": {90: 3, 150: 2}, "unreachable": {90: 1}}, 6),
        ({"unreachable": {700: 1}}, 1),
    ],
)
def test_google_counts_pushes_that_the_function_did_not_take(
    monkeypatch: pytest.MonkeyPatch, pushes: dict[str, dict[float, int]], throttles: int | None
) -> None:
    """Cloud Run itself does not count them."""
    from mcloud.clouds.gcp.metrics import CloudMonitoring
    from mcloud.clouds.resources import GcpResources

    monkeypatch.setattr(metrics.time, "time", lambda: NOW)
    to = GcpResources(**dict.fromkeys(GcpResources.__dataclass_fields__, "x"))
    seen = CloudMonitoring(FakeMonitoring({PUSHES: pushes}), to).figures(WINDOW)
    assert seen["throttles"].value == throttles


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_each_cloud_measures_every_figure_or_says_why_it_does_not(
    monkeypatch: pytest.MonkeyPatch, cloud: str
) -> None:
    from mcloud.clouds.gcp.metrics import CloudMonitoring
    from mcloud.clouds.resources import GcpResources

    to = GcpResources(**dict.fromkeys(GcpResources.__dataclass_fields__, "x"))
    if cloud == "aws":
        seen, _ = cloudwatch(monkeypatch, {})
    else:
        seen = CloudMonitoring(FakeMonitoring({}), to).figures(WINDOW)
    assert {*seen.measured} == {each.name for each in FIGURES if cloud not in each.unmeasured}
