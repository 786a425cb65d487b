import base64
import os
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from patience import PATIENCE, eventually
from websockets.exceptions import InvalidStatus

from mcloud.feed.json_lines import parse_message
from mcloud.local.exchange.limits import Limits
from mcloud.local.exchange.reader import METHODS, Wording, parse_path
from mcloud.local.exchange.streams import BadRequest
from mcloud.local.exchange.thread import LocalExchange

from .clients import (
    ask,
    connect,
    get,
    make_trades,
    receive,
    receive_all,
    receive_ids,
)

TRADES = make_trades(20)
BOTH = [trade for pair in zip(TRADES, make_trades(20, "ETHUSDT"), strict=True) for trade in pair]


@pytest.fixture
def exchange() -> Iterator[LocalExchange]:
    """An exchange that waits for a first client, and then plays both symbols at full speed."""
    with LocalExchange(BOTH) as exchange:
        yield exchange


def test_a_combined_stream_has_the_format_of_binance(exchange: LocalExchange) -> None:
    with connect(exchange.ws_url + "/stream?streams=btcusdt@trade/ethusdt@trade") as client:
        message = receive(client)
        assert message == {
            "stream": "btcusdt@trade",
            "data": {
                "e": "trade",
                "E": 1_723_161_255_000,
                "s": "BTCUSDT",
                "t": 100,
                "p": "61837.00000000",
                "q": "0.02000000",
                "T": 1_723_161_255_000,
                "m": True,
                "M": True,
            },
        }
        assert receive(client)["stream"] == "ethusdt@trade"


@pytest.mark.parametrize("path", ["/ws/btcusdt@trade", "/stream?streams=btcusdt@trade"])
def test_every_trade_of_a_stream_arrives_once_in_order(exchange: LocalExchange, path: str) -> None:
    with connect(exchange.ws_url + path) as client:
        read = [parse_message(str(client.recv())) for _ in TRADES]
        assert read == TRADES
        assert exchange.wait_finished(PATIENCE)
        assert exchange.played("BTCUSDT") == TRADES


def test_times_may_be_microseconds(exchange: LocalExchange) -> None:
    with connect(exchange.ws_url + "/ws/btcusdt@trade?timeUnit=MICROSECOND") as client:
        message = receive(client)
        assert (message["E"], message["T"]) == (1_723_161_255_000_000, 1_723_161_255_000_000)


def test_several_clients_get_the_same() -> None:
    with (
        LocalExchange(TRADES, wait_for=2) as exchange,
        connect(exchange.ws_url + "/ws/btcusdt@trade") as one,
        connect(exchange.ws_url + "/ws/ethusdt@trade/btcusdt@trade") as two,
    ):
        assert receive_ids(one, 20) == receive_ids(two, 20)


def test_streams_are_subscribed_to_and_left() -> None:
    with (
        LocalExchange(BOTH, wait_for=2) as exchange,
        connect(exchange.ws_url + "/ws") as client,
    ):
        assert ask(client, "SUBSCRIBE", "ethusdt@trade", id=7) == {"result": None, "id": 7}
        listed = ask(client, "LIST_SUBSCRIPTIONS", id=8)
        assert listed == {"result": ["ethusdt@trade"], "id": 8}
        assert ask(client, "UNSUBSCRIBE", "ethusdt@trade", id=9) == {"result": None, "id": 9}
        assert ask(client, "SUBSCRIBE", "btcusdt@trade", "bnbusdt@trade") == {
            "result": None,
            "id": 1,
        }
        assert receive_ids(client, 20) == [trade.id for trade in TRADES]
        assert exchange.wait_finished(PATIENCE)
        assert exchange.state()["connections"] == [["btcusdt@trade", "bnbusdt@trade"]]


def test_the_envelope_of_messages_can_be_enabled(exchange: LocalExchange) -> None:
    with connect(exchange.ws_url + "/ws") as client:
        assert ask(client, "GET_PROPERTY", "combined")["result"] is False
        assert ask(client, "SET_PROPERTY", "combined", True)["result"] is None
        assert ask(client, "GET_PROPERTY", "combined")["result"] is True
        assert ask(client, "SUBSCRIBE", "btcusdt@trade")["result"] is None
        assert receive(client)["stream"] == "btcusdt@trade"


