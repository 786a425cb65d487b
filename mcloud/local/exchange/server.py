"""The local exchange: one port of loopback on which a feed is traded.

WebSocket and REST share the port. `websockets` reads the requests and answers those that are no
WebSocket as well, one on a connection.
"""

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict
from functools import partial
from http import HTTPStatus
from itertools import chain, islice
from random import Random
from ssl import SSLContext
from typing import Any
from urllib.parse import parse_qsl

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.frames import CloseCode
from websockets.http11 import Request as HttpRequest
from websockets.http11 import Response

from mcloud.errors import UsageError
from mcloud.feed.pace import pace
from mcloud.local.exchange.aggregates import Aggregate
from mcloud.local.exchange.bars import SECOND
from mcloud.local.exchange.events import (
    aggregate_event,
    book_event,
    dump,
    kline_event,
    mini_ticker,
    ticker,
    trade_event,
)
from mcloud.local.exchange.faults import Fault, Faults, Wire, parse_fault
from mcloud.local.exchange.feeds import repeat
from mcloud.local.exchange.ledger import Ledger
from mcloud.local.exchange.limits import Limits, Window
from mcloud.local.exchange.markets import Market
from mcloud.local.exchange.reader import Connection, Reader, Wording, parse_path
from mcloud.local.exchange.rest import Answer, Request, Rest
from mcloud.local.exchange.streams import BadRequest, Stream, Topic
from mcloud.market.trade import Trade

HOST = "127.0.0.1"
CONTROL = "/_mcloud/"
CLOSE_TIMEOUT = 1.0  # seconds that a client may take to say goodbye
CHUNK = 64  # trades played between two turns of everybody else
MOST_BARS = 1_000  # that a kline stream catches up with after a time without trades
CLOCKED = ("kline", "ticker", "miniTicker")
"""Kinds of streams that are sent once a second of the play."""
_TICKERS = {"ticker": ticker, "miniTicker": mini_ticker}
LOOK_AHEAD = 1_000  # trades read before the play begins, to know the symbols


