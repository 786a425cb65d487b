"""Log lines of the processor, from CloudWatch Logs.

FilterLogEvents is free; a Logs Insights query is billed by the amount of data it reads.
"""

import json
import re
import time
from collections import deque
from typing import Any

from mcloud.clouds.aws.client import translated
from mcloud.clouds.function_lines import readable
from mcloud.clouds.ports import LOG_SEARCH, FunctionLine, LogLine
from mcloud.clouds.resources import functions_of
from mcloud.errors import Refused, Unavailable

ENOUGH = 20  # lines
OF_LAMBDA = ("INIT_START ", "START RequestId: ", "END RequestId: ", "REPORT RequestId: ")
"""Starts of Lambda's own lines about each call."""
PLATFORM = re.compile(r'"type":\s*"platform\.')
"""These lines in the log format JSON, which the functions have:
https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-logformat.html
"""


class CloudWatchLogs:
    def __init__(self, client: Any, function: str) -> None:
        self._client = client
        self._group = f"/aws/lambda/{function}"
        self._functions = functions_of(function)

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

    def lines(self, start: float, end: float, limit: int) -> list[FunctionLine]:
        deadline = time.monotonic() + LOG_SEARCH
        found: list[FunctionLine] = []
        for function in self._functions:
            try:
                events = self._events(f"/aws/lambda/{function}", start, end, limit, deadline)
            except Refused:
                if function == self._functions[0]:
                    raise
                continue  # the operator's role of an earlier release reads the processor's log only
            for event in events:
                text, level = readable(event["message"])
                found.append(FunctionLine(event["timestamp"] / 1000, function, level, text))
        return sorted(found, key=lambda line: line.at)

    def _events(
        self, group: str, start: float, end: float, limit: int, deadline: float
    ) -> list[dict[str, Any]]:
        """Return the newest events of a group. The API returns the oldest first."""
        what = f"CloudWatch Logs {group}"
        request: dict[str, Any] = {
            "logGroupName": group,
            "startTime": int(start * 1000),
            "endTime": int(end * 1000),
        }
        newest: deque[dict[str, Any]] = deque(maxlen=limit)
        while True:
            with translated(what):
                try:
                    answer = self._client.filter_log_events(**request)
                except self._client.exceptions.ResourceNotFoundException:
                    return []  # a function that has not run, or is not deployed
            newest += [each for each in answer["events"] if not _is_of_lambda(each)]
            request["nextToken"] = answer.get("nextToken")
            if not request["nextToken"]:
                return list(newest)
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"{what}: the search did not finish within {LOG_SEARCH:g} s",
                    remedy="choose a shorter time with --since",
                )


def _is_of_lambda(event: dict[str, Any]) -> bool:
    """Return whether Lambda itself wrote a line about a call, and not the function."""
    message = str(event["message"])
    return message.startswith(OF_LAMBDA) or bool(PLATFORM.search(message))


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
