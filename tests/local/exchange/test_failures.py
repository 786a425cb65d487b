"""The effect of each fault on a client."""

import time
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from patience import PATIENCE, eventually
from websockets.exceptions import ConnectionClosedError, InvalidHandshake, InvalidStatus

from mcloud.errors import UsageError
from mcloud.local.exchange.faults import KINDS
from mcloud.local.exchange.thread import LocalExchange

from .clients import (
    connect,
    get,
    make_trades,
    receive,
    receive_all,
    receive_ids,
)

TRADES = make_trades(40)
IDS = [trade.id for trade in TRADES]
BTC = "/ws/btcusdt@trade"


@pytest.fixture
def exchange() -> Iterator[LocalExchange]:
    with LocalExchange(TRADES) as exchange:
        yield exchange


def rest_ids(exchange: LocalExchange, symbol: str = "BTCUSDT") -> list[int]:
    url = f"{exchange.rest_url}/api/v3/historicalTrades?symbol={symbol}&fromId=0&limit=1000"
    return [trade["id"] for trade in get(url).json()]


def test_cut_drops_all_connections_without_a_close_frame(exchange: LocalExchange) -> None:
    with connect(exchange.ws_url + BTC) as one, connect(exchange.ws_url + "/ws") as two:
        assert receive_ids(one, 40) == IDS
        exchange.fault("cut")
        for client in (one, two):
            _, closed = receive_all(client)
            assert isinstance(closed, ConnectionClosedError)
            assert closed.rcvd is None
        eventually(lambda: exchange.state()["connections"] == [])


def test_cut_drops_the_oldest_connection(exchange: LocalExchange) -> None:
    with connect(exchange.ws_url + "/ws") as old, connect(exchange.ws_url + BTC) as new:
        assert receive_ids(new, 40) == IDS
        exchange.fault("cut", count=1)
        assert receive_all(old)[1].rcvd is None
        eventually(lambda: exchange.state()["connections"] == [["btcusdt@trade"]])


def test_a_stalled_symbol_still_trades() -> None:
    trades = [*TRADES, *make_trades(40, "ETHUSDT")]
    with LocalExchange(trades) as exchange:
        exchange.fault("stall", symbol="BTCUSDT")
        with connect(exchange.ws_url + "/stream?streams=btcusdt@trade/ethusdt@trade") as client:
            streams = {receive(client)["stream"] for _ in range(40)}
            assert streams == {"ethusdt@trade"}
            assert exchange.wait_finished(PATIENCE)
            assert rest_ids(exchange) == IDS


def test_repeat_sends_the_last_trades_again(exchange: LocalExchange) -> None:
    with connect(exchange.ws_url + BTC) as client:
        assert receive_ids(client, 40) == IDS
        exchange.fault("repeat", count=3)
        assert receive_ids(client, 3) == IDS[-3:]


def test_reorder_shuffles_within_windows(exchange: LocalExchange) -> None:
    exchange.fault("reorder", count=10)
    with connect(exchange.ws_url + BTC) as client:
        ids = receive_ids(client, 40)
        assert ids != IDS
        assert [sorted(ids[at : at + 10]) for at in range(0, 40, 10)] == [
            IDS[at : at + 10] for at in range(0, 40, 10)
        ]


def test_trades_held_for_shuffling_are_sent_in_the_end(exchange: LocalExchange) -> None:
    exchange.fault("reorder", count=1000)
    with connect(exchange.ws_url + BTC) as client:
        ids = receive_ids(client, 40)
        assert ids != IDS
        assert sorted(ids) == IDS


def test_dropped_trades_are_missing_in_the_stream_only(exchange: LocalExchange) -> None:
    exchange.fault("drop", count=5)
    with connect(exchange.ws_url + BTC) as client:
        assert receive_ids(client, 35) == IDS[5:]
        assert rest_ids(exchange) == IDS


def test_slow_holds_a_connection_to_a_rate(exchange: LocalExchange) -> None:
    with connect(exchange.ws_url + BTC) as client:
        assert receive_ids(client, 40) == IDS
        exchange.fault("slow", rate=1_000)
        begun = time.monotonic()
        exchange.fault("repeat", count=3)
        messages = [client.recv(PATIENCE) for _ in range(3)]
        assert time.monotonic() - begun >= sum(map(len, messages)) / 1_000


def test_refuse_answers_no_new_stream(exchange: LocalExchange) -> None:
    with connect(exchange.ws_url + "/ws") as before:
        exchange.fault("refuse")
        with pytest.raises((InvalidHandshake, OSError)):
            connect(exchange.ws_url + BTC)
        assert before.ping().wait(PATIENCE)
        exchange.lift()
        with connect(exchange.ws_url + BTC) as client:
            assert receive_ids(client, 40) == IDS


def test_refuse_may_answer_with_a_status(exchange: LocalExchange) -> None:
    exchange.fault("refuse", status=503, count=1)
    with pytest.raises(InvalidStatus) as refused:
        connect(exchange.ws_url + BTC)
    assert refused.value.response.status_code == 503
    with connect(exchange.ws_url + BTC) as client:
        assert receive_ids(client, 40) == IDS


def test_shutdown_is_announced_and_new_connections_are_welcome(exchange: LocalExchange) -> None:
    with connect(exchange.ws_url + BTC) as client:
        assert receive_ids(client, 40) == IDS
        exchange.fault("shutdown", seconds=0.2)
        assert receive(client)["e"] == "serverShutdown"
        with connect(exchange.ws_url + "/ws") as next_:
            _, closed = receive_all(client)
            assert closed.rcvd is not None
            assert closed.rcvd.code == 1001
            exchange.fault("shutdown", seconds=20)
            assert receive(next_)["e"] == "serverShutdown"


def test_rest_fails_while_streams_continue(exchange: LocalExchange) -> None:
    for kind, status in (("rest_429", 429), ("rest_418", 418), ("rest_error", 500)):
        exchange.fault(kind, seconds=100)
        answer = get(exchange.rest_url + "/api/v3/ping")
        assert answer.status == status
        assert answer.headers.get("Retry-After") == (None if status == 500 else "100")
        exchange.lift()
    with connect(exchange.ws_url + BTC) as client:
        assert receive_ids(client, 40) == IDS


def test_a_gap_is_missing_in_rest_only(exchange: LocalExchange) -> None:
    exchange.fault("rest_gap", symbol="BTCUSDT", first=105, last=110)
    with connect(exchange.ws_url + BTC) as client:
        assert receive_ids(client, 40) == IDS
    assert rest_ids(exchange) == [*range(100, 105), *range(111, 140)]


def test_a_wrong_fault_is_refused(exchange: LocalExchange) -> None:
    with pytest.raises(UsageError, match="needs symbol"):
        exchange.fault("stall")


def test_faults_are_started_and_ended_over_http(exchange: LocalExchange) -> None:
    control = exchange.rest_url + "/_mcloud/"
    query = urlencode({"kind": "drop", "count": 5, "symbol": "btcusdt"})
    answer = get(f"{control}fault?{query}").json()
    assert answer == {"kind": "drop", "count": 5, "symbol": "BTCUSDT"}
    assert get(f"{control}state").json()["faults"] == ["drop"]
    assert get(f"{control}lift").json()["faults"] == []
    bad = get(f"{control}fault?kind=flood")
    assert bad.status == 400
    assert all(kind in bad.json()["error"] for kind in KINDS)
    assert get(f"{control}nothing").status == 404