@pytest.mark.parametrize(
    ("request_", "code", "words", "id_"),
    [
        ("{", 3, "Invalid JSON", None),
        ("[]", 2, "not an object", None),
        ('{"method":"SUBSCRIBE","params":["btcusdt@trade"]}', 2, "request ID", None),
        ('{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1.5}', 2, "request ID", None),
        ('{"method":"SUBSRIBE","params":[],"id":4}', 2, "unknown variant `SUBSRIBE`", 4),
        ('{"method":"SUBSCRIBE","params":["btcusdt"],"id":"a"}', 2, "invalid stream", "a"),
        ('{"method":"SUBSCRIBE","id":5}', 2, "params", 5),
        ('{"method":"SET_PROPERTY","params":["combined","yes"],"id":6}', 1, "expected Boolean", 6),
        ('{"method":"GET_PROPERTY","params":["colour"],"id":6}', 0, "Unknown property", 6),
    ],
)
def test_bad_requests_are_answered(
    exchange: LocalExchange, request_: str, code: int, words: str, id_: Any
) -> None:
    with connect(exchange.ws_url + "/ws") as client:
        client.send(request_)
        answer = receive(client)
        assert (answer["error"]["code"], answer["id"]) == (code, id_)
        assert words in answer["error"]["msg"]
        assert ask(client, "LIST_SUBSCRIPTIONS")["result"] == []


def test_an_error_names_the_methods(exchange: LocalExchange) -> None:
    with connect(exchange.ws_url + "/ws") as client:
        message = ask(client, "ORDER")["error"]["msg"]
        assert all(method in message for method in METHODS)


