"""``AWS/Lambda`` metrics of the embedded AWS.

ministack counts no calls that a queue makes; it logs them. What is read there goes into its own
CloudWatch, under the names that Lambda uses, so that every reader finds it in the usual place.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mcloud.clouds.aws.client import make_client, translated
from mcloud.infra.embedded import REGION

PERIOD = 2.0  # seconds between two writes

# "ESM: Lambda NAME processed 3 SQS messages from …" and "ESM: Lambda NAME failed processing …"
_CALL = re.compile(rb"ESM: Lambda (\S+) (processed|failed processing)\b")


class LambdaMetrics:
    def __init__(
        self,
        endpoint_url: str,
        log: Path,
        function: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cloudwatch = make_client("cloudwatch", REGION, endpoint_url)
        self._log = log
        self._function = function.encode()
        self._clock = clock
        # What is there already was counted by an earlier run.
        self._position = log.stat().st_size
        self._due = 0.0

    def pump(self) -> None:
        """Write the calls logged since the last time, if it is long enough ago.

        Raises:
            Unavailable: CloudWatch did not take them; they are written the next time.
        """
        now = self._clock()
        if now < self._due:
            return
        self._due = now + PERIOD
        outcomes, position = self._read()
        if not outcomes:
            return
        with translated("the embedded CloudWatch"):
            self._cloudwatch.put_metric_data(
                Namespace="AWS/Lambda",
                MetricData=[
                    self._datum("Invocations", len(outcomes)),
                    self._datum("Errors", outcomes.count(b"failed processing")),
                ],
            )
        self._position = position

    def _read(self) -> tuple[list[bytes], int]:
        """The outcomes in the whole lines that are not written yet, and where these end."""
        with self._log.open("rb") as file:
            file.seek(self._position)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        outcomes = [match[2] for match in _CALL.finditer(whole) if match[1] == self._function]
        return outcomes, self._position + len(whole)

    def _datum(self, name: str, value: int) -> dict[str, Any]:
        return {
            "MetricName": name,
            "Dimensions": [
                {"Name": "FunctionName", "Value": self._function.decode()},
            ],
            "Value": value,
            "Unit": "Count",
        }
