"""Interruption of trades when a site fails or is left, and the cost of watching."""

import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from failover.test_guard import rig
from patience import eventually

from mcloud.clouds.factory import open_site
from mcloud.clouds.ports import Site
from mcloud.failover import statement
from mcloud.failover.audit import Audit
from mcloud.failover.execution import Tools, carry_out
from mcloud.failover.journal import Journal, MoveOrder
from mcloud.failover.settings import GuardSettings
from mcloud.local import children, control, outage
from mcloud.local.supervisor import Options
from mcloud.rehearsal import drill
from mcloud.rehearsal.drill import made
from mcloud.rehearsal.drill_stream import DrillStream
from mcloud.rehearsal.scenarios import SCENARIOS

pytestmark = pytest.mark.benchmark

BOTH, HAND = ("CAUSDT", "CBUSDT"), ("DAUSDT", "DBUSDT")
START = 1_735_776_000_000  # ms


@dataclass(frozen=True)
class Clouds:
    home: Path
    sites: dict[str, Site]


@pytest.fixture(scope="module")
def clouds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clouds]:
    """Embedded clouds of their own, since the test takes them down."""
    home = tmp_path_factory.mktemp("failover") / "local"
    aws, gcp, storage, function = children.free_ports(4)
    state = control.up(Options(str(home), aws, gcp, storage, function, owner=os.getpid()))
    try:
        yield Clouds(home, {n: open_site(n, each) for n, each in state.resources().items()})
    finally:
        control.down(home)


@pytest.mark.parametrize("name", ["cloud-outage", "region-outage"])
@pytest.mark.timeout(600)
def test_from_an_outage_to_the_first_trade_on_the_other_site(
    clouds: Clouds, tmp_path: Path, name: str
) -> None:
    """The guard has its defaults, with 1,000 trades per second in `primary` mode."""
    on = "aws" if name == "cloud-outage" else "gcp"
    symbols = {"cloud-outage": ("AAUSDT", "ABUSDT"), "region-outage": ("BAUSDT", "BBUSDT")}[name]
    report = drill.run(
        SCENARIOS[name],
        on,
        clouds.home,
        clouds.sites,
        tmp_path,
        trades=made(symbols, START),
        symbols=symbols,
    )
    print(f"\n{name} of {on}: {json.dumps(report.to_json()['timeline'], indent=1)}")
    print(f"outage to first trade stored: {report.rto} s; ids missing: {report.missing}")
    assert report.ok, report.problem
    assert report.rto is not None
    assert report.rto < 10


@pytest.mark.timeout(600)
def test_in_both_mode_the_healthy_site_is_not_delayed(clouds: Clouds, tmp_path: Path) -> None:
    stream = DrillStream(clouds.sites, BOTH, tmp_path, made(BOTH, START), mode="both")
    with stream.running():
        eventually(lambda: stream.newest("gcp") > 0)
        usual = _longest_gap(stream, 8.0)
        outage.begin(clouds.home, "aws", None, "refuse", None)
        try:
            during = _longest_gap(stream, 8.0)
        finally:
            outage.end(clouds.home, "aws")
        stream.finish(120)
    print(
        f"\nlongest wait between two trades stored at gcp: {usual:.2f} s, aws out: {during:.2f} s"
    )
    # It stores once per linger, and a batch may fall between two polls.
    assert during < 2 * usual + 1.0


@pytest.mark.timeout(600)
def test_a_move_by_hand_of_a_healthy_pair(clouds: Clouds, tmp_path: Path) -> None:
    stream = DrillStream(clouds.sites, HAND, tmp_path, made(HAND, START))
    use = Tools(
        Journal(tmp_path / "move.json"),
        Audit(tmp_path / "audit.jsonl", clouds.sites),
        routes=lambda: {"bench": (stream.leads(),)},
    )
    with stream.running():
        eventually(lambda: stream.leads())
        leads = stream.leads()
        target = next(name for name in clouds.sites if name != leads)
        eventually(lambda: stream.newest(leads) > 0)
        at = round(time.time(), 3)
        order = MoveOrder("bench", target, "manual", "a benchmark", "bench", at, 0, leads)
        begun = time.monotonic()
        came = carry_out(order, clouds.sites, use)
        seconds = time.monotonic() - begun
        stream.finish(120)
    print(f"\nmoved in {seconds:.2f} s: canary stored {came.arrived:.2f} s, followed {came.follow}")
    assert came.is_moved
    assert seconds < 3


def test_the_cost_of_watching_two_sites(tmp_path: Path) -> None:
    with rig(tmp_path, rules=GuardSettings()) as it:
        for _ in range(1000):  # half an hour, in steps of 1.8 s instead of 2
            it.clock.now -= 2 - GuardSettings().interval
            it.step()
        calls = {call: count * 2 * 24 * 30 for call, count in it.watches[0].calls.items()}
    print()
    for call, count in sorted(calls.items()):
        print(f"{' '.join(call):16} {count:>10,} a month  ${statement.dollars({call: count}):.4f}")
    print(f"{'in all':16} {'':>10}          ${statement.dollars(calls):.4f}")
    assert statement.dollars(calls) < 1


def _longest_gap(stream: DrillStream, seconds: float) -> float:
    """Return the longest time during which the newest trade at gcp did not change."""
    ends, longest = time.monotonic() + seconds, 0.0
    newest, since = stream.newest("gcp"), time.monotonic()
    while time.monotonic() < ends:
        threading.Event().wait(0.05)
        now, seen = time.monotonic(), stream.newest("gcp")
        longest = max(longest, now - since)
        if seen != newest:
            newest, since = seen, now
    return longest
