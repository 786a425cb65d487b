"""A comparison of the raw archives once a day finds what no changed candle shows."""

from pathlib import Path
from typing import cast

import pytest
from producer.sources import trades

from mcloud.clouds.ports import Site
from mcloud.market.archive import HOUR, pack
from mcloud.rehearsal.demo import archived_ids
from mcloud.replication.change_follower import Pauses
from mcloud.replication.pair_state import PairState
from mcloud.replication.raw_comparison import PERIOD

from .memory import MemorySite
from .rig import Rig, compacted, feed

DAY = 86_400
SYMBOL = "BTCUSDT"


class World:
    """Two sites, and a replicator whose clocks advance together."""

    def __init__(self, folder: Path) -> None:
        self.aws, self.gcp = MemorySite("aws"), MemorySite("gcp")
        self.folder = folder
        self.now = [1_723_161_180.0 + 10 * DAY]
        self.open()

    def open(self) -> None:
        self.rig = Rig(self.folder, [self.aws, self.gcp], pauses=Pauses(), wall=lambda: self.now[0])
        self.pair = self.rig.pairs["aws", "gcp"]

    def reopen(self) -> None:
        self.rig.close()
        self.open()

    def work(self, seconds: float, step: float = 60.0) -> None:
        for _ in range(int(seconds / step)):
            self.rig.step(self.pair)
            assert not self.pair.progress().error
            self.rig.clock.now += step
            self.now[0] += step

    def ids(self) -> set[int]:
        return {id_ for _, id_ in archived_ids(cast(Site, self.gcp), [SYMBOL])}

    def lists(self) -> list[str]:
        """Return a list to which every later listing is added."""
        calls: list[str] = []
        for site in (self.aws, self.gcp):
            site.faults.before = lambda call: calls.append(call) if call == "list" else None
        return calls


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize("is_compacted", [False, True])
@pytest.mark.parametrize("restart", [False, True])
def test_an_object_that_no_change_announces_is_copied_within_a_day(
    world: World, is_compacted: bool, restart: bool
) -> None:
    feed(world.aws, trades(range(100, 110)))
    world.work(1200)
    assert world.ids() == set(range(100, 110))
    for item in pack(trades(range(110, 120))):
        world.aws.archive.put(item)
    if is_compacted:
        compacted(world.aws)
    calls = world.lists()
    world.work(DAY / 2)
    assert calls == []  # a pair without changes lists nothing
    assert world.ids() == set(range(100, 110))
    if restart:
        world.reopen()
    world.work(DAY / 2)
    assert world.ids() == set(range(100, 120))
    world.rig.close()


def test_what_the_target_loses_is_copied_again_within_a_day(world: World) -> None:
    feed(world.aws, trades(range(100, 110)))
    world.work(1200)
    compacted(world.gcp)
    world.gcp.archive.objects.clear()
    world.work(DAY + 600)
    assert world.ids() == set(range(100, 110))
    world.rig.close()


def test_a_new_symbol_is_compared_with_the_others(world: World) -> None:
    feed(world.aws, trades(range(100, 110)))
    world.work(1200)
    for item in pack(trade._replace(symbol="ETHUSDT") for trade in trades(range(5))):
        world.aws.archive.put(item)
    world.work(DAY + 600)
    found = archived_ids(cast(Site, world.gcp), ["ETHUSDT"])
    assert found == {("ETHUSDT", n) for n in range(5)}
    world.rig.close()


def test_recent_hours_are_left_to_the_changes(world: World) -> None:
    feed(world.aws, trades(range(100, 110)))
    world.work(DAY - 600)
    hour = int(world.now[0] * 1000) // HOUR * HOUR
    recent = [trade._replace(time=hour) for trade in trades(range(110, 120))]
    for item in pack(recent):
        world.aws.archive.put(item)
    world.work(1200)
    assert world.ids() == set(range(100, 110))
    world.work(DAY)
    assert world.ids() == set(range(100, 120))
    world.rig.close()


def test_a_pair_is_not_idle_while_a_comparison_is_due(world: World) -> None:
    feed(world.aws, trades(range(100, 110)))
    world.work(1200)
    assert world.pair.is_idle
    world.now[0] += DAY
    world.rig.clock.now += DAY
    assert not world.pair.is_idle
    world.work(120)
    assert world.pair.is_idle
    world.rig.close()


def test_a_comparison_is_remembered(tmp_path: Path) -> None:
    path = tmp_path / "pair.sqlite"
    state = PairState(path, "all")
    state.begin("p")
    state.note_raw_compared("A", 1000.0)
    state.note_raw_compared("A", 2000.0, {("A", HOUR): 0.0})
    state.note_raw_compared("B", 1000.0)
    assert state.marks == {("A", HOUR): 0.0}
    again = PairState(path, "all")
    assert again.raw_compared() == {"A": 2000.0, "B": 1000.0}
    assert PairState(path, "other").raw_compared() == {}
    assert PERIOD == DAY
