"""Pauses grow up to a maximum, have jitter, and are reset by a success."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcloud.backoff import Backoff, grown


@pytest.mark.parametrize(
    ("factor", "pauses"), [(2.0, [0.5, 1, 2, 4, 8, 10, 10]), (3.0, [0.5, 1.5, 4.5, 10])]
)
def test_a_pause_grows_up_to_its_longest(factor: float, pauses: list[float]) -> None:
    assert [grown(0.5, times, 10, factor) for times in range(len(pauses))] == pauses


def test_any_number_of_failures_is_valid() -> None:
    assert grown(2.0, 10**9, 600.0) == 600.0


def test_each_failure_doubles_the_pause_and_a_success_resets_it() -> None:
    backoff = Backoff(0.5, 10)
    pauses = []
    for _ in range(7):
        pauses.append(backoff.pause())
        backoff.failed()
    assert pauses == [0, 0.5, 1, 2, 4, 8, 10]
    backoff.succeeded()
    assert backoff.pause() == 0


@given(st.integers(0, 5000), st.integers())
def test_half_of_a_pause_is_random(failures: int, seed: int) -> None:
    backoff = Backoff(0.5, 10, Random(seed).uniform)
    for _ in range(failures):
        backoff.failed()
    longest = grown(0.5, failures - 1, 10)
    assert (longest / 2 <= backoff.pause() <= longest) if failures else (backoff.pause() == 0)


def test_the_random_half_is_used() -> None:
    backoff = Backoff(1, 10, lambda low, high: low)
    backoff.failed()
    assert backoff.pause() == 0.5
