"""The local exchange: one port on loopback, on which a feed is traded.

WebSocket, REST and published files share the port. `websockets` reads all requests and also
answers those that are not for a WebSocket, one per connection.
"""

import asyncio
import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import asdict
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
from mcloud.local.exchange.bars import SECOND
from mcloud.local.exchange.downloads import PATH as DOWNLOADS
from mcloud.local.exchange.downloads import Downloads, FileAnswer
from mcloud.local.exchange.faults import Fault, Faults, Wire, parse_fault
from mcloud.local.exchange.feeds import repeat
from mcloud.local.exchange.ledger import TradeLedger
from mcloud.local.exchange.limits import Limits, RateWindow
from mcloud.local.exchange.publisher import Publisher
from mcloud.local.exchange.reader import Connection, RecordingReader, parse_path
from mcloud.local.exchange.rest import Request, Rest, RestAnswer
from mcloud.local.exchange.streams import BadRequest
from mcloud.market.trade import Trade

HOST = "127.0.0.1"
CONTROL = "/_mcloud/"
TRADING = "TRADING"  # status of a symbol, as in exchangeInfo
CLOSE_TIMEOUT = 1.0  # seconds that a client may take for the closing handshake
CHUNK = 64  # number of trades played before other tasks run
LOOK_AHEAD = 1_000  # number of trades read before the playback begins, to know the symbols


