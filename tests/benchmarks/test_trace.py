"""What tracing costs a producer, and how long its record is searched."""

import time
from pathlib import Path
from statistics import median

import pytest

from mcloud.feed.simulate import Simulate
from mcloud.market.envelope import encode
from mcloud.market.trade import Trade
from mcloud.producer.produce import Reader, produce
from mcloud.producer.spool import Spool
from mcloud.producer.spool_message import Entry
from mcloud.producer.trail import LIMIT, Trail, find

from .test_producer import CountingQueue

START = 1_735_775_880_000
ROUNDS = 9

pytestmark = pytest.mark.benchmark


@pytest.mark.parametrize("batch", [1000, 30], ids=["full messages", "as in a quiet second"])
def test_a_producer_that_traces(tmp_path: Path, batch: int) -> None:
    trades = list(Simulate(["BTCUSDT"], seed=3, start_time=START, count=60 * batch + 10_000))
    plain, traced = [], []
    for number in range(ROUNDS):
        plain.append(seconds(tmp_path / f"{number} plain", trades, batch, tracing=False))
        traced.append(seconds(tmp_path / f"{number} traced", trades, batch, tracing=True))
    ratio = median(plain) / median(traced)
    print(f"\nproducer, {batch} trades a message: with tracing {ratio:.3f} of without")
    assert ratio >= 0.9


def seconds(folder: Path, trades: list[Trade], batch: int, *, tracing: bool) -> float:
    """CPU of this process, all threads: what else the machine does is not in it."""
    folder.mkdir()
    queues = {"aws": CountingQueue(), "gcp": CountingQueue()}
    with Spool.open(folder / "spool", list(queues)) as spool, Trail(folder) as trail:
        begun = time.process_time()
        done = produce(Reader(trades), queues, spool, trail=trail if tracing else None, batch=batch)
        taken = time.process_time() - begun
    assert done.complete
    assert bool(find(folder, "BTCUSDT", trades[0].id)) is tracing
    return taken


def test_a_full_record_is_searched(tmp_path: Path) -> None:
    trades = list(Simulate(["BTCUSDT"], seed=3, start_time=START, count=30))
    message = encode(trades, one_in=1)
    entry = Entry.of(message, received_at=START, sites=["aws"])
    size = 0
    with Trail(tmp_path) as trail:
        for number in range(10**6):
            trail.spooled(trades, entry, START)
            for site in ("aws", "gcp"):
                trail.sent(site, [message], START)
            if number % 1000 == 0:
                size = sum(each.stat().st_size for each in tmp_path.iterdir())
            if size > LIMIT * 0.9:
                break
    begun = time.process_time()
    assert find(tmp_path, "BTCUSDT", trades[0].id - 1) == []
    taken = time.process_time() - begun
    print(f"\na record of {size / 2**20:.0f} MiB, {number:,} messages: {taken:.2f} s to search")
    assert taken < 5
