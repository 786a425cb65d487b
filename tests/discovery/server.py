"""The cloud as a server on loopback, and as the HTTPS proxy of ``*.googleapis.com``."""

import json
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .certificates import write_certificates
from .google import Google, Request
from .names import Json
from .refusal import Refusal, invalid

HOST = re.compile(r"([a-z0-9-]+)\.googleapis\.com:443")
TOKENS = "https://oauth2.googleapis.com/token"
IDENTITY: dict[str, Json] = {
    "oauth2": {"access_token": "token", "expires_in": 3600, "token_type": "Bearer"},
    "openidconnect": {"email": "owner@example.com"},
}
"""Answers of the services that know who a client is."""


@dataclass(frozen=True)
class Server:
    """A running server."""

    google: Google
    port: int
    folder: Path
    """Folder with the certificates and the credentials of its clients."""

    @property
    def address(self) -> str:
        """Address without TLS; the path begins with the API."""
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        """Return variables with which every client sends its requests to this server."""
        authority = str(self.folder / "authority.pem")
        return {
            "HTTPS_PROXY": self.address,
            "https_proxy": self.address,
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            "SSL_CERT_FILE": authority,
            "REQUESTS_CA_BUNDLE": authority,
            "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": authority,
            "GOOGLE_APPLICATION_CREDENTIALS": str(self.folder / "credentials.json"),
        }


@contextmanager
def serving(folder: Path, google: Google | None = None) -> Iterator[Server]:
    """Run a server.

    Args:
        folder: an empty folder for its certificates and for the credentials of its clients.
    """
    google = google or Google()
    folder.mkdir(exist_ok=True)
    write_certificates(folder)
    credentials = {
        "type": "authorized_user",
        "client_id": "client",
        "client_secret": "secret",
        "refresh_token": "refresh",
        "token_uri": TOKENS,
    }
    (folder / "credentials.json").write_text(json.dumps(credentials))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "server.pem", folder / "server.key")
    http = _HttpServer(("127.0.0.1", 0), partial(_Handler, google, tls))
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Server(google, http.server_address[1], folder)
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"

    def __init__(self, google: Google, tls: ssl.SSLContext, *arguments: Any) -> None:
        self._google = google
        self._tls = tls
        self._api = ""
        """API whose host a tunnel leads to; empty without a tunnel."""
        super().__init__(*arguments)

    def log_message(self, *_: object) -> None:
        """Print nothing; see ``Google.log``."""

    def do_CONNECT(self) -> None:
        """Open a tunnel to this server itself, if it is for one of Google's APIs."""
        found = HOST.fullmatch(self.path)
        if not found:
            self.close_connection = True
            self._send(403, {"error": f"{self.path} is outside this machine"})
            return
        self.send_response(200)
        self.end_headers()
        self._api = found[1]
        try:
            self.connection = self._tls.wrap_socket(self.connection, server_side=True)
        except OSError:  # the client refuses the certificate
            self.close_connection = True
            return
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", buffering=0)
        self.close_connection = False

    def do_GET(self) -> None:
        content = self._read()
        try:
            request = self._request(content)
        except Refusal as refusal:
            self._send(refusal.code, refusal.body())
            return
        if request.api in IDENTITY:
            self._send(200, IDENTITY[request.api])
        else:
            self._send(*self._google.answer(request))

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def _request(self, content: bytes) -> Request:
        address = urlsplit(self.path)
        parameters = parse_qs(address.query, keep_blank_values=True)
        api, path = self._api, address.path.lstrip("/")
        if not api:
            api, _, path = path.partition("/")
        body, media = self._body(content)
        return Request(
            http=self.command,
            api=api,
            path=path,
            query={name: many if len(many) > 1 else many[0] for name, many in parameters.items()},
            body=body,
            media=media,
            token=self.headers.get("Authorization", "").removeprefix("Bearer "),
            quota_project=self.headers.get("X-Goog-User-Project", ""),
        )

    def _body(self, content: bytes) -> tuple[Json, bytes | None]:
        """Return the body as JSON, and the content of an upload."""
        kind = self.headers.get("Content-Type", "")
        if kind.startswith("multipart/related"):
            found = re.search(r'boundary="?([^";]+)"?', kind)
            assert found
            parts = content.split(b"--" + found[1].encode())[1:-1]
            metadata, media = (part.partition(b"\r\n\r\n")[2] for part in parts)
            return json.loads(metadata), media.removesuffix(b"\r\n")
        if not content or self._api == "oauth2":
            return {}, None
        try:
            body = json.loads(content)
        except ValueError:
            if "json" in kind:
                raise invalid("The body is not JSON.") from None
            return {}, content
        if not isinstance(body, dict):
            raise invalid("The body is not a JSON object.")
        return body, None

    def _read(self) -> bytes:
        if not self.headers.get("Transfer-Encoding"):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        data = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def _send(self, status: int, answer: Json) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
