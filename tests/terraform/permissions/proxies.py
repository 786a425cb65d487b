"""Proxies in front of the embedded Google Cloud. Each records the calls of one component, and
enforces its role."""

import http.client
import threading
from collections.abc import Callable, Iterator, Set
from concurrent import futures
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from typing import Any
from urllib.parse import urlsplit

import grpc

from mcloud.clouds.resources import GcpResources

from .google_operations import GRPC, UNKNOWN, rest

HOST = "127.0.0.1"


@dataclass(frozen=True)
class GoogleCall:
    holder: str
    """Component whose credentials the call would have."""
    operation: str
    resource: str
    """Kind of the resource, as in ``permissions.NEEDS``."""
    permission: str


Allow = Callable[[GoogleCall], bool]


@contextmanager
def proxies(
    to: GcpResources, holder: str, allows: Allow, calls: set[GoogleCall]
) -> Iterator[GcpResources]:
    """Yield the resources of ``to`` with endpoints that belong to one component."""

    def passes(operation: str, resource: str, needed: Set[str]) -> bool:
        noted = {GoogleCall(holder, operation, resource, each) for each in needed}
        calls.update(noted)
        return all(map(allows, noted))

    with ExitStack() as stack:
        endpoint = stack.enter_context(_grpc(to, passes))
        storage = stack.enter_context(_rest(to, passes))
        yield replace(
            to,
            pubsub_endpoint=endpoint,
            firestore_endpoint=endpoint,
            monitoring_endpoint=endpoint,
            storage_endpoint=storage,
        )


Passes = Callable[[str, str, Set[str]], bool]


class _Passing(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Hands every call on as bytes."""

    def __init__(self, to: GcpResources, passes: Passes) -> None:
        self._to = to
        self._passes = passes
        # One embedded server answers for all three.
        self._channel = grpc.insecure_channel(to.pubsub_endpoint)

    def service(self, details: Any) -> Any:
        method = details.method

        def answer(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
            first = next(requests)
            if not self._passes(method, *self._needs(method, first)):
                context.abort(grpc.StatusCode.PERMISSION_DENIED, f"{method} is not allowed")
            metadata = [each for each in context.invocation_metadata() if each[0] != "user-agent"]
            call = self._channel.stream_stream(method)(
                chain([first], requests), timeout=context.time_remaining(), metadata=metadata
            )
            try:
                yield from call
            except grpc.RpcError as error:
                context.abort(error.code(), error.details())

        return grpc.stream_stream_rpc_method_handler(answer)

    def _needs(self, method: str, first: bytes) -> tuple[str, frozenset[str]]:
        """Return the kind of the resource of a request, and the permissions that it needs."""
        if method not in GRPC:
            return "project", UNKNOWN
        kind, field, needed = GRPC[method]
        request = kind.deserialize(first)
        return self._kind(getattr(request, field)), frozenset(needed(request))

    def _kind(self, name: str) -> str:
        kinds = {
            f"topics/{self._to.topic}": "topic",
            f"subscriptions/{self._to.subscription}": "subscription",
            f"subscriptions/{self._to.dlq_subscription}": "dlq_subscription",
        }
        project, _, rest_ = name.removeprefix("projects/").partition("/")
        assert project == self._to.project, name
        return "database" if rest_.startswith("databases/") else kinds.get(rest_, "project")


@contextmanager
def _grpc(to: GcpResources, passes: Passes) -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(64), handlers=[_Passing(to, passes)])
    port = server.add_insecure_port(f"{HOST}:0")
    server.start()
    try:
        yield f"{HOST}:{port}"
    finally:
        server.stop(None).wait()


@contextmanager
def _rest(to: GcpResources, passes: Passes) -> Iterator[str]:
    behind = urlsplit(to.storage_endpoint).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            needed = rest(self.command, self.path)
            writes = needed & {"storage.objects.create", "storage.objects.delete"}
            if not passes(
                f"{self.command} {_route(self.path)}", "raw" if writes else "bucket", needed
            ):
                self._reply(403, {"Content-Type": "application/json"}, _REFUSED)
                return
            connection = http.client.HTTPConnection(behind, timeout=60)
            try:
                headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
                # Addresses in its answers are those of the host that it was asked as.
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                kept = {
                    name: value
                    for name, value in answer.getheaders()
                    if name.lower() not in ("content-length", "transfer-encoding", "connection")
                }
                self._reply(answer.status, kept, answer.read())
            finally:
                connection.close()

        do_GET = do_POST = do_PUT = do_DELETE = handle_one

        def _reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response_only(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *values: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer((HOST, 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{HOST}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


_REFUSED = b'{"error": {"code": 403, "message": "not allowed", "status": "PERMISSION_DENIED"}}'


def _route(target: str) -> str:
    """Return the path without the names in it."""
    parts = urlsplit(target).path.split("/o/")[0].split("/")
    return "/".join(
        "BUCKET" if before == "b" else part
        for before, part in zip(["", *parts], parts, strict=False)
    ) + ("/OBJECT" if "/o/" in target else "")
