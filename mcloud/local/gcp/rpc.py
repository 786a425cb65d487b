"""Interface by which the embedded services run in one gRPC server.

All services run on one asyncio loop, so a handler that does not await is atomic. State is therefore
kept in plain dictionaries, without locks.
"""

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, NoReturn

import grpc
from google.rpc.status_pb2 import Status


class Refusal(Exception):
    """The error of a failed request: a gRPC status code, one sentence, and perhaps a detail in the
    form of https://cloud.google.com/apis/design/errors#error_details.
    """

    def __init__(self, code: grpc.StatusCode, message: str, detail: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self._detail = detail

    @property
    def metadata(self) -> tuple[tuple[str, bytes], ...]:
        """The trailing metadata with the detail."""
        if self._detail is None:
            return ()
        status = Status(code=self.code.value[0], message=self.message)
        status.details.add().Pack(self._detail)
        return (("grpc-status-details-bin", status.SerializeToString()),)


def invalid(message: str) -> Refusal:
    """Return the error for an invalid request."""
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, message)


def not_offered(product: str, feature: str) -> Refusal:
    """Return the error for a feature of Google's that is not supported."""
    return Refusal(
        grpc.StatusCode.UNIMPLEMENTED,
        f"the embedded {product} does not offer {feature}; "
        "run `mcloud local up --emulators official` for Google's",
    )


Handler = Callable[[Any, Any], Awaitable[Any]]
"""Answers one request: ``await handler(request, context)``."""


Gate = Callable[[str], Awaitable[None]]
"""Waits until a call of a product may pass, or raises Refusal."""


Count = Callable[[str, str, Any, Any], None]
"""Called after every answer with service, method, request and answer."""


async def always_open(_product: str) -> None:
    """Let every call pass, for a server without outages."""


def uncounted(_service: str, _method: str, _request: Any, _answer: Any) -> None:
    """Count nothing, for a server without a meter."""


class Service(grpc.GenericRpcHandler):  # type: ignore[misc]
    """The methods of one gRPC service, by name.

    A request or response type is a raw protobuf class (``PublishRequest.pb()`` for the proto-plus
    type ``PublishRequest``): proto-plus wrappers cost several times more than the work done here.
    """

    def __init__(self, name: str, product: str) -> None:
        self.name = name
        self.product = product
        self.gate: Gate = always_open
        self.count: Count = uncounted
        self._methods: dict[str, grpc.RpcMethodHandler] = {}

    def unary(
        self,
        method: str,
        handler: Handler,
        request: Any,
        response: Any,
    ) -> None:
        """Add a method with one request and one answer."""

        async def answer(message: Any, context: Any) -> Any:
            try:
                await self.gate(self.product)
                reply = await handler(message, context)
                self.count(self.name, method, message, reply)
                return reply
            except Refusal as refusal:
                return await context.abort(refusal.code, refusal.message, refusal.metadata)

        self._methods[method] = grpc.unary_unary_rpc_method_handler(
            answer, request.FromString, response.SerializeToString
        )

    def streaming(
        self,
        method: str,
        handler: Callable[[Any, Any], Any],
        request: Any,
        response: Any,
        *,
        client_streams: bool = False,
    ) -> None:
        """Add a method with many answers: ``handler(request or request iterator, context)`` is an
        async generator.
        """

        async def answer(message: Any, context: Any) -> Any:
            try:
                await self.gate(self.product)
                # The generator is closed immediately when the client disconnects, and not by the
                # garbage collector later.
                async with aclosing(handler(message, context)) as items:
                    async for item in items:
                        self.count(self.name, method, message, item)
                        yield item
            except Refusal as refusal:
                await context.abort(refusal.code, refusal.message, refusal.metadata)

        make = (
            grpc.stream_stream_rpc_method_handler
            if client_streams
            else grpc.unary_stream_rpc_method_handler
        )
        self._methods[method] = make(answer, request.FromString, response.SerializeToString)

    def service(self, handler_call_details: Any) -> Any:
        """Find a method. gRPC calls this for every request; None stands for an unknown method."""
        service, _, method = handler_call_details.method.lstrip("/").partition("/")
        if service != self.name:
            return None
        return self._methods.get(method) or self._unimplemented(method)

    def _unimplemented(self, method: str) -> Any:
        async def refuse(_request: Any, context: Any) -> NoReturn:
            await context.abort(
                grpc.StatusCode.UNIMPLEMENTED,
                f"the embedded {self.product} has no {self.name}/{method}: "
                "mcloud does not use it; run `mcloud local up --emulators official` for Google's",
            )
            raise AssertionError("abort() raises")

        # A method with streams in both directions accepts any kind of call. Without serializers the
        # request stays bytes.
        return grpc.stream_stream_rpc_method_handler(refuse)
