"""The source compared with a bare websockets client, from one server on one core."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import pytest
from websockets.asyncio.client import connect

from mcloud.feed.binance.endpoints import endpoints
from mcloud.feed.binance.source import BinanceSource

pytestmark = pytest.mark.benchmark

COUNT = 40_000  # messages
ROUNDS = 5

# Either one message at a time, as an exchange sends them, or all at once without server work.
SERVER = """
import asyncio, json, sys
from websockets.asyncio.server import serve
from websockets.frames import Frame, Opcode
from mcloud.feed.simulate import Simulate

def message(trade):
    data = dict(e="trade", E=trade.time, s=trade.symbol, t=trade.id, p=f"{trade.price:.8f}",
                q=f"{trade.quantity:.8f}", T=trade.time, m=trade.buyer_is_maker, M=True)
    return json.dumps(dict(stream="btcusdt@trade", data=data), separators=(",", ":"))

trades = Simulate(["BTCUSDT"], seed=1, start_time=1735775880000, count=int(sys.argv[1]))
messages = [message(trade) for trade in trades]
frames = b"".join(Frame(Opcode.TEXT, each.encode()).serialize(mask=False) for each in messages)

async def play(connection):
    if sys.argv[2] == "ready-made":
        connection.transport.write(frames)
    else:
        for each in messages:
            await connection.send(each)
    await connection.wait_closed()

async def main():
    async with serve(play, "127.0.0.1", 0, compression=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def one_core() -> Iterator[None]:
    """Bind this process and its children to one core."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system binds no process to a core")
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    yield
    os.sched_setaffinity(0, cores)


@pytest.mark.usefixtures("one_core")
def test_the_source_keeps_up_with_a_bare_client() -> None:
    """The medians of alternating rounds count, so that a busy machine affects both equally."""
    with serving("one by one") as url:
        bare, source = rates(url)
    print(
        f"\nsent one by one: bare client {bare:,.0f} messages/s, source {source:,.0f} trades/s, "
        f"ratio {source / bare:.2f}"
    )
    with serving("ready-made") as url:
        most_bare, most = rates(url)
    print(
        f"sent ready-made: bare client {most_bare:,.0f} messages/s, source {most:,.0f} trades/s, "
        f"ratio {most / most_bare:.2f}"
    )
    assert source >= 0.6 * bare


@contextmanager
def serving(how: str) -> Iterator[str]:
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", SERVER, str(COUNT), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as server:
        assert server.stdout is not None
        try:
            yield f"ws://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.kill()


def rates(url: str) -> tuple[float, float]:
    """Return the messages per second of the bare client and of the source."""
    bare, source = [], []
    for _ in range(ROUNDS):
        bare.append(asyncio.run(bare_rate(url)))
        source.append(source_rate(url))
    return median(bare), median(source)


async def bare_rate(url: str) -> float:
    async with connect(f"{url}/stream?streams=btcusdt@trade", compression=None) as socket:
        await socket.recv()
        begun = time.perf_counter()
        for _ in range(COUNT - 1):
            await socket.recv()
        return (COUNT - 1) / (time.perf_counter() - begun)


def source_rate(url: str) -> float:
    source = BinanceSource(endpoints(ws_url=url), ["BTCUSDT"])
    received, first, begun = 0, 0, 0.0
    for chunk in source.chunks(1.0):
        if not first:
            first, begun = len(chunk), time.perf_counter()
        received += len(chunk)
        if received == COUNT:
            break
    rate = (COUNT - first) / (time.perf_counter() - begun)
    source.stop()
    return rate