@pytest.mark.parametrize("path", ["/", "/streams", "/ws/btcusdt@trade?timeUnit=SECOND"])
def test_other_paths_are_refused(exchange: LocalExchange, path: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(exchange.ws_url + path)
    assert refused.value.response.status_code == 400


@pytest.mark.parametrize("path", ["", "*", "//[", "/ws-api/v3", "http://x/ws"])
def test_odd_paths_are_no_streams(path: str) -> None:
    with pytest.raises(BadRequest):
        parse_path(path, 1024)


@pytest.mark.parametrize(
    ("path", "streams", "wording"),
    [
        ("/ws", [], Wording(False, False)),
        ("/ws/a@trade/b@trade", ["a@trade", "b@trade"], Wording(False, False)),
        ("/stream/?streams=a@trade/a@trade", ["a@trade"], Wording(True, False)),
        ("/stream?streams=a%40trade&timeUnit=microsecond", ["a@trade"], Wording(True, True)),
    ],
)
def test_paths_name_streams_and_their_wording(
    path: str, streams: list[str], wording: Wording
) -> None:
    assert parse_path(path, 1024) == (streams, wording)


def test_the_streams_of_a_connection_are_limited() -> None:
    with LocalExchange(TRADES, limits=Limits(streams=2)) as exchange:
        with pytest.raises(InvalidStatus):
            connect(exchange.ws_url + "/ws/a@trade/b@trade/c@trade")
        with connect(exchange.ws_url + "/ws/a@trade/b@trade") as client:
            assert "more than 2 streams" in ask(client, "SUBSCRIBE", "c@trade")["error"]["msg"]
            assert ask(client, "LIST_SUBSCRIPTIONS")["result"] == ["a@trade", "b@trade"]
            assert ask(client, "SUBSCRIBE", "b@trade")["result"] is None


def test_1024_streams_can_be_subscribed_to(exchange: LocalExchange) -> None:
    streams = [f"coin{number}usdt@trade" for number in range(1024)]
    with connect(exchange.ws_url + "/stream") as client:
        assert ask(client, "SUBSCRIBE", *streams)["result"] is None
        assert "error" in ask(client, "SUBSCRIBE", "btcusdt@trade")


@pytest.mark.parametrize("ping", [False, True])
def test_too_many_messages_end_the_connection(exchange: LocalExchange, ping: bool) -> None:
    with connect(exchange.ws_url + "/ws") as client:
        # Sent at once, so that they arrive within a second even on a slow machine.
        for _ in range(6):
            if ping:
                client.protocol.send_ping(b"")
            else:
                client.protocol.send_text(b'{"method":"LIST_SUBSCRIPTIONS","id":1}')
        client.socket.sendall(b"".join(client.protocol.data_to_send()))
        messages, closed = receive_all(client)
        assert len(messages) <= 6
        assert closed.rcvd is not None
        assert (closed.rcvd.code, closed.rcvd.reason) == (1008, "Too many requests")


def test_new_connections_of_an_address_are_limited() -> None:
    with LocalExchange(TRADES, limits=Limits(connections=2)) as exchange:
        for _ in range(2):
            with connect(exchange.ws_url + "/ws"):
                pass
        with pytest.raises(InvalidStatus) as refused:
            connect(exchange.ws_url + "/ws")
        assert refused.value.response.status_code == 429
        assert get(exchange.rest_url + "/api/v3/ping").status == 200


def test_a_client_that_does_not_answer_pings_is_disconnected() -> None:
    with (
        LocalExchange(TRADES, limits=Limits(ping=0.05, pong=0.1)) as exchange,
        _dumb_client(exchange, "/ws") as client,
    ):
        received = b"".join(iter(lambda: client.recv(4096), b""))
        assert received.endswith((1011).to_bytes(2, "big") + b"keepalive ping timeout")


def test_pongs_count_as_messages() -> None:
    limits = Limits(ping=0.01, pong=PATIENCE, messages=2)
    with (
        LocalExchange(TRADES, limits=limits) as exchange,
        connect(exchange.ws_url + "/ws") as client,
    ):
        _, closed = receive_all(client)
        assert closed.rcvd is not None
        assert closed.rcvd.code == 1008


def test_the_end_of_a_connection_is_announced() -> None:
    limits = Limits(lifetime=0.4, notice=0.3)
    with LocalExchange(TRADES, limits=limits) as exchange:
        with connect(exchange.ws_url + "/stream") as client:
            messages, closed = receive_all(client)
            assert [message["stream"] for message in messages] == ["!serverShutdown"]
            assert messages[0]["data"]["e"] == "serverShutdown"
            assert closed.rcvd is not None
            assert closed.rcvd.code == 1001
        with connect(exchange.ws_url + "/ws") as client:
            messages, closed = receive_all(client)
            assert [message["e"] for message in messages] == ["serverShutdown"]


@pytest.mark.slow
def test_a_slow_reader_is_cut_instead_of_buffered_without_end() -> None:
    # Far more than the socket buffers of both sides hold.
    trades = make_trades(60_000)
    limits = Limits(backlog=1_000)
    with (
        LocalExchange(trades, speed=1e9, limits=limits) as exchange,
        _dumb_client(exchange, "/ws/btcusdt@trade"),
    ):
        assert exchange.wait_finished(PATIENCE)
        eventually(lambda: exchange.state()["connections"] == [])
        assert len(exchange.played("BTCUSDT")) == 60_000


def test_at_full_speed_the_play_waits_for_its_readers() -> None:
    trades = make_trades(60_000)
    limits = Limits(backlog=1_000, patience=PATIENCE)
    with (
        LocalExchange(trades, limits=limits) as exchange,
        connect(exchange.ws_url + "/ws/btcusdt@trade") as client,
    ):
        assert receive_ids(client, 60_000) == [trade.id for trade in trades]


@pytest.mark.slow
def test_a_reader_that_stays_slow_is_disconnected() -> None:
    last = make_trades(20, "ETHUSDT")  # so few that their reader is never too slow
    limits = Limits(backlog=1_000, patience=0.2)
    with (
        LocalExchange([*make_trades(60_000), *last], wait_for=2, limits=limits) as exchange,
        _dumb_client(exchange, "/ws/btcusdt@trade"),
        connect(exchange.ws_url + "/ws/ethusdt@trade") as client,
    ):
        assert receive_ids(client, 20) == [trade.id for trade in last]
        eventually(lambda: exchange.state()["connections"] == [["ethusdt@trade"]])


def _dumb_client(exchange: LocalExchange, path: str) -> socket.socket:
    """Return a client that completes the handshake, and then neither reads nor answers."""
    server = urlsplit(exchange.ws_url)
    assert server.hostname
    assert server.port
    client = socket.create_connection((server.hostname, server.port), timeout=PATIENCE)
    key = base64.b64encode(os.urandom(16)).decode()
    client.sendall(
        f"GET {path} HTTP/1.1\r\nHost: {server.netloc}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
        "\r\n".encode()
    )
    assert client.recv(12) == b"HTTP/1.1 101"
    return client
