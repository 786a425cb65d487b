"""A reverse proxy in front of fake-gcs-server and the functions-framework, which applies outages
and counts requests.

Bytes pass unchanged; only the first lines are read. No client pipelines requests: each sends its
next request after the answer to the previous one. After an answer, the next bytes of the client
therefore begin with a request line, and after a request, the next bytes of the server begin with a
status line.
"""

import asyncio
import time
from typing import Final, Protocol

from mcloud.local.gcp import bill
from mcloud.local.meter import Meter
from mcloud.local.outage import SLOW, Outages

LOOK: Final = 0.1  # seconds between two checks of whether a hanging service is back
START_SECONDS: Final = 10.0  # seconds for which a request waits for a server that does not run yet
# A client that sends faster than the server reads is paused above this limit.
HELD_BYTES: Final = 4 * 1024 * 1024

_REASONS: Final = {
    503: ("Service Unavailable", "backendError", "Backend Error"),
    429: ("Too Many Requests", "rateLimitExceeded", "The project exceeded the rate limit."),
}


async def open_proxy(
    host: str, port: int, behind: int, service: str, outages: Outages, meter: Meter
) -> asyncio.Server:
    """Listen on ``port`` for the server on port ``behind``."""
    loop = asyncio.get_running_loop()
    count = _Function(meter) if service == "function" else _Storage(meter)
    return await loop.create_server(
        lambda: _Client(host, behind, service, outages, count), host, port
    )


class Count(Protocol):
    """Called for the requests that pass."""

    def begins(self) -> None: ...

    def ends(self, line: str, status: int | None) -> None:
        """Count a request by its first line and its status, which is None if it was not
        answered.
        """
        ...


class _Storage:
    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def begins(self) -> None:
        return

    def ends(self, line: str, status: int | None) -> None:
        # Google does not charge for answers with a status of 4xx or 5xx.
        method, _, target = line.partition(" ")
        name, bucket = bill.storage(method, target.partition(" ")[0])
        if name is not None and status is not None and status < 400:
            self._meter.add(name, bucket)


class _Function:
    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._time = bill.InstanceTime()

    def begins(self) -> None:
        self._time.begin(time.monotonic())

    def ends(self, line: str, status: int | None) -> None:
        self._meter.add("function_requests", "")
        milliseconds = self._time.end(time.monotonic())
        if milliseconds:
            self._meter.add("function_vcpu_ms", "", bill.FUNCTION_VCPU * milliseconds)
            self._meter.add("function_mib_ms", "", bill.FUNCTION_MIB * milliseconds)


class _Client(asyncio.Protocol):
    """A client's connection, together with its connection to the server."""

    def __init__(
        self, host: str, behind: int, service: str, outages: Outages, count: Count
    ) -> None:
        self._address = (host, behind)
        self._service = service
        self._outages = outages
        self._count = count
        self._line: str | None = None  # first line of the request that is not answered yet
        self._held = bytearray()  # bytes from the client that are not passed on yet
        self._between = True  # whether the next bytes of the client begin a request
        self._waiting: asyncio.Task[None] | None = None
        self._server: _Upstream | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self._server is not None and not self._between and self._waiting is None:
            self._server.transport.write(data)
            return
        self._held += data
        if self._waiting is None and b"\r\n" in self._held:
            self._waiting = asyncio.create_task(self._begin())
        elif len(self._held) > HELD_BYTES:
            self.transport.pause_reading()

    def connection_lost(self, _error: Exception | None) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        self._note(None)
        if self._server is not None:
            self._server.transport.close()

    def pause_writing(self) -> None:
        if self._server is not None:
            self._server.transport.pause_reading()

    def resume_writing(self) -> None:
        if self._server is not None:
            self._server.transport.resume_reading()

    def answered(self, data: bytes) -> None:
        """Pass the server's bytes on to the client."""
        self._between = True
        if self._line is not None:
            # the status line is, for example, HTTP/1.1 200 OK
            self._note(int(data[9:12]) if data[9:12].isdigit() else None)
        self.transport.write(data)

    async def _begin(self) -> None:
        """Pass a request on as soon as it is allowed."""
        status = await self._gate()
        if status is not None:
            self.transport.write(_answer(status))
            self.transport.close()  # the rest of the request has no recipient
            return
        server = self._server or await self._connect()
        if server is None:
            self.transport.abort()
            return
        self._between = False
        self._waiting = None
        self._server = server
        self._line = self._held.partition(b"\r\n")[0].decode("latin-1")
        self._count.begins()
        server.transport.write(bytes(self._held))
        self._held.clear()
        self.transport.resume_reading()

    def _note(self, status: int | None) -> None:
        if self._line is not None:
            self._count.ends(self._line, status)
            self._line = None

    async def _connect(self) -> "_Upstream | None":
        """Connect to the server. While it starts, its requests wait, as they do on Cloud Run."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_SECONDS
        while True:
            try:
                _, server = await loop.create_connection(lambda: _Upstream(self), *self._address)
            except OSError:
                if loop.time() > deadline:
                    return None
                await asyncio.sleep(LOOK)
                continue
            return server

    async def _gate(self) -> int | None:
        """Return the HTTP status that refuses the request, or None if it may pass."""
        outage = self._outages.on(self._service)
        if outage is None:
            return None
        if outage.how == "refuse":
            return 503
        if outage.how == "throttle" and self._outages.throttles(self._service):
            return 429
        if outage.how == "slow":
            await asyncio.sleep(SLOW)
        while outage is not None and outage.how == "hang":
            await asyncio.sleep(LOOK)
            outage = self._outages.on(self._service)
        return None


class _Upstream(asyncio.Protocol):
    """The connection to the server behind the proxy."""

    def __init__(self, client: _Client) -> None:
        self._client = client
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._client.answered(data)

    def connection_lost(self, _error: Exception | None) -> None:
        # The last bytes have already been written. Closing the connection informs a client that
        # keeps it open.
        self._client.transport.close()

    def pause_writing(self) -> None:
        self._client.transport.pause_reading()

    def resume_writing(self) -> None:
        self._client.transport.resume_reading()


def _answer(status: int) -> bytes:
    """Return an error in the format of Google's JSON APIs."""
    reason, word, sentence = _REASONS[status]
    body = (
        f'{{"error":{{"code":{status},"message":"{sentence}",'
        f'"errors":[{{"reason":"{word}","message":"{sentence}"}}]}}}}'
    )
    return (
        f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
    ).encode()
