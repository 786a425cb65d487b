"""What stands between a client and ministack: it tells services apart, and lets outages bite."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from ministack.core.router import detect_service

from mcloud.local.aws.refusal import refused, throttled
from mcloud.local.outage import SLOW, Outages

SERVICES = {
    "sqs": "queue",
    "lambda": "function",
    "dynamodb": "candles",
    "dynamodbstreams": "candles",
    "streams.dynamodb": "candles",
    "s3": "archive",
}
LOOK = 0.1  # seconds between two looks at whether a hanging service is back

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class Door:
    """An ASGI application around ministack's."""

    def __init__(self, app: App, outages: Outages) -> None:
        self._app = app
        self._outages = outages

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        # ministack's own pages, its health among them, are no service of AWS.
        if scope["type"] != "http" or scope["path"].startswith("/_ministack/"):
            await self._app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        aws_service = detect(scope, headers)
        service = SERVICES.get(aws_service)
        outage = self._outages.on(service)
        if outage is None:
            await self._app(scope, receive, send)
            return
        body = Body(receive)
        if not await body.read():
            return
        if outage.how == "refuse":
            await refused(send)
        elif outage.how == "throttle" and self._outages.throttles(service):
            await throttled(send, aws_service, headers)
        elif outage.how == "hang" and not await self._back(service, body):
            return
        else:
            if outage.how == "slow":
                await asyncio.sleep(SLOW)
            await self._app(scope, body.receive, send)

    async def _back(self, service: str | None, body: "Body") -> bool:
        """Wait until a service no longer hangs; False where the client has gone meanwhile."""
        gone = asyncio.ensure_future(body.receive_next())
        try:
            while (outage := self._outages.on(service)) and outage.how == "hang":
                if gone.done():
                    return False
                await asyncio.sleep(LOOK)
            return not gone.done()
        finally:
            gone.cancel()


class Body:
    """The request's body, read before anybody else does and handed on afterwards."""

    def __init__(self, receive: Receive) -> None:
        self.receive_next = receive
        self._read: list[Message] = []

    async def read(self) -> bool:
        """Read all of it; False where the client went away in the middle."""
        while True:
            message = await self.receive_next()
            if message["type"] != "http.request":
                return False
            self._read.append(message)
            if not message.get("more_body"):
                return True

    async def receive(self) -> Message:
        return self._read.pop(0) if self._read else await self.receive_next()


def detect(scope: Message, headers: dict[str, str]) -> str:
    """ministack's name of the service that a request is for."""
    query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    return str(detect_service(scope["method"], scope["path"], headers, query))
