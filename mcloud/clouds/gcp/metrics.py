"""Backlogs, ages and calls from Cloud Monitoring, with one request for each metric, billed by the
time series.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from mcloud.clouds.gcp.client import TIMEOUT, retry, translated
from mcloud.clouds.ports import Depth, Figure, Figures
from mcloud.clouds.resources import GcpResources
from mcloud.deadline import gather
from mcloud.errors import Unavailable

PERIOD = 60  # seconds; Cloud Monitoring samples all of these metrics by the minute
# Seconds until a sample is available; https://cloud.google.com/monitoring/api/metrics_gcp
CALLS_LAG = 240.0
DEADLINE = 30.0  # seconds for all queries, which run at the same time
BACKLOG_WINDOW = 5 * 60.0  # seconds; the newest point of this window counts
SERIES = 8
"""Number of time series that each query is billed for: two backlogs, an age, two classes of calls,
p95, writes and, while the function takes all messages, one class of pushes.
"""

_BACKLOG = "pubsub.googleapis.com/subscription/num_undelivered_messages"
_AGE = "pubsub.googleapis.com/subscription/oldest_unacked_message_age"
_PUSHES = "pubsub.googleapis.com/subscription/push_request_count"
# Cloud Run does not count a call that finds no free instance, but Pub/Sub does:
# https://cloud.google.com/monitoring/api/metrics_gcp_p_z#gcp-pubsub
_NOT_TAKEN = ("remote_server_4xx", "unreachable")
_CALLS = "run.googleapis.com/request_count"
_CALL_CLASS, _PUSH_CLASS = "response_code_class", "response_class"
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
        summed = ("ALIGN_DELTA", "REDUCE_SUM")
        percentile = ("ALIGN_DELTA", "REDUCE_PERCENTILE_95")
        of_calls, of_pushes = (f"metric.labels.{each}" for each in (_CALL_CLASS, _PUSH_CLASS))
        trades = _of(self._to.subscription)
        asked: dict[str, Callable[[], Any]] = {
            "calls": partial(self._series, _CALLS, function, start, now, summed, (of_calls,)),
            "pushes": partial(self._series, _PUSHES, trades, start, now, summed, (of_pushes,)),
            "latencies": partial(self._series, _LATENCIES, function, start, now, percentile),
            "writes": partial(self._series, _WRITES, database, start, now, summed),
            "age": partial(self._subscription, _AGE, self._to.subscription, now),
            "queue": partial(self.backlog, self._to.subscription),
            "dead letters": partial(self.backlog, self._to.dlq_subscription),
        }
        found: dict[str, Any] = gather(asked, DEADLINE)
        for answer in found.values():
            if isinstance(answer, TimeoutError):
                raise Unavailable(f"Cloud Monitoring: {answer}")
            if isinstance(answer, Exception):
                raise answer
        calls, pushes = found["calls"], found["pushes"]
        failed = [each for each in calls if each.metric.labels.get(_CALL_CLASS) != "2xx"]
        not_taken = [each for each in pushes if each.metric.labels.get(_PUSH_CLASS) in _NOT_TAKEN]
        p95 = _newest(found["latencies"], now)
        return Figures(
            queue=found["queue"],
            dead_letters=found["dead letters"],
            window=window,
            measured={
                "oldest_age": found["age"],
                "calls": _total(calls, now),
                "errors": _part(failed, calls, now),
                "throttles": _part(not_taken, pushes, now),
                # converted from ms
                "p95": Figure(None if p95.value is None else p95.value / 1000, p95.as_of),
                "writes": _total(found["writes"], now),
            },
        )

    def backlog(self, subscription: str) -> Depth:
        """Return the number of undelivered messages of a subscription, including those in
        flight.
        """
        figure = self._subscription(_BACKLOG, subscription, time.time())
        return Depth(None if figure.value is None else int(figure.value), None, figure.as_of)

    def _subscription(self, metric: str, subscription: str, now: float) -> Figure:
        return _newest(self._series(metric, _of(subscription), now - BACKLOG_WINDOW, now), now)

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


def _part(part: Sequence[Any], series: Sequence[Any], now: float) -> Figure:
    """Return the total of some classes.

    If there are others, a class without a series has counted nothing up to their end.
    """
    total = _total(series, now)
    return total if total.value is None else Figure(sum(map(_value, _points(part))), total.as_of)


def _points(series: Sequence[Any]) -> list[Any]:
    return [point for each in series for point in each.points]


def _value(point: Any) -> float:
    kind = type(point.value).pb(point.value).WhichOneof("value")
    return float(getattr(point.value, kind))


def _of(subscription: str) -> str:
    return f'resource.labels.subscription_id = "{subscription}"'


def interval(start: float, end: float) -> Any:
    """Return the ``TimeInterval`` between two times in seconds since 1970."""
    from google.cloud.monitoring_v3.types import TimeInterval

    return TimeInterval(start_time=_timestamp(start), end_time=_timestamp(end))


def _timestamp(seconds: float) -> dict[str, int]:
    return {"seconds": int(seconds), "nanos": int(seconds % 1 * 1e9)}
