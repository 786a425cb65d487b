"""The producer delivers exactly the trades of the local exchange under each of its faults.

On futures, some ids are void: the stream announces them and REST does not have them.
"""

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mcloud.errors import Throttled
from mcloud.feed.binance import stall
from mcloud.feed.binance.connection import Timing
from mcloud.feed.binance.endpoints import endpoints
from mcloud.feed.binance.rest import BinanceRest
from mcloud.feed.binance.source import BinanceSource
from mcloud.feed.feed import HistoryAnswer
from mcloud.feed.simulate import Simulate
from mcloud.local.exchange.faults import KINDS
from mcloud.local.exchange.thread import LocalExchange
from mcloud.market.trade import in_market, split_market
from mcloud.producer import newest_ids, repair
from mcloud.producer.produce import ProducerProgress, produce
from mcloud.producer.spool import Spool

from .queues import FakeQueue
from .sources import PATIENCE, START

SPOT, FUTURES = ("BTCUSDT", "ETHUSDT"), ("BTCUSDT.um", "ETHUSDT.um")
PLAYED = {
    symbols: list(Simulate(symbols, seed=8, start_time=START, rate=300, duration=2.5))
    for symbols in (SPOT, FUTURES)
}
EARLY = 300  # trades read before the fault begins
VOID_AFTER = 1_500
"""Time in ms until an id that REST does not have is void. ``rest_gap`` is shorter."""
_BTC = [trade.id for trade in PLAYED[SPOT] if trade.symbol == "BTCUSDT"]
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
"""Parameters of each fault, with symbols of the spot market. On futures, each fault is combined
with the fault ``void``."""
HASTE = 60.0
"""Factor by which the minutes in which REST counts its weight are shorter."""
WITH_DROP = ("rest_429", "rest_418", "rest_error", "rest_gap")
"""Faults that have no effect unless trades have to be fetched."""


class HastyRest(BinanceRest):
    """REST whose minutes take a second. The pauses that it asks for are shorter by this factor."""

    def search(self, *arguments: Any, **options: Any) -> HistoryAnswer:
        try:
            return super().search(*arguments, **options)
        except Throttled as error:
            raise Throttled(str(error), error.retry_after / HASTE) from None


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair, "LOOK", 0.005)
    monkeypatch.setattr(newest_ids, "SETTLE", 0.1)
    monkeypatch.setattr(newest_ids, "QUIET", 0.5)
    monkeypatch.setattr(stall, "SHORTEST", 0.5)
    monkeypatch.setattr(repair, "VOID_AFTER", VOID_AFTER)
    monkeypatch.setattr(repair, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(repair, "LONGEST_PAUSE", 0.1)


def test_all_kinds_are_tried() -> None:
    assert FAULTS.keys() == KINDS.keys() - {"void"}


@pytest.mark.slow  # all faults take a minute or more, since the market is played in real time
@pytest.mark.parametrize("symbols", [SPOT, FUTURES], ids=["spot", "futures"])
@pytest.mark.parametrize(
    ("kind", "fields"), [(kind, fields) for kind, some in FAULTS.items() for fields in some]
)
def test_all_trades_are_delivered_exactly(
    kind: str, fields: Mapping[str, Any], symbols: tuple[str, str], tmp_path: Path
) -> None:
    played = PLAYED[symbols]
    btc, _ = symbols
    market = "binance" if symbols is SPOT else "binance-futures"
    route = "" if symbols is SPOT else "/public"
    if "symbol" in fields:
        fields = {**fields, "symbol": in_market(fields["symbol"], split_market(btc)[1])}
    queue = FakeQueue()
    stop = threading.Event()
    deadline = time.monotonic() + PATIENCE
    harmed = False
    with LocalExchange(played, speed=2.0, wait_for=2) as exchange:
        here = endpoints(market, ws_url=f"{exchange.ws_url}{route}", rest_url=exchange.rest_url)
        if symbols is FUTURES:
            exchange.fault("void", symbol=symbols[0], every=20)
            exchange.fault("void", symbol=symbols[1], every=33, reason="INSURANCE_FUND")
        rest = HastyRest(
            here,
            api_key="" if symbols is SPOT else "k",
            clock=lambda: time.monotonic() * HASTE,
            sleep=lambda seconds: time.sleep(seconds / HASTE),
        )
        timing = Timing(overlap=0.05, quiet=0.5, first_backoff=0.02, longest_backoff=0.05)
        source = BinanceSource(here, symbols, rest=rest, timing=timing, check_every=0.1, grace=0.1)

        def tell(progress: ProducerProgress) -> None:
            nonlocal harmed
            assert time.monotonic() < deadline, progress
            if not harmed and progress.read >= EARLY:
                harmed = True
                exchange.fault(kind, **fields)
                if kind == "rest_gap":
                    exchange.fault("drop", symbol=btc, count=300)
                elif kind in WITH_DROP:
                    exchange.fault("drop", count=50)
                elif kind == "refuse":
                    exchange.fault("cut")
            if exchange.wait_finished(0) and progress.read == len(played):
                stop.set()

        with Spool.open(tmp_path / "spool", ["aws"]) as spool:
            done = produce(
                source, {"aws": queue}, spool,
                history=rest, live=True, opened=source.opened, linger=0.1, progress=tell, stop=stop,
            )  # fmt: skip
        voids = {(symbol, id_) for symbol in symbols for id_ in exchange.voids(symbol)}
    assert harmed
    assert len(voids) > 30 if symbols is FUTURES else not voids
    assert {(each.symbol, each.id) for each in queue.trades if each.is_void} == voids
    assert [each for each in queue.trades if not each.is_void] == sorted(
        each for each in played if (each.symbol, each.id) not in voids
    )
    assert done.repeats or kind != "repeat"
    assert (done.complete, done.holes) == (True, ())
