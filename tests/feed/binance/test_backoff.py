"""Pauses grow up to a maximum, have jitter, and are reset after a healthy period."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from mcloud.feed.binance.backoff import Backoff


def test_doubles_up_to_the_cap() -> None:
    backoff = Backoff(lambda low, high: high, first=0.5, longest=10)
    waits = []
    for _ in range(7):
        waits.append(backoff.wait())
        backoff.failed()
    assert waits == [0, 0.5, 1, 2, 4, 8, 10]


@given(st.integers(0, 5000), st.integers())
def test_never_above_the_cap_nor_below_half_of_the_first(failures: int, seed: int) -> None:
    backoff = Backoff(Random(seed).uniform, first=0.5, longest=10)
    for _ in range(failures):
        backoff.failed()
    assert (0.25 <= backoff.wait() <= 10) if failures else (backoff.wait() == 0)


def test_a_healthy_connection_ends_it_and_a_short_one_does_not() -> None:
    backoff = Backoff(lambda low, high: high, first=1, healthy=60)
    for _ in range(4):
        backoff.failed()
    backoff.lived(59)
    assert backoff.wait() == 8
    backoff.lived(60)
    assert backoff.wait() == 0


def test_half_of_it_is_random() -> None:
    backoff = Backoff(lambda low, high: low, first=1)
    backoff.failed()
    assert backoff.wait() == 0.5
