"""HTTP requests with a limit on the size and on the duration of the answer.

mcloud sends all its own HTTP requests through this module; only the clouds' SDKs send theirs. A
``HttpLimit`` applies to a request as a whole: the name look-up, the connection, the TLS handshake,
the headers and the body share one deadline. A server that sends one byte per second is therefore
cut off at the same time as a silent one. Redirects are not followed, because they would send a
request to a server that no setting names.

    answer = http.ask("GET", "https://api.binance.com/api/v3/ping", http.EXCHANGE)
    if answer.status == 200:
        print(answer.json())
"""

import ipaddress
import json
import os
import re
import socket
import ssl
import time
import urllib.request
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache, partial
from http.client import HTTPException
from typing import Any, cast
from urllib.parse import unquote, urlencode, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, LocationValueError

from mcloud.deadline import Asker
from mcloud.errors import ConfigError, Refused, Unavailable
from mcloud.local_faults import is_local

KIB = 1024
HEAD = 256 * KIB  # maximum bytes of status lines, headers, and the framing of a body
CHUNK = 16 * KIB  # bytes of a body that are read at once


@dataclass(frozen=True)
class HttpLimit:
    """Limits of one request."""

    most: int
    """Maximum size of the body in bytes, both as sent and after decompression. With 0, the body is
    not read."""
    seconds: float
    """Maximum duration of the request, from the name look-up to the last byte of the body."""


WEBHOOK = HttpLimit(64 * KIB, 8.0)  # less than one attempt of the notifier
EXCHANGE = HttpLimit(4 * KIB * KIB, 10.0)  # 1,000 trades take 200 KB; see budget.IN_FLIGHT
EXCHANGE_INFO = HttpLimit(64 * KIB * KIB, 30.0)  # all symbols of an exchange take up to 20 MB
REACH = HttpLimit(0, 5.0)  # only the status and the headers of an answer
SPANS = HttpLimit(64 * KIB, 2.0)
GOOGLE = HttpLimit(32 * KIB * KIB, 10.0)
QUERY = HttpLimit(32 * KIB * KIB, 35.0)  # BigQuery sends at most 10 MB a page, and waits for 30 s
TOKEN = HttpLimit(KIB * KIB, 10.0)
METADATA = HttpLimit(KIB * KIB, 20.0)  # google.auth asks up to three times, for 3 s each
FUNCTION = HttpLimit(64 * KIB, 60.0)  # as Cloud Scheduler waits

SETTINGS = "check REQUESTS_CA_BUNDLE and the proxies in the environment"


class NoAnswer(Unavailable):
    """Raised if no status and headers came. ``reason`` says why, without the URL."""

    def __init__(
        self, message: str, reason: str, *, remedy: str = "", is_local: bool = False
    ) -> None:
        super().__init__(message, remedy=remedy, is_local=is_local)
        self.reason = reason


@dataclass(frozen=True)
class HttpAnswer:
    """A server's answer, cut where it exceeds the limit."""

    server: str
    """Server, as ``https://HOST``. The rest of the URL is not shown, since it may be a secret."""
    status: int
    headers: Mapping[str, str]
    """Headers, with case-insensitive names."""
    body: bytes
    cut: str
    """Why the body is incomplete, such as ``longer than 65,536 bytes``; empty if it is complete."""
    sent: float
    """When the request was sent, in seconds since 1970."""
    seconds: float
    """Time until the headers came."""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        # The text is decoded as UTF-8 in any case, because the charset that a server names may be
        # unknown or wrong.
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """Return the body, parsed.

        Raises:
            Unavailable: it is incomplete, or not JSON.
        """
        if self.cut:
            raise Unavailable(f"the answer of {self.server} is incomplete: {self.cut}")
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):  # RecursionError: it is nested too deeply
            raise Unavailable(f"the answer of {self.server} is not valid JSON") from None

    def document(self) -> dict[str, Any]:
        """Return the JSON object in the body.

        Raises:
            Unavailable: there is none.
        """
        found = self.json()
        if not isinstance(found, dict):
            raise Unavailable(f"the answer of {self.server} is not a JSON object")
        return found

    @property
    def time(self) -> float | None:
        """The server's clock, in seconds since 1970; None if it does not give the time."""
        return _moment(self.headers.get("Date", ""))

    @property
    def retry_after(self) -> float | None:
        """Seconds that the server asks to wait (``Retry-After``), at least 0; None if it does not.

        A date is compared with the server's own clock, if it sends one.
        """
        said = self.headers.get("Retry-After", "").strip()
        if re.fullmatch(r"[0-9]{1,18}(\.[0-9]{1,9})?", said, re.ASCII):
            return float(said)
        until = _moment(said)
        if until is None:
            return None
        now = self.time
        return max(0.0, until - (time.time() if now is None else now))


