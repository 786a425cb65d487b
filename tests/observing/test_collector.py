"""Queries repeat at their interval, one at a time, and less often after failures."""

import threading
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from patience import eventually

from mcloud.clouds.observation import Observation
from mcloud.errors import Unavailable
from mcloud.observing.collector import LATE, LONGEST, PATIENCE, Collector, TimedQuery

KEY = ("aws", "depth")


class Rig:
    """A collector with a test clock, whose threads run when the test says so."""

    def __init__(self, interval: float = 5.0, hurries: bool = True, late: float = PATIENCE) -> None:
        self.now = 1000.0
        self.waiting: list[Callable[[], None]] = []
        self.answer: Any = 0
        self.collector = Collector(
            {KEY: TimedQuery(self._call, interval, hurries, late)},
            clock=lambda: self.now,
            wall=lambda: self.now + 1e9,
            spawn=self.waiting.append,
        )

    def _call(self) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def run(self, seconds: float, *, answering: bool = True) -> list[float]:
        """Tick every second, and return the times of the queries, which are answered at once."""
        asked = []
        for _ in range(int(seconds)):
            before = self.count
            self.collector.tick()
            if self.count > before:
                asked.append(self.now)
            while answering and self.waiting:
                self.waiting.pop()()
            self.now += 1
        return asked

    @property
    def count(self) -> int:
        return self.collector.asked()[KEY]

    @property
    def seen(self) -> Observation[Any]:
        return self.collector.seen()[KEY]


def test_queries_are_sent_at_once_and_then_at_the_interval() -> None:
    assert Rig(5).run(16) == [1000, 1005, 1010, 1015]


def test_before_the_first_answer_nothing_is_known() -> None:
    rig = Rig()
    assert not rig.seen.known
    assert rig.seen.why == "not read yet"
    rig.run(1)
    assert rig.seen == Observation(0, 1000 + 1e9, 0.0, "")
    assert rig.seen.why == ""


def test_a_snapshot_is_complete_once_every_query_is_answered_or_late() -> None:
    rig = Rig()
    assert not rig.collector.is_complete
    rig.run(PATIENCE, answering=False)
    assert not rig.collector.is_complete
    rig.now += 1
    assert rig.collector.is_complete  # it no longer waits
    rig.waiting.pop()()
    assert rig.collector.is_complete
    assert rig.collector.answers == 1


def test_a_running_query_is_not_repeated() -> None:
    rig = Rig(5)
    assert rig.run(600, answering=False) == [1000]
    assert len(rig.waiting) == 1
    rig.waiting.pop()()
    assert rig.run(2) == [1600]  # it was overdue


def test_a_missing_answer_is_reported_beside_the_last_value() -> None:
    rig = Rig(5)
    rig.answer = 7
    rig.run(5)
    rig.run(PATIENCE, answering=False)
    assert rig.seen.problem == ""
    rig.run(8, answering=False)
    assert (rig.seen.value, rig.seen.at) == (7, 1000 + 1e9)
    assert rig.seen.problem == "no answer for 13 s"
    rig.answer = 8
    rig.waiting.pop()()
    assert (rig.seen.value, rig.seen.problem) == (8, "")


def test_a_failing_query_keeps_its_last_answer_and_backs_off() -> None:
    rig = Rig(5)
    rig.answer = 7
    rig.run(5)
    rig.answer = Unavailable("it is down")
    asked = rig.run(200)
    assert [later - earlier for earlier, later in pairwise(asked)] == [*(10, 20, 40, 60, 60)]
    assert (rig.seen.value, rig.seen.problem) == (7, "it is down")
    rig.answer = 8
    rig.run(LONGEST)
    assert rig.seen == Observation(8, rig.seen.at, 0.0, "")
    assert len(rig.run(10)) == 2  # at its usual interval again


def test_an_error_without_words_is_not_an_empty_problem() -> None:
    rig = Rig()
    rig.answer = KeyError()
    rig.run(1)
    assert rig.seen.problem == "KeyError"
    assert rig.seen.why == "KeyError"


def test_a_changed_pace_counts_from_the_last_query() -> None:
    rig = Rig(5)
    rig.run(2)
    rig.collector.pace = 0.2
    assert rig.run(3) == [1002, 1003, 1004]
    rig.collector.pace = 4
    assert rig.run(41) == [1024, 1044]


def test_a_quick_query_is_late_earlier_once_it_has_been_answered() -> None:
    rig = Rig(5, late=LATE)
    rig.run(LATE + 1, answering=False)
    assert rig.seen.problem == ""  # the client is being made
    rig.run(5)
    rig.run(5 + LATE + 1, answering=False)
    assert rig.seen.problem.startswith("no answer for")


def test_an_urgent_query_does_not_wait_for_its_interval() -> None:
    rig = Rig(60)
    rig.run(12)
    rig.collector.tick()
    assert rig.count == 1
    rig.collector.tick({KEY: 10.0})
    assert rig.count == 2
    rig.collector.tick({KEY: 10.0})
    assert rig.count == 2  # the query is running


def test_a_billed_query_can_become_slower_but_not_faster() -> None:
    rig = Rig(60, hurries=False)
    rig.collector.pace = 0.2
    assert rig.collector.intervals() == {KEY: 60}
    rig.collector.pace = 2
    assert rig.collector.intervals() == {KEY: 120}


@given(
    st.lists(st.tuples(st.floats(0, 500), st.booleans(), st.booleans()), max_size=40),
    st.floats(0.1, 300),
    st.floats(0.1, 20),
)
def test_never_two_at_a_time_and_never_before_it_is_due(
    steps: list[tuple[float, bool, bool]], interval: float, pace: float
) -> None:
    rig = Rig(interval)
    rig.collector.pace = pace
    last = float("-inf")
    for seconds, is_back, fails in steps:
        before = rig.count
        rig.collector.tick()
        if rig.count > before:
            assert rig.now - last >= interval * pace - 1e-6
            last = rig.now
        assert len(rig.waiting) <= 1
        rig.answer = Unavailable("no") if fails else 1
        if is_back and rig.waiting:
            rig.waiting.pop()()
        rig.now += seconds


def test_a_query_that_hangs_blocks_only_its_own_thread() -> None:
    release = threading.Event()
    before = threading.active_count()
    others = {("gcp", str(number)): TimedQuery(lambda: 1, 0.001) for number in range(5)}
    collector = Collector({KEY: TimedQuery(lambda: release.wait(60), 0.001), **others})

    def tick() -> bool:
        collector.tick()
        return min(count for key, count in collector.asked().items() if key != KEY) >= 20

    try:
        eventually(tick, pause=0.001)
        assert collector.asked()[KEY] == 1
        assert threading.active_count() <= before + 1 + len(others)
    finally:
        release.set()
    eventually(lambda: threading.active_count() <= before)


@pytest.mark.parametrize("error", [Unavailable("away"), ValueError("[/red]")])
def test_any_error_ends_in_words(error: Exception) -> None:
    rig = Rig()
    rig.answer = error
    rig.run(1)
    assert rig.seen.why == str(error)
