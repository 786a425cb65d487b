"""A jump of a clock ends no wait, and is distinguished from time that has passed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jumps import HOUR, KINDS, Jumping

from mcloud.clock import AHEAD, Jumps, Limit, is_recent


@given(st.floats(0.1, 1000), st.integers(0, 40), st.floats(0, 1e6))
def test_a_limit_is_not_over_after_a_single_jump(seconds: float, leap_at: int, leap: float) -> None:
    clock = Jumping()
    limit = Limit(seconds, clock.timer)
    looks = 0
    while not limit.is_over:
        if looks == leap_at:
            clock.leap(leap)
        clock.pass_(seconds / 40)
        looks += 1
    # A jump may take away a quarter of it, and frequent checks add up exactly.
    assert 29 <= looks <= 42


def test_a_limit_of_nothing_is_over_at_once() -> None:
    assert Limit(0.0, Jumping().timer).is_over


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("wall forward", 5 * HOUR),
        ("wall back", -5 * HOUR),
        ("timer forward", 0.0),
        ("suspended", 0.0),
    ],
)
def test_only_a_wall_clock_that_was_set_is_a_jump(kind: str, found: float) -> None:
    assert kind in KINDS
    clock = Jumping()
    jumps = Jumps(clock.wall, clock.timer)
    clock.pass_(10)
    assert jumps.look() == 0.0
    clock.pass_(5)
    clock.jump(kind)
    clock.pass_(5)
    assert jumps.look() == pytest.approx(found, abs=10.1)
    clock.pass_(10)
    assert jumps.look() == 0.0


@pytest.mark.parametrize(
    ("age", "recent"),
    [(0, True), (59, True), (60, False), (-AHEAD, True), (-AHEAD - 1, False), (-5 * HOUR, False)],
)
def test_a_time_in_the_future_is_not_recent(age: float, recent: bool) -> None:
    assert is_recent(1e9 - age, 1e9, 60) == recent
