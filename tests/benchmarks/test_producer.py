"""The producer: socket to disk, disk to both sites, latency, memory, and what it costs."""

import asyncio
import logging
import threading
import time
import tracemalloc
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from statistics import median, quantiles

import psutil
import pytest

from mcloud.clouds.factory import open_site
from mcloud.clouds.ports import DeadLetter, Depth, Queue, Unsent
from mcloud.cost.prices import PRICES
from mcloud.errors import Unavailable
from mcloud.feed.binance.endpoints import endpoints
from mcloud.feed.binance.source import BinanceSource
from mcloud.feed.pace import pace
from mcloud.feed.simulate import Simulate
from mcloud.local.state import State
from mcloud.market.anomaly import Thresholds
from mcloud.market.archive import pack
from mcloud.market.envelope import Message, decode
from mcloud.market.trade import Trade
from mcloud.producer.anomaly_finder import AnomalyFinder
from mcloud.producer.detection import SymbolDetector
from mcloud.producer.findings import Findings
from mcloud.producer.pack import BATCH, LINGER
from mcloud.producer.produce import FeedReader, Intake, produce
from mcloud.producer.route import Route
from mcloud.producer.spool import Spool
from mcloud.producer.stored_history import StoredHistory

from .test_binance import COUNT, bare_rate, one_core, serving

__all__ = ["one_core"]

START = 1_735_775_880_000
ROUNDS = 5
WANTED = 5_000  # trades a second to both embedded sites
PACE = 30  # trades a second, as recorded
WINDOW = 5  # seconds; the default of terraform/aws
DETECTED = 200_000  # trades of a run with detection of anomalies
LOG = logging.getLogger("benchmark")
AWAY = 60.0  # seconds without a site, for the memory

pytestmark = pytest.mark.benchmark


class CountingQueue:
    """A queue that accepts everything at once or nothing, and counts requests as the clouds do."""

    def __init__(self, *, away: bool = False) -> None:
        self.away = away
        self.requests = 0
        self.messages = 0
        self.arrived: list[tuple[float, Message]] = []

    def send(self, messages: list[Message]) -> list[Unsent]:
        if self.away:
            raise Unavailable("away")
        self.requests += 1
        self.messages += len(messages)
        now = time.time()
        self.arrived += [(now, message) for message in messages]
        return []

    def depth(self) -> Depth:
        return Depth(None, None, time.time())

    dead_letter_depth = depth

    def dead_letters(self, limit: int) -> list[DeadLetter]:
        return []


@pytest.mark.usefixtures("one_core")
def test_socket_to_durable_spool(tmp_path: Path) -> None:
    bare, ours = [], []
    with serving("one by one") as url:
        for number in range(ROUNDS):
            bare.append(asyncio.run(bare_rate(url)))
            ours.append(spool_rate(url, tmp_path / str(number)))
    ratio = median(ours) / median(bare)
    print(f"\nsocket to durable spool: {ratio:.2f} of the bare websockets client")
    assert ratio >= 0.6


def test_full_spool_to_both_sites(embedded: State, tmp_path: Path) -> None:
    trades = list(Simulate(["SPOOLUSDT"], seed=3, start_time=START, count=60_000))
    sites = {name: open_site(name, each) for name, each in embedded.resources().items()}
    with Spool.open(tmp_path / "spool", list(sites)) as spool:
        intake = Intake(spool, False, lambda: Route(tuple(sites), ""), 500, 60)
        intake.take(trades)
        intake.close()
        intake.commit()
        begun = time.perf_counter()
        done = produce(FeedReader([]), {n: s.queue for n, s in sites.items()}, spool)
        rate = len(trades) / (time.perf_counter() - begun)
    assert done.complete
    print(f"\nfull spool to both sites: {rate / WANTED:.1f} times {WANTED:,} trades/s")
    assert rate >= WANTED


@pytest.mark.usefixtures("one_core")
@pytest.mark.parametrize(("symbols", "rate"), [(1, 30.0), (100, 1000.0), (100, 100.0)])
def test_detection_of_anomalies(tmp_path: Path, symbols: int, rate: float) -> None:
    """The speed of a whole run with detection, compared with one without. The trades are of two
    hours, three minutes and half an hour.
    """
    names = [f"S{n}USDT" for n in range(symbols)]
    trades = list(Simulate(names, seed=4, start_time=START, count=DETECTED, rate=rate))
    without, with_it = [], []
    for number in range(ROUNDS):
        without.append(run_rate(trades, tmp_path / f"{number}", detects=False))
        with_it.append(run_rate(trades, tmp_path / f"{number}d", detects=True))
    ratio = median(with_it) / median(without)
    print(
        f"\ndetection of anomalies, {symbols} symbols at {rate:g} trades/s:"
        f" {median(with_it):,.0f} trades/s, {ratio:.2f} of the speed without"
    )
    assert ratio >= 0.8


def test_memory_of_detection() -> None:
    """The minutes of the last three hours, for each symbol."""
    count = 10
    detectors = [SymbolDetector(f"S{n}USDT", Thresholds()) for n in range(count)]
    tracemalloc.start()
    for n, detector in enumerate(detectors):
        for trade in Simulate([f"S{n}USDT"], seed=n, start_time=START, count=3_000, rate=0.2):
            detector.take([trade])
            detector.judge()
    kib = tracemalloc.get_traced_memory()[0] / count / 1024
    tracemalloc.stop()
    print(f"\nmemory of detection: {kib:.0f} KiB a symbol")
    assert kib < 300


