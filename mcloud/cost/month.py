"""A calendar month in UTC, in which both clouds count usage; their bills' days differ by hours."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from mcloud.errors import UsageError


@dataclass(frozen=True)
class Month:
    year: int
    number: int

    @classmethod
    def of(cls, at: float) -> "Month":
        """Return the month of a moment, given in seconds since 1970."""
        moment = datetime.fromtimestamp(at, UTC)
        return cls(moment.year, moment.month)

    @classmethod
    def parse(cls, text: str) -> "Month":
        """Parse a month such as ``2026-10``. Raise UsageError for anything else."""
        match = re.fullmatch(r"(20[0-9]{2})-(0[1-9]|1[0-2])", text)
        if not match:
            raise UsageError(f"invalid month {text!r}; use one such as 2026-10")
        return cls(int(match[1]), int(match[2]))

    @property
    def name(self) -> str:
        return f"{self.year}-{self.number:02}"

    @property
    def start(self) -> float:
        return datetime(self.year, self.number, 1, tzinfo=UTC).timestamp()

    @property
    def end(self) -> float:
        """First moment of the next month."""
        return self.next.start

    @property
    def next(self) -> "Month":
        return Month(self.year + self.number // 12, self.number % 12 + 1)

    @property
    def seconds(self) -> float:
        return self.end - self.start

    def until(self, now: float) -> float:
        """Return the end of the known part of the month: ``now``, within the bounds of the
        month.
        """
        return max(self.start, min(now, self.end))

    def dates(self, start: float, end: float) -> list[str]:
        """Return the days of the month from ``start`` up to ``end``, such as ``2026-11-25``."""
        begin, stop = max(start, self.start), min(end, self.end)
        if begin >= stop:
            return []
        first = _date(begin)
        # The last moment that counts: midnight belongs to the next day.
        last = _date(stop - 1e-6)
        return [(first + timedelta(n)).isoformat() for n in range((last - first).days + 1)]


def day_of(at: float) -> str:
    """Return the UTC day of a moment."""
    return _date(at).isoformat()


def _date(at: float) -> date:
    return datetime.fromtimestamp(at, UTC).date()
