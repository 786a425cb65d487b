"""Durations as readable text."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcloud.durations import brief, clock, duration

UNITS = {"d": 86_400.0, "h": 3_600.0, "min": 60.0, "s": 1.0}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 s"),
        (0.25, "0.2 s"),
        (12.3, "12.3 s"),
        (59.99, "59.9 s"),
        (60, "1 min 00 s"),
        (307, "5 min 07 s"),
        (3_599.9, "59 min 59 s"),
        (7_500, "2 h 05 min"),
        (86_400, "1 d 0 h"),
        (3 * 86_400 + 4 * 3_600 + 59 * 60, "3 d 4 h"),
        (72_400_000_000, "837,962 d 23 h"),
        (-0.04, "0.0 s"),
        (-90, "-1 min 30 s"),
    ],
)
def test_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.9, "0 s"),
        (-0.9, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (7_199, "1 h"),
        (-90, "-1 min"),
        (86_400 * 1_234, "1,234 d"),
    ],
)
def test_in_one_unit(seconds: float, words: str) -> None:
    assert brief(seconds) == words


@given(st.floats(-1e12, 1e12))
def test_a_duration_is_exact_to_its_smallest_unit(seconds: float) -> None:
    text = duration(seconds)
    parts = re.findall(r"([0-9,.]+) (d|h|min|s)", text)
    value = sum(float(number.replace(",", "")) * UNITS[unit] for number, unit in parts)
    smallest = 0.1 if len(parts) == 1 else UNITS[parts[-1][1]]
    # Rounding of floats may give the next tenth.
    assert value <= abs(seconds) + 1e-9
    assert abs(seconds) - value < smallest + 1e-3
    assert text.startswith("-") == (seconds < 0 and value > 0)


def test_a_recent_moment_has_its_seconds_and_an_older_one_its_date() -> None:
    at = 1_723_161_300.0
    assert clock(at, at) == "23:55:00 UTC"
    assert clock(at, at + 86_399) == "23:55:00 UTC"
    assert clock(at, at + 86_400) == "2024-08-08 23:55 UTC"
