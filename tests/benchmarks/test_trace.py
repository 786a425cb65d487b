"""The cost of tracing for a producer, and the time to search its message log."""

import time
from pathlib import Path
from statistics import median

import pytest

from mcloud.feed.simulate import Simulate
from mcloud.market.envelope import encode
from mcloud.market.trade import Trade
from mcloud.producer.message_log import LIMIT, MessageLog, find
from mcloud.producer.produce import FeedReader, produce
from mcloud.producer.spool import Spool
from mcloud.producer.spool_message import SpoolEntry

from .test_producer import CountingQueue

START = 1_735_775_880_000
ROUNDS = 11

pytestmark = pytest.mark.benchmark


# At full speed messages are full. A quiet second ends with a small one.
@pytest.mark.parametrize(
    ("batch", "least"), [(1000, 0.95), (30, 0.8)], ids=["full messages", "small ones"]
)
def test_a_producer_that_traces(tmp_path: Path, batch: int, least: float) -> None:
    trades = list(Simulate(["BTCUSDT"], seed=3, start_time=START, count=60 * batch + 10_000))
    taken: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    for number in range(ROUNDS):
        for tracing in (False, True) if number % 2 else (True, False):
            folder = tmp_path / f"{number} {tracing}"
            taken[tracing].append(run(folder, trades, batch, tracing=tracing))
    # The CPU time alone, without the disk and other processes; and the elapsed time.
    cpu, wall = (
        median(each[which] for each in taken[False]) / median(each[which] for each in taken[True])
        for which in (0, 1)
    )
    print(
        f"\nproducer at full speed, {batch} trades a message:"
        f" with tracing {wall:.3f} of the speed without, {cpu:.3f} by CPU"
    )
    assert cpu >= least


def run(folder: Path, trades: list[Trade], batch: int, *, tracing: bool) -> tuple[float, float]:
    """Return the seconds of CPU time of all threads, and the elapsed seconds."""
    folder.mkdir()
    queues = {"aws": CountingQueue(), "gcp": CountingQueue()}
    with Spool.open(folder / "spool", list(queues)) as spool, MessageLog(folder) as trail:
        begun = time.process_time(), time.perf_counter()
        done = produce(
            FeedReader(trades), queues, spool, trail=trail if tracing else None, batch=batch
        )
        taken = time.process_time() - begun[0], time.perf_counter() - begun[1]
    assert done.complete
    assert bool(find(folder, "BTCUSDT", trades[0].id)) is tracing
    return taken


def test_a_full_record_is_searched(tmp_path: Path) -> None:
    trades = list(Simulate(["BTCUSDT"], seed=3, start_time=START, count=30))
    message = encode(trades, one_in=1)
    entry = SpoolEntry.of(message, received_at=START, sites=["aws"])
    size = 0
    with MessageLog(tmp_path) as trail:
        for number in range(10**6):
            trail.spooled([(trades, entry)], START)
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