def ask(
    method: str,
    url: str,
    limit: HttpLimit,
    *,
    body: bytes | None = None,
    document: object = None,
    headers: Mapping[str, str] | None = None,
) -> HttpAnswer:
    """Send one request over a connection of its own; see ``HttpClient.ask``."""
    client = HttpClient()
    try:
        return client.ask(method, url, limit, body=body, document=document, headers=headers)
    finally:
        client.close()


class HttpClient:
    """Sends requests, and keeps up to ``keep`` connections to each server open. Thread-safe."""

    def __init__(self, keep: int = 4) -> None:
        self._keep = keep
        self._pools: dict[tuple[str, str], urllib3.PoolManager] = {}
        """By the scheme of the request and the URL of the proxy, which may be empty."""

    def ask(
        self,
        method: str,
        url: str,
        limit: HttpLimit,
        *,
        body: bytes | None = None,
        document: object = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, object] | None = None,
    ) -> HttpAnswer:
        """Send a request, and return the answer with any status, even if its body is incomplete.

        Args:
            document: sent as JSON, in place of ``body``.

        Raises:
            NoAnswer: no headers came within the limit.
            Refused: the request cannot be sent: certificates, a proxy or the URL are wrong.
        """
        if query:
            url = f"{url}?{urlencode(query, doseq=True)}"
        named = {"User-Agent": "mcloud", **(headers or {})}
        if document is not None:
            body, named["Content-Type"] = json.dumps(document).encode(), "application/json"
        server = _server(url)
        if not url.lower().startswith(("http://", "https://")):
            raise Refused(
                f"{server} cannot be reached: its URL starts with neither http:// nor https://"
            )
        sent, begun = time.time(), time.monotonic()
        with _bounded(limit) as budget:
            try:
                response = self._pool(url).request(
                    method,
                    url,
                    body=body,
                    headers=named,
                    timeout=urllib3.Timeout(total=limit.seconds),
                    retries=False,
                    redirect=False,
                    preload_content=False,
                    decode_content=False,
                )
            except (HTTPError, HTTPException, OSError, ValueError) as error:
                if isinstance(error, ValueError) and not isinstance(error, OSError):
                    # The text of the error may include the URL or a header.
                    raise Refused(f"{server} cannot be reached: {_flaw(error)}") from None
                reason = budget.broken or _reason(error)
                if reason == _TOO_MUCH:
                    reason = "too many headers"
                # The original error is not chained, because it includes the URL.
                said = f"{server} does not answer: {reason}"
                raise NoAnswer(said, reason, is_local=is_local(error)) from None
            seconds = time.monotonic() - begun
            content, cut = b"", ""
            try:
                if limit.most:
                    content, cut = _read(response, limit, budget)
            finally:
                if cut or not limit.most or response.status < 200:
                    response.close()  # the rest must not be read as the next answer
                response.release_conn()
        return HttpAnswer(server, response.status, response.headers, content, cut, sent, seconds)

    def close(self) -> None:
        for pool in self._pools.values():
            pool.clear()

    def _pool(self, url: str) -> urllib3.PoolManager:
        key = urlsplit(url).scheme, proxy_for(url)
        if key not in self._pools:
            self._pools[key] = _make_pool(*key, self._keep)
        return self._pools[key]


