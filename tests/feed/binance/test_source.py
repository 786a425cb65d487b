"""The live source with servers that cut, close, stall, refuse or send nonsense."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import rude
from websockets.asyncio.server import ServerConnection
from websockets.frames import Frame, Opcode
from websockets.utils import accept_key

from mcloud.clouds.access import FAULT
from mcloud.config import ExchangeConfig
from mcloud.doctor import machine
from mcloud.errors import Refused
from mcloud.feed.binance.connection import LARGEST, Timing
from mcloud.feed.binance.endpoints import endpoints
from mcloud.feed.binance.source import BinanceSource, SourceState
from mcloud.market.trade import Trade

from .server import Server, running, trade

QUICK = Timing(
    open=5,
    silence=30,
    lifetime=(3600, 3600),
    quiet=0.3,
    overlap=0.05,
    control=0.01,
    first_backoff=0.02,
    longest_backoff=0.1,
    healthy=0.2,
)
PATIENCE = 30.0  # seconds; far more than anything here takes


@contextmanager
def reading(
    server: Server, *symbols: str, **options: Any
) -> Iterator[tuple[BinanceSource, "Consumer"]]:
    options = {"timing": QUICK} | options
    source = BinanceSource(endpoints(ws_url=server.url), symbols or ["BTCUSDT"], **options)
    consumer = Consumer(source)
    try:
        yield source, consumer
    finally:
        source.stop()
        consumer.rest()


class Consumer:
    """Reads chunks in the test's own thread."""

    def __init__(self, source: BinanceSource) -> None:
        self.trades: list[Trade] = []
        self.source = source
        self._chunks = source.chunks(0.02)

    @property
    def ids(self) -> list[int]:
        return [trade.id for trade in self.trades]

    @property
    def state(self) -> SourceState:
        return self.source.state

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, self.state
            self.trades += next(self._chunks)

    def rest(self) -> None:
        for chunk in self._chunks:
            self.trades += chunk


async def send(connection: ServerConnection, *ids: int) -> None:
    for id_ in ids:
        await connection.send(trade(id_))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def dense(ids: list[int]) -> bool:
    return set(range(min(ids), max(ids) + 1)) == set(ids)


def test_trades_come_in_order() -> None:
    with running(Server(Server.trade_on)) as server, reading(server) as (source, consumer):
        consumer.until(lambda: len(consumer.trades) >= 100)
        assert source.state.connections[0].open
        age = source.state.ages["BTCUSDT"]
        assert age is not None
        assert age < PATIENCE
    assert consumer.ids == sorted(set(consumer.ids))
    assert dense(consumer.ids)
    assert source.report.trades == len(consumer.ids)
    assert not source.state.connections[0].open
    assert server.asked == [["btcusdt@trade"]]


def test_without_trades_a_chunk_is_empty() -> None:
    async def nothing(server: Server, connection: ServerConnection) -> None:
        await connection.wait_closed()

    with running(Server(nothing)) as server, reading(server) as (source, consumer):
        assert next(source.chunks(0.01)) == []
        consumer.until(lambda: source.state.connections[0].open)
        assert source.state.ages == {"BTCUSDT": None}


def test_a_lost_connection_is_reopened_until_it_lasts() -> None:
    async def cut(server: Server, connection: ServerConnection) -> None:
        await asyncio.wait([asyncio.create_task(server.trade_on(connection))], timeout=0.05)
        connection.transport.abort()

    with (
        running(Server(cut, cut, cut, Server.trade_on)) as server,
        reading(server) as (source, consumer),
    ):
        consumer.until(lambda: server.opened == 4)
        newest = server.newest_id
        consumer.until(lambda: newest + 20 in consumer.ids)
        assert source.opened() == {"BTCUSDT"}
        assert source.opened() == set()
        assert source.state.connections[0].reconnects == 3
        assert source.state.connections[0].last_error
    # Trades in between are missing, and left to the repair.
    assert consumer.ids == sorted(set(consumer.ids))
    assert not dense(consumer.ids)


