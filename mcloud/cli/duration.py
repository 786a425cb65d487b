"""Durations on the command line, such as 30s, 5m, 2h or 7d."""

import re

from mcloud.errors import UsageError

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 7 * 86_400.0}


def length_of_time(option: str, text: str) -> float:
    """Return a duration in seconds.

    Raises:
        UsageError: the text of the option is not a duration above 0.
    """
    match = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)([smhdw])", text)
    found = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if found <= 0:
        raise UsageError(
            f"invalid duration {text!r} for {option}; use one such as 30s, 90m, 2h or 7d"
        )
    return found
