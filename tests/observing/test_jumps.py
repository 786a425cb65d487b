"""Ages of figures are right when clocks jump, and a state from before a jump back is old."""

import pytest
from jumps import HOUR, KINDS, Jumping

from mcloud.observing.collector import Collector, TimedQuery
from mcloud.runs import FRESH, RunState, silence


@pytest.mark.parametrize(
    ("kind", "age"),
    [("wall forward", 7.0), ("wall back", 7.0), ("suspended", 5 * HOUR + 7)],
)
def test_a_figure_is_as_old_as_it_is_after_a_jump(kind: str, age: float) -> None:
    assert kind in KINDS
    clocks, key = Jumping(), ("aws", "depth")
    collector = Collector(
        {key: TimedQuery(lambda: 3, 1e9)},
        clock=clocks.timer,
        wall=clocks.wall,
        spawn=lambda call: call(),
    )
    collector.tick()
    clocks.pass_(7)
    clocks.jump(kind)
    seen = collector.seen()[key]
    assert seen.at is not None
    assert clocks.wall() - seen.at == pytest.approx(age, abs=0.1)
    assert seen.value == 3


@pytest.mark.parametrize("kind", KINDS)
def test_due_queries_are_sent_after_a_jump(kind: str) -> None:
    clocks, key, asked = Jumping(), ("aws", "depth"), list[int]()
    collector = Collector(
        {key: TimedQuery(lambda: asked.append(1), 20.0)},
        clock=clocks.timer,
        wall=clocks.wall,
        spawn=lambda call: call(),
    )
    for _ in range(2):
        collector.tick()
        clocks.jump(kind)
        clocks.pass_(20)
    collector.tick()
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("since", "silent"), [(1.0, False), (FRESH + 1, True), (-5.0, False), (-5 * HOUR, True)]
)
def test_a_run_without_a_state_since_the_clock_was_set_back_is_silent(
    since: float, silent: bool
) -> None:
    now = Jumping().wall()
    assert bool(silence(True, RunState(pid=1, at=now - since), now)) == silent