@pytest.mark.parametrize(
    ("healthy", "longest"), [(3600, [0.02, 0.04, 0.08, 0.1]), (0, [0.02, 0.02, 0.02, 0.02])]
)
def test_only_a_connection_that_lasted_resets_the_backoff(
    healthy: float, longest: list[float]
) -> None:
    async def cut(server: Server, connection: ServerConnection) -> None:
        connection.transport.abort()

    pauses: list[float] = []

    def jitter(low: float, high: float) -> float:
        if high <= QUICK.longest_backoff:
            pauses.append(high)
        return low

    options = {"timing": replace(QUICK, healthy=healthy), "jitter": jitter}
    with running(Server(cut)) as server, reading(server, **options) as (_, consumer):
        consumer.until(lambda: len(pauses) >= len(longest))
    assert pauses[: len(longest)] == longest


def test_a_rotation_loses_nothing() -> None:
    """Connections are short-lived, and both deliver before the old one is closed."""
    timing = replace(QUICK, lifetime=(0.15, 0.2))
    with (
        running(Server(Server.trade_on)) as server,
        reading(server, timing=timing) as (
            source,
            consumer,
        ),
    ):
        consumer.until(lambda: source.state.connections[0].rotations >= 5)
        assert source.state.connections[0].reconnects == 0
    assert dense(consumer.ids)
    assert len(set(consumer.ids)) < len(consumer.ids), "the connections did not overlap"
    for number in range(2, 6):
        assert server.log.index(f"open {number}") < server.log.index(f"close {number - 1}")


def test_an_announced_shutdown_is_a_rotation() -> None:
    async def announce(server: Server, connection: ServerConnection) -> None:
        await connection.send(json.dumps({"e": "serverShutdown", "E": 1}))
        await server.trade_on(connection)

    with (
        running(Server(announce, Server.trade_on)) as server,
        reading(server) as (source, consumer),
    ):
        consumer.until(lambda: source.state.connections[0].rotations == 1)
        state = source.state.connections[0]
        assert state.reconnects == 0
        assert "shutdown" in state.last_error
        consumer.until(lambda: "close 1" in server.log)
    assert server.log[:3] == ["open 1", "open 2", "close 1"]
    assert dense(consumer.ids)


def test_a_failed_replacement_does_not_affect_the_old_connection() -> None:
    async def announce(server: Server, connection: ServerConnection) -> None:
        await connection.send(json.dumps({"e": "serverShutdown", "E": 1}))
        await server.trade_on(connection)

    async def die(server: Server, connection: ServerConnection) -> None:
        connection.transport.abort()

    with (
        running(Server(announce, die, die, Server.trade_on)) as server,
        reading(server) as (source, consumer),
    ):
        consumer.until(lambda: source.state.connections[0].rotations == 1)
        assert source.state.connections[0].reconnects == 0
    assert dense(consumer.ids)
    assert server.log.index("open 4") < server.log.index("close 1")


def test_garbage_is_never_fatal() -> None:
    async def babble(server: Server, connection: ServerConnection) -> None:
        garbage = ("", "nonsense", b"\xff\x00", "[]", '{"data":{"e":"trade"}}', "[" * 99_999)
        for number, each in enumerate(garbage, start=1):
            await connection.send(each)
            await send(connection, number)
        await connection.wait_closed()

    with running(Server(babble)) as server, reading(server) as (source, consumer):
        consumer.until(lambda: len(consumer.trades) == 6)
        assert consumer.ids == [1, 2, 3, 4, 5, 6]
        assert source.report.bad == 6
        assert [each.line for each in source.report.bad_examples] == [1, 3, 5, 7, 9]
        assert source.state.connections[0].reconnects == 0


def test_messages_in_fragments_count_too() -> None:
    async def fragment(server: Server, connection: ServerConnection) -> None:
        for id_ in range(1, 50):
            text = trade(id_)
            await connection.send([text[:40], text[40:]] if id_ % 2 else text)
        await connection.wait_closed()

    with running(Server(fragment)) as server, reading(server) as (source, consumer):
        consumer.until(lambda: len(consumer.trades) == 49)
        assert sorted(consumer.ids) == list(range(1, 50))
        assert source.report.bad == 0


def test_a_trade_in_the_same_packet_as_the_handshake_is_read() -> None:
    server = Server()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server.port = listening.getsockname()[1]

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                request = b""
                while not request.endswith(b"\r\n\r\n"):
                    request += connection.recv(4096)
                headers = (line.partition(": ") for line in request.decode().splitlines())
                key = next(value for name, _, value in headers if name == "Sec-WebSocket-Key")
                connection.sendall(
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                    b"Connection: Upgrade\r\nSec-WebSocket-Accept: "
                    + accept_key(key).encode()
                    + b"\r\n\r\n"
                    + Frame(Opcode.TEXT, trade(7).encode()).serialize(mask=False)
                )
                connection.recv(4096)

        thread = threading.Thread(target=answer)
        thread.start()
        with reading(server) as (_, consumer):
            consumer.until(lambda: consumer.ids == [7])
        thread.join()


