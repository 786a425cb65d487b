"""Throughput of the embedded clouds from the first publish to the last candle, on both sites."""

import time

import pytest

from mcloud.clouds.factory import open_site
from mcloud.clouds.ports import Site
from mcloud.feed.simulate import Simulate
from mcloud.local.state import State
from mcloud.market.trade import Trade
from mcloud.rehearsal.demo import deliver, stored_rows
from mcloud.rehearsal.oracle import expected_rows

WANTED = 3_000  # trades per second and site

pytestmark = pytest.mark.benchmark


def test_first_publish_to_last_candle(embedded: State) -> None:
    sites = {name: open_site(name, each) for name, each in embedded.resources().items()}
    queues = {name: site.queue for name, site in sites.items()}
    warm = list(Simulate(["WARMUSDT"], seed=1, start_time=1_735_775_880_000, count=2_000))
    deliver(warm, queues, batch=100)
    wait(sites, warm)
    trades = list(Simulate(["BENCHUSDT"], seed=2, start_time=1_735_775_880_000, count=60_000))
    begun = time.perf_counter()
    deliver(trades, queues)
    done = wait(sites, trades)
    for name, at in done.items():
        rate = len(trades) / (at - begun)
        print(
            f"\n{name}: {rate / WANTED:.1f} times {WANTED:,} trades/s, first publish to last candle"
        )
        assert rate >= WANTED


def wait(sites: dict[str, Site], trades: list[Trade]) -> dict[str, float]:
    expected = expected_rows(trades)
    symbol = trades[0].symbol
    done: dict[str, float] = {}
    deadline = time.perf_counter() + 120
    while len(done) < len(sites):
        assert time.perf_counter() < deadline
        for name, site in sites.items():
            if name not in done and stored_rows(site, [symbol]) == expected:
                done[name] = time.perf_counter()
        time.sleep(0.05)
    return done
