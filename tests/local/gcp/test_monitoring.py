"""Time series through the real client: custom ones, and those of a Pub/Sub with a test clock."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.api.metric_pb2 import MetricDescriptor
from google.api_core import exceptions
from google.cloud.monitoring_v3 import Aggregation, ListTimeSeriesRequest, MetricServiceClient
from google.cloud.monitoring_v3.services.metric_service.transports import (
    MetricServiceGrpcTransport,
)
from google.cloud.monitoring_v3.types import TimeSeries

from mcloud.local.gcp import monitoring as product
from mcloud.local.gcp.monitoring import Monitoring
from mcloud.local.gcp.monitoring_distribution import Histogram
from mcloud.local.gcp.pubsub import SubscriptionObservation

from .serving import Serving

PROJECT = "projects/p"
UNDELIVERED = "pubsub.googleapis.com/subscription/num_undelivered_messages"
OLDEST_AGE = "pubsub.googleapis.com/subscription/oldest_unacked_message_age"
PUSHES = "pubsub.googleapis.com/subscription/push_request_count"
COUNT = "run.googleapis.com/request_count"
LATENCIES = "run.googleapis.com/request_latencies"
HEARTBEAT = "custom.googleapis.com/heartbeat"

View = ListTimeSeriesRequest.TimeSeriesView


class Server:
    """Cloud Monitoring on a gRPC server in a thread. The test sets the figures of Pub/Sub."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self.undelivered = 0
        self.latencies: dict[str, Histogram] = {}
        self.monitoring = Monitoring(self._observe, lambda: self.now)
        self._serving = Serving(self.monitoring.services())
        self.stop = self._serving.stop
        channel = grpc.insecure_channel(self._serving.host)
        self.client = MetricServiceClient(transport=MetricServiceGrpcTransport(channel=channel))

    def wait(self, seconds: float) -> None:
        """Let time pass, and take a sample at the end."""
        self.now += seconds
        self._serving.run(self.monitoring.sample)

    def push(self, code_class: str, *milliseconds: float) -> None:
        for one in milliseconds:
            self.latencies.setdefault(code_class, Histogram()).add(one)

    def query(
        self, metric: str, *, seconds: float = 3600, terms: str = "", **request: Any
    ) -> list[Any]:
        interval = {"start_time": _stamp(self.now - seconds), "end_time": _stamp(self.now)}
        return list(
            self.client.list_time_series(
                request={
                    "name": PROJECT,
                    "filter": f'metric.type = "{metric}"{terms}',
                    "interval": interval,
                    "view": View.FULL,
                    **request,
                }
            )
        )

    def write(self, *series: dict[str, Any]) -> None:
        self.client.create_time_series(
            name=PROJECT, time_series=[TimeSeries(one) for one in series]
        )

    def custom(self, value: float, metric: str = HEARTBEAT, **labels: str) -> dict[str, Any]:
        return {
            "metric": {"type": metric, "labels": labels},
            "points": [
                {"interval": {"end_time": _stamp(self.now)}, "value": {"double_value": value}}
            ],
        }

    def _observe(self) -> list[SubscriptionObservation]:
        return [
            SubscriptionObservation("p", "sub", "process", self.undelivered, 12.5, self.latencies),
            SubscriptionObservation("p", "quiet", "quiet", 0, 0.0, {}),
            SubscriptionObservation("another", "sub", "process", 99, 99.0, {}),
        ]


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


def test_the_backlog_has_a_history_and_a_fresh_point(server: Server) -> None:
    for server.undelivered in (5, 7, 3):
        server.wait(10)
    server.now += 4
    server.undelivered = 1
    series, quiet = server.query(UNDELIVERED)
    assert [point.value.int64_value for point in series.points] == [1, 3, 7, 5]
    newest = series.points[0].interval.end_time.timestamp()
    assert newest == server.now
    assert series.resource.type == "pubsub_subscription"
    assert dict(series.resource.labels) == {"project_id": "p", "subscription_id": "sub"}
    assert (series.metric_kind, series.value_type) == (
        MetricDescriptor.GAUGE,
        MetricDescriptor.INT64,
    )
    assert series.unit == "1"
    assert quiet.resource.labels["subscription_id"] == "quiet"