class ExchangeServer:
    """Plays trades to its clients; everything happens in one event loop.

    Args:
        trades: in the order in which they are made.
        speed: as in ``mcloud.feed.pace``; None plays as fast as the clients read.
        wait_for: streams of any kind that must be subscribed to before the play begins.
        endless: begin again at the end, with ids and times that go on.
        seed: of the shuffling.
        symbols: listed by exchangeInfo before they trade; those of the first trades are as well.
        tls: speak ``wss`` and ``https`` only.
    """

    def __init__(
        self,
        trades: Iterable[Trade],
        *,
        speed: float | None,
        wait_for: int,
        endless: bool,
        limits: Limits,
        seed: int,
        symbols: Collection[str],
        tls: SSLContext | None,
    ) -> None:
        played = iter(repeat(trades) if endless else trades)
        head = list(islice(played, LOOK_AHEAD))
        self._trades = chain(head, played)
        self._listed = dict.fromkeys([*symbols, *(trade.symbol for trade in head)])
        self._speed = speed
        self._wait_for = wait_for
        self._limits = limits
        self._faults = Faults()
        self._wire = Wire(self._faults, Random(seed))
        self._readers: dict[Reader, None] = {}
        self._sent: dict[Topic, list[tuple[str, Reader]]] = {}
        self._clocked: list[Stream] = []
        self._second = 0
        self._traded: set[str] = set()  # since the clocked streams had their last events
        self._bars: dict[Topic, int] = {}  # starts of the bars that klines are at
        self._connections: dict[str, Window] = {}
        self._begun = asyncio.Event()
        self.finished = False
        """True when all trades are made and all clients have what they are to get."""
        self.ledger = Ledger()
        self.voids: dict[str, dict[int, str]] = defaultdict(dict)
        """By symbol and id, why there is no such trade: one of ``faults.REASONS``."""
        self._tls = tls
        self._rest = Rest(
            self.ledger, self._faults, limits, symbols=lambda: self.symbols, clock=time.time
        )

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*self._listed, *self.ledger.tape.symbols]))

    async def run(
        self,
        port: int,
        *,
        on_start: Callable[[int], None],
        on_finish: Callable[[], None],
        stop: asyncio.Event,
    ) -> None:
        """Serve until ``stop``; ``on_start`` is told the port. Errors of the feed end it."""
        self._loop = asyncio.get_running_loop()
        if not self._wait_for:
            self._begun.set()
        async with self._listen(port) as server:
            on_start(next(iter(server.sockets)).getsockname()[1])
            play = asyncio.create_task(self._play(on_finish))
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait([play, stopped], return_when=asyncio.FIRST_COMPLETED)
            if play.done():
                play.result()
            await stopped
            play.cancel()

    def begin(self) -> None:
        """Begin to play, whoever listens."""
        self._begun.set()

    def fault(self, fault: Fault) -> None:
        """Let something go wrong, now."""
        self._faults.begin(fault, self._loop.time())
        match fault.kind:
            case "cut":
                for reader in list(self._readers)[: fault.count]:
                    reader.cut()
            case "repeat":
                self._send(self._wire.repeat(fault.count or 0))
            case "reorder" if fault.seconds is not None:
                self._loop.call_later(fault.seconds, self._flush)
            case "shutdown":
                pause = self._limits.notice if fault.seconds is None else fault.seconds
                for reader in self._readers:
                    reader.announce_shutdown()
                    self._loop.call_later(pause, reader.close, CloseCode.GOING_AWAY)

    def lift(self) -> None:
        """End the faults that go on."""
        self._faults.lift()
        self._flush()

    def state(self) -> dict[str, Any]:
        """How far the play is, for a program."""
        return {
            "symbols": {symbol: self.ledger.tape.count(symbol) for symbol in self.symbols},
            "voids": {symbol: len(voids) for symbol, voids in self.voids.items()},
            "begun": self._begun.is_set(),
            "finished": self.finished,
            "connections": [reader.streams for reader in self._readers],
            "faults": self._faults.names(self._loop.time()),
        }

    def _listen(self, port: int) -> Server:
        return serve(
            self._serve,
            HOST,
            port,
            ssl=self._tls,
            process_request=self._process_request,
            create_connection=Connection,
            compression=None,  # Binance offers none
            ping_interval=self._limits.ping,
            ping_timeout=self._limits.pong,
            close_timeout=CLOSE_TIMEOUT,
            server_header=None,
        )

    async def _play(self, on_finish: Callable[[], None]) -> None:
        await self._begun.wait()
        waits: list[float] = []
        paced = pace(self._trades, self._speed, clock=self._loop.time, sleep=waits.append)
        for number, trade in enumerate(paced):
            if waits:
                self._settle()
                await asyncio.sleep(waits.pop())
            elif number % CHUNK == 0:
                await self._breathe()
            self._make(trade)
        self._flush()
        self._settle()
        self._tick(self.ledger.now)
        for reader in list(self._readers):
            await reader.has_all()
        self.finished = True
        on_finish()

    def _make(self, trade: Trade) -> None:
        if trade.time // SECOND > self._second:
            self._tick(trade.time)
            self._second = trade.time // SECOND
        now = self._loop.time()
        reason = "NA" if trade.is_void else self._faults.void(trade, now)
        if reason:
            self.voids[trade.symbol][trade.id] = reason
        else:
            closed = self.ledger.add(trade)
            self._traded.add(trade.symbol)
        self._send(self._wire.put(trade, now))
        if not reason:
            self._send_aggregates([closed] if closed else [])
            self._send_book(trade.symbol)

    async def _breathe(self) -> None:
        """Let the others run; at full speed, wait for the slowest client."""
        await asyncio.sleep(0)
        if self._speed is None:
            for reader in list(self._readers):
                await reader.has_room()

    def _flush(self) -> None:
        self._send(self._wire.flush())

    def _settle(self) -> None:
        """No further trade has the time of the newest: what it belongs to is complete."""
        self._send_aggregates(self.ledger.aggregates.settle())

    def _send(self, trades: Iterable[Trade]) -> None:
        for trade in trades:
            reason = self.voids[trade.symbol].get(trade.id, "MARKET")
            if reason == "MARKET" or Market.of(trade.symbol) is not Market.SPOT:
                self._publish(("trade", trade.symbol), partial(trade_event, trade, kind=reason))

    def _send_aggregates(self, aggregates: Iterable[Aggregate]) -> None:
        for each in aggregates:
            if not self._is_stalled(each.symbol):
                self._publish(("aggTrade", each.symbol), partial(aggregate_event, each))

    def _send_book(self, symbol: str) -> None:
        if not self._is_stalled(symbol):
            write = partial(book_event, symbol, self.ledger.book(symbol))
            self._publish(("bookTicker", symbol), write)
            self._publish(("bookTicker", ""), write, Market.of(symbol))

    def _tick(self, time: int) -> None:
        """Send what is sent once a second of the play: klines and tickers, before ``time``."""
        for stream in self._clocked:
            if stream.kind == "kline":
                self._send_klines(stream, time)
            elif stream.symbol:
                self._send_day(stream)
            else:
                self._send_days(stream)
        self._traded.clear()

    def _send_klines(self, stream: Stream, time: int) -> None:
        symbol, interval, ledger = stream.symbol, stream.interval, self.ledger
        assert interval
        newest = ledger.newest(symbol)
        if newest is None or self._is_stalled(symbol):
            return
        current = interval.start(time)
        traded = symbol in self._traded
        first = self._bars.get(stream.topic, interval.start(newest.time) if traded else current)
        over = ledger.klines(symbol, interval, first, current - 1, MOST_BARS, time)
        now = ledger.klines(symbol, interval, current, current, 1, time) if traded else []
        for start, bar in (*over, *now):
            closed = start < current
            if bar.trades or closed:
                said = partial(kline_event, symbol, interval, start, bar)
                self._publish(stream.topic, partial(said, closed=closed, now=ledger.now))
        self._bars[stream.topic] = current

    def _send_day(self, stream: Stream) -> None:
        if stream.symbol in self._traded and not self._is_stalled(stream.symbol):
            day, describe = self.ledger.day(stream.symbol), _TICKERS[stream.kind]
            self._publish(
                stream.topic, lambda microseconds: dump(describe(day, microseconds=microseconds))
            )

    def _send_days(self, stream: Stream) -> None:
        """As Binance does, name only the symbols that were traded since the last time."""
        days = [self.ledger.day(each) for each in self._traded if not self._is_stalled(each)]
        describe = _TICKERS[stream.kind]
        for name, reader in self._sent.get(stream.topic, ()):
            route, microseconds = reader.wording.route, reader.wording.microseconds
            said = [
                describe(day, microseconds=microseconds)
                for day in days
                if Market.of(day.symbol) in route.markets
            ]
            if said:
                reader.offer(_wrap(name, dump(said), reader.wording))

    def _is_stalled(self, symbol: str) -> bool:
        return bool(self._faults.active("stall", self._loop.time(), symbol))

    def _publish(
        self, topic: Topic, write: Callable[..., str], market: Market | None = None
    ) -> None:
        """Send an event to all who have its stream.

        Args:
            write: words it, with ``microseconds`` or without.
            market: of a stream of all symbols, so that other markets do not get it.
        """
        messages: dict[tuple[str, Wording], str] = {}
        for name, reader in self._sent.get(topic, ()):
            wording = reader.wording
            if market and market not in wording.route.markets:
                continue
            message = messages.get((name, wording))
            if message is None:
                event = write(microseconds=wording.microseconds)
                message = messages[name, wording] = _wrap(name, event, wording)
            reader.offer(message)

    async def _serve(self, connection: ServerConnection) -> None:
        assert isinstance(connection, Connection)
        reader = Reader(
            connection,
            self._limits,
            self._faults,
            on_change=self._index,
            wall_clock=time.time,
        )
        self._readers[reader] = None
        try:
            await reader.serve()
        finally:
            del self._readers[reader]
            self._index()

    def _index(self) -> None:
        sent: dict[Topic, list[tuple[str, Reader]]] = defaultdict(list)
        clocked: dict[Topic, Stream] = {}
        for reader in self._readers:
            for stream in reader.sent:
                sent[stream.topic].append((stream.name, reader))
                if stream.kind in CLOCKED:
                    clocked[stream.topic] = stream
        self._sent = sent
        self._clocked = list(clocked.values())
        self._bars = {topic: start for topic, start in self._bars.items() if topic in clocked}
        if len({name for reader in self._readers for name in reader.streams}) >= self._wait_for:
            self._begun.set()

    def _process_request(
        self, connection: ServerConnection, request: HttpRequest
    ) -> Response | None:
        if request.path.startswith(CONTROL):
            return _respond(self._control(request.path))
        address = connection.remote_address[0]
        if "Upgrade" in request.headers:
            return self._refusal(connection, request.path, address)
        unit = request.headers.get("X-MBX-TIME-UNIT", "").upper()
        asked = Request(
            request.path,
            address,
            microseconds=unit == "MICROSECOND",
            has_key="X-MBX-APIKEY" in request.headers,
        )
        return _respond(self._rest.answer(asked, self._loop.time()))

    def _refusal(self, connection: ServerConnection, path: str, address: str) -> Response | None:
        """Why a client gets no stream, or None where it does."""
        now = self._loop.time()
        if fault := self._faults.take("refuse", now):
            if fault.status is None:
                connection.transport.abort()
            return connection.respond(HTTPStatus(fault.status or 503), "Refused.\n")
        limits = self._limits
        window = self._connections.setdefault(
            address, Window(limits.connections, limits.connections_period)
        )
        if not window.allows(now):
            return connection.respond(HTTPStatus.TOO_MANY_REQUESTS, "Too many connections.\n")
        try:
            parse_path(path, limits.streams)
        except BadRequest as bad:
            return _respond(Answer(400, {"error": {"code": bad.code, "msg": str(bad)}, "id": None}))
        return None

    def _control(self, path: str) -> Answer:
        """What a program says that has no Python object of ours."""
        command, _, query = path.removeprefix(CONTROL).partition("?")
        match command:
            case "state":
                return Answer(200, self.state())
            case "begin":
                self.begin()
                return Answer(200, self.state())
            case "lift":
                self.lift()
                return Answer(200, self.state())
            case "fault":
                try:
                    fault = parse_fault(dict(parse_qsl(query)))
                except UsageError as error:
                    return Answer(400, {"error": str(error)})
                self.fault(fault)
                return Answer(200, {k: v for k, v in asdict(fault).items() if v is not None})
        return Answer(404, {"error": "there is state, begin, lift and fault"})


def _wrap(stream: str, event: str, wording: Wording) -> str:
    return f'{{"stream":"{stream}","data":{event}}}' if wording.combined else event


def _respond(answer: Answer) -> Response:
    body = json.dumps(answer.content, separators=(",", ":")).encode()
    headers = Headers(
        {
            "Content-Type": "application/json;charset=UTF-8",
            "Content-Length": str(len(body)),
            "Connection": "close",
            **answer.headers,
        }
    )
    status = HTTPStatus(answer.status)
    return Response(status.value, status.phrase, headers, body)
