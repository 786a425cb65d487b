"""A pair keeps working when a clock jumps at any time, and the sites become equal."""

from pathlib import Path

import pytest
from jumps import HOUR

from mcloud.feed.simulate import Simulate

from .memory import MemorySite
from .rig import Rig, check_equal, feed

TRADES = list(Simulate(["BTCUSDT"], seed=3, start_time=1_735_775_880_000, count=120, rate=1))


@pytest.mark.parametrize("wall", [5 * HOUR, -5 * HOUR, 0.0])
@pytest.mark.parametrize("at", range(0, 40, 4))
def test_sites_become_equal(tmp_path: Path, at: int, wall: float) -> None:
    """At one step the monotonic clock jumps by hours, and the wall clock is set."""
    aws, gcp = MemorySite("aws", page=2), MemorySite("gcp", page=2)
    walls = [0.0]
    rig = Rig(tmp_path, (aws, gcp), wall=lambda: walls[0])
    calls = 0

    def reach(call: str) -> None:
        nonlocal calls
        if calls == at:
            rig.clock.now += 5 * HOUR
            walls[0] += wall
        calls += 1

    rig.reached = reach
    try:
        for site, part in ((aws, TRADES[:80]), (gcp, TRADES[40:])):
            feed(site, part)
            rig.settle()
        check_equal((aws, gcp), TRADES)
        # The lag is measured by the source's clock, so our clock does not matter.
        for pair in rig.pairs.values():
            assert (pair.progress().candles_s or 0.0) < 60
    finally:
        rig.close()
    assert calls > at
