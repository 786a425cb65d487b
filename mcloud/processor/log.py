"""One JSON object a line on standard output, as CloudWatch Logs and Cloud Logging read it."""

import json


def log(severity: str, message: str, **fields: object) -> None:
    """Write a line; ``severity`` is Google's field name and level (``INFO``, ``WARNING``, …)."""
    # flush: a frozen instance keeps what it has buffered until it wakes, or for ever.
    print(json.dumps({"severity": severity, "message": message, **fields}, default=str), flush=True)
