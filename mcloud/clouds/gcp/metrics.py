"""Backlogs and the processor's calls, from Cloud Monitoring."""

import time
from typing import Any

from mcloud.clouds.gcp.client import TIMEOUT, retry, translated
from mcloud.clouds.ports import Depth, Invocations

# Sampled every 60 s, visible up to 120 s later; request counts up to 240 s (Google's metrics list).
BACKLOG_WINDOW = 5 * 60.0  # seconds


class CloudMonitoring:
    def __init__(self, client: Any, project: str, function: str) -> None:
        self._client = client
        self._project = project
        self._function = function

    def invocations(self, window: float) -> Invocations:
        now = time.time()
        count = errors = 0
        newest = None
        for series in self._series(
            'metric.type = "run.googleapis.com/request_count"'
            f' AND resource.labels.service_name = "{self._function}"',
            now - window,
            now,
        ):
            calls = sum(point.value.int64_value for point in series.points)
            count += calls
            if series.metric.labels.get("response_code_class") != "2xx":
                errors += calls
            for point in series.points:
                newest = max(newest or 0.0, point.interval.end_time.timestamp())
        if newest is None:
            return Invocations(None, None, window, now)
        return Invocations(count, errors, window, as_of=min(now, newest))

    def backlog(self, subscription: str) -> Depth:
        """Undelivered messages of a subscription; those in flight are among them."""
        now = time.time()
        points = [
            point
            for series in self._series(
                'metric.type = "pubsub.googleapis.com/subscription/num_undelivered_messages"'
                f' AND resource.labels.subscription_id = "{subscription}"',
                now - BACKLOG_WINDOW,
                now,
            )
            for point in series.points
        ]
        if not points:
            return Depth(None, None, now)
        newest = max(points, key=lambda point: point.interval.end_time)
        return Depth(newest.value.int64_value, None, newest.interval.end_time.timestamp())

    def _series(self, filter_: str, start: float, end: float) -> Any:
        from google.cloud.monitoring_v3.types import ListTimeSeriesRequest, TimeInterval

        interval = TimeInterval(start_time=_stamp(start), end_time=_stamp(end))
        with translated("Cloud Monitoring"):
            return list(
                self._client.list_time_series(
                    name=f"projects/{self._project}",
                    filter=filter_,
                    interval=interval,
                    view=ListTimeSeriesRequest.TimeSeriesView.FULL,
                    timeout=TIMEOUT,
                    retry=retry(),
                )
            )


def _stamp(seconds: float) -> dict[str, int]:
    return {"seconds": int(seconds), "nanos": int(seconds % 1 * 1e9)}
