"""Futures from the local exchange: their route, void ids, and a stream without trades."""

import threading
import time
from pathlib import Path

import pytest

from mcloud.feed.binance import stall
from mcloud.feed.binance.connection import Timing
from mcloud.feed.binance.endpoints import endpoints
from mcloud.feed.binance.rest import BinanceRest
from mcloud.feed.binance.source import BinanceSource
from mcloud.feed.simulate import Simulate
from mcloud.local.exchange.thread import LocalExchange
from mcloud.market.trade import USD_M
from mcloud.producer import newest_ids, repair
from mcloud.producer.produce import ProducerProgress, produce
from mcloud.producer.spool import Spool

from .queues import FakeQueue
from .sources import PATIENCE, START

SYMBOLS = {"binance-futures": "BTCUSDT.um", "binance-coin-futures": "BTCUSD_PERP.cm"}
TIMING = Timing(overlap=0.05, quiet=0.5, first_backoff=0.02, longest_backoff=0.05)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair, "LOOK", 0.005)
    monkeypatch.setattr(repair, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(repair, "LONGEST_PAUSE", 0.1)
    monkeypatch.setattr(repair, "VOID_AFTER", 0)
    monkeypatch.setattr(newest_ids, "SETTLE", 0.1)
    monkeypatch.setattr(newest_ids, "QUIET", 0.5)


@pytest.mark.parametrize("api_key", ["", "k"])
@pytest.mark.parametrize("name", SYMBOLS)
def test_void_ids_are_delivered_as_such_whether_they_were_announced_or_lost(
    tmp_path: Path, name: str, api_key: str
) -> None:
    symbol = SYMBOLS[name]
    market = list(Simulate([symbol], seed=8, start_time=START, rate=300, duration=2.5))
    queue, stop = FakeQueue(), threading.Event()
    deadline = time.monotonic() + PATIENCE
    dropped = False
    with LocalExchange(market, speed=2.0, wait_for=1) as exchange:
        exchange.fault("void", symbol=symbol, every=20)
        here = endpoints(name, ws_url=f"{exchange.ws_url}/public", rest_url=exchange.rest_url)
        rest = BinanceRest(here, api_key=api_key)
        source = BinanceSource(here, [symbol], rest=rest, timing=TIMING)

        def tell(progress: ProducerProgress) -> None:
            nonlocal dropped
            assert time.monotonic() < deadline, progress
            if not dropped and progress.read >= 200:
                dropped = True
                exchange.fault("drop", count=150)
            if exchange.wait_finished(0) and progress.read == len(market) and not progress.holes:
                stop.set()

        with Spool.open(tmp_path / "spool", ["aws"]) as spool:
            produce(
                source, {"aws": queue}, spool,
                history=rest, live=True, opened=source.opened, linger=0.1, progress=tell, stop=stop,
            )  # fmt: skip
        voids = set(exchange.voids(symbol))
    assert dropped
    assert {each.id for each in queue.trades if each.is_void} == voids
    assert len(voids) > 20
    assert [each for each in queue.trades if not each.is_void] == [
        each for each in market if each.id not in voids
    ]


@pytest.mark.parametrize("route", ["public", "market"])
def test_a_stream_without_trades_is_detected_before_the_first_trade(
    monkeypatch: pytest.MonkeyPatch, route: str
) -> None:
    """One route of the exchange accepts a subscription to trades, but sends no trades."""
    monkeypatch.setattr(stall, "UNKNOWN", 0.3)
    monkeypatch.setattr(stall, "SHORTEST", 0.2)
    market = Simulate([f"BTCUSDT.{USD_M}"], seed=8, start_time=START, rate=100)
    with LocalExchange(market, speed=1.0, wait_for=0) as exchange:
        ws_url = f"{exchange.ws_url}/{route}"
        here = endpoints("binance-futures", ws_url=ws_url, rest_url=exchange.rest_url)
        source = BinanceSource(
            here, ["BTCUSDT.um"], rest=BinanceRest(here), timing=TIMING, check_every=0.05, grace=0.1
        )
        chunks = source.chunks(0.05)
        deadline = time.monotonic() + (PATIENCE if route == "market" else 2.0)
        while not source.state.stalled and time.monotonic() < deadline:
            next(chunks)
        state = source.state.in_short
        source.stop()
        trades = [*source.chunks(0.05)]
    if route == "public":
        assert (state.stalled, state.error) == ((), False)
        return
    assert (state.stalled, state.error) == (("BTCUSDT.um",), True)
    assert "stalled: BTCUSDT.um" in state.summary
    assert not any(trades)
