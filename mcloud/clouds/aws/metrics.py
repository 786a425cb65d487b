"""Ages, calls and throttles from CloudWatch, in one request that is billed by the metric."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from mcloud.clouds.aws.client import translated
from mcloud.clouds.figures import FIGURES, MeasuredFigure
from mcloud.clouds.ports import Figure, Figures

PERIOD = 60  # seconds; CloudWatch reports all of these metrics by the minute
LAG = 60.0  # seconds until the figure of a minute is available


class _Metric(NamedTuple):
    namespace: str
    name: str
    stat: str
    dimension: str
    scale: float = 1.0
    """Factor from the unit of CloudWatch to that of the figure."""


# Metrics by the names of `figures.FIGURES`;
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/
# aws-services-cloudwatch-metrics.html
_METRICS = {
    "oldest_age": _Metric("AWS/SQS", "ApproximateAgeOfOldestMessage", "Maximum", "QueueName"),
    "calls": _Metric("AWS/Lambda", "Invocations", "Sum", "FunctionName"),
    "errors": _Metric("AWS/Lambda", "Errors", "Sum", "FunctionName"),
    "throttles": _Metric("AWS/Lambda", "Throttles", "Sum", "FunctionName"),
    "p95": _Metric("AWS/Lambda", "Duration", "p95", "FunctionName", 0.001),  # in ms
    "writes": _Metric("AWS/DynamoDB", "ConsumedWriteCapacityUnits", "Sum", "TableName"),
    "write_throttles": _Metric("AWS/DynamoDB", "WriteThrottleEvents", "Sum", "TableName"),
}
METRICS = len(_METRICS)  # number of metrics that each query is billed for


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
        # The window starts at a full minute, because CloudWatch would truncate the first one
        # otherwise.
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
        measured = {each.name: _figure(each, points[each.name], now) for each in FIGURES}
        if not points["write_throttles"] and points["writes"]:
            # CloudWatch reports throttles only if there are any. If the table was written to, no
            # report means 0.
            measured["write_throttles"] = Figure(0.0, measured["writes"].as_of)
        return Figures(queue=None, dead_letters=None, window=now - start, measured=measured)

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


def _figure(declared: MeasuredFigure, points: Mapping[float, float], now: float) -> Figure:
    """Return the value of the last minute that has one or, for a count, the sum.

    A sum ends at the last minute that CloudWatch must have reported by now.
    """
    if not points:
        return Figure(None, now)
    last = max(points)
    if declared.is_time:
        return Figure(points[last] * _METRICS[declared.name].scale, min(now, last + PERIOD))
    return Figure(sum(points.values()), min(now, max(last + PERIOD, now - PERIOD - LAG)))
