"""The processor's calls, from CloudWatch."""

import time
from datetime import UTC, datetime
from typing import Any

from mcloud.clouds.aws.client import translated
from mcloud.clouds.ports import Invocations

PERIOD = 60  # seconds; Lambda reports by the minute


class CloudWatchMetrics:
    def __init__(self, client: Any, function: str) -> None:
        self._client = client
        self._function = function

    def invocations(self, window: float) -> Invocations:
        now = time.time()
        # Whole minutes only, or CloudWatch cuts the first one.
        start = (now - window) // PERIOD * PERIOD
        with translated("CloudWatch"):
            answer = self._client.get_metric_data(
                MetricDataQueries=[
                    _query(name.lower(), name, self._function) for name in ("Invocations", "Errors")
                ],
                StartTime=datetime.fromtimestamp(start, UTC),
                EndTime=datetime.fromtimestamp(now, UTC),
            )
        series = {result["Id"]: result for result in answer["MetricDataResults"]}
        stamps = series["invocations"]["Timestamps"]
        if not stamps:
            return Invocations(None, None, window, now)
        newest = max(stamp.timestamp() for stamp in stamps) + PERIOD
        return Invocations(
            count=int(sum(series["invocations"]["Values"])),
            # A minute with calls always has an Errors point, 0 where none failed.
            errors=int(sum(series["errors"]["Values"])),
            window=now - start,
            as_of=min(now, newest),
        )


def _query(id_: str, metric: str, function: str) -> dict[str, Any]:
    return {
        "Id": id_,
        "MetricStat": {
            "Metric": {
                "Namespace": "AWS/Lambda",
                "MetricName": metric,
                "Dimensions": [{"Name": "FunctionName", "Value": function}],
            },
            "Period": PERIOD,
            "Stat": "Sum",
        },
    }