def proxy_for(url: str) -> str:
    """Return the proxy that the environment names for ``url``, or an empty string if there is
    none."""
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    # Typed as returning what the platform's function returns.
    if (
        not proxy
        or is_loopback(parts.hostname)
        or cast(bool, urllib.request.proxy_bypass(parts.netloc))
    ):
        return ""
    return proxy


def is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:  # a name
        return False


_TOO_MUCH = "too many bytes around the body"  # headers, sizes of chunks, trailers


class _Budget:
    """The remaining limit of a thread's current request."""

    def __init__(self, limit: HttpLimit) -> None:
        self.broken = ""
        """Description of the part of the limit that is used up; empty if none is."""
        self._limit = limit
        self._until = time.monotonic() + limit.seconds
        # This counts bytes from the network; ``_read`` counts decompressed bytes.
        self._bytes = HEAD + 2 * limit.most

    def seconds(self) -> float:
        """Raises TimeoutError if there are none left."""
        left = self._until - time.monotonic()
        if left <= 0:
            self.late()
            raise TimeoutError(self.broken)
        return left

    def take(self, count: int) -> int:
        self._bytes -= count
        if self._bytes < 0:
            self.broken = _TOO_MUCH
            raise OSError(self.broken)
        return count

    def late(self) -> None:
        self.broken = self.broken or f"timed out after {self._limit.seconds:g} s"


_budget: ContextVar[_Budget | None] = ContextVar("_budget", default=None)


@contextmanager
def _bounded(limit: HttpLimit) -> Iterator[_Budget]:
    budget = _Budget(limit)
    token = _budget.set(budget)
    try:
        yield budget
    finally:
        _budget.reset(token)


class _Bounded:
    """A socket that obeys the time and size limits of the current request."""

    def recv(self, *arguments: Any) -> Any:
        return self._within("recv", *arguments)

    def recv_into(self, *arguments: Any) -> Any:
        return self._within("recv_into", *arguments)

    def send(self, *arguments: Any) -> Any:
        return self._within("send", *arguments)

    def sendall(self, *arguments: Any) -> Any:
        return self._within("sendall", *arguments)

    def do_handshake(self, *arguments: Any) -> Any:
        return self._within("do_handshake", *arguments)

    def _within(self, name: str, *arguments: Any) -> Any:
        call = getattr(super(), name)
        budget = _budget.get()
        if budget is None:
            return call(*arguments)
        # The timeout of a socket applies to one call, so each call gets the remaining time.
        self.settimeout(budget.seconds())  # type: ignore[attr-defined]
        try:
            came = call(*arguments)
        except TimeoutError:
            budget.late()
            raise
        if name.startswith("recv"):
            budget.take(came if isinstance(came, int) else len(came))
        return came


class _BoundedSocket(_Bounded, socket.socket):
    pass


class _TlsSocket(_Bounded, ssl.SSLSocket):
    pass


class _Connection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _connect(self._dns_host, self.port or self.default_port)


class _TlsConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _connect(self._dns_host, self.port or self.default_port)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


# A look-up cannot be cancelled. The number of hanging ones is limited, and they end by themselves.
_resolver: Asker[str] = Asker()


def _connect(host: str, port: int) -> socket.socket:
    budget = _budget.get()
    assert budget is not None
    look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = _resolver.gather({host: look_up}, budget.seconds())[host]
    if isinstance(found, Exception):
        if isinstance(found, TimeoutError):
            budget.late()
        raise found
    error: OSError = OSError(f"{host} has no address")
    for tried, (family, kind, protocol, _, address) in enumerate(found):
        # Each address gets a share of the remaining time, so that one without an answer does not
        # use all of it.
        share = budget.seconds() / (len(found) - tried)
        made = _BoundedSocket(family, kind, protocol)
        try:
            made.settimeout(share)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            made.connect(address)
            return made
        except OSError as reason:
            error = reason
            made.close()
    if isinstance(error, TimeoutError):
        budget.late()
    raise error


