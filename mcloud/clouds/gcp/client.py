"""Google's clients, and the conversion of google.api_core's errors into those of mcloud."""

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from mcloud import http
from mcloud.clouds.causes import explain
from mcloud.clouds.gcp.causes import CAUSES, LACKS, MISSING, SIGN_IN
from mcloud.deadline import Asker, is_brief
from mcloud.errors import ConfigError, McloudError, Refused, Unavailable
from mcloud.local_faults import is_local

TIMEOUT = 10.0  # seconds, for one attempt at a call
PATIENCE = 8.0  # seconds after which a failing call is no longer retried
BRIEF = 0.3  # the same for a command that only reads; see ``bounded``

CONNECTIONS = 32  # size of a storage client's connection pool, as on AWS

# Pub/Sub and Firestore may send answers above gRPC's default limit of 4 MiB. gRPC's default backoff
# waits up to two minutes between two attempts to connect, and fails every call until then: a site
# would seem unavailable for that long after an outage.
_RECONNECT = [("grpc.initial_reconnect_backoff_ms", 500), ("grpc.max_reconnect_backoff_ms", 5_000)]
_CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    *_RECONNECT,
]

_firestore_environment = threading.Lock()

_importing = threading.RLock()
"""Held while Google's libraries are imported. Their imports are circular, so if two threads import
them at the same time, one may get a module that is not complete yet.
"""

# gRPC's core writes notes about closing connections to stderr, bypassing Python's logging.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def retry() -> Any:
    """Return the retry policy for calls. The clients' default policies retry for up to ten
    minutes."""
    with _importing:
        from google.api_core.retry import Retry, if_exception_type

    passing = if_exception_type(*_passing())
    patience = BRIEF if is_brief() else PATIENCE
    return Retry(passing, initial=0.1, maximum=2.0, timeout=patience)


def passing_errors() -> tuple[type[Exception], ...]:
    """Return the errors of a document in a bulk write that are temporary, so that it may be written
    again.
    """
    with _importing:
        from google.api_core import exceptions

    return (*_passing(), exceptions.Aborted, exceptions.DeadlineExceeded)


def _passing() -> tuple[type[Exception], ...]:
    with _importing:
        from google.api_core import exceptions

    return (
        exceptions.ServiceUnavailable,
        exceptions.InternalServerError,
        exceptions.TooManyRequests,  # includes ResourceExhausted
    )


def make_publisher(endpoint: str = "") -> Any:
    """Return a Pub/Sub publisher. ``endpoint`` (``host:port``) is an emulator, as in all functions
    here.
    """
    with _importing:
        from google.pubsub_v1 import PublisherClient
        from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport

    return _make("Pub/Sub", PublisherClient, PublisherGrpcTransport, endpoint)


def make_subscriber(endpoint: str = "") -> Any:
    with _importing:
        from google.pubsub_v1 import SubscriberClient
        from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

    return _make("Pub/Sub", SubscriberClient, SubscriberGrpcTransport, endpoint)


def make_metrics(endpoint: str = "") -> Any:
    with _importing:
        from google.cloud.monitoring_v3 import MetricServiceClient
        from google.cloud.monitoring_v3.services.metric_service.transports import (
            MetricServiceGrpcTransport,
        )

    return _make("Cloud Monitoring", MetricServiceClient, MetricServiceGrpcTransport, endpoint)


def make_firestore(project: str, database: str, endpoint: str = "") -> Any:
    with _importing:
        from google.auth.credentials import AnonymousCredentials

    client = _firestore_client()
    if not endpoint:
        _refuse_emulator("FIRESTORE_EMULATOR_HOST", "firestore_endpoint")
        with translated("Firestore"):
            return client(project=project, database=database)
    # This client reads the emulator's address only from its environment, once, when it is created.
    with _firestore_environment:
        before = os.environ.get("FIRESTORE_EMULATOR_HOST")
        os.environ["FIRESTORE_EMULATOR_HOST"] = endpoint
        try:
            return client(project=project, database=database, credentials=AnonymousCredentials())
        finally:
            if before is None:
                del os.environ["FIRESTORE_EMULATOR_HOST"]
            else:
                os.environ["FIRESTORE_EMULATOR_HOST"] = before


