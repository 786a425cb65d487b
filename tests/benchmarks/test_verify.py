"""``mcloud verify`` of two equal sites with 100,000 candles each, on the embedded clouds.

Run with ``pytest -m benchmark -s tests/benchmarks/test_verify.py``; filling takes minutes.
"""

import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from decimal import Decimal
from itertools import islice

import pytest
from replication.stores import fresh

from mcloud.clouds.factory import open_site
from mcloud.clouds.ports import Site
from mcloud.local.state import State
from mcloud.market.candle import MINUTE, Candle, fold
from mcloud.market.trade import Trade
from mcloud.replication.hour_digest import ALL_TIME
from mcloud.replication.scope import Scope
from mcloud.replication.verify import THREADS, Survey, verify
from mcloud.workers import Workers

from .bulk import as_in_a_command
from .bulk import fill as write

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]

SYMBOLS = [f"V{number:02}USDT" for number in range(20)]
MINUTES = 5_000
START = 1_723_161_600_000
TARGET = 20.0  # seconds
PAGE = 4096  # bytes


def candles(symbol: str) -> Iterator[Candle]:
    """Yield one candle per minute of three to five trades, which is two to four fragments."""
    id_ = 1_000
    for minute in range(MINUTES):
        start = START + minute * MINUTE
        trades = [
            Trade(symbol, id_ + n, Decimal(61_000 + n), Decimal("0.25"), start + n, n % 2 == 0)
            for n in range(3 + minute % 3)
        ]
        id_ += len(trades)
        yield fold(Candle(symbol, start), trades).candle


@pytest.fixture(scope="module")
def sites(embedded: State) -> dict[str, Site]:
    found = {name: open_site(name, to) for name, to in fresh(embedded, "aws", "gcp").items()}

    def fill(job: tuple[Site, str]) -> None:
        site, symbol = job
        stream = candles(symbol)
        while batch := list(islice(stream, 500)):
            if site.cloud == "aws":
                write(site, batch)
            else:
                assert site.candles.create(batch) == []

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(fill, [(site, symbol) for symbol in SYMBOLS for site in found.values()]))
    return found


def test_two_equal_sites(sites: dict[str, Site]) -> None:
    scope = Scope(frozenset({"candles"}), frozenset(SYMBOLS))
    with as_in_a_command():
        begun, used = time.perf_counter(), time.process_time()
        report = verify(sites, scope, pause=0)
        seconds, own = time.perf_counter() - begun, time.process_time() - used
    assert report.ok
    count = len(SYMBOLS) * MINUTES
    assert [report.equal(name) for name in sites] == [count, count]
    print(
        f"\nverify: {count:,} candles at each of two sites in {seconds:.1f} s,"
        f" {2 * count / seconds:,.0f} candles/s; {own:.1f} s of it our own processor time,"
        f" {own / 2 / count * 1e6:.0f} µs a candle"
    )
    assert seconds < TARGET


def test_memory_grows_with_the_hours(sites: dict[str, Site]) -> None:
    """An hour at two sites takes less than a page of memory, and a candle takes none."""
    scope = Scope(frozenset({"candles"}), frozenset(SYMBOLS[:4]))
    look = Survey(sites, scope, ALL_TIME, False, lambda words: None)
    with closing(Workers(THREADS)) as readers, closing(Workers(1)) as walkers:
        tracemalloc.start()
        try:
            look.read_all(readers, walkers)
            kept, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    hours, read = len(look.candles), sum(each.candles for each in look.tallies.values())
    print(
        f"\nmemory: {kept / hours:,.0f} bytes kept an hour of data, for {read / hours:.0f} candles"
        f" of it; {peak / 2**20:.0f} MiB at most, pages on their way included"
    )
    assert kept / hours < PAGE
