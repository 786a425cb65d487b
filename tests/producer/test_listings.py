"""No trade is lost when symbols are listed, halted or delisted while a producer runs."""

import inspect
import threading
from pathlib import Path
from typing import get_args

import pytest
from patience import PATIENCE, eventually

from mcloud.cli.produce import produce as produce_command
from mcloud.feed.binance import stall
from mcloud.feed.binance.connection import Timing
from mcloud.feed.binance.endpoints import endpoints
from mcloud.feed.binance.listings import Roster, WantedListing
from mcloud.feed.binance.rest import BinanceRest
from mcloud.feed.binance.source import LIST_EVERY, BinanceSource
from mcloud.feed.simulate import Simulate
from mcloud.local.exchange.thread import LocalExchange
from mcloud.market.trade import Trade
from mcloud.producer import newest_ids, repair
from mcloud.producer.produce import produce
from mcloud.producer.spool import Spool

from .queues import FakeQueue
from .sources import START

SYMBOLS = ["AUSDT", "BUSDT", "CUSDT", "NEWUSDT"]
TIMING = Timing(control=0.01, quiet=0.5, overlap=0.05, first_backoff=0.02, longest_backoff=0.05)


class Following:
    """A producer of all:USDT in a thread, with three streams per connection."""

    def __init__(self, exchange: LocalExchange, folder: Path) -> None:
        where = endpoints(ws_url=exchange.ws_url, rest_url=exchange.rest_url)
        rest = BinanceRest(where)
        roster = Roster(WantedListing(quote_asset="USDT"), rest.listing())
        self.source = BinanceSource(
            where,
            roster.symbols,
            rest=rest,
            roster=roster,
            list_every=0.05,
            streams=3,
            timing=TIMING,
            check_every=0.05,
            grace=0.2,
        )
        self._rest = rest
        self._folder = folder
        self._queue = FakeQueue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._error: Exception | None = None

    def __enter__(self) -> "Following":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(PATIENCE)
        if self._error is not None:
            raise self._error

    def trades(self, symbol: str) -> list[Trade]:
        found = [each for each in list(self._queue.trades) if each.symbol == symbol]
        return sorted(found, key=lambda trade: trade.id)

    def _run(self) -> None:
        try:
            with Spool.open(self._folder / "spool", ["aws"]) as spool:
                produce(
                    self.source,
                    {"aws": self._queue},
                    spool,
                    history=self._rest,
                    live=True,
                    opened=self.source.opened,
                    ended=self.source.ended,
                    linger=0.02,
                    stop=self._stop,
                )
        except Exception as error:  # noqa: BLE001 - raised at the end of the test
            self._error = error


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair, "LOOK", 0.005)
    monkeypatch.setattr(newest_ids, "SETTLE", 0.1)


def test_listed_halted_and_delisted_symbols_are_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    market = Simulate(SYMBOLS, seed=9, start_time=START, rate=40)
    with LocalExchange(market, speed=1.0, wait_for=3) as exchange:
        exchange.set_status("NEWUSDT", "")
        with Following(exchange, tmp_path) as producer:
            source = producer.source
            eventually(lambda: all(producer.trades(each) for each in SYMBOLS[:3]))
            first = {each: exchange.played(each)[0].id for each in SYMBOLS[:3]}

            # A new symbol goes to a new connection, because the first one is full.
            exchange.set_status("NEWUSDT", "TRADING")
            eventually(lambda: producer.trades("NEWUSDT"))
            assert source.state.listed == ("NEWUSDT",)
            assert [len(line.symbols) for line in source.state.connections] == [3, 1]
            first["NEWUSDT"] = producer.trades("NEWUSDT")[0].id

            # The last trades of B before its halt are not in the stream.
            before = len(exchange.played("BUSDT"))
            exchange.fault("stall", symbol="BUSDT")
            eventually(lambda: len(exchange.played("BUSDT")) > before + 5)
            exchange.set_status("BUSDT", "BREAK")
            exchange.lift()
            eventually(lambda: source.state.not_trading == {"BUSDT": "BREAK"})
            halted = exchange.played("BUSDT")
            eventually(lambda: producer.trades("BUSDT") == halted)
            # It is silent for longer than a stall takes, but no stall is reported.
            monkeypatch.setattr(stall, "SHORTEST", 0.1)
            eventually(lambda: len(exchange.played("AUSDT")) > len(producer.trades("BUSDT")) + 20)

            exchange.set_status("BUSDT", "TRADING")
            eventually(lambda: source.state.not_trading == {})
            eventually(lambda: len(producer.trades("BUSDT")) > len(halted))

            exchange.set_status("CUSDT", "")
            eventually(lambda: "cusdt@trade" not in streams(exchange))
            assert source.state.not_trading == {"CUSDT": "delisted"}
            assert "CUSDT is no longer listed" in source.state.in_short.summary
            # The next new symbol takes its place.
            exchange.set_status("CUSDT", "TRADING")
            eventually(lambda: "cusdt@trade" in streams(exchange))
            state = source.state
        assert [line.reconnects for line in state.connections] == [0, 0]
        assert all(len(line.symbols) <= 3 for line in state.connections)
        assert state.last_error == ""
        for symbol, id_ in first.items():
            found = producer.trades(symbol)
            made = [each for each in exchange.played(symbol) if id_ <= each.id <= found[-1].id]
            assert found == made, symbol


def streams(exchange: LocalExchange) -> list[str]:
    return [stream for each in exchange.state()["connections"] for stream in each]


def test_the_help_states_the_default_interval_of_listings() -> None:
    (option,) = get_args(inspect.signature(produce_command).parameters["list_every"].annotation)[1:]
    assert option.help.endswith(f"Default: {LIST_EVERY:.0f}.")
