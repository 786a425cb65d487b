"""An HTTP server for Prometheus, on loopback only."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from mcloud.dashboard.exposition import CONTENT_TYPE
from mcloud.errors import McloudError

HOST = "127.0.0.1"
NAMES = {HOST, "localhost"}


@contextmanager
def serving(port: int, text: Callable[[], str]) -> Iterator[str]:
    """Answer ``GET /metrics`` with ``text()``, in threads of its own; gives the URL.

    Raises:
        McloudError: the port is taken.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = 10  # seconds: a client that says nothing holds no thread for ever

        def do_GET(self) -> None:
            # A page of the web may have its own name lead here; it is to read nothing.
            if self.headers.get("Host", HOST).partition(":")[0] not in NAMES:
                self.send_error(HTTPStatus.FORBIDDEN)
            elif self.path.partition("?")[0] != "/metrics":
                self.send_error(HTTPStatus.NOT_FOUND, "there is /metrics")
            else:
                body = text().encode()
                self.send_response(HTTPStatus.OK)
                self.send_header("Content-Type", CONTENT_TYPE)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing: a line for every scrape helps nobody."""

    try:
        server = _Server((HOST, port), Handler)
    except OSError as error:
        raise McloudError(
            f"port {port} on {HOST}: {error.strerror}", remedy="name another with --port"
        ) from None
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away, or reads nothing, is no fault of ours and has no traceback."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)
