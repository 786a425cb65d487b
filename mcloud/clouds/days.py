"""Days of a month in UTC. Usage is counted by these days on both clouds."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

SECONDS = 86_400
GIB = 2**30

Days = Mapping[str, Decimal]
"""Amounts by day, such as ``2026-11-25``."""


def day_of(at: float) -> str:
    """Return the day of a time in seconds since 1970."""
    return datetime.fromtimestamp(at, UTC).date().isoformat()


def gib_months(bytes_: Days, end: float) -> dict[str, Decimal]:
    """Convert the stored bytes of each day up to ``end`` to GiB-months.

    A day without a figure counts like the day before, because the clouds report the size of a day
    up to two days later.
    """
    if not bytes_:
        return {}
    found = {}
    day = min(bytes_)
    size = Decimal(0)
    while (begin := _begin(day)).timestamp() < end:
        # Only the part of the current day that has passed counts.
        part = Decimal(min(1.0, (end - begin.timestamp()) / SECONDS))
        size = bytes_.get(day, size)
        found[day] = size * part / GIB / _length(begin)
        day = (begin + timedelta(days=1)).date().isoformat()
    return found


def share_of_month(start: float, end: float) -> Decimal:
    """Return the fraction of the month of ``start`` that lies between ``start`` and ``end``."""
    return Decimal(end - start) / (SECONDS * _length(datetime.fromtimestamp(start, UTC)))


def _begin(day: str) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=UTC)


def _length(moment: datetime) -> int:
    """Return the number of days in the month."""
    first = moment.replace(day=1)
    return ((first + timedelta(days=31)).replace(day=1) - first).days
