"""Lines of the functions' logs, as a person reads them."""

import json
from collections.abc import Mapping
from typing import Any

_LEVELS = ("severity", "level")
_HIDDEN = ("message", "time", "timestamp", "requestId", *_LEVELS)


def readable(line: str | Mapping[str, Any]) -> tuple[str, str]:
    """Return the text of a log line and its level, which is empty if the line has none.

    A JSON object, as ``mcloud.processor.log`` writes it, becomes its message and its other fields:
    ``stored symbol=BTCUSDT trades=12``.
    """
    fields = line if isinstance(line, Mapping) else _fields(line)
    if fields is None:
        return str(line).rstrip(), ""
    level = next((str(fields[name]) for name in _LEVELS if name in fields), "")
    rest = [f"{name}={_value(value)}" for name, value in fields.items() if name not in _HIDDEN]
    return " ".join((str(fields.get("message", "")), *rest)).strip(), level


def _fields(line: str) -> Mapping[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _value(value: object) -> str:
    if isinstance(value, str):
        return value if value and " " not in value else json.dumps(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # Cloud Logging keeps all numbers as floats
    return json.dumps(value)
