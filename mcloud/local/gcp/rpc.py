"""Interface by which the embedded services run in one gRPC server.

All services run on one asyncio loop, so a handler that does not await is atomic. State is therefore
kept in plain dictionaries, without locks.
"""

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, NoReturn

import grpc


class Refusal(Exception):
    """The answer to a request that fails: a gRPC status code and one sentence."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def invalid(message: str) -> Refusal:
    """The refusal of a request that can never be right."""
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, message)


def not_offered(product: str, feature: str) -> Refusal:
    """The refusal of a feature of Google's that is not built."""
    return Refusal(
        grpc.StatusCode.UNIMPLEMENTED,
        f"the embedded {product} does not offer {feature}; "
        "run `mcloud local up --emulators official` for Google's",
    )


Handler = Callable[[Any, Any], Awaitable[Any]]
"""Answers one request: ``await handler(request, context)``."""


Gate = Callable[[str], Awaitable[None]]
"""Lets a call of a product pass, sooner or later, or raises Refusal."""


Count = Callable[[str, str, Any, Any], None]
"""Told of every answer: service, method, request and answer."""


async def always_open(_product: str) -> None:
    """The gate of a server that has no outages."""


def uncounted(_service: str, _method: str, _request: Any, _answer: Any) -> None:
    """The count of a server that has no meter."""


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
        """One request, one answer."""

        async def answer(message: Any, context: Any) -> Any:
            try:
                await self.gate(self.product)
                reply = await handler(message, context)
                self.count(self.name, method, message, reply)
                return reply
            except Refusal as refusal:
                return await context.abort(refusal.code, refusal.message)

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
        """Many answers: ``handler(request or request iterator, context)`` is an async generator."""

        async def answer(message: Any, context: Any) -> Any:
            try:
                await self.gate(self.product)
                # Closed at once when the client leaves, not when the garbage collector comes by.
                async with aclosing(handler(message, context)) as items:
                    async for item in items:
                        self.count(self.name, method, message, item)
                        yield item
            except Refusal as refusal:
                await context.abort(refusal.code, refusal.message)

        make = (
            grpc.stream_stream_rpc_method_handler
            if client_streams
            else grpc.unary_stream_rpc_method_handler
        )
        self._methods[method] = make(answer, request.FromString, response.SerializeToString)

    def service(self, handler_call_details: Any) -> Any:
        """Find a method; called by gRPC for every request, None means "not mine"."""
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

        # Streams on both sides accept a call of any kind. No serializers: the request stays bytes.
        return grpc.stream_stream_rpc_method_handler(refuse)
