"""One client's WebSocket connection: its subscriptions, and the messages that wait to be sent.

https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Event

from mcloud.local.exchange.faults import Faults
from mcloud.local.exchange.limits import Limits, RateWindow
from mcloud.local.exchange.markets import MarketRoute
from mcloud.local.exchange.streams import BadRequest, ExchangeStream, parse_stream

METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
_COUNTED = (Opcode.TEXT, Opcode.BINARY, Opcode.PING, Opcode.PONG)


class Wording(NamedTuple):
    """Format of the events on a connection."""

    combined: bool
    """Whether events are wrapped in ``{"stream":…,"data":…}``."""
    microseconds: bool
    route: MarketRoute = MarketRoute.ROOT


def parse_path(path: str, most: int) -> tuple[list[str], Wording]:
    """Read ``/stream?streams=a@trade/b@trade`` or ``/ws/a@trade``, with ``timeUnit`` or without.

    Futures are below ``/public`` and ``/market``.

    Raises:
        BadRequest: another path, more than ``most`` streams, a stream that is not served, or an
            unknown time unit.
    """
    path, _, parameters = path.partition("?")
    query = parse_qs(parameters)
    unit = query.get("timeUnit", ["MILLISECOND"])[0].upper()
    if unit not in ("MILLISECOND", "MICROSECOND"):
        raise BadRequest("Invalid value for time unit; expected either MICROSECOND or MILLISECOND.")
    root, *names = unquote(path).removeprefix("/").split("/")
    route = MarketRoute.ROOT
    if root in (MarketRoute.PUBLIC.value, MarketRoute.MARKET.value) and names:
        route = MarketRoute(root)
        root, *names = names
    if root == "stream":
        names = query.get("streams", [""])[0].split("/")
    elif root != "ws":
        raise BadRequest(f"no streams at {path:.60}")
    # Like Binance, accept names that cannot be streams: ccxt connects to /ws/0 and then subscribes.
    streams = [name for name in dict.fromkeys(names) if "@" in name or name.startswith("!")]
    if len(streams) > most:
        raise BadRequest(f"too many streams: {len(streams)}, at most {most}")
    for name in streams:
        parse_stream(name, route)
    # Streams of futures have no microseconds.
    microseconds = unit == "MICROSECOND" and route is MarketRoute.ROOT
    return streams, Wording(root == "stream", microseconds, route)


class Connection(ServerConnection):
    """A connection that reports each received message, ping and pong."""

    on_incoming: Callable[[], None] = staticmethod(lambda: None)

    def process_event(self, event: Event) -> None:
        if isinstance(event, Frame) and event.opcode in _COUNTED:
            self.on_incoming()
        super().process_event(event)


class RecordingReader:
    """A client, from its handshake to its end.

    Args:
        on_change: called after the subscriptions have changed.
        wall_clock: seconds since 1970.
    """

    def __init__(
        self,
        connection: Connection,
        limits: Limits,
        faults: Faults,
        *,
        on_change: Callable[[], None],
        wall_clock: Callable[[], float],
    ) -> None:
        path = connection.request.path if connection.request else ""
        streams, self.wording = parse_path(path, limits.streams)
        self._streams = dict.fromkeys(streams)
        self._connection = connection
        self._limits = limits
        self._faults = faults
        self._on_change = on_change
        self._wall_clock = wall_clock
        self._loop = asyncio.get_running_loop()
        self._window = RateWindow(limits.messages, 1.0)
        self._closing: asyncio.Task[None] | None = None
        self._outbox: deque[str] = deque()
        self._filled = asyncio.Event()
        self._roomy = asyncio.Event()
        self._roomy.set()
        self._idle = asyncio.Event()
        connection.on_incoming = self._count

    @property
    def streams(self) -> list[str]:
        """Return the names of its streams."""
        return list(self._streams)

    @property
    def sent(self) -> list[ExchangeStream]:
        """Return those of its streams that are sent on its route."""
        route = self.wording.route
        streams = [parse_stream(name, route) for name in self._streams]
        return [stream for stream in streams if route.carries(stream.kind)]

    async def serve(self) -> None:
        """Serve the client until it disconnects."""
        limits = self._limits
        notice = min(limits.notice, limits.lifetime / 2)
        timers = [
            self._loop.call_later(limits.lifetime - notice, self.announce_shutdown),
            self._loop.call_later(limits.lifetime, self.close, CloseCode.GOING_AWAY),
        ]
        writer = asyncio.create_task(self._write())
        self._on_change()
        try:
            async for message in self._connection:
                self._put(self._answer(message))
        except ConnectionClosed:
            return
        finally:
            for timer in timers:
                timer.cancel()
            writer.cancel()
            self._outbox.clear()
            self._roomy.set()
            self._idle.set()

    def offer(self, message: str) -> None:
        """Queue a message. A reader that is too far behind is disconnected instead."""
        if len(self._outbox) >= self._limits.backlog:
            self.cut()
        else:
            self._put(message)

    async def has_room(self) -> None:
        """Wait until the queue is at most half full. A reader that is too slow is disconnected."""
        try:
            async with asyncio.timeout(self._limits.patience):
                await self._roomy.wait()
        except TimeoutError:
            self.cut()

    async def has_all(self) -> None:
        """Wait until no message is waiting, or the client has disconnected."""
        await self._idle.wait()

    def announce_shutdown(self) -> None:
        event: dict[str, Any] = {"e": "serverShutdown", "E": int(self._wall_clock() * 1000)}
        if self.wording.combined:
            event = {"stream": "!serverShutdown", "data": event}
        self._put(_dump(event))

    def close(self, code: CloseCode, reason: str = "") -> None:
        """Close the connection with a closing handshake."""
        if self._closing is None:
            self._closing = self._loop.create_task(self._connection.close(code, reason))

    def cut(self) -> None:
        """Drop the connection without a closing handshake."""
        self._connection.transport.abort()

    def _put(self, message: str) -> None:
        self._outbox.append(message)
        self._filled.set()
        self._idle.clear()
        if len(self._outbox) > self._limits.backlog // 2:
            self._roomy.clear()

    async def _write(self) -> None:
        try:
            while True:
                while self._outbox:
                    message = self._outbox.popleft()
                    await self._brake(len(message))
                    await self._connection.send(message)
                    if len(self._outbox) <= self._limits.backlog // 2:
                        self._roomy.set()
                self._filled.clear()
                self._idle.set()
                await self._filled.wait()
        except ConnectionClosed:
            return  # `serve` has noticed it as well

    async def _brake(self, size: int) -> None:
        for fault in self._faults.active("slow", self._loop.time()):
            await asyncio.sleep(size / (fault.rate or size))

    def _count(self) -> None:
        if not self._window.allows(self._loop.time()):
            self.close(CloseCode.POLICY_VIOLATION, "Too many requests")

    def _answer(self, message: str | bytes) -> str:
        id_: Any = None
        try:
            request = _parse(message)
            id_ = _id(request)
            return _dump({"result": self._do(request), "id": id_})
        except BadRequest as bad:
            return _dump({"error": {"code": bad.code, "msg": str(bad)}, "id": id_})

    def _do(self, request: dict[str, Any]) -> Any:
        match request.get("method"), request.get("params"):
            case "SUBSCRIBE", list(names):
                self._subscribe({**self._streams, **dict.fromkeys(self._known(names))})
            case "UNSUBSCRIBE", list(names):
                gone = set(self._known(names))
                self._subscribe({name: None for name in self._streams if name not in gone})
            case "LIST_SUBSCRIPTIONS", _:
                return list(self._streams)
            case "SET_PROPERTY", ["combined", bool(combined)]:
                self.wording = self.wording._replace(combined=combined)
            case "SET_PROPERTY", ["combined", _]:
                raise BadRequest("Invalid value type: expected Boolean", 1)
            case "GET_PROPERTY", ["combined"]:
                return self.wording.combined
            case (("SET_PROPERTY" | "GET_PROPERTY"), _):
                raise BadRequest("Unknown property", 0)
            case (("SUBSCRIBE" | "UNSUBSCRIBE"), _):
                raise BadRequest("Invalid request: params must be a list of streams")
            case method, _:
                one_of = ", ".join(f"`{each}`" for each in METHODS)
                raise BadRequest(
                    f"Invalid request: unknown variant `{method!s:.60}`, expected one of {one_of}"
                )
        return None

    def _known(self, names: list[Any]) -> list[str]:
        for name in names:
            if not isinstance(name, str):
                raise BadRequest("Invalid request: invalid stream")
            parse_stream(name, self.wording.route)
        return names

    def _subscribe(self, streams: dict[str, None]) -> None:
        if len(streams) > self._limits.streams:
            raise BadRequest(f"Invalid request: more than {self._limits.streams} streams")
        self._streams = streams
        self._on_change()


def _parse(message: str | bytes) -> dict[str, Any]:
    try:
        request = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"Invalid JSON: {error!s:.60}", 3) from None
    if not isinstance(request, dict):
        raise BadRequest("Invalid request: not an object")
    return request


def _id(request: dict[str, Any]) -> int | str | None:
    id_ = request.get("id", False)
    known = id_ is None or type(id_) is int or (isinstance(id_, str) and len(id_) <= 36)
    if not known:
        raise BadRequest("Invalid request: request ID must be an unsigned integer")
    return id_  # type: ignore[no-any-return]


def _dump(message: dict[str, Any]) -> str:
    return json.dumps(message, separators=(",", ":"))