def make_storage(project: str, endpoint: str = "") -> Any:
    """Return a Cloud Storage client; here ``endpoint`` is ``http://host:port``."""
    # Each client would read the settings of the bucket in a thread of its own, for spans that
    # nobody collects and with a permission that none of our roles has.
    os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
    with _importing:
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage

    if endpoint:
        client = storage.Client(
            project=project,
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": endpoint},
        )
        # Otherwise GOOGLE_API_USE_MTLS_ENDPOINT would send requests for the emulator to Google.
        client._connection.API_BASE_MTLS_URL = endpoint
        _prepare(client._http, endpoint)
        return client
    _refuse_emulator("STORAGE_EMULATOR_HOST", "storage_endpoint")
    with translated("Cloud Storage"):
        client = storage.Client(project=project)
        _prepare(client._http, "https://storage.googleapis.com")
    return client


def storage_retry() -> Any:
    """Return the storage client's default retry policy, limited to less than two minutes."""
    with _importing:
        from google.cloud.storage.retry import DEFAULT_RETRY

    return DEFAULT_RETRY.with_timeout(BRIEF if is_brief() else PATIENCE)


class GcpSession:
    """Client of Google's REST APIs that authorises its requests with given credentials."""

    def __init__(self, credentials: Any) -> None:
        self.credentials = credentials
        self._client = http.HttpClient()

    def ask(
        self,
        method: str,
        url: str,
        limit: http.HttpLimit | None = None,
        *,
        document: object = None,
        query: Mapping[str, object] | None = None,
    ) -> http.HttpAnswer:
        """Send a request; see ``http.Client.ask``. The limit, by default ``http.GOOGLE``, includes
        the time to fetch the tokens that the request needs.
        """
        limit = limit or http.GOOGLE
        deadline = time.monotonic() + limit.seconds
        tokens = _Tokens(self._client, deadline)
        answer = self._ask(tokens, method, url, limit, document, query)
        if answer.status == 401 and self.credentials.token:  # the token may have just expired
            with _token_understood():
                self.credentials.refresh(tokens)
            answer = self._ask(tokens, method, url, limit, document, query)
        return answer

    def refresh(self) -> None:
        """Fetch a new token, which proves that the credentials are valid."""
        deadline = time.monotonic() + http.TOKEN.seconds
        with _token_understood():
            self.credentials.refresh(_Tokens(self._client, deadline))

    def _ask(
        self,
        tokens: "_Tokens",
        method: str,
        url: str,
        limit: http.HttpLimit,
        document: object,
        query: Mapping[str, object] | None,
    ) -> http.HttpAnswer:
        headers: dict[str, str] = {}
        with _token_understood():
            self.credentials.before_request(tokens, method, url, headers)
        limit = replace(limit, seconds=tokens.left(url))
        return self._client.ask(method, url, limit, document=document, query=query, headers=headers)


class _Tokens:
    """Sends the requests of google.auth to token and metadata servers, within a limit; see
    ``google.auth.transport.Request``.
    """

    def __init__(self, client: http.HttpClient, deadline: float) -> None:
        self._client = client
        self._deadline = deadline

    def left(self, url: str) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            # It is not an error of google.auth, because google.auth would retry those.
            server = urlsplit(url).hostname
            raise http.NoAnswer(f"{server} did not answer in time", "not in time", is_local=True)
        return left

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_: object,
    ) -> "_Token":
        with _importing:
            from google.auth.exceptions import TransportError
            from requests.structures import CaseInsensitiveDict

        left = self.left(url)
        limit = replace(http.TOKEN, seconds=min(left, timeout or left))
        content = body.encode() if isinstance(body, str) else body
        try:
            answer = self._client.ask(method, url, limit, body=content, headers=headers)
        except http.NoAnswer as error:
            self.left(url)
            raise TransportError(str(error)) from error
        if answer.cut:
            raise TransportError(f"the answer of {answer.server} is incomplete: {answer.cut}")
        # google.auth assumes that an answer is UTF-8, has a content type and is not nested deeply.
        kept = CaseInsensitiveDict(answer.headers)
        kept.setdefault("Content-Type", "text/plain")
        with suppress(ValueError):
            try:
                json.loads(answer.text)
            except RecursionError:
                raise TransportError(f"the answer of {answer.server} is not valid JSON") from None
        return _Token(answer.status, kept, answer.text.encode())


