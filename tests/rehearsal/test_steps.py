"""The steps of the demo."""

from collections.abc import Iterator

import pytest

from mcloud.rehearsal.steps import SiteBar, Walk


@pytest.fixture
def seconds() -> Iterator[float]:
    return iter(float(each) for each in range(100))


def test_a_step_has_the_time_at_which_it_was_first_reached(seconds: Iterator[float]) -> None:
    walk = Walk(clock=lambda: next(seconds))
    walk.reach("up")
    walk.wait_for("trades")
    walk.reach("stored", "12 trades in")
    walk.reach("stored", "again")
    steps = walk.steps
    assert steps.reached == {"up": 1.0, "stored": 3.0}
    assert steps.words == {"stored": "12 trades in"}
    assert steps.doing == "trades"
    assert steps.at == 4.0


def test_bars_are_those_of_the_present_step() -> None:
    walk = Walk()
    walk.fill("aws", 5, 10)
    walk.fill("gcp", 12, 10, "behind")
    walk.fill("aws", 6, 10)
    bars = walk.steps.bars
    assert bars == {"aws": SiteBar(6, 10), "gcp": SiteBar(12, 10, "behind")}
    assert [bar.share for bar in bars.values()] == [0.6, 1.0]
    assert SiteBar(0, 0).share == 0
    walk.clear()
    assert walk.steps.bars == {}


def test_a_step_that_fails_is_over() -> None:
    walk = Walk()
    walk.fail("exact", "NOT exact: the candles of aws")
    walk.reach("exact", "exact")
    assert walk.steps.failed == {"exact"}
    assert walk.steps.words == {"exact": "NOT exact: the candles of aws"}