def test_a_query_of_the_past_has_no_fresh_point(server: Server) -> None:
    server.wait(10)
    server.wait(10)
    server.now += 100
    interval = {"start_time": _stamp(server.now - 200), "end_time": _stamp(server.now - 105)}
    series, _ = server.query(UNDELIVERED, interval=interval)
    assert len(series.points) == 1


def test_the_age_is_in_seconds(server: Server) -> None:
    series, _ = server.query(OLDEST_AGE)
    assert series.points[0].value.int64_value == 12
    assert series.unit == "s"


@pytest.mark.parametrize(
    ("terms", "found"),
    [
        ('AND resource.labels.subscription_id = "sub"', 1),
        ('AND resource.label.subscription_id="quiet"', 1),
        ('AND resource.type = "pubsub_subscription" AND resource.labels.project_id = "p"', 2),
        ('AND resource.labels.subscription_id = "other"', 0),
        ('AND metric.labels.response_code_class = "2xx"', 0),
        ('AND resource.labels.subscription_id = "a \\" AND b"', 0),
    ],
)
def test_filters_select_series(server: Server, terms: str, found: int) -> None:
    assert len(server.query(UNDELIVERED, terms=f" {terms}")) == found


@pytest.mark.parametrize(
    "terms",
    [
        ' OR metric.type = "x"',
        ' AND resource.labels.subscription_id != "sub"',
        ' AND resource.labels.subscription_id = starts_with("s")',
    ],
)
def test_other_filters_are_refused_by_name(server: Server, terms: str) -> None:
    with pytest.raises(exceptions.MethodNotImplemented, match="does not offer the filter"):
        server.query(UNDELIVERED, terms=terms)


def test_pushes_count_by_class_between_samples(server: Server) -> None:
    server.wait(10)
    server.push("2xx", 10, 20)
    server.wait(10)
    server.wait(10)
    server.push("2xx", 30)
    server.push("5xx", 40)
    server.now += 5
    by_class = {
        series.metric.labels["response_code_class"]: series for series in server.query(COUNT)
    }
    assert [point.value.int64_value for point in by_class["2xx"].points] == [1, 2]
    assert [point.value.int64_value for point in by_class["5xx"].points] == [1]
    fresh = by_class["2xx"].points[0].interval
    assert (fresh.end_time - fresh.start_time).total_seconds() == 5
    assert by_class["2xx"].metric_kind == MetricDescriptor.DELTA
    assert dict(by_class["2xx"].resource.labels) == {"project_id": "p", "service_name": "process"}


def test_pubsub_counts_pushes_by_what_became_of_them(server: Server) -> None:
    server.wait(10)
    server.push("2xx", 10, 20)
    server.push("4xx", 40)
    server.push("5xx", 40)
    server.wait(10)
    found = server.query(PUSHES)
    counts = {
        series.metric.labels["response_class"]: [each.value.int64_value for each in series.points]
        for series in found
    }
    assert counts == {"ack": [2], "remote_server_4xx": [1], "remote_server_5xx": [1]}
    assert dict(found[0].resource.labels) == {"project_id": "p", "subscription_id": "sub"}


def test_pushes_before_the_first_sample_count(server: Server) -> None:
    server.push("2xx", 10)
    server.wait(10)
    (series,) = server.query(COUNT)
    assert [point.value.int64_value for point in series.points] == [1]


