"""Our producer against each fault of the local exchange: it delivers what was traded, exactly."""

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mcloud.feed.binance import stall
from mcloud.feed.binance.connection import Timing
from mcloud.feed.binance.endpoints import endpoints
from mcloud.feed.binance.rest import BinanceRest
from mcloud.feed.binance.source import BinanceSource
from mcloud.feed.simulate import Simulate
from mcloud.local.exchange.faults import KINDS
from mcloud.local.exchange.thread import LocalExchange
from mcloud.producer import newest_ids, repair
from mcloud.producer.produce import ProducerProgress, produce
from mcloud.producer.spool import Spool

from .queues import FakeQueue
from .sources import PATIENCE, START

SYMBOLS = ["BTCUSDT", "ETHUSDT"]
MARKET = list(Simulate(SYMBOLS, seed=8, start_time=START, rate=300, duration=2.5))
EARLY = 300  # trades read before something goes wrong
_BTC = [trade.id for trade in MARKET if trade.symbol == "BTCUSDT"]
HIDDEN = {"symbol": "BTCUSDT", "first": _BTC[400], "last": _BTC[419]}

FAULTS: dict[str, list[Mapping[str, Any]]] = {
    "cut": [{}],
    "stall": [{"symbol": "ETHUSDT", "seconds": 0.5}],
    "repeat": [{"count": 200}],
    "reorder": [{"count": 20}],
    "drop": [{"count": 50}],
    "slow": [{"rate": 100_000, "seconds": 0.4}],
    "refuse": [{"count": 3}, {"count": 3, "status": 503}],
    "shutdown": [{"seconds": 0.3}],
    "rest_429": [{"count": 1, "seconds": 20}],
    "rest_418": [{"count": 1, "seconds": 20}],
    "rest_error": [{"count": 2}, {"count": 2, "status": 503}],
    "rest_gap": [{**HIDDEN, "seconds": 0.5}],
}
"""What is asked for of each kind. ``void`` is a matter of futures."""
HASTE = 60.0
"""How many times as fast the minutes pass in which REST's weight is counted."""
WITH_DROP = ("rest_429", "rest_418", "rest_error", "rest_gap")
"""Kinds that nobody notices unless something has to be fetched."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair, "LOOK", 0.005)
    monkeypatch.setattr(newest_ids, "SETTLE", 0.1)
    monkeypatch.setattr(newest_ids, "QUIET", 0.5)
    monkeypatch.setattr(stall, "SHORTEST", 0.5)


def test_all_kinds_are_tried() -> None:
    assert FAULTS.keys() == KINDS.keys() - {"void"}


@pytest.mark.slow  # half a minute for all of them: the market is played in its own time
@pytest.mark.parametrize(
    ("kind", "fields"), [(kind, fields) for kind, some in FAULTS.items() for fields in some]
)
def test_what_was_traded_is_delivered_exactly(
    kind: str, fields: Mapping[str, Any], tmp_path: Path
) -> None:
    queue = FakeQueue()
    stop = threading.Event()
    deadline = time.monotonic() + PATIENCE
    harmed = False
    with LocalExchange(MARKET, speed=2.0, wait_for=2) as exchange:
        here = endpoints(ws_url=exchange.ws_url, rest_url=exchange.rest_url)
        rest = BinanceRest(
            here,
            clock=lambda: time.monotonic() * HASTE,
            sleep=lambda seconds: time.sleep(seconds / HASTE),
        )
        timing = Timing(overlap=0.05, quiet=0.5, first_backoff=0.02, longest_backoff=0.05)
        source = BinanceSource(here, SYMBOLS, rest=rest, timing=timing, check_every=0.1, grace=0.1)

        def tell(progress: ProducerProgress) -> None:
            nonlocal harmed
            assert time.monotonic() < deadline, progress
            if not harmed and progress.read >= EARLY:
                harmed = True
                exchange.fault(kind, **fields)
                if kind == "rest_gap":
                    exchange.fault("drop", symbol="BTCUSDT", count=300)
                elif kind in WITH_DROP:
                    exchange.fault("drop", count=50)
                elif kind == "refuse":
                    exchange.fault("cut")
            if exchange.wait_finished(0) and progress.read == len(MARKET):
                stop.set()

        with Spool.open(tmp_path / "spool", ["aws"]) as spool:
            done = produce(
                source, {"aws": queue}, spool,
                history=rest, live=True, opened=source.opened, linger=0.1, progress=tell, stop=stop,
            )  # fmt: skip
    assert harmed
    assert queue.trades == sorted(MARKET)
    assert (done.complete, done.holes) == (True, ())
