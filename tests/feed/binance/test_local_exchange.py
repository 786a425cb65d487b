"""The source and its REST with the local exchange: streams and history of one market."""

import time
from collections.abc import Callable, Iterator

import pytest

from mcloud.errors import Refused, UsageError
from mcloud.feed.binance import stall
from mcloud.feed.binance.connection import Timing
from mcloud.feed.binance.endpoints import Endpoints, endpoints
from mcloud.feed.binance.listings import ListedSymbol
from mcloud.feed.binance.rest import BinanceRest
from mcloud.feed.binance.source import BinanceSource
from mcloud.feed.simulate import Simulate
from mcloud.local.exchange.thread import LocalExchange
from mcloud.market.trade import Trade

START = 1_735_775_880_000
TIMING = Timing(overlap=0.05, quiet=0.5, first_backoff=0.02, longest_backoff=0.05)
PATIENCE = 60.0  # seconds


def market(rate: float, seconds: float) -> list[Trade]:
    return list(
        Simulate(["BTCUSDT", "ETHUSDT"], seed=5, start_time=START, rate=rate, duration=seconds)
    )


def found(exchange: LocalExchange) -> Endpoints:
    return endpoints(ws_url=exchange.ws_url, rest_url=exchange.rest_url)


def read(
    source: BinanceSource,
    until: Callable[[], bool],
    meanwhile: Callable[[], None] = lambda: None,
) -> list[Trade]:
    trades: list[Trade] = []
    deadline = time.monotonic() + PATIENCE
    for chunk in source.chunks(0.02):
        trades += chunk
        meanwhile()
        if until():
            source.stop()
        assert time.monotonic() < deadline, source.state
    return trades


def repaired(trades: list[Trade], wanted: list[Trade], rest: BinanceRest) -> set[Trade]:
    """Return the trades with the missing ids added from REST, a run at a time."""
    have = set(trades)
    for trade in wanted:
        if trade not in have:
            have |= set(rest.trades_from(trade.symbol, trade.id, 1000))
    return have


def test_trades_lost_in_ten_cuts_are_fetched_through_rest() -> None:
    trades = market(1000, 3)
    with LocalExchange(trades, speed=1.0, wait_for=2) as exchange:
        here = found(exchange)
        source = BinanceSource(here, ["BTCUSDT", "ETHUSDT"], timing=TIMING)
        lost = 0

        def cut() -> None:
            nonlocal lost
            state = source.state.connections[0]
            if lost < 10 and state.open and state.reconnects == lost:
                lost += 1
                exchange.fault("cut")

        live = read(source, lambda: exchange.wait_finished(0) and source.state.waiting == 0, cut)
        assert source.state.connections[0].reconnects == 10
        assert live == sorted(set(live), key=live.index), "repeats without an overlap"
        assert set(live) < set(trades)
        assert repaired(live, trades, BinanceRest(here)) == set(trades)


def test_a_shutdown_costs_nothing() -> None:
    trades = market(500, 3)
    with LocalExchange(trades, speed=1.0, wait_for=2) as exchange:
        source = BinanceSource(found(exchange), ["BTCUSDT", "ETHUSDT"], timing=TIMING)
        asked: list[float] = []

        def shut_down() -> None:
            if not asked and source.report.trades > 200:
                asked.append(0)
                exchange.fault("shutdown", seconds=1.5)

        live = read(
            source, lambda: exchange.wait_finished(0) and source.state.waiting == 0, shut_down
        )
        assert source.state.connections[0].rotations == 1
        assert source.state.connections[0].reconnects == 0
    assert set(live) == set(trades)


def test_a_stalled_symbol_is_confirmed_by_rest_and_its_connection_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stall, "SHORTEST", 0.5)
    with LocalExchange(market(300, 60), speed=1.0, wait_for=2) as exchange:
        here = found(exchange)
        source = BinanceSource(
            here,
            ["BTCUSDT", "ETHUSDT"],
            rest=BinanceRest(here),
            timing=TIMING,
            check_every=0.1,
            grace=0.1,
        )
        asked: list[float] = []

        def stall_one() -> None:
            if not asked and source.report.trades > 400:
                asked.append(0)
                exchange.fault("stall", symbol="ETHUSDT")

        read(source, lambda: source.state.connections[0].rotations == 1, stall_one)
        assert source.state.stalls >= 1
        assert "ETHUSDT stalled" in source.state.connections[0].last_error
        assert source.state.connections[0].reconnects == 0


class CountingRest(BinanceRest):
    asked = 0

    def latest_id(self, symbol: str) -> int | None:
        self.asked += 1
        return super().latest_id(symbol)


def test_a_quiet_symbol_is_checked_and_causes_no_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stall, "SHORTEST", 0.3)
    trades = [
        trade for trade in market(300, 60) if trade.symbol == "BTCUSDT" or trade.time < START + 1000
    ]
    with LocalExchange(trades, speed=1.0, wait_for=2) as exchange:
        here = found(exchange)
        rest = CountingRest(here)
        source = BinanceSource(
            here, ["BTCUSDT", "ETHUSDT"], rest=rest, timing=TIMING, check_every=0.05, grace=0.05
        )
        read(source, lambda: rest.asked >= 2)
        assert source.state.stalls == 0
        assert source.state.connections[0].rotations == 0


def test_a_silent_symbol_unknown_to_rest_causes_no_restart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stall, "SHORTEST", 0.3)
    with LocalExchange(market(300, 60), speed=1.0, wait_for=2) as exchange:
        here = found(exchange)
        rest = CountingRest(here)
        source = BinanceSource(
            here, ["BTCUSDT", "ETHUSDT"], rest=rest, timing=TIMING, check_every=0.05, grace=0.05
        )
        asked: list[float] = []

        def break_both() -> None:
            if not asked and source.report.trades > 400:
                asked.append(0)
                exchange.fault("rest_error")
                exchange.fault("stall", symbol="ETHUSDT")

        read(source, lambda: rest.asked >= 3, break_both)
        assert source.state.stalls == 0
        assert "REST cannot say why" in source.state.last_error


@pytest.fixture
def rest() -> Iterator[BinanceRest]:
    with LocalExchange(market(500, 2), wait_for=0) as exchange:
        exchange.wait_finished(PATIENCE)
        yield BinanceRest(found(exchange))


def test_symbols_of_the_exchange(rest: BinanceRest) -> None:
    listing = rest.listing()
    assert listing == dict.fromkeys(("BTCUSDT", "ETHUSDT"), ListedSymbol("USDT", "TRADING"))
    assert rest.check(["BTCUSDT"], listing) == ()
    with pytest.raises(UsageError, match="did you mean 'BTCUSDT'"):
        rest.check(["BTCUSD"], listing)
    with pytest.raises(Refused, match="no symbol NOPEUSDT"):
        rest.latest_id("NOPEUSDT")


def test_history_of_the_exchange(rest: BinanceRest) -> None:
    wanted = [trade for trade in market(500, 2) if trade.symbol == "BTCUSDT"]
    assert rest.latest_id("BTCUSDT") == wanted[-1].id
    got: list[Trade] = []
    while page := rest.trades_from("BTCUSDT", got[-1].id + 1 if got else wanted[0].id, 300):
        assert len(page) <= 300
        got += page
    assert got == wanted