@dataclass(frozen=True)
class _Token:
    """Implementation of ``google.auth.transport.Response`` for an answer of a token server."""

    status: int
    headers: Mapping[str, str]
    data: bytes


@contextmanager
def _token_understood() -> Iterator[None]:
    """Convert the errors that google.auth raises for an answer of an unexpected form."""
    with _importing:
        from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except GoogleAuthError:  # some subclasses are also a ValueError
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        said = "the answer of the token server does not have the documented form"
        raise Unavailable(said, is_local=True) from error


def check_credentials(session: Callable[[], GcpSession], seconds: float) -> None:
    """Fetch a token, unless that of the session is still valid.

    Raises:
        Unavailable: it cannot be fetched now, or not in time. The error counts as local.
        Refused: there are no credentials, or they have expired.
    """

    def fetch() -> None:
        with translated("the Google credentials cannot be fetched"):
            found = session()
            if not found.credentials.valid:
                found.refresh()

    answer = _fetching.gather({"credentials": fetch}, seconds)["credentials"]
    if isinstance(answer, TimeoutError):
        said = f"the Google credentials cannot be fetched: {answer}"
        raise Unavailable(said, is_local=True)
    if isinstance(answer, Unavailable):  # from a token server
        raise Unavailable(answer.message, is_local=True)
    if isinstance(answer, Exception):
        raise answer


# maximum number of waiting threads; a further one fails with a timeout
_fetching: Asker[str] = Asker(most=32)


def make_session(scope: str = "cloud-platform") -> GcpSession:
    """Return a session for REST requests with the default credentials."""
    with _importing:
        import google.auth

    with translated("Google Cloud"):
        tokens: Any = _Tokens(http.HttpClient(), time.monotonic() + http.METADATA.seconds)
        scopes = [f"https://www.googleapis.com/auth/{scope}"]
        return GcpSession(google.auth.default(scopes, request=tokens)[0])


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Convert Google's errors into Unavailable or Refused; ``what`` names the service and the
    resource.
    """
    with _importing:
        import requests
        from google.api_core import exceptions
        from google.auth.exceptions import GoogleAuthError, TransportError

    try:
        yield
    except http.NoAnswer as error:
        raise Unavailable(f"{what}: {error.message}", is_local=error.is_local) from error
    except TransportError as error:  # from a token server
        raise Unavailable(f"{what}: {_text(error)}", is_local=True) from error
    except (
        exceptions.ServerError,
        exceptions.TooManyRequests,
        exceptions.Aborted,
        exceptions.RetryError,
        requests.ConnectionError,
        requests.exceptions.ChunkedEncodingError,
        requests.exceptions.ContentDecodingError,
        requests.Timeout,
        ConnectionError,
        TimeoutError,
    ) as error:
        raise Unavailable(f"{what}: {_text(error)}", is_local=_is_local(error)) from error
    except exceptions.GoogleAPICallError as error:
        raise Refused(f"{what}: {_text(error)}", remedy=_remedy(str(error))) from error
    except GoogleAuthError as error:
        raise Refused(f"{what}: {_text(error)}", remedy=_remedy(str(error)) or SIGN_IN) from error
    except OSError as error:
        # requests raises a plain OSError if the file of CA certificates is missing.
        raise Refused(f"{what}: {_text(error)}", remedy=http.SETTINGS) from error


@contextmanager
def understood(what: str) -> Iterator[None]:
    """Convert the errors that an answer of an undocumented form causes into Unavailable."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError) as error:
        raise Unavailable(f"{what}: the answer does not have the documented form") from error


def refused(
    what: str,
    answer: http.HttpAnswer,
    *,
    lacks: str = "",
    missing: str = "",
    known: Mapping[str, str] | None = None,
) -> McloudError:
    """Return the error for a REST answer that reports a failure; ``what`` names the service.

    ``lacks`` and ``missing`` are the remedies for a missing permission and for a missing resource.
    ``known`` fills the fields of other remedies (``api``, ``project``).
    """
    text, details = _told(answer)
    message = f"{what}: {text or f'HTTP {answer.status}'}"
    if answer.status == 429 or answer.status >= 500:
        return Unavailable(message)
    said = f"Error {answer.status}: {text} {details}"
    return Refused(message, remedy=_remedy(said, lacks, missing, known))