def test_dropped_samples_do_not_count_again(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(product, "MAX_SAMPLES", 3)
    server.push("2xx", 10)
    for _ in range(5):
        server.wait(10)
    assert server.query(COUNT) == []


def test_latencies_are_distributions(server: Server) -> None:
    server.push("2xx", 10, 20, 30)
    server.wait(10)
    (series,) = server.query(LATENCIES)
    assert (series.value_type, series.unit) == (MetricDescriptor.DISTRIBUTION, "ms")
    distribution = series.points[0].value.distribution_value
    assert (distribution.count, distribution.mean) == (3, 20)
    assert distribution.sum_of_squared_deviation == pytest.approx(200)
    assert sum(distribution.bucket_counts) == 3


def _aggregation(aligner: str, seconds: int = 60, **more: Any) -> dict[str, Any]:
    return {
        "alignment_period": {"seconds": seconds},
        "per_series_aligner": Aggregation.Aligner[aligner],
        **more,
    }


@pytest.mark.parametrize(
    ("aligner", "field", "values"),
    [
        ("ALIGN_MEAN", "double_value", [4.0, 2.0]),
        ("ALIGN_MAX", "int64_value", [5, 3]),
        ("ALIGN_SUM", "int64_value", [12, 6]),
    ],
)
def test_alignment_of_a_gauge(
    server: Server, aligner: str, field: str, values: list[float]
) -> None:
    for server.undelivered in (1, 2, 3, 3, 4, 5):
        server.wait(20)
    series, _ = server.query(UNDELIVERED, aggregation=_aggregation(aligner))
    assert [getattr(point.value, field) for point in series.points] == values
    ends = [point.interval.end_time.timestamp() for point in series.points]
    assert ends == [server.now, server.now - 60]


@pytest.mark.parametrize(
    ("aligner", "field", "value"),
    [
        ("ALIGN_DELTA", "int64_value", 6),
        ("ALIGN_SUM", "int64_value", 6),
        ("ALIGN_RATE", "double_value", 0.1),
    ],
)
def test_alignment_of_a_delta(server: Server, aligner: str, field: str, value: float) -> None:
    server.wait(20)
    for _ in range(3):
        server.push("2xx", 10, 10)
        server.wait(10)
    (series,) = server.query(COUNT, aggregation=_aggregation(aligner))
    assert [getattr(point.value, field) for point in series.points] == [pytest.approx(value)]


def test_the_95th_percentile_lies_in_its_bucket(server: Server) -> None:
    server.push("2xx", *range(1, 51))
    server.wait(10)
    server.push("2xx", *range(51, 101))
    server.wait(10)
    (series,) = server.query(LATENCIES, aggregation=_aggregation("ALIGN_PERCENTILE_95"))
    (point,) = series.points
    assert 1.4**13 <= point.value.double_value <= 1.4**14  # 79 to 111, around 95


def test_the_95th_percentile_of_many_series_is_one(server: Server) -> None:
    server.push("2xx", *range(1, 51))
    server.push("5xx", *range(51, 101))
    server.wait(10)
    reducer = Aggregation.Reducer.REDUCE_PERCENTILE_95
    reduced = _aggregation("ALIGN_DELTA", cross_series_reducer=reducer)
    (series,) = server.query(LATENCIES, aggregation=reduced)
    (point,) = series.points
    assert 1.4**13 <= point.value.double_value <= 1.4**14  # 79 to 111, around 95
    assert not series.metric.labels
    with pytest.raises(Exception, match="percentile"):
        server.query(COUNT, aggregation=reduced)


def test_series_are_summed_by_label(server: Server) -> None:
    server.wait(20)
    server.push("2xx", 1, 1)
    server.push("5xx", 1)
    server.wait(10)
    reduced = _aggregation("ALIGN_DELTA", cross_series_reducer=Aggregation.Reducer.REDUCE_SUM)
    (total,) = server.query(COUNT, aggregation=reduced)
    assert total.points[0].value.int64_value == 3
    grouped = {**reduced, "group_by_fields": ["metric.labels.response_code_class"]}
    by_class = server.query(COUNT, aggregation=grouped)
    assert {
        (series.metric.labels["response_code_class"], series.points[0].value.int64_value)
        for series in by_class
    } == {("2xx", 2), ("5xx", 1)}


@pytest.mark.parametrize(
    "aggregation",
    [
        _aggregation("ALIGN_STDDEV"),
        _aggregation("ALIGN_MEAN", cross_series_reducer=Aggregation.Reducer.REDUCE_MEAN),
    ],
)
def test_other_aggregations_are_refused(server: Server, aggregation: dict[str, Any]) -> None:
    with pytest.raises(exceptions.MethodNotImplemented, match="does not offer"):
        server.query(UNDELIVERED, aggregation=aggregation)


@pytest.mark.parametrize(
    "aggregation",
    [
        _aggregation("ALIGN_RATE"),
        _aggregation("ALIGN_PERCENTILE_95"),
        _aggregation("ALIGN_MEAN", seconds=30),
        {"cross_series_reducer": Aggregation.Reducer.REDUCE_SUM},
    ],
)
def test_aggregations_that_do_not_fit_are_invalid(
    server: Server, aggregation: dict[str, Any]
) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        server.query(UNDELIVERED, aggregation=aggregation)


def test_headers_have_no_points_and_pages_follow(server: Server) -> None:
    request = {"view": View.HEADERS, "page_size": 1}
    headers = server.query(UNDELIVERED, **request)
    assert [series.resource.labels["subscription_id"] for series in headers] == ["sub", "quiet"]
    assert not any(series.points for series in headers)


def test_custom_series_keep_their_points_for_a_day(server: Server) -> None:
    server.write(server.custom(1.5, site="gcp"), server.custom(2.5, site="aws"))
    server.now += 60
    server.write(server.custom(1.75, site="gcp"))
    (series,) = server.query(HEARTBEAT, terms=' AND metric.labels.site = "gcp"')
    assert [point.value.double_value for point in series.points] == [1.75, 1.5]
    assert series.resource.type == "global"
    assert series.value_type == MetricDescriptor.DOUBLE
    server.now += 24 * 3600 - 30
    assert [len(series.points) for series in server.query(HEARTBEAT, seconds=48 * 3600)] == [1]


def test_custom_series_survive(server: Server) -> None:
    server.write(server.custom(1.5))
    other = Monitoring(list, lambda: server.now)
    other.load(server.monitoring.dump())
    assert other.dump() == server.monitoring.dump() != {"custom": []}


def test_writes_are_validated_and_atomic(server: Server) -> None:
    server.write(server.custom(1))
    for bad in (
        server.custom(1),  # not newer than the last one
        server.custom(1, metric=COUNT),
        {"metric": {"type": "custom.googleapis.com/x"}},
    ):
        with pytest.raises(exceptions.InvalidArgument):
            server.write(server.custom(1, metric="custom.googleapis.com/good"), bad)
    assert server.query("custom.googleapis.com/good") == []


def test_the_number_of_series_is_bounded(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product, "MAX_CUSTOM_SERIES", 2)
    server.write(server.custom(1, n="1"), server.custom(1, n="2"))
    with pytest.raises(exceptions.ResourceExhausted):
        server.write(server.custom(1, n="3"))


def _stamp(seconds: float) -> dict[str, int]:
    return {"seconds": int(seconds), "nanos": int(seconds % 1 * 1e9)}


def test_operations_on_a_database_are_deltas_between_samples(server: Server) -> None:
    def count(meter: str, number: int) -> None:
        server.monitoring.operations.add(meter, "projects/p/databases/(default)", number)

    def values(metric: str) -> list[int]:
        return [
            point.value.int64_value
            for series in server.query(f"firestore.googleapis.com/document/{metric}")
            for point in series.points
        ]

    server.wait(10)
    count("firestore_writes", 3)
    server.wait(10)
    server.wait(10)
    count("firestore_writes", 4)
    count("firestore_reads", 1)
    server.wait(10)
    count("firestore_writes", 5)
    server.now += 5
    assert values("write_ops_count") == [5, 4, 3]
    assert values("read_ops_count") == [1]
    assert values("delete_ops_count") == []
    server.monitoring.operations.add("firestore_writes", "projects/other/databases/d", 9)
    assert sum(values("write_ops_count")) == 12