class ExchangeServer:
    """Plays trades to its clients, all in one event loop.

    Args:
        trades: in the order in which they are made.
        speed: as in ``mcloud.feed.pace``; None plays as fast as the clients read.
        wait_for: streams of any kind that must be subscribed to before the playback begins.
        endless: begin again at the end, with continuing ids and times.
        history: length of time in seconds, from the first trade on, of which the trades are made
            before the exchange listens. They are not sent to any client.
        seed: seed of the shuffling.
        symbols: symbols that exchangeInfo lists before they trade, besides those of the first
            trades.
        tls: serve ``wss`` and ``https`` only.
    """

    def __init__(
        self,
        trades: Iterable[Trade],
        *,
        speed: float | None,
        wait_for: int,
        endless: bool,
        history: float,
        limits: Limits,
        seed: int,
        symbols: Collection[str],
        tls: SSLContext | None,
    ) -> None:
        played = iter(repeat(trades) if endless else trades)
        self.ledger = TradeLedger()
        head = self._make_history(played, history) + list(islice(played, LOOK_AHEAD))
        self._trades = chain(head, played)
        self._listed = dict.fromkeys([*symbols, *(trade.symbol for trade in head)])
        self._statuses: dict[str, str] = {}
        """Status of each symbol that is not trading; empty for a symbol that is not listed."""
        self._untraded: Counter[str] = Counter()
        """Number of trades of the feed that were not made because their symbol was not trading."""
        self._speed = speed
        self._wait_for = wait_for
        self._limits = limits
        self._faults = Faults()
        self._wire = Wire(self._faults, Random(seed))
        self._readers: dict[RecordingReader, None] = {}
        self._second = 0
        self._connections: dict[str, RateWindow] = {}
        self._begun = asyncio.Event()
        self.finished = False
        """Whether all trades are made and all clients have received their messages."""
        self.voids: dict[str, dict[int, str]] = defaultdict(dict)
        """By symbol and id, the reason why there is no such trade: one of ``faults.REASONS``."""
        self._tls = tls
        self._publisher = Publisher(
            self.ledger, self._faults, self.voids, clock=lambda: self._loop.time()
        )
        self._rest = Rest(
            self.ledger, self._faults, limits, symbols=lambda: self.statuses, clock=time.time
        )
        self._downloads = Downloads(self.ledger, lambda: self.finished)

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(self.statuses)

    @property
    def statuses(self) -> dict[str, str]:
        """Return the status of each listed symbol, such as TRADING or BREAK."""
        known = dict.fromkeys([*self._listed, *self.ledger.tape.symbols, *self._statuses])
        statuses = {symbol: self._statuses.get(symbol, TRADING) for symbol in known}
        return {symbol: status for symbol, status in statuses.items() if status}

    def set_status(self, symbol: str, status: str) -> None:
        """List a symbol, halt it or, with an empty status, delist it.

        While it is not TRADING, its trades of the feed are not made. The ids of later trades follow
        without a gap.
        """
        self._statuses[symbol] = status

    async def run(
        self,
        port: int,
        *,
        on_start: Callable[[int], None],
        on_finish: Callable[[], None],
        stop: asyncio.Event,
    ) -> None:
        """Serve until ``stop``. ``on_start`` is called with the port. Errors of the feed end it."""
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
        """Begin the playback, even if no client is connected."""
        self._begun.set()

    def fault(self, fault: Fault) -> None:
        """Start a fault now."""
        self._faults.begin(fault, self._loop.time())
        match fault.kind:
            case "cut":
                for reader in list(self._readers)[: fault.count]:
                    reader.cut()
            case "repeat":
                self._publisher.send_trades(self._wire.repeat(fault.count or 0))
            case "reorder" if fault.seconds is not None:
                self._loop.call_later(fault.seconds, self._flush)
            case "shutdown":
                pause = self._limits.notice if fault.seconds is None else fault.seconds
                for reader in self._readers:
                    reader.announce_shutdown()
                    self._loop.call_later(pause, reader.close, CloseCode.GOING_AWAY)

    def lift(self) -> None:
        """End the current faults."""
        self._faults.lift()
        self._flush()

    def state(self) -> dict[str, Any]:
        """Return the progress of the playback as plain data, for programs."""
        return {
            "symbols": {symbol: self.ledger.tape.count(symbol) for symbol in self.symbols},
            "voids": {symbol: len(voids) for symbol, voids in self.voids.items()},
            "begun": self._begun.is_set(),
            "finished": self.finished,
            "connections": [reader.streams for reader in self._readers],
            "faults": self._faults.names(self._loop.time()),
        }

    def _make_history(self, played: Iterator[Trade], seconds: float) -> list[Trade]:
        """Make the trades of the first ``seconds``. Return the first trade after them, if any."""
        end = 0
        for trade in played if seconds else ():
            end = end or trade.time + int(seconds * 1000)
            if trade.time >= end:
                return [trade]
            if not trade.is_void:
                self.ledger.add(trade)
        return []

    def _listen(self, port: int) -> Server:
        return serve(
            self._serve,
            HOST,
            port,
            ssl=self._tls,
            process_request=self._process_request,
            create_connection=Connection,
            compression=None,  # Binance offers no compression
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
            if self._statuses.get(trade.symbol, TRADING) != TRADING:
                self._untraded[trade.symbol] += 1
                continue
            if untraded := self._untraded[trade.symbol]:
                trade = trade._replace(id=trade.id - untraded)
            self._make(trade)
        self._flush()
        self._settle()
        self._publisher.tick(max(self.ledger.now, self._second * SECOND))
        for reader in list(self._readers):
            await reader.has_all()
        self.finished = True
        on_finish()

    def _make(self, trade: Trade) -> None:
        if trade.time // SECOND > self._second:
            self._publisher.tick(trade.time)
            self._second = trade.time // SECOND
        now = self._loop.time()
        if reason := "NA" if trade.is_void else self._faults.void(trade, now):
            self.voids[trade.symbol][trade.id] = reason
            self._publisher.send_trades(self._wire.put(trade, now))
            return
        closed = self.ledger.add(trade)
        self._publisher.send_trades(self._wire.put(trade, now))
        self._publisher.send_aggregates([closed] if closed else [])
        self._publisher.send_book(trade.symbol)

    async def _breathe(self) -> None:
        """Let other tasks run. At full speed, wait for the slowest client."""
        await asyncio.sleep(0)
        if self._speed is None:
            for reader in list(self._readers):
                await reader.has_room()

    def _flush(self) -> None:
        self._publisher.send_trades(self._wire.flush())

    def _settle(self) -> None:
        """Complete the aggregates and bars of the newest time, to which no further trade will
        belong.
        """
        self._publisher.send_aggregates(self.ledger.aggregates.settle())

    async def _serve(self, connection: ServerConnection) -> None:
        assert isinstance(connection, Connection)
        reader = RecordingReader(
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
        self._publisher.index(self._readers)
        if len({name for reader in self._readers for name in reader.streams}) >= self._wait_for:
            self._begun.set()

    def _process_request(
        self, connection: ServerConnection, request: HttpRequest
    ) -> Response | None:
        if request.path.startswith(CONTROL):
            return _respond(self._control(request.path))
        if request.path.startswith(DOWNLOADS):
            if failure := self._rest.failure(self._loop.time()):
                return _respond(failure)
            answer = self._downloads.answer(request.path, request.headers.get("Range", ""))
            return _respond_file(answer)
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
        """Return why a client gets no stream, or None if it gets one."""
        now = self._loop.time()
        if fault := self._faults.take("refuse", now):
            if fault.status is None:
                connection.transport.abort()
            return connection.respond(HTTPStatus(fault.status or 503), "Refused.\n")
        limits = self._limits
        window = self._connections.setdefault(
            address, RateWindow(limits.connections, limits.connections_period)
        )
        if not window.allows(now):
            return connection.respond(HTTPStatus.TOO_MANY_REQUESTS, "Too many connections.\n")
        try:
            parse_path(path, limits.streams)
        except BadRequest as bad:
            return _respond(
                RestAnswer(400, {"error": {"code": bad.code, "msg": str(bad)}, "id": None})
            )
        return None

    def _control(self, path: str) -> RestAnswer:
        """Handle a control request from a program that does not use the Python API."""
        command, _, query = path.removeprefix(CONTROL).partition("?")
        match command:
            case "state":
                return RestAnswer(200, self.state())
            case "begin":
                self.begin()
                return RestAnswer(200, self.state())
            case "lift":
                self.lift()
                return RestAnswer(200, self.state())
            case "status":
                wanted = dict(parse_qsl(query, keep_blank_values=True))
                if wanted.keys() != {"symbol", "status"}:
                    return RestAnswer(400, {"error": "status needs symbol and status"})
                self.set_status(wanted["symbol"], wanted["status"])
                return RestAnswer(200, self.state())
            case "fault":
                try:
                    fault = parse_fault(dict(parse_qsl(query)))
                except UsageError as error:
                    return RestAnswer(400, {"error": str(error)})
                self.fault(fault)
                return RestAnswer(200, {k: v for k, v in asdict(fault).items() if v is not None})
        return RestAnswer(
            404, {"error": "the control requests are state, begin, lift, status and fault"}
        )


def _respond(answer: RestAnswer) -> Response:
    body = json.dumps(answer.content, separators=(",", ":")).encode()
    headers = Headers(
        {
            "Content-Type": "application/json;charset=UTF-8",
            "Content-Length": str(len(body)),
            "Connection": "close",
            **answer.headers,
        }
    )
    return _response(answer.status, headers, body)


def _respond_file(answer: FileAnswer) -> Response:
    headers = Headers(
        {
            "Content-Type": "application/zip",
            "Content-Length": str(len(answer.body)),
            "Connection": "close",
            **answer.headers,
        }
    )
    return _response(answer.status, headers, answer.body)


def _response(code: int, headers: Headers, body: bytes) -> Response:
    status = HTTPStatus(code)
    return Response(status.value, status.phrase, headers, body)
