"""Log lines of the processor, from Cloud Logging or, on the embedded cloud, from its log file.

Cloud Logging is read by its REST API, which is free and needs no additional library. See
https://cloud.google.com/logging/docs/reference/v2/rest/v2/entries/list.
"""

import json
import time
from collections import deque
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from mcloud.clouds.function_lines import readable
from mcloud.clouds.gcp.client import GcpSession, refused, translated, understood
from mcloud.clouds.gcp.spans import to_timestamp
from mcloud.clouds.ports import LOG_SEARCH, FunctionLine, LogLine
from mcloud.clouds.resources import functions_of
from mcloud.errors import Unavailable

URL = "https://logging.googleapis.com"
ENOUGH = 20  # lines
PAGE = 1000  # maximum number of entries in an answer


class CloudLogging:
    def __init__(self, session: GcpSession, project: str, function: str, url: str = URL) -> None:
        self._session = session
        self._project = project
        self._function = function
        self._url = f"{url}/v2/entries:list"

    def find(self, symbol: str, trade_id: int, start: float, end: float) -> list[LogLine]:
        with understood("Cloud Logging"):
            return self._find(symbol, trade_id, start, end)

    def _find(self, symbol: str, trade_id: int, start: float, end: float) -> list[LogLine]:
        body: dict[str, Any] = {
            "resourceNames": [f"projects/{self._project}"],
            "filter": filter_of(self._function, symbol, trade_id, start, end),
            "orderBy": "timestamp asc",
            "pageSize": ENOUGH,
        }
        deadline = time.monotonic() + LOG_SEARCH
        found: list[LogLine] = []
        while True:
            answer = self._ask(body)
            for entry in answer.get("entries", []):
                payload = dict(entry.get("jsonPayload", {}))
                if line := _line(payload, symbol, trade_id, _seconds(entry["timestamp"])):
                    found.append(line)
            body["pageToken"] = answer.get("nextPageToken")
            if not body["pageToken"] or len(found) >= ENOUGH:
                return found[:ENOUGH]
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"Cloud Logging: the search did not finish within {LOG_SEARCH:g} s"
                )

    def lines(self, start: float, end: float, limit: int) -> list[FunctionLine]:
        with understood("Cloud Logging"):
            return self._lines(start, end, limit)

    def _lines(self, start: float, end: float, limit: int) -> list[FunctionLine]:
        names = " OR ".join(f'"{name}"' for name in functions_of(self._function))
        body: dict[str, Any] = {
            "resourceNames": [f"projects/{self._project}"],
            "filter": " AND ".join(
                (
                    'resource.type="cloud_run_revision"',
                    f"resource.labels.service_name=({names})",
                    *_between(start, end),
                    # The log of requests has a line for each of them.
                    '-logName:"run.googleapis.com%2Frequests"',
                )
            ),
            "orderBy": "timestamp desc",
            "pageSize": min(limit, PAGE),
        }
        deadline = time.monotonic() + LOG_SEARCH
        found: list[FunctionLine] = []
        while len(found) < limit:
            answer = self._ask(body)
            found += map(_function_line, answer.get("entries", []))
            body["pageToken"] = answer.get("nextPageToken")
            if not body["pageToken"]:
                break
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"Cloud Logging: the search did not finish within {LOG_SEARCH:g} s",
                    remedy="choose a shorter time with --since",
                )
        return found[:limit][::-1]

    def _ask(self, body: Mapping[str, Any]) -> dict[str, Any]:
        with translated("Cloud Logging"):
            answer = self._session.ask("POST", self._url, document=body)
        if not answer.ok:
            lacks = "have roles/logging.viewer granted to these credentials"
            raise refused("Cloud Logging", answer, lacks=lacks)
        return answer.document()


class FileLogs:
    def __init__(self, path: Path) -> None:
        self._path = path

    def find(self, symbol: str, trade_id: int, start: float, end: float) -> list[LogLine]:
        found: list[LogLine] = []
        mark = json.dumps(symbol).encode()
        try:
            with self._path.open("rb") as file:
                for text in file:
                    if mark in text and (line := _read(text, symbol, trade_id)):
                        found.append(line)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise Unavailable(f"{self._path}: {error.strerror}") from error
        return [line for line in found if line.at is None or start <= line.at <= end][:ENOUGH]

    def lines(self, start: float, end: float, limit: int) -> list[FunctionLine]:
        newest: deque[FunctionLine] = deque(maxlen=limit)
        at = 0.0
        try:
            with self._path.open("rb") as file:
                for line in file:
                    text, level = readable(line.decode(errors="replace"))
                    # Lines without a time, as those of a traceback, belong to the line before them.
                    at = _written(line) or at
                    if start <= at <= end:
                        newest.append(FunctionLine(at, "function", level, text))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise Unavailable(f"{self._path}: {error.strerror}") from error
        return list(newest)


def filter_of(function: str, symbol: str, trade_id: int, start: float, end: float) -> str:
    """Return a filter, in the Logging query language, for the lines whose range of ids includes a
    trade.
    """
    return " AND ".join(
        (
            'resource.type="cloud_run_revision"',
            f'resource.labels.service_name="{function}"',
            *_between(start, end),
            f'jsonPayload.symbol="{symbol}"',
            f"jsonPayload.first_id<={trade_id}",
            f"jsonPayload.last_id>={trade_id}",
        )
    )


def _read(text: bytes, symbol: str, trade_id: int) -> LogLine | None:
    try:
        fields = json.loads(text)
    except ValueError:
        return None
    # The lines of a file have no write time. ``stored`` replaces it, but a refusal does not have
    # that field.
    stored = fields.get("stored") if isinstance(fields, dict) else None
    at = stored / 1000 if isinstance(stored, int) else None
    return _line(fields, symbol, trade_id, at)


def _line(fields: dict[str, Any], symbol: str, trade_id: int, at: float | None) -> LogLine | None:
    try:
        # Cloud Logging stores numbers as floats, which cannot hold the longest ids exactly.
        if fields["symbol"] != symbol or not fields["first_id"] <= trade_id <= fields["last_id"]:
            return None
        return LogLine(at, fields.pop("message"), fields)
    except (KeyError, TypeError):
        return None


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def _between(start: float, end: float) -> tuple[str, str]:
    return f'timestamp>="{to_timestamp(start)}"', f'timestamp<="{to_timestamp(end)}"'


def _function_line(entry: Mapping[str, Any]) -> FunctionLine:
    payload = entry.get("jsonPayload")
    text, _ = readable(entry.get("textPayload") or payload or "")
    function = entry.get("resource", {}).get("labels", {}).get("service_name", "function")
    return FunctionLine(_seconds(entry["timestamp"]), function, entry.get("severity", ""), text)


def _written(line: bytes) -> float | None:
    """Return the write time of a line of the file, or None."""
    try:
        return _seconds(json.loads(line)["time"])
    except (ValueError, KeyError, TypeError):
        return None
