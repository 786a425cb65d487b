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
LONGEST = 120.0  # seconds for one request


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
def door(url: str, noted: Set[GoogleCall], allows: Allow, calls: set[GoogleCall]) -> Iterator[str]:
    """Yield an address that hands each request on to ``url``, and takes it for the calls that are
    ``noted``."""

    def passes(method: str, path: str) -> bool:
        calls.update(noted)
        return all(map(allows, noted))

    with http_door(urlsplit(url).netloc, passes) as address:
        yield address


@contextmanager
def _rest(to: GcpResources, passes: Passes) -> Iterator[str]:
    def passes_storage(method: str, path: str) -> bool:
        needed = rest(method, path)
        writes = needed & {"storage.objects.create", "storage.objects.delete"}
        whole, part = ("bucket", "raw")
        if to.staging_bucket and f"/{to.staging_bucket}/" in path:
            whole, part = ("staging", "staged")
        return passes(f"{method} {_route(path)}", part if writes else whole, needed)

    with http_door(urlsplit(to.storage_endpoint).netloc, passes_storage) as address:
        yield address


@contextmanager
def http_door(behind: str, passes: Callable[[str, str], bool]) -> Iterator[str]:
    """Yield an address that hands requests on to ``behind``, a host and a port. Those that do not
    pass, by method and path, are refused."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if not passes(self.command, self.path):
                self._reply(403, {"Content-Type": "application/json"}, _REFUSED)
                return
            connection = http.client.HTTPConnection(behind, timeout=LONGEST)
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
                # The answer to HEAD has the length of a body that it does not have.
                length = answer.getheader("Content-Length") if self.command == "HEAD" else None
                self._reply(answer.status, kept, answer.read(), length)
            finally:
                connection.close()

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_one

        def _reply(
            self, status: int, headers: dict[str, str], body: bytes, length: str | None = None
        ) -> None:
            self.send_response_only(status)
            for name, value in {**headers, "Content-Length": length or str(len(body))}.items():
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
