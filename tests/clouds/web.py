"""A real server on loopback with given answers, in place of a cloud."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import time
from typing import Any
from urllib.parse import unquote

from google.auth.credentials import AnonymousCredentials

from mcloud.clouds.gcp.client import GcpSession

Answer = tuple[int, Any]
"""Status and body. A body other than text is sent as JSON."""


@contextmanager
def serve(
    answer: Callable[[str, str], Answer] = lambda method, path: (404, {}),
    ahead: float = 0,
    *,
    headers: Mapping[str, str] | None = None,
    heard: list[Mapping[str, str]] | None = None,
) -> Iterator[str]:
    """Yield the URL of a server whose clock is ``ahead`` seconds ahead.

    ``answer`` is called with method and path. The server sends ``headers`` with each answer, and
    adds the headers of each request to ``heard``.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length).decode()
            path = unquote(self.path)
            if heard is not None:
                heard.append(dict(self.headers))
            status, said = answer(self.command, path + (f" {body}" if body else ""))
            data = said.encode() if isinstance(said, str) else json.dumps(said).encode()
            self.send_response_only(status)
            self.send_header("Date", formatdate(time() + ahead, usegmt=True))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_DELETE = do_GET

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def anonymous() -> GcpSession:
    """Return a session that signs nothing."""
    return GcpSession(AnonymousCredentials())


def google_error(status: int, message: str, reason: str = "") -> Answer:
    details = [{"reason": reason}] if reason else []
    return status, {"error": {"code": status, "message": message, "details": details}}


def aws_error(status: int, code: str, message: str) -> Answer:
    """Return an error in the format of STS, IAM and the other older services."""
    error = f"<Type>Sender</Type><Code>{code}</Code><Message>{message}</Message>"
    return status, f"<ErrorResponse><Error>{error}</Error></ErrorResponse>"


def grants(held: Mapping[str, list[str]]) -> Callable[[str, str], Answer]:
    """Return a Google Cloud where the credentials have these permissions, by a part of the path."""

    def answer(method: str, path: str) -> Answer:
        for piece, rights in held.items():
            if piece in path:
                return 200, {"permissions": rights}
        return google_error(403, f"no such thing: {path}")

    return answer
