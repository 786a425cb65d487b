"""The queries of the adapters, as they ask them, against the table of metrics."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from metric_table import AwsQuery, GoogleQuery

from mcloud.clouds.aws.client import make_client
from mcloud.clouds.aws.metrics import CloudWatchMetrics
from mcloud.clouds.aws.usage import CloudWatchUsage
from mcloud.clouds.gcp.metrics import CloudMonitoring
from mcloud.clouds.gcp.usage import MonitoringUsage
from mcloud.local.gcp.monitoring_operations import METRICS
from mcloud.local.state import State

DAY = 24 * 3600.0


class RecordingMonitoring:
    """A client of Cloud Monitoring that passes requests on, and keeps them."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.queries: list[GoogleQuery] = []

    def list_time_series(self, request: Any, **options: Any) -> Any:
        how = request.aggregation
        self.queries.append(
            GoogleQuery(
                request.filter,
                how.per_series_aligner.name,
                how.cross_series_reducer.name,
                int(how.alignment_period.total_seconds()),
                tuple(how.group_by_fields),
            )
        )
        return self._client.list_time_series(request=request, **options)


def test_queries_of_cloud_monitoring(embedded: State) -> None:
    from mcloud.clouds.gcp.client import make_metrics

    to = embedded.resources()["gcp"]
    client = RecordingMonitoring(make_metrics(to.monitoring_endpoint))
    CloudMonitoring(client, to).figures(900)
    asked_by_metrics = len(client.queries)
    now = time.time()
    MonitoringUsage(client, to).metered(now // DAY * DAY - 2 * DAY, now)
    assert asked_by_metrics > 5
    assert len(client.queries) > asked_by_metrics + 20
    assert [fault for query in client.queries for fault in query.faults()] == []


def test_queries_of_cloudwatch(embedded: State) -> None:
    to = embedded.resources()["aws"]
    clients = {
        name: make_client(name, to.region, to.endpoint_url)
        for name in ("cloudwatch", "lambda", "dynamodb", "logs")
    }
    asked: list[AwsQuery] = []

    def note(params: dict[str, Any], **_: Any) -> None:
        for each in params["MetricDataQueries"]:
            stat = each["MetricStat"]
            metric = stat["Metric"]
            dimensions = {pair["Name"]: pair["Value"] for pair in metric["Dimensions"]}
            asked.append(
                AwsQuery(
                    metric["Namespace"],
                    metric["MetricName"],
                    stat["Stat"],
                    dimensions,
                    stat["Period"],
                )
            )

    clients["cloudwatch"].meta.events.register(
        "provide-client-params.cloudwatch.GetMetricData", note
    )
    CloudWatchMetrics(clients["cloudwatch"], to.function, to.queue_url, to.candles_table).figures(
        900
    )
    now = time.time()
    usage = CloudWatchUsage(
        *(clients[name] for name in ("cloudwatch", "lambda", "dynamodb", "logs")), to
    )
    usage.metered(now - DAY, now)
    assert {"SuccessfulRequestLatency", "BucketSizeBytes"} <= {each.name for each in asked}
    assert [fault for query in asked for fault in query.faults()] == []


def test_the_embedded_metrics_are_googles() -> None:
    for metric in METRICS.values():
        query = GoogleQuery(f'metric.type = "{metric}"', "ALIGN_DELTA", "REDUCE_SUM", 60)
        assert query.faults() == []


def wrong() -> Iterator[tuple[GoogleQuery | AwsQuery, str]]:
    calls = 'metric.type = "run.googleapis.com/request_count"'
    waiting = 'metric.type = "pubsub.googleapis.com/subscription/num_undelivered_messages"'
    took = 'metric.type = "run.googleapis.com/request_latencies"'
    delta = ("ALIGN_DELTA", "REDUCE_SUM", 60)
    yield GoogleQuery('metric.type = "run.googleapis.com/calls"', *delta), "not understood"
    yield (
        GoogleQuery(
            'metric.type = "pubsub.googleapis.com/topic/send_message_operation_count"', *delta
        ),
        "not understood",
    )
    yield GoogleQuery(f'resource.type = "gcs_bucket" AND {calls}', *delta), "has no resource"
    yield GoogleQuery(calls, *delta, is_condition=True), "needs the type of the resource"
    yield GoogleQuery(f'{calls} AND metric.labels.class = "5xx"', *delta), "has no label class"
    yield GoogleQuery(f'{calls} AND metric.labels.response_code_class = "500"', *delta), "is never"
    yield GoogleQuery(f'{calls} AND resource.labels.function = "f"', *delta), "has a label function"
    yield GoogleQuery(waiting, *delta), "ALIGN_DELTA is not for GAUGE"
    yield (
        GoogleQuery(took, "ALIGN_MAX", "REDUCE_SUM", 60),
        "ALIGN_MAX is not for DELTA DISTRIBUTION",
    )
    yield GoogleQuery(took, "ALIGN_DELTA", "REDUCE_MAX", 60), "REDUCE_MAX is not for DISTRIBUTION"
    yield GoogleQuery(calls, "ALIGN_NONE", "REDUCE_SUM", 0), "a reducer needs an aligner"
    yield GoogleQuery(calls, "ALIGN_DELTA", "REDUCE_SUM", 10), "too short"
    yield GoogleQuery(calls, *delta, group_by=("metric.label.method",)), "has no label method"
    queue, function = {"QueueName": "q"}, {"FunctionName": "f"}
    yield AwsQuery("AWS/SQS", "Depth", "Maximum", queue, 60), "unknown"
    yield AwsQuery("AWS/SQS", "NumberOfMessagesSent", "Sum", function, 60), "not reported under"
    yield AwsQuery("AWS/Lambda", "Errors", "Maximum", function, 60), "means nothing"
    yield AwsQuery("AWS/Lambda", "Errors", "Sum", function, 90), "whole minutes"
    bucket = {"BucketName": "b", "StorageType": "GLACIER_IR"}
    yield AwsQuery("AWS/S3", "BucketSizeBytes", "Average", bucket, 86_400), "is never GLACIER_IR"


@pytest.mark.parametrize(("query", "fault"), list(wrong()))
def test_a_wrong_query_is_found(query: GoogleQuery | AwsQuery, fault: str) -> None:
    assert len(query.faults()) == 1
    assert fault in query.faults()[0]