def test_publish_latency_at_the_recorded_pace(tmp_path: Path) -> None:
    """The time from the arrival of a trade to the queue's acknowledgement, minus the linger."""
    queue = CountingQueue()
    came: dict[int, float] = {}

    def arriving(trades: list[Trade]) -> Iterator[Trade]:
        for trade in pace(trades, 1.0, clock=time.monotonic, sleep=time.sleep):
            came[trade.id] = time.time()
            yield trade

    even = [
        Trade("BTCUSDT", n, Decimal(7), Decimal(1), START + n * 1000 // PACE, True)
        for n in range(PACE * 20)
    ]
    with Spool.open(tmp_path / "spool", ["one"]) as spool:
        produce(FeedReader(arriving(even)), {"one": queue}, spool)
    waits = [
        at - came[trade.id]
        for at, message in queue.arrived
        for trade in decode(message.body).trades
    ]
    p99 = quantiles(waits, n=100)[98] - LINGER
    print(f"\npublish latency at {PACE} trades/s: p99 is the linger and {p99 * 1000:.0f} ms")
    assert len(waits) == len(even)
    assert p99 < 0.25


def test_memory_while_a_site_is_away(tmp_path: Path) -> None:
    trades = Simulate(["BTCUSDT"], seed=8, start_time=START, rate=1000.0, duration=AWAY)
    queues: dict[str, Queue] = {"there": CountingQueue(), "away": CountingQueue(away=True)}
    seen: list[int] = []
    process = psutil.Process()
    begun = time.monotonic()

    def watch(_: object) -> None:
        if time.monotonic() - begun > AWAY / 6:  # past the start
            seen.append(process.memory_info().rss)

    stop = threading.Event()
    ender = threading.Timer(AWAY + 2, stop.set)
    ender.start()
    paced = pace(trades, 1.0, clock=time.monotonic, sleep=stop.wait)
    with Spool.open(tmp_path / "spool", list(queues)) as spool:
        done = produce(FeedReader(paced), queues, spool, progress=watch, stop=stop, drain=0)
    ender.cancel()
    growth = (max(seen) - seen[0]) / 2**20
    print(f"\n{AWAY:.0f} s without a site at 1,000 trades/s: memory grows by {growth:.1f} MiB")
    assert done.sites["away"].waiting_trades == done.read
    # The allowed growth in ten minutes, scaled to this run.
    assert growth < max(50 * AWAY / 600, 10)


def test_dollars_for_a_million_trades(tmp_path: Path) -> None:
    """Requests at the recorded pace, compared with one message and one object per trade.

    The sends are counted; the work of Lambda follows from its batch window.
    """
    queue = CountingQueue()
    trades = [
        trade._replace(time=START + n * 1000 // PACE)
        for n, trade in enumerate(
            Simulate(["BTCUSDT"], seed=2, start_time=START, count=PACE * 4 * WINDOW)
        )
    ]
    paced = pace(trades, 1.0, clock=time.monotonic, sleep=time.sleep)
    with Spool.open(tmp_path / "spool", ["aws"]) as spool:
        produce(FeedReader(paced), {"aws": queue}, spool)
    batches: dict[int, list[Trade]] = {}
    for at, message in queue.arrived:
        batch = batches.setdefault(int((at - queue.arrived[0][0]) // WINDOW), [])
        batch += decode(message.body).trades
    puts = sum(len(pack(batch)) for batch in batches.values())
    # Lambda receives and deletes ten messages per request.
    requests = queue.requests + 2 * -(-queue.messages // 10)
    scale = Decimal(1_000_000) / len(trades)
    ours = cost("sqs_requests", requests * scale) + cost("s3_puts", puts * scale)
    theirs = cost("sqs_requests", Decimal(3_000_000)) + cost("s3_puts", Decimal(1_000_000))
    print(
        f"\na million trades at {PACE}/s: {queue.requests * scale:,.0f} sends and "
        f"{puts * scale:,.0f} objects, ${ours:.3f}; one message and one object a trade costs "
        f"${theirs:.2f}, {theirs / ours:.0f} times as much"
    )
    assert theirs / ours >= 100


def run_rate(trades: list[Trade], folder: Path, *, detects: bool) -> float:
    """Return the trades per second of a run to a queue that accepts everything at once."""
    folder.mkdir()
    findings, history = Findings(folder, {}, LOG), StoredHistory({}, Thresholds().reach, LOG)
    finder = AnomalyFinder(Thresholds(), findings, history, LOG) if detects else None
    begun = time.perf_counter()
    with Spool.open(folder / "spool", ["one"]) as spool:
        done = produce(FeedReader(trades), {"one": CountingQueue()}, spool, finder=finder)
    assert done.complete
    return len(trades) / (time.perf_counter() - begun)


def spool_rate(url: str, folder: Path) -> float:
    """Return the trades per second from the socket to the disk, with cursor and encoding."""
    source = BinanceSource(endpoints(ws_url=url), ["BTCUSDT"])
    folder.mkdir()
    with Spool.open(folder / "spool", ["one"]) as spool:
        intake = Intake(spool, True, lambda: Route(("one",), ""), BATCH, LINGER)
        first, begun = 0, 0.0
        for chunk in source.chunks(1.0):
            if not first and chunk:
                first, begun = len(chunk), time.perf_counter()
            intake.take(chunk)
            intake.commit()
            if intake.read >= COUNT:
                break
        intake.close()
        intake.commit()
        seconds = time.perf_counter() - begun
    source.stop()
    return (COUNT - first) / seconds


def cost(meter: str, units: Decimal) -> Decimal:
    """Dollars at list price, before free tiers."""
    price = PRICES["aws", meter]
    return units * price.usd / price.per
