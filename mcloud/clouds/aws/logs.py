"""Log lines of the processor, from CloudWatch Logs.

FilterLogEvents is free; a Logs Insights query is billed by the amount of data it reads.
"""

import json
import time
from typing import Any

from mcloud.clouds.aws.client import translated
from mcloud.clouds.ports import LOG_SEARCH, LogLine
from mcloud.errors import Unavailable

ENOUGH = 20  # lines


class CloudWatchLogs:
    def __init__(self, client: Any, function: str) -> None:
        self._client = client
        self._group = f"/aws/lambda/{function}"

    def find(self, symbol: str, trade_id: int, start: float, end: float) -> list[LogLine]:
        what = f"CloudWatch Logs {self._group}"
        request: dict[str, Any] = {
            "logGroupName": self._group,
            "filterPattern": pattern(symbol, trade_id),
            "startTime": int(start * 1000),
            "endTime": int(end * 1000),
        }
        deadline = time.monotonic() + LOG_SEARCH
        found: list[LogLine] = []
        while True:
            with translated(what):
                try:
                    answer = self._client.filter_log_events(**request)
                except self._client.exceptions.ResourceNotFoundException:
                    return []  # Lambda creates the log group when it first writes to it
            # The embedded AWS ignores filters on JSON fields and returns all lines.
            found += filter(None, (_line(each, symbol, trade_id) for each in answer["events"]))
            request["nextToken"] = answer.get("nextToken")
            if not request["nextToken"] or len(found) >= ENOUGH:
                return sorted(found, key=lambda line: line.at or 0.0)[:ENOUGH]
            if time.monotonic() > deadline:
                raise Unavailable(f"{what}: the search did not finish within {LOG_SEARCH:g} s")


def pattern(symbol: str, trade_id: int) -> str:
    """Return a filter pattern for the lines whose range of ids includes a trade."""
    return f'{{ $.symbol = "{symbol}" && $.first_id <= {trade_id} && $.last_id >= {trade_id} }}'


def _line(event: dict[str, Any], symbol: str, trade_id: int) -> LogLine | None:
    try:
        fields = json.loads(event["message"])
        # CloudWatch compares numbers as floats, which cannot hold the longest ids exactly.
        if fields["symbol"] != symbol or not fields["first_id"] <= trade_id <= fields["last_id"]:
            return None
        return LogLine(event["timestamp"] / 1000, fields.pop("message"), fields)
    except (ValueError, KeyError, TypeError):
        return None  # a line of Lambda itself, or about something else
