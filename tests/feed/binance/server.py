"""A WebSocket server on loopback that plays a script on each connection."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

Script = Callable[["Server", ServerConnection], Awaitable[None]]


def trade(id_: int, symbol: str = "BTCUSDT", **more: object) -> str:
    """Return a message of a combined stream, as Binance sends it."""
    data = {
        "e": "trade",
        "E": 1723161255343,
        "s": symbol,
        "t": id_,
        "p": "61837.63000000",
        "q": "0.02000000",
        "T": 1723161255342,
        "m": True,
        "M": True,
        **more,
    }
    return json.dumps({"stream": f"{symbol.lower()}@trade", "data": data}, separators=(",", ":"))


class Server:
    """Plays a script on each connection, and the last script on all later connections.

    Args:
        statuses: HTTP statuses with which the first connection attempts are refused.
    """

    def __init__(self, *scripts: Script, statuses: tuple[int, ...] = ()) -> None:
        self.port = 0
        self.statuses = list(statuses)
        self.opened = 0
        self.log: list[str] = []
        """Events in order: "open 1", "close 1", …"""
        self.asked: list[list[str]] = []
        """Requested streams of each connection."""
        self.newest_id = 0
        self._listeners: set[ServerConnection] = set()
        self._scripts = scripts

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def trade_on(self, connection: ServerConnection) -> None:
        """Send all trades from now on to the connection."""
        self._listeners.add(connection)
        await connection.wait_closed()

    async def market(self) -> None:
        """Make a trade every other millisecond. Only connections that listen receive it."""
        while True:
            self.newest_id += 1
            broadcast(self._listeners, trade(self.newest_id))
            await asyncio.sleep(0.002)

    def answer(self, connection: ServerConnection, request: Request) -> Response | None:
        if not self.statuses:
            return None
        return connection.respond(HTTPStatus(self.statuses.pop(0)), "no\n")

    async def handle(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.opened += 1
        number = self.opened
        self.log.append(f"open {number}")
        query = parse_qs(urlsplit(connection.request.path).query)
        self.asked.append(query["streams"][0].split("/"))
        with suppress(ConnectionClosed):
            await self._scripts[min(number, len(self._scripts)) - 1](self, connection)
        self._listeners.discard(connection)
        self.log.append(f"close {number}")


@contextmanager
def running(server: Server) -> Iterator[Server]:
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def main() -> None:
        trading = asyncio.create_task(server.market())
        async with serve(
            server.handle,
            "127.0.0.1",
            0,
            process_request=server.answer,
            ping_interval=None,
            close_timeout=0.2,
            compression=None,
        ) as listening:
            server.port = listening.sockets[0].getsockname()[1]
            ready.set()
            await stop.wait()
        trading.cancel()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()))
    thread.start()
    ready.wait()
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
