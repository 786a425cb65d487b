"""The ASGI middleware around ministack: it detects the service of a request, applies outages and
counts requests."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from ministack.core.router import detect_service

from mcloud.local.aws.bill import firehose_bytes, s3_request, sqs_queue, sqs_requests
from mcloud.local.aws.refusal import refused, throttled
from mcloud.local.meter import Meter
from mcloud.local.outage import SLOW, Outages

SERVICES = {
    "sqs": "queue",
    "lambda": "function",
    "dynamodb": "candles",
    "dynamodbstreams": "candles",
    "streams.dynamodb": "candles",
    "s3": "archive",
    "firehose": "archive",
}
LOOK = 0.1  # seconds between two checks of whether a hanging service is back

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class Middleware:
    """An ASGI application that wraps that of ministack."""

    def __init__(self, app: App, outages: Outages, meter: Meter) -> None:
        self._app = app
        self._outages = outages
        self._meter = meter

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        # ministack's own pages, such as its health, do not belong to a service of AWS.
        if scope["type"] != "http" or scope["path"].startswith("/_ministack/"):
            await self._app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        aws_service = detect(scope, headers)
        service = SERVICES.get(aws_service)
        outage = self._outages.on(service)
        passed = Passed(receive, send, kept=aws_service in ("sqs", "firehose"))
        if outage is None:
            await self._app(scope, passed.receive, passed.send)
            self._count(aws_service, scope, headers, passed)
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
            passed.receive_next = body.receive
            await self._app(scope, passed.receive, passed.send)
            self._count(aws_service, scope, headers, passed)

    def _count(
        self, aws_service: str, scope: Message, headers: dict[str, str], passed: "Passed"
    ) -> None:
        """Count the billed units of the whole request. DynamoDB is counted in ``metering``."""
        if passed.status >= 500:
            return
        if aws_service == "sqs":
            asked, answered = b"".join(passed.asked), b"".join(passed.answered)
            self._meter.add("sqs_requests", sqs_queue(asked), sqs_requests(asked, answered))
        elif aws_service == "firehose":
            stream, size = firehose_bytes(b"".join(passed.asked))
            if size:
                self._meter.add("firehose_bytes", stream, size)
        elif aws_service == "s3":
            query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
            meter, bucket = s3_request(scope["method"], scope["path"], query)
            if meter:
                self._meter.add(meter, bucket)
        elif aws_service == "monitoring" and "GetMetricData" not in _operation(scope, headers):
            self._meter.add("cloudwatch_requests", "")
        elif aws_service == "sns":
            self._meter.add("sns_requests", "")

    async def _back(self, service: str | None, body: "Body") -> bool:
        """Wait until a service no longer hangs. Return False if the client has disconnected
        meanwhile.
        """
        gone = asyncio.ensure_future(body.receive_next())
        try:
            while (outage := self._outages.on(service)) and outage.how == "hang":
                if gone.done():
                    return False
                await asyncio.sleep(LOOK)
            return not gone.done()
        finally:
            gone.cancel()


class Passed:
    """Traffic of one request in both directions. The bytes are recorded only with ``kept``."""

    def __init__(self, receive: Receive, send: Send, *, kept: bool) -> None:
        self.receive_next = receive
        self.asked: list[bytes] = []
        self.answered: list[bytes] = []
        self.status = 0
        self._send = send
        self._kept = kept

    async def receive(self) -> Message:
        message = await self.receive_next()
        if self._kept and message["type"] == "http.request":
            self.asked.append(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif self._kept and message["type"] == "http.response.body":
            self.answered.append(message.get("body", b""))
        await self._send(message)


class Body:
    """The request's body, read before the wrapped application reads it, and then passed on."""

    def __init__(self, receive: Receive) -> None:
        self.receive_next = receive
        self._read: list[Message] = []

    async def read(self) -> bool:
        """Read the whole body. Return False if the client disconnected before the end."""
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
    """Return ministack's name of the service that a request is for."""
    query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    return str(detect_service(scope["method"], scope["path"], headers, query))


def _operation(scope: Message, headers: dict[str, str]) -> str:
    """Return the operation of a request to CloudWatch, which the SDK writes into a header or the
    path.
    """
    return headers.get("x-amz-target") or str(scope["path"])
