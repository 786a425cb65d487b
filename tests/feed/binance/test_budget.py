"""The budget is never exceeded, whatever the requests, answers and pauses."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcloud.feed.binance.budget import IN_FLIGHT, MINUTE, WeightBudget

from .clock import Clock

LIMIT = 100
WEIGHTS = st.integers(1, 90)
PAUSES = st.floats(0, 90)


@given(st.lists(st.tuples(WEIGHTS, PAUSES), max_size=60), st.floats(0, MINUTE))
def test_no_minute_sees_more_than_the_limit_less_the_margin(
    asked: list[tuple[int, float]], offset: float
) -> None:
    """The exchange counts by the minutes of its own clock, and receives requests with a delay."""
    clock = Clock(offset)
    budget = WeightBudget(LIMIT, clock=clock)
    sent: list[tuple[float, int]] = []
    for number, (weight, pause) in enumerate(asked):
        while wait := budget.ask(weight):
            clock.sleep(wait)
        delay = IN_FLIGHT if number % 2 else 0.0
        sent.append((clock.now + delay, weight))
        clock.now += pause
    for begin, _ in sent:
        assert sum(weight for when, weight in sent if begin <= when < begin + MINUTE) <= 90


@given(st.lists(st.tuples(WEIGHTS, st.integers(0, 90)), max_size=40))
def test_the_usage_of_other_programs_is_counted(asked: list[tuple[int, int]]) -> None:
    """Another program at the same address uses some of it, as every answer reports."""
    clock = Clock()
    budget = WeightBudget(LIMIT, clock=clock)
    ours: list[tuple[float, int]] = []
    theirs: list[tuple[float, int]] = []

    def used() -> int:
        return sum(weight for when, weight in ours + theirs if when > clock.now - MINUTE)

    for weight, foreign in asked:
        while wait := budget.ask(weight):
            clock.sleep(wait)
        ours.append((clock.now, weight))
        assert used() <= 90
        if used() + foreign <= 90:
            theirs.append((clock.now, foreign))
        budget.learn_used(used())
        clock.now += 1


def test_a_wait_is_no_longer_than_needed() -> None:
    clock = Clock()
    budget = WeightBudget(LIMIT, clock=clock)
    for _ in range(3):
        assert budget.ask(30) == 0
        clock.now += 10
    assert budget.ask(30) == pytest.approx(MINUTE + IN_FLIGHT - 30)
    assert budget.ask(60) == pytest.approx(MINUTE + IN_FLIGHT - 20)
    clock.now += MINUTE + IN_FLIGHT - 30
    assert budget.ask(30) == 0
    assert budget.ask(1) > 0


def test_a_ban_blocks_every_request() -> None:
    clock = Clock()
    budget = WeightBudget(LIMIT, clock=clock)
    budget.block(30)
    budget.block(10)
    assert budget.ask(1) == 30
    clock.now += 30
    assert budget.ask(1) == 0


def test_the_limit_is_learned() -> None:
    budget = WeightBudget(LIMIT, clock=Clock())
    budget.learn_limit(10 * LIMIT)
    assert budget.ask(500) == 0
    budget.learn_limit(LIMIT)
    assert budget.ask(1) > 0


def test_a_weight_above_the_limit_is_granted_alone() -> None:
    clock = Clock()
    budget = WeightBudget(LIMIT, clock=clock)
    assert budget.ask(1) == 0
    clock.sleep(budget.ask(200))
    assert budget.ask(200) == 0
    assert budget.ask(1) > 0


def test_threads_together_stay_below() -> None:
    budget = WeightBudget(LIMIT, clock=lambda: 0.0)
    granted: list[int] = []

    def ask() -> None:
        for _ in range(50):
            if budget.ask(3) == 0:
                granted.append(3)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(granted) == 90


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 20), st.floats(0, 20)), max_size=60))
def test_a_share_of_the_budget_leaves_the_rest_to_others(
    asked: list[tuple[bool, int, float]],
) -> None:
    clock = Clock()
    budget = WeightBudget(LIMIT, clock=clock)
    taken: list[tuple[float, int]] = []

    def used() -> int:
        return sum(weight for when, weight in taken if when > clock.now - MINUTE - IN_FLIGHT)

    for in_background, weight, pause in asked:
        before = used()
        if budget.ask(weight, 0.5 if in_background else 1.0) == 0:
            assert not before or before + weight <= (45 if in_background else 90)
            taken.append((clock.now, weight))
        else:
            assert before + weight > (45 if in_background else 90)
        clock.now += pause
