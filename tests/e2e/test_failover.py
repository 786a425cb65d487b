"""A site hangs in mid-stream, on its own embedded clouds, with recorded trades."""

import os
from collections.abc import Iterator
from heapq import merge
from operator import attrgetter
from pathlib import Path

import pytest

from mcloud.clouds.factory import open_site
from mcloud.feed.replay import open_replay
from mcloud.local import children, control, outage
from mcloud.local.state import State
from mcloud.local.supervisor import Options
from mcloud.rehearsal import drill
from mcloud.rehearsal.scenarios import SCENARIOS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SYMBOLS = ("BTCUSDT", "ETHUSDT")


@pytest.fixture
def clouds(tmp_path: Path) -> Iterator[State]:
    home = tmp_path / "local"
    aws, gcp, storage, function = children.free_ports(4)
    state = control.up(Options(str(home), aws, gcp, storage, function, owner=os.getpid()))
    try:
        yield state
    finally:
        control.down(home)


@pytest.mark.parametrize("name", ["region-outage", "service-outage:queue"])
def test_recorded_trades_survive_an_outage(
    tmp_path: Path, clouds: State, recordings: Path, name: str
) -> None:
    files = [recordings / f"spot-{symbol.lower()}-trades-20240808.jsonl.gz" for symbol in SYMBOLS]
    trades = list(merge(*map(open_replay, files), key=attrgetter("time")))
    seconds = (trades[-1].time - trades[0].time) / 1000
    home = Path(clouds.options["home"])
    stages: list[tuple[str, float]] = []
    report = drill.run(
        SCENARIOS[name],
        "aws",
        home,
        {site: open_site(site, each) for site, each in clouds.resources().items()},
        tmp_path,
        trades=trades,
        symbols=SYMBOLS,
        speed=seconds / (len(trades) / drill.RATE),
        reach=lambda stage, seconds: stages.append((stage, seconds)),
    )
    assert report.ok, report
    assert [stage for stage, _ in stages] == ["out", "moved", "over", "back"]
    caught_up = next(each.s for each in report.timeline if "has caught up" in each.what)
    assert stages[-1][1] >= caught_up - 0.01
    assert (report.moves, report.rpo_ids_missing) == (1, 0)
    # The drill ends once the site has caught up, which may be before the end of the recording.
    assert 0 < report.trades <= len(trades)
    assert all(site.exact and site.archived == report.trades for site in report.sites.values())
    assert outage.active(home) == []
