"""Ages, calls and throttles, from CloudWatch: one request, billed by the metric."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from mcloud.clouds.aws.client import translated
from mcloud.clouds.ports import Figure, Figures

PERIOD = 60  # seconds; all of these are reported by the minute
LAG = 60.0  # seconds until a minute's figure is there


class _Metric(NamedTuple):
    namespace: str
    name: str
    stat: str
    dimension: str


# By the names of `Figures`; https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/
# aws-services-cloudwatch-metrics.html
_METRICS = {
    "oldest_age": _Metric("AWS/SQS", "ApproximateAgeOfOldestMessage", "Maximum", "QueueName"),
    "calls": _Metric("AWS/Lambda", "Invocations", "Sum", "FunctionName"),
    "errors": _Metric("AWS/Lambda", "Errors", "Sum", "FunctionName"),
    "throttles": _Metric("AWS/Lambda", "Throttles", "Sum", "FunctionName"),
    "p95": _Metric("AWS/Lambda", "Duration", "p95", "FunctionName"),
    "writes": _Metric("AWS/DynamoDB", "ConsumedWriteCapacityUnits", "Sum", "TableName"),
    "write_throttles": _Metric("AWS/DynamoDB", "WriteThrottleEvents", "Sum", "TableName"),
}
METRICS = len(_METRICS)  # billed for each look


class CloudWatchMetrics:
    def __init__(self, client: Any, function: str, queue_url: str, table: str) -> None:
        self._client = client
        self._names = {
            "FunctionName": function,
            "QueueName": queue_url.rpartition("/")[2],
            "TableName": table,
        }

    def figures(self, window: float) -> Figures:
        now = time.time()
        # Whole minutes only, or CloudWatch cuts the first one.
        start = (now - window) // PERIOD * PERIOD
        points: dict[str, dict[float, float]] = {id_: {} for id_ in _METRICS}
        with translated("CloudWatch"):
            pages = self._client.get_paginator("get_metric_data").paginate(
                MetricDataQueries=[self._query(id_, each) for id_, each in _METRICS.items()],
                StartTime=datetime.fromtimestamp(start, UTC),
                EndTime=datetime.fromtimestamp(now, UTC),
            )
            for page in pages:
                for result in page["MetricDataResults"]:
                    stamps = (stamp.timestamp() for stamp in result["Timestamps"])
                    points[result["Id"]] |= zip(stamps, result["Values"], strict=True)
        p95 = _newest(points["p95"], now)
        return Figures(
            queue=None,
            dead_letters=None,
            oldest_age=_newest(points["oldest_age"], now),
            calls=_total(points["calls"], now),
            errors=_total(points["errors"], now),
            throttles=_total(points["throttles"], now),
            p95=Figure(None if p95.value is None else p95.value / 1000, p95.as_of),  # from ms
            writes=_total(points["writes"], now),
            write_throttles=_throttles(points, now),
            window=now - start,
        )

    def _query(self, id_: str, metric: _Metric) -> dict[str, Any]:
        name = self._names[metric.dimension]
        return {
            "Id": id_,
            "MetricStat": {
                "Metric": {
                    "Namespace": metric.namespace,
                    "MetricName": metric.name,
                    "Dimensions": [{"Name": metric.dimension, "Value": name}],
                },
                "Period": PERIOD,
                "Stat": metric.stat,
            },
        }


def _newest(points: Mapping[float, float], now: float) -> Figure:
    """The value of the last minute that has one."""
    if not points:
        return Figure(None, now)
    last = max(points)
    return Figure(points[last], min(now, last + PERIOD))


def _total(points: Mapping[float, float], now: float) -> Figure:
    """The sum, which counts until the last minute that must have been reported by now."""
    if not points:
        return Figure(None, now)
    return Figure(sum(points.values()), min(now, max(max(points) + PERIOD, now - PERIOD - LAG)))


def _throttles(points: Mapping[str, Mapping[float, float]], now: float) -> Figure:
    """Reported only when there are some: in a table that is written to, silence means none."""
    if not points["write_throttles"] and points["writes"]:
        return Figure(0.0, _total(points["writes"], now).as_of)
    return _total(points["write_throttles"], now)