def test_a_protocol_error_costs_only_the_connection() -> None:
    async def too_long(server: Server, connection: ServerConnection) -> None:
        await send(connection, 1)
        await connection.send("x" * (2 << 20))
        await connection.wait_closed()

    with (
        running(Server(too_long, Server.trade_on)) as server,
        reading(server) as (source, consumer),
    ):
        consumer.until(lambda: len(consumer.trades) > 5)
        assert source.state.connections[0].reconnects == 1
    assert consumer.ids[0] == 1


def test_a_message_in_fragments_without_end_costs_the_connection_only() -> None:
    async def endless(server: Server, connection: ServerConnection) -> None:
        async def pieces() -> AsyncIterator[str]:
            while True:
                await asyncio.sleep(0)
                yield "x" * (LARGEST // 64)

        await send(connection, 1)
        await connection.send(pieces())

    with (
        running(Server(endless, Server.trade_on)) as server,
        reading(server) as (source, consumer),
    ):
        consumer.until(lambda: len(consumer.trades) > 5)
        assert source.state.connections[0].reconnects == 1


RUDE = {
    name: rude.ALL[name]
    for name in (
        *("silent", "drips its headers", "1xx without end", "a header without end"),
        *("a status line without end", "a body without end", "a chunk size without end"),
    )
}


def test_an_invalid_handshake_counts_as_one_failed_attempt(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """This concerns the producer, and `mcloud doctor`, which leaves no thread behind."""
    timing = replace(QUICK, open=0.3)
    with rude.serve_all(RUDE) as urls, ExitStack() as open_sources:
        before = {each for each in threading.enumerate() if each.name != "rude"}
        found = {}
        for name, url in urls.items():
            config: Any = SimpleNamespace(
                exchange=ExchangeConfig(ws_url=url.replace("http:", "ws:"))
            )
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(machine, "EXCHANGE_TIMEOUT", 0.3)
                found[name] = machine._stream(config).state
        assert found == dict.fromkeys(RUDE, FAULT)
        left = {each for each in threading.enumerate() if each.name != "rude"} - before
        wait_until(lambda: not any(each.is_alive() for each in left))
        for name, url in urls.items():
            server: Any = SimpleNamespace(url=url.replace("http:", "ws:"))
            source, consumer = open_sources.enter_context(reading(server, timing=timing))
            consumer.until(lambda source=source: bool(source.state.connections[0].last_error))
            assert consumer.trades == [], name
    assert caplog.records == []  # no traceback of a library reaches the user


def test_a_slow_consumer_stops_the_sender_and_loses_nothing() -> None:
    count = 12_000
    sent = 0
    padding = "x" * 1000  # more than the buffers of the sockets hold

    async def flood(server: Server, connection: ServerConnection) -> None:
        nonlocal sent
        for sent in range(1, count + 1):
            await connection.send(trade(sent, padding=padding))
        await connection.wait_closed()

    with running(Server(flood)) as server, reading(server, limit=500) as (source, consumer):
        consumer.until(lambda: bool(consumer.trades))
        wait_until(lambda: source.state.slowed)
        settled = -1
        while sent != settled:
            settled = sent
            time.sleep(0.1)
        assert sent < count, "the sender was not slowed"
        assert source.state.waiting < 500 + 3000
        consumer.until(lambda: len(consumer.trades) == count)
        assert not source.state.slowed
        assert source.state.slowed_seconds > 0
    assert consumer.ids == list(range(1, count + 1))


def test_a_consumer_that_leaves_keeps_no_connection_open() -> None:
    async def flood(server: Server, connection: ServerConnection) -> None:
        for id_ in range(1_000_000):
            await connection.send(trade(id_))

    with running(Server(flood)) as server:
        source = BinanceSource(endpoints(ws_url=server.url), ["BTCUSDT"], limit=500)
        next(source.chunks(PATIENCE))
        wait_until(lambda: source.state.slowed)
        source.stop()
        wait_until(lambda: "close 1" in server.log)


def test_a_dead_connection_is_noticed_and_a_pinging_one_is_not() -> None:
    async def dead(server: Server, connection: ServerConnection) -> None:
        await send(connection, 1)
        await connection.wait_closed()

    async def pinging(server: Server, connection: ServerConnection) -> None:
        await send(connection, 2)
        for _ in range(40):
            await connection.ping()
            await asyncio.sleep(0.05)
        await send(connection, 3)
        await connection.wait_closed()

    timing = replace(QUICK, silence=1.0)
    with (
        running(Server(dead, pinging)) as server,
        reading(server, timing=timing) as (source, consumer),
    ):
        consumer.until(lambda: consumer.ids == [1, 2, 3])
        assert source.state.connections[0].reconnects == 1
        assert source.state.connections[0].last_error == "nothing was received for 1 s"


def test_a_refused_first_connection_ends_it_with_a_remedy() -> None:
    with running(Server(Server.trade_on, statuses=(404,))) as server:
        source = BinanceSource(endpoints(ws_url=server.url), ["BTCUSDT"], timing=QUICK)
        with pytest.raises(Refused, match=r"answered 404 .* check --exchange"):
            list(source)


def test_refusals_that_may_pass_are_tried_again_with_backoff() -> None:
    waits: list[float] = []

    def jitter(low: float, high: float) -> float:
        waits.append(high)
        return high

    with (
        running(Server(Server.trade_on, statuses=(503, 429, 403, 502, 500))) as server,
        reading(server, jitter=jitter) as (source, consumer),
    ):
        consumer.until(lambda: len(consumer.trades) > 5)
        assert source.state.connections[0].last_error == "the exchange answered 500"
    assert waits[:6] == [0.02, 0.04, 0.08, 0.1, 0.1, 3600]


def test_a_404_later_on_is_tried_again() -> None:
    async def end(server: Server, connection: ServerConnection) -> None:
        await send(connection, 1)
        server.statuses.append(404)

    with (
        running(Server(end, Server.trade_on)) as server,
        reading(server) as (source, consumer),
    ):
        consumer.until(lambda: len(consumer.trades) > 5)
        assert source.state.connections[0].last_error == "the exchange answered 404"


def test_a_refused_connection_is_retried() -> None:
    server = Server(Server.trade_on)
    server.port = 1
    with reading(server) as (source, consumer):
        consumer.until(lambda: "Connect call failed" in source.state.connections[0].last_error)
        assert not source.state.connections[0].open


def test_many_symbols_are_spread_and_subscribed() -> None:
    async def listen(server: Server, connection: ServerConnection) -> None:
        mine = server.asked[-1]
        async for text in connection:
            request = json.loads(text)
            mine += request["params"]
            await connection.send(json.dumps({"result": None, "id": request["id"]}))
            for stream in request["params"]:
                await connection.send(trade(1, stream.removesuffix("@trade").upper()))

    symbols = [f"SYMBOL{number}USDT" for number in range(500)]
    with (
        running(Server(listen)) as server,
        reading(server, *symbols, streams=250) as (source, consumer),
    ):
        consumer.until(lambda: sum(map(len, server.asked)) == 500)
        consumer.until(lambda: len(consumer.trades) > 250)
        assert [len(each.symbols) for each in source.state.connections] == [250, 250]
    asked = sorted(stream for streams in server.asked for stream in streams)
    assert asked == sorted(f"{symbol.lower()}@trade" for symbol in symbols)
    assert source.report.bad == 0


def test_stop_before_the_start_and_twice() -> None:
    source = BinanceSource(endpoints(ws_url="ws://127.0.0.1:1"), ["BTCUSDT"])
    source.stop()
    assert list(source.chunks(1)) == []
    source.stop()


def test_stop_from_another_thread_ends_the_iteration() -> None:
    with running(Server(Server.trade_on)) as server:
        source = BinanceSource(endpoints(ws_url=server.url), ["BTCUSDT"], timing=QUICK)
        threading.Timer(0.1, source.stop).start()
        assert dense([trade.id for trade in source])
    assert server.log == ["open 1", "close 1"]


def test_without_history_the_user_is_warned() -> None:
    assert BinanceSource(endpoints("binance"), ["BTCUSDT"]).warnings == ()
    (warning,) = BinanceSource(endpoints("binance-data"), ["BTCUSDT"]).warnings
    assert "--rest-url" in warning