def _told(answer: http.HttpAnswer) -> tuple[str, str]:
    """Return the first line of Google's error message, and the whole error."""
    try:
        error = answer.document()["error"]
        return str(error["message"]).partition("\n")[0], json.dumps(error)
    except (Unavailable, KeyError, TypeError):  # for example the error page of a proxy
        return "", ""


def _make(what: str, client: Any, transport: Any, endpoint: str) -> Any:
    with _importing:
        import grpc

    if not endpoint:
        # A client looks for credentials when it is created.
        with translated(what):
            return client(transport=_reconnecting(transport))
    channel = grpc.insecure_channel(endpoint, options=_CHANNEL_OPTIONS)
    return client(transport=transport(channel=channel))


def _firestore_client() -> Any:
    """Return the class of a Firestore client whose channels reconnect soon after an outage. The
    client has no option for this.
    """
    with _importing:
        import grpc
        from google.cloud import firestore

    class Client(firestore.Client):  # type: ignore[misc]
        def _firestore_api_helper(self, transport: Any, *others: Any) -> Any:
            return super()._firestore_api_helper(_reconnecting(transport), *others)

        def _emulator_channel(self, transport: Any) -> Any:
            options = [("Authorization", "Bearer owner"), *_CHANNEL_OPTIONS]
            return grpc.insecure_channel(self._emulator_host, options=options)

    return Client


def _reconnecting(transport: Any) -> Any:
    """Return a subclass of a transport that reconnects soon after an outage."""

    class Reconnecting(transport):  # type: ignore[misc]
        @classmethod
        def create_channel(cls, *arguments: Any, **settings: Any) -> Any:
            options = [*(settings.pop("options", None) or ()), *_RECONNECT]
            return super().create_channel(*arguments, options=options, **settings)

    return Reconnecting


def _refuse_emulator(variable: str, setting: str) -> None:
    """Refuse a variable that would redirect Google's client to an emulator, while other services
    use the real cloud.

    Raises:
        ConfigError: the variable is set, for example by ``eval "$(mcloud local env)"``.
    """
    if os.environ.get(variable):
        raise ConfigError(
            f"{variable} names an emulator, and this site is on Google Cloud",
            remedy=f"unset it, or give the site `{setting}` in mcloud.toml",
        )


def _prepare(session: Any, url: str) -> None:
    """Give the session connections for many threads, and set the environment's proxies and
    certificates for ``url`` once.

    A ``requests`` session otherwise reads all variables for each request, which takes a fifth of
    the time of an upload.
    """
    with _importing:
        from requests.adapters import HTTPAdapter

    # The default pool holds ten connections. Each further connection would be opened again for each
    # request.
    if not session.is_mtls:
        session.mount(url, HTTPAdapter(pool_maxsize=CONNECTIONS))
    found = session.merge_environment_settings(url, {}, None, None, None)
    session.proxies, session.verify, session.cert = found["proxies"], found["verify"], found["cert"]
    session.trust_env = False


# gRPC's messages for errors for which Python's other clients have exceptions. gRPC reports all of
# them as UNAVAILABLE.
_LOCAL = re.compile(
    r"metadata from plugin failed"  # credentials
    r"|DNS resolution failed|errors resolving|[Aa]ddress lookup failed|C-ares status"
    r"|CERTIFICATE_VERIFY_FAILED|HTTP proxy returned|Network is unreachable|Too many open files"
)
# the name exists without an address; see `local_faults`
_NO_ADDRESSES = "returned answer with no data"


def _is_local(error: Exception) -> bool:
    """Return whether this machine caused the error; see ``local_faults``."""
    said = f"{error} {error.__cause__}"
    if _LOCAL.search(said):
        return _NO_ADDRESSES not in said
    # With a proxy, a failed connection is one to the proxy.
    port = re.search(r":\d+", http.proxy_for("https://googleapis.com").rpartition("@")[2][5:])
    if port and f"{port[0]}: Failed to connect" in said:
        return True
    return is_local(error)


def _text(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _remedy(
    said: str, lacks: str = "", missing: str = "", known: Mapping[str, str] | None = None
) -> str:
    causes = (
        *CAUSES,
        replace(LACKS, remedy=lacks or LACKS.remedy),
        replace(MISSING, remedy=missing or MISSING.remedy),
    )
    found = explain(said, causes, known)
    return found.remedy if found else ""
