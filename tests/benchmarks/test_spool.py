"""The spool and the cursor compared with the unavoidable work: encoding the trades."""

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from mcloud.feed.simulate import Simulate
from mcloud.market.envelope import Message, encode
from mcloud.market.trade import Trade
from mcloud.producer.cursor import Cursor
from mcloud.producer.spool import Spool
from mcloud.producer.spool_message import SpoolEntry

SOCKET = 37_000  # messages/s; what the bare websockets client receives on one core
TO_SITES = 5_000  # trades/s to both embedded sites
SITES = ("aws", "gcp")
BATCH, GROUP = 100, 10  # trades a message, messages a commit

pytestmark = pytest.mark.benchmark


@pytest.fixture(scope="module")
def trades() -> list[Trade]:
    symbols = ["BTCUSDT", "ETHUSDT"]
    return list(Simulate(symbols, seed=1, start_time=1_735_775_880_000, count=60_000))


def test_cursor(trades: list[Trade]) -> None:
    def admit() -> None:
        cursor = Cursor()
        for begin in range(0, len(trades), BATCH):
            cursor.admit(trades[begin : begin + BATCH], 0)

    rate = len(trades) / best(admit)
    print(f"\ncursor: {rate / SOCKET:.0f} times the {SOCKET:,} messages/s of a bare socket")
    assert rate >= 10 * SOCKET


def test_append(trades: list[Trade], tmp_path: Path) -> None:
    messages = encoded(trades)
    count = sum(int(message.attributes["count"]) for message in messages)
    encoding = best(lambda: encoded(trades))
    with Spool.open(tmp_path / "spool", SITES) as spool:

        def append() -> None:
            for begin in range(0, len(messages), GROUP):
                spool.append(
                    [
                        SpoolEntry.of(message, received_at=0, sites=SITES)
                        for message in messages[begin : begin + GROUP]
                    ]
                )

        seconds = best(append)
    rate = count / seconds
    print(
        f"\nappend, {BATCH} trades a message, {GROUP} messages a commit: "
        f"{rate / SOCKET:.0f} times the {SOCKET:,} messages/s of a bare socket, "
        f"{encoding / seconds:.1f} times as fast as encoding; "
        f"{1000 * seconds / (len(messages) / GROUP):.1f} ms a commit"
    )
    assert rate >= 3 * SOCKET
    assert encoding / seconds >= 0.6


def test_drain(trades: list[Trade], tmp_path: Path) -> None:
    messages = encoded(trades)
    rates = []
    with Spool.open(tmp_path / "spool", SITES) as spool:
        for _ in range(5):
            spool.append([SpoolEntry.of(each, received_at=0, sites=SITES) for each in messages])
            begun = time.perf_counter()
            for site in SITES:
                while taken := spool.take(site, 10):
                    spool.settle(site, [each.id for each in taken])
            rates.append(len(trades) / (time.perf_counter() - begun))
    rate = max(rates)
    print(f"\ndrain to two sites, 10 messages a call: {rate / TO_SITES:.0f} times {TO_SITES:,}/s")
    assert rate >= 5 * TO_SITES


def test_open(trades: list[Trade], tmp_path: Path) -> None:
    """A spool is read and checked completely when it is opened, by SQLite and by its digests."""
    messages = encoded(trades)
    path = tmp_path / "spool"
    with Spool.open(path, SITES) as spool:
        for _ in range(40):
            spool.append([SpoolEntry.of(each, received_at=0, sites=SITES) for each in messages])
        size = spool.bytes
    ours = best(lambda: Spool.open(path, SITES).close(), rounds=3)
    with closing(sqlite3.connect(path)) as db:
        bare = best(lambda: db.execute("PRAGMA integrity_check").fetchone(), rounds=3)
    print(f"\nopen: {bare / ours:.2f} of SQLite's own check alone, {size / ours / 1e6:,.0f} MB/s")
    assert bare / ours >= 0.05


def encoded(trades: list[Trade]) -> list[Message]:
    messages = []
    for symbol in ("BTCUSDT", "ETHUSDT"):
        own = [trade for trade in trades if trade.symbol == symbol]
        messages += [encode(own[begin : begin + BATCH]) for begin in range(0, len(own), BATCH)]
    return messages


def best(run: Callable[[], object], rounds: int = 5) -> float:
    """Return the seconds of the fastest round, since the others were disturbed."""
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        run()
        times.append(time.perf_counter() - begun)
    return min(times)