def _make_pool(scheme: str, proxy: str, keep: int) -> urllib3.PoolManager:
    # ``cert_reqs`` as in the context, which urllib3 would otherwise change.
    options: dict[str, Any] = {"maxsize": keep}
    if scheme == "https":
        options |= {"ssl_context": _trust(_bundle()), "cert_reqs": ssl.CERT_REQUIRED}
    try:
        if proxy:
            parts = urlsplit(proxy)
            user, password = unquote(parts.username or ""), unquote(parts.password or "")
            secret = urllib3.make_headers(proxy_basic_auth=f"{user}:{password}") if user else None
            if proxy.startswith("https:"):
                options["proxy_ssl_context"] = _trust(_bundle())
            pool: urllib3.PoolManager = urllib3.ProxyManager(proxy, proxy_headers=secret, **options)
        else:
            pool = urllib3.PoolManager(**options)
    except (HTTPError, ValueError):
        # The value is not shown, because it may contain a password.
        raise ConfigError(
            f"{scheme}_proxy is not the URL of a proxy",
            remedy="set it to http://HOST:PORT, or unset it",
        ) from None
    pool.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
    return pool


def _bundle() -> str:
    """Return the path of the certificates that the environment names, in the variables that
    ``requests`` reads."""
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or ""


@cache
def _trust(bundle: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = _TlsSocket
    if bundle:
        try:
            folder = os.path.isdir(bundle)
            context.load_verify_locations(**{"capath" if folder else "cafile": bundle})
        except (OSError, ssl.SSLError) as error:
            why = error.strerror or str(error)
            raise Refused(
                f"the certificates cannot be read from {bundle}: {why}", remedy=SETTINGS
            ) from error
        return context
    # Use the certificates of the system, which may include those of a company, and those of
    # certifi, because a system may have none.
    context.load_default_certs()
    try:
        import certifi
    except ImportError:
        return context
    context.load_verify_locations(certifi.where())
    return context


_AS_IT_IS = ("", "identity")


def _read(response: Any, limit: HttpLimit, budget: _Budget) -> tuple[bytes, str]:
    """Return the body, and why it is incomplete."""
    most = limit.most
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in (*_AS_IT_IS, "gzip", "x-gzip", "deflate"):
        return b"", f"it is encoded as {encoding[:40]!r}"
    # With 47, zlib detects gzip or zlib by the first bytes.
    inflate = None if encoding in _AS_IT_IS else zlib.decompressobj(47)
    body = bytearray()
    came = False
    try:
        for piece in response.stream(CHUNK, decode_content=False):
            came = came or bool(piece)
            body += inflate.decompress(piece, most + 1 - len(body)) if inflate else piece
            if len(body) > most:
                return bytes(body[:most]), f"longer than {most:,} bytes"
    except zlib.error:
        return bytes(body), f"it is not valid {encoding}"
    except (HTTPError, HTTPException, OSError, ValueError) as error:
        return bytes(body), budget.broken or _reason(error)
    if inflate and came and not inflate.eof:
        return bytes(body), "it ends in the middle"
    return bytes(body), ""


def _reason(error: BaseException) -> str:
    """Return why a request failed, from the innermost error that urllib3 has wrapped."""
    while inner := next((each for each in error.args[::-1] if isinstance(each, Exception)), None):
        error = inner
    # urllib3 puts the connection object in front of the reason.
    # A server that speaks another protocol is quoted, with its line feeds.
    said = " ".join(str(error).rpartition("): ")[2].split())
    return said[:200] or type(error).__name__


def _server(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "the server"
    host = (parts.netloc or parts.path.partition("/")[0]).rpartition("@")[2]  # without a password
    return f"{parts.scheme}://{host}" if parts.scheme else host


def _flaw(error: Exception) -> str:
    is_url = isinstance(error, LocationValueError | UnicodeError)
    return "its URL is not valid" if is_url else "a header of the request is not valid"


def _moment(text: str) -> float | None:
    """Return the timestamp of an HTTP date, or None if the text is not one."""
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError, OSError):
        return None
