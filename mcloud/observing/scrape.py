"""An HTTP server for Prometheus: open on loopback, and elsewhere with a token or TLS."""

import hmac
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv6Address, ip_address
from pathlib import Path

from mcloud.errors import McloudError, UsageError
from mcloud.observing.exposition import CONTENT_TYPE

HOST = "127.0.0.1"
NAMES = {HOST, "localhost", "[::1]"}
CONNECTIONS = 64  # maximum connections at once; a scraper needs one
TOKEN = 16  # minimum characters of a token


@dataclass(frozen=True)
class Tls:
    """Files in PEM format."""

    cert: Path
    """The certificate, followed by its chain."""
    key: Path
    client_ca: Path | None = None
    """Authorities of which a client needs a certificate. None admits every client."""


@dataclass(frozen=True)
class Listen:
    """The address of the server, and the access control for its readers."""

    host: str = HOST
    port: int = 0
    """Port of the server. 0 takes any free one."""
    token: str | None = None
    """Bearer token that a client must send in the ``Authorization`` header. A secret."""
    tls: Tls | None = None

    @property
    def is_loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def address(self) -> str:
        """Return an address such as ``127.0.0.1:9464`` or ``[::1]:9464``."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address(text: str, port: int) -> tuple[str, int]:
    """Return host and port of ``ADDRESS:PORT``, ``ADDRESS`` or ``:PORT``, which is every address.

    Raises:
        UsageError: it is none of them.
    """
    host, colon, number = text.rpartition(":")
    if text.count(":") > 1 and not text.startswith("["):
        host, colon, number = text, "", ""  # an IPv6 address alone
    elif text.startswith("[") and text.endswith("]"):
        host, colon, number = text, "", ""
    elif not colon:
        host, number = text, ""
    is_number = number.isascii() and number.isdigit() and 0 < int(number) < 65536
    bare = host.removeprefix("[").removesuffix("]")
    if (colon and not is_number) or (not bare and not colon) or any(c in bare for c in "/[] "):
        raise UsageError(
            f"invalid address {text!r} for --listen; use one such as 0.0.0.0:9464 or [::]:9464"
        )
    return bare or "0.0.0.0", int(number) if colon else port


@contextmanager
def serving(listen: Listen, text: Callable[[], str]) -> Iterator[str]:
    """Answer ``GET /metrics`` with ``text()``, in separate threads. Yield the URL.

    Raises:
        UsageError: the address is not loopback, and there is neither a token nor TLS.
        McloudError: the address cannot be used, or a file of TLS.
    """
    if not (listen.is_loopback or listen.token or listen.tls):
        raise UsageError(
            f"{listen.address} can be reached from other machines, so it needs a token or TLS",
            remedy="set MCLOUD_METRICS_TOKEN or --token-file, or --tls-cert and --tls-key",
        )
    context = None if listen.tls is None else _context(listen.tls)
    handler = type("Handler", (_Handler,), {"listen": listen, "text": staticmethod(text)})
    try:
        server = _ScrapeServer(listen, handler, context)
    except (OSError, UnicodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "no such address"
        raise McloudError(
            f"port {listen.port} on {listen.host}: {said}",
            remedy="choose another port with --port or --listen",
        ) from None
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    try:
        there = Listen(listen.host, server.server_port).address
        yield f"{'https' if context else 'http'}://{there}/metrics"
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    listen: Listen
    text: Callable[[], str]
    timeout = 10  # seconds: a silent client must not hold a thread forever

    def do_GET(self) -> None:
        if not self._may_read():
            return
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(HTTPStatus.NOT_FOUND, "the only page is /metrics")
            return
        body = self.text().encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *arguments: object) -> None:
        """Log nothing: a line for every scrape helps nobody."""

    def _may_read(self) -> bool:
        """Return whether the client may read. Send the error answer if it may not."""
        if self.listen.token is not None:
            scheme, _, said = self.headers.get("Authorization", "").partition(" ")
            # The comparison takes constant time, and accepts only texts in ASCII.
            if scheme.lower() == "bearer" and hmac.compare_digest(
                said.strip().encode("utf-8", "replace"), self.listen.token.encode()
            ):
                return True
            self.send_response(HTTPStatus.UNAUTHORIZED)
            self.send_header("WWW-Authenticate", 'Bearer realm="mcloud"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return False
        # The name of a web page may resolve to this address; the page must not read anything.
        host = self.headers.get("Host", HOST)
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if self.listen.is_loopback and name not in NAMES:
            self.send_error(HTTPStatus.FORBIDDEN)
            return False
        return True


Request = socket.socket | tuple[bytes, socket.socket]


class _ScrapeServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = CONNECTIONS

    def __init__(
        self, listen: Listen, handler: type[_Handler], context: ssl.SSLContext | None
    ) -> None:
        self._context = context
        self._free = threading.BoundedSemaphore(CONNECTIONS)
        found = socket.getaddrinfo(
            listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        self.address_family = found[0][0]
        super().__init__((str(found[0][4][0]), listen.port), handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6 and self.server_address[0] == str(IPv6Address(0)):
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def get_request(self) -> tuple[socket.socket, object]:
        connection, peer = super().get_request()
        if self._context is None:
            return connection, peer
        # The handshake comes with the first bytes that are read, in the thread of the client.
        return (
            self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False),
            peer,
        )

    def process_request(self, request: Request, client_address: object) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Request, client_address: object) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Request, client_address: object) -> None:
        """Ignore clients that disconnect or do not read, instead of printing a traceback."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _context(tls: Tls) -> ssl.SSLContext:
    """Return the context for TLS. Raise McloudError for an unusable file."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for path in (tls.cert, tls.key, *([tls.client_ca] if tls.client_ca else [])):
        try:
            path.read_bytes()
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    try:
        # A prompt for a passphrase would wait for a terminal.
        context.load_cert_chain(tls.cert, tls.key, password=lambda: b"")
    except ssl.SSLError as error:
        raise UsageError(
            f"{tls.cert} and {tls.key} are not a certificate and its key: {error.reason or error}",
            remedy="both in PEM format, the key without a passphrase",
        ) from None
    if tls.client_ca is not None:
        try:
            context.load_verify_locations(tls.client_ca)
        except ssl.SSLError as error:
            raise UsageError(f"{tls.client_ca} has no certificate: {error.reason}") from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context
