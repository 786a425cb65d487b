"""Months in UTC, to the second."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcloud.cost.month import Month, day_of
from mcloud.errors import UsageError


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_a_month_turns_at_midnight_utc() -> None:
    assert Month.of(at("2026-11-30T23:59:59")) == Month(2026, 11)
    assert Month.of(at("2026-12-01T00:00:00")) == Month(2026, 12)
    assert Month(2026, 12).next == Month(2027, 1)
    assert Month(2026, 11).end == Month(2026, 12).start == at("2026-12-01")
    # The time zone does not matter: in Tokyo the month begins nine hours earlier.
    assert Month.of(datetime.fromisoformat("2026-12-01T08:59:59+09:00").timestamp()).number == 11


def test_the_days_that_a_span_touches() -> None:
    month = Month(2026, 11)
    assert month.dates(at("2026-11-01"), at("2026-11-02")) == ["2026-11-01"]
    assert month.dates(at("2026-11-01T23:00"), at("2026-11-02T00:00:01")) == [
        *("2026-11-01", "2026-11-02")
    ]
    assert month.dates(at("2026-11-02"), at("2026-11-02")) == []
    assert len(month.dates(month.start, month.end)) == 30
    assert month.dates(at("2026-10-01"), at("2027-01-01")) == month.dates(month.start, month.end)
    assert day_of(at("2026-11-30T23:59:59")) == "2026-11-30"


def test_the_known_part_of_a_month_ends_now() -> None:
    month = Month(2026, 11)
    assert month.until(at("2026-11-25T12:00")) == at("2026-11-25T12:00")
    assert month.until(at("2027-11-25")) == month.end
    assert month.until(at("2026-10-25")) == month.start


@given(st.integers(2000, 2099), st.integers(1, 12))
def test_the_text_of_a_month_is_parsed_back(year: int, number: int) -> None:
    month = Month(year, number)
    assert Month.parse(month.name) == month
    assert Month.of(month.start) == month == Month.of(month.end - 1)
    assert 28 <= month.seconds / 86_400 <= 31


@pytest.mark.parametrize("text", ["2026", "2026-13", "2026-00", "2026-1", "26-01", "now", ""])
def test_invalid_months_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="invalid month"):
        Month.parse(text)
