"""Log lines: JSON objects on standard output, as CloudWatch Logs and Cloud Logging read them."""

import json


def log(severity: str, message: str, **fields: object) -> None:
    """Write a line; ``severity`` is Google's field name and level (``INFO``, ``WARNING``, …)."""
    # The line is flushed because a frozen instance keeps its buffer until it wakes, which may never
    # happen.
    print(json.dumps({"severity": severity, "message": message, **fields}, default=str), flush=True)
