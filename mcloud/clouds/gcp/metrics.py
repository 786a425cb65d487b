"""Backlogs, ages and calls from Cloud Monitoring, with one request for each metric, billed by the
time series.
"""

import time
from collections.abc import Sequence
from typing import Any

from mcloud.clouds.gcp.client import TIMEOUT, retry, translated
from mcloud.clouds.ports import Depth, Figure, Figures
from mcloud.clouds.resources import GcpResources

PERIOD = 60  # seconds; Cloud Monitoring samples all of these metrics by the minute
# Seconds until a sample is available; https://cloud.google.com/monitoring/api/metrics_gcp
CALLS_LAG = 240.0
BACKLOG_WINDOW = 5 * 60.0  # seconds; the newest point of this window counts
SERIES = 7
"""Number of time series that each query is billed for: two backlogs, an age, two classes of calls,
p95 and writes.
"""

_BACKLOG = "pubsub.googleapis.com/subscription/num_undelivered_messages"
_AGE = "pubsub.googleapis.com/subscription/oldest_unacked_message_age"
_CALLS = "run.googleapis.com/request_count"
_LATENCIES = "run.googleapis.com/request_latencies"
_WRITES = "firestore.googleapis.com/document/write_ops_count"


class CloudMonitoring:
    def __init__(self, client: Any, to: GcpResources) -> None:
        self._client = client
        self._to = to

    def figures(self, window: float) -> Figures:
        now = time.time()
        start = now - window
        function = f'resource.labels.service_name = "{self._to.function}"'
        database = f'resource.labels.database_id = "{self._to.database}"'
        by_class = ("metric.labels.response_code_class",)
        calls = self._series(_CALLS, function, start, now, ("ALIGN_DELTA", "REDUCE_SUM"), by_class)
        latencies = self._series(
            _LATENCIES, function, start, now, ("ALIGN_DELTA", "REDUCE_PERCENTILE_95")
        )
        writes = self._series(_WRITES, database, start, now, ("ALIGN_DELTA", "REDUCE_SUM"))
        failed = [each for each in calls if _class(each) != "2xx"]
        total = _total(calls, now)
        p95 = _newest(latencies, now)
        return Figures(
            queue=self.backlog(self._to.subscription),
            dead_letters=self.backlog(self._to.dlq_subscription),
            window=window,
            measured={
                "oldest_age": self._subscription(_AGE, self._to.subscription, now),
                "calls": total,
                # If there are calls, a class without a series had no calls up to the end of the
                # other classes.
                "errors": Figure(
                    None if total.value is None else sum(map(_value, _points(failed))), total.as_of
                ),
                # converted from ms
                "p95": Figure(None if p95.value is None else p95.value / 1000, p95.as_of),
                "writes": _total(writes, now),
            },
        )

    def backlog(self, subscription: str) -> Depth:
        """Return the number of undelivered messages of a subscription, including those in
        flight.
        """
        figure = self._subscription(_BACKLOG, subscription, time.time())
        return Depth(None if figure.value is None else int(figure.value), None, figure.as_of)

    def _subscription(self, metric: str, subscription: str, now: float) -> Figure:
        about = f'resource.labels.subscription_id = "{subscription}"'
        return _newest(self._series(metric, about, now - BACKLOG_WINDOW, now), now)

    def _series(
        self,
        metric: str,
        about: str,
        start: float,
        end: float,
        reduced: tuple[str, str] | None = None,
        by: Sequence[str] = (),
    ) -> Any:
        """Return the time series of a metric. ``reduced`` is the aligner and the reducer that
        combine several series into one, with one point per minute.
        """
        from google.cloud.monitoring_v3.types import Aggregation, ListTimeSeriesRequest

        request = ListTimeSeriesRequest(
            name=f"projects/{self._to.project}",
            filter=f'metric.type = "{metric}" AND {about}',
            interval=interval(start, end),
            view=ListTimeSeriesRequest.TimeSeriesView.FULL,
        )
        if reduced:
            request.aggregation = Aggregation(
                alignment_period={"seconds": PERIOD},
                per_series_aligner=reduced[0],
                cross_series_reducer=reduced[1],
                group_by_fields=by,
            )
        with translated("Cloud Monitoring"):
            return list(
                self._client.list_time_series(request=request, timeout=TIMEOUT, retry=retry())
            )


def _newest(series: Sequence[Any], now: float) -> Figure:
    """Return the newest value."""
    points = _points(series)
    if not points:
        return Figure(None, now)
    newest = max(points, key=lambda point: point.interval.end_time)
    return Figure(_value(newest), min(now, newest.interval.end_time.timestamp()))


def _total(series: Sequence[Any], now: float) -> Figure:
    """Return the sum up to the last minute that Cloud Monitoring must have reported by now."""
    points = _points(series)
    if not points:
        return Figure(None, now)
    newest = max(point.interval.end_time.timestamp() for point in points)
    return Figure(sum(map(_value, points)), min(now, max(newest, now - PERIOD - CALLS_LAG)))


def _points(series: Sequence[Any]) -> list[Any]:
    return [point for each in series for point in each.points]


def _value(point: Any) -> float:
    kind = type(point.value).pb(point.value).WhichOneof("value")
    return float(getattr(point.value, kind))


def _class(series: Any) -> str:
    return str(series.metric.labels.get("response_code_class", ""))


def interval(start: float, end: float) -> Any:
    """Return the ``TimeInterval`` between two times in seconds since 1970."""
    from google.cloud.monitoring_v3.types import TimeInterval

    return TimeInterval(start_time=_timestamp(start), end_time=_timestamp(end))


def _timestamp(seconds: float) -> dict[str, int]:
    return {"seconds": int(seconds), "nanos": int(seconds % 1 * 1e9)}
