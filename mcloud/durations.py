"""Lengths of time and moments as texts for a person."""

from datetime import UTC, datetime

DAY = 86_400.0  # seconds


def duration(seconds: float) -> str:
    """Return a length of time in its two largest units, rounded down.

    ``12.3 s``, ``5 min 07 s``, ``2 h 05 min`` or ``3 d 4 h``.
    """
    sign = "-" if seconds < 0 else ""
    tenths = int(abs(seconds) * 10)
    if tenths < 600:
        return f"{sign if tenths else ''}{tenths // 10}.{tenths % 10} s"
    minutes, rest = divmod(tenths // 10, 60)
    if minutes < 60:
        return f"{sign}{minutes} min {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{sign}{hours} h {minutes:02} min"
    return f"{sign}{hours // 24:,} d {hours % 24} h"


def brief(seconds: float) -> str:
    """Return a length of time in one unit, rounded down: ``4 s``, ``12 min``, ``3 h`` or ``5
    d``.
    """
    sign = "-" if seconds < 0 else ""
    whole = int(abs(seconds))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if whole >= size:
            return f"{sign}{whole // size:,} {unit}"
    return f"{sign if whole else ''}{whole} s"


def clock(at: float, now: float) -> str:
    """Return a recent moment to the second: ``09:30:05 UTC``. One that is a day old or older is as
    from ``utc``.
    """
    if now - at >= DAY:
        return utc(at)
    return f"{datetime.fromtimestamp(at, UTC):%H:%M:%S} UTC"


def utc(at: float) -> str:
    """Return a moment to the minute: ``2026-11-29 09:30 UTC``."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"
