"""A real server on loopback that answers as it is told, in place of a cloud."""

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
"""Status, and a body: text, or something to be sent as JSON."""


@contextmanager
def serve(
    answer: Callable[[str, str], Answer] = lambda method, path: (404, {}),
    ahead: float = 0,
    *,
    headers: Mapping[str, str] | None = None,
    heard: list[Mapping[str, str]] | None = None,
) -> Iterator[str]:
    """The URL of a server whose clock is ``ahead`` seconds; ``answer`` gets method and path.

    It sends ``headers`` with each answer, and puts the headers of each request into ``heard``.
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
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def anonymous() -> GcpSession:
    """One that signs nothing."""
    return GcpSession(AnonymousCredentials())


def google_error(status: int, message: str, reason: str = "") -> Answer:
    details = [{"reason": reason}] if reason else []
    return status, {"error": {"code": status, "message": message, "details": details}}


def aws_error(status: int, code: str, message: str) -> Answer:
    """As STS, IAM and the other older services word it."""
    error = f"<Type>Sender</Type><Code>{code}</Code><Message>{message}</Message>"
    return status, f"<ErrorResponse><Error>{error}</Error></ErrorResponse>"


def grants(held: Mapping[str, list[str]]) -> Callable[[str, str], Answer]:
    """A Google Cloud in which the credentials have these rights, by a piece of the path."""

    def answer(method: str, path: str) -> Answer:
        for piece, rights in held.items():
            if piece in path:
                return 200, {"permissions": rights}
        return google_error(403, f"no such thing: {path}")

    return answer
