"""Google's clients, and the border where google.api_core's errors become ours."""

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
from mcloud.deadline import Asker
from mcloud.errors import ConfigError, McloudError, Refused, Unavailable
from mcloud.local_faults import is_local

TIMEOUT = 10.0  # seconds, for one attempt at a call
PATIENCE = 8.0  # seconds after which a failing call is not tried again

CONNECTIONS = 32  # of a storage client, as of AWS's

# gRPC's own limit of 4 MiB is below what Pub/Sub and Firestore may answer.
# gRPC itself waits for up to two minutes between two tries to connect, and fails every call until
# then: a site that is back after an outage would seem to be away for that long.
_RECONNECT = [("grpc.initial_reconnect_backoff_ms", 500), ("grpc.max_reconnect_backoff_ms", 5_000)]
_CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    *_RECONNECT,
]

_firestore_environment = threading.Lock()

_importing = threading.RLock()
"""Held while Google's libraries are imported. They import each other in circles, and of two threads
that do so at once, one may get a module that is not complete yet."""

# gRPC's core writes notes about closing connections to stderr, past any logging of ours.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def retry() -> Any:
    """Return the retry policy for calls. The clients' default policies retry for up to ten
    minutes."""
    with _importing:
        from google.api_core.retry import Retry, if_exception_type

    passing = if_exception_type(*_passing())
    return Retry(passing, initial=0.1, maximum=2.0, timeout=PATIENCE)


def passing_errors() -> tuple[type[Exception], ...]:
    """Return the errors of a document in a bulk write after which it may be written again."""
    with _importing:
        from google.api_core import exceptions

    return (*_passing(), exceptions.Aborted, exceptions.DeadlineExceeded)


def _passing() -> tuple[type[Exception], ...]:
    with _importing:
        from google.api_core import exceptions

    return (
        exceptions.ServiceUnavailable,
        exceptions.InternalServerError,
        exceptions.TooManyRequests,  # ResourceExhausted among them
    )


def make_publisher(endpoint: str = "") -> Any:
    """A Pub/Sub publisher; ``endpoint`` (``host:port``) is an emulator, as everywhere here."""
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
    # This client learns of an emulator from its environment only, once, when it is made.
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
    """A Cloud Storage client; here ``endpoint`` is ``http://host:port``."""
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
        # GOOGLE_API_USE_MTLS_ENDPOINT would send what is for the emulator to Google.
        client._connection.API_BASE_MTLS_URL = endpoint
        _prepare(client._http, endpoint)
        return client
    _refuse_emulator("STORAGE_EMULATOR_HOST", "storage_endpoint")
    with translated("Cloud Storage"):
        client = storage.Client(project=project)
        _prepare(client._http, "https://storage.googleapis.com")
    return client


def storage_retry() -> Any:
    """Return the storage client's own policy of what may be tried again, for less than two
    minutes."""
    with _importing:
        from google.cloud.storage.retry import DEFAULT_RETRY

    return DEFAULT_RETRY.with_timeout(PATIENCE)


class GcpSession:
    """Asks Google's REST interfaces, and signs the requests with some credentials."""

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
        """See ``http.Client.ask``. The tokens that the request needs come within its limit,
        which is ``http.GOOGLE`` by default."""
        limit = limit or http.GOOGLE
        deadline = time.monotonic() + limit.seconds
        tokens = _Tokens(self._client, deadline)
        answer = self._ask(tokens, method, url, limit, document, query)
        if answer.status == 401 and self.credentials.token:  # it may have just expired
            with _token_understood():
                self.credentials.refresh(tokens)
            answer = self._ask(tokens, method, url, limit, document, query)
        return answer

    def refresh(self) -> None:
        """Get a new token, which proves the credentials."""
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
    ``google.auth.transport.Request``."""

    def __init__(self, client: http.HttpClient, deadline: float) -> None:
        self._client = client
        self._deadline = deadline

    def left(self, url: str) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            # Not an error of google.auth, which would try again.
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
        # google.auth takes for granted that an answer is UTF-8, has a type and is not nested deep.
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
    """See ``google.auth.transport.Response``."""

    status: int
    headers: Mapping[str, str]
    data: bytes


@contextmanager
def _token_understood() -> Iterator[None]:
    """google.auth stumbles over an answer of another form than it expects."""
    with _importing:
        from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except GoogleAuthError:  # some of them are a ValueError as well
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        said = "the answer of the token server does not have the documented form"
        raise Unavailable(said, is_local=True) from error


def check_credentials(session: Callable[[], GcpSession], seconds: float) -> None:
    """Fetch a token, unless that of the session is still valid.

    Raises:
        Unavailable: it cannot be fetched now, or not in time. It is a local fault.
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
    if isinstance(answer, Unavailable):  # of a token server
        raise Unavailable(answer.message, is_local=True)
    if isinstance(answer, Exception):
        raise answer


_fetching: Asker[str] = Asker(most=32)  # threads that wait at once; a further one is late


def make_session(scope: str = "cloud-platform") -> GcpSession:
    """For what is asked by REST, with the usual credentials."""
    with _importing:
        import google.auth

    with translated("Google Cloud"):
        tokens: Any = _Tokens(http.HttpClient(), time.monotonic() + http.METADATA.seconds)
        scopes = [f"https://www.googleapis.com/auth/{scope}"]
        return GcpSession(google.auth.default(scopes, request=tokens)[0])


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn Google's errors into Unavailable or Refused; ``what`` names service and resource."""
    with _importing:
        import requests
        from google.api_core import exceptions
        from google.auth.exceptions import GoogleAuthError, TransportError

    try:
        yield
    except http.NoAnswer as error:
        raise Unavailable(f"{what}: {error.message}", is_local=error.is_local) from error
    except TransportError as error:  # of a token server
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
        # The SDKs' requests raises a bare one where the file of certificates is missing.
        raise Refused(f"{what}: {_text(error)}", remedy=http.SETTINGS) from error


@contextmanager
def understood(what: str) -> Iterator[None]:
    """Turn what an answer in another form than the documented one leads to into Unavailable."""
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
    """Return the error for a REST answer that reports no success; ``what`` names the service.

    ``lacks`` and ``missing`` are the remedies where a permission is missing, and where what was
    asked for does not exist; ``known`` fills the fields of others (``api``, ``project``).
    """
    text, details = _told(answer)
    message = f"{what}: {text or f'HTTP {answer.status}'}"
    if answer.status == 429 or answer.status >= 500:
        return Unavailable(message)
    said = f"Error {answer.status}: {text} {details}"
    return Refused(message, remedy=_remedy(said, lacks, missing, known))


def _told(answer: http.HttpAnswer) -> tuple[str, str]:
    """The first line of what Google says in an answer, and all of it."""
    try:
        error = answer.document()["error"]
        return str(error["message"]).partition("\n")[0], json.dumps(error)
    except (Unavailable, KeyError, TypeError):  # a proxy's page
        return "", ""


def _make(what: str, client: Any, transport: Any, endpoint: str) -> Any:
    with _importing:
        import grpc

    if not endpoint:
        # Here, when it is made, a client looks for credentials.
        with translated(what):
            return client(transport=_reconnecting(transport))
    channel = grpc.insecure_channel(endpoint, options=_CHANNEL_OPTIONS)
    return client(transport=transport(channel=channel))


def _firestore_client() -> Any:
    """Return the client whose channels connect again soon; it takes no options for them."""
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
    """Return a kind of transport that connects again soon after an outage."""

    class Reconnecting(transport):  # type: ignore[misc]
        @classmethod
        def create_channel(cls, *arguments: Any, **settings: Any) -> Any:
            options = [*(settings.pop("options", None) or ()), *_RECONNECT]
            return super().create_channel(*arguments, options=options, **settings)

    return Reconnecting


def _refuse_emulator(variable: str, setting: str) -> None:
    """Google's client would turn to the emulator, and those of other services to the real cloud.

    Raises:
        ConfigError: the variable is set, as after ``eval "$(mcloud local env)"``.
    """
    if os.environ.get(variable):
        raise ConfigError(
            f"{variable} names an emulator, and this site is on Google Cloud",
            remedy=f"unset it, or give the site `{setting}` in mcloud.toml",
        )


def _prepare(session: Any, url: str) -> None:
    """Give it connections for many threads, and the environment's proxies and certificates for all
    that goes to ``url``, once.

    A ``requests`` session reads all variables for each request anew, which takes a fifth of the
    time of an upload.
    """
    with _importing:
        from requests.adapters import HTTPAdapter

    # Ten if nothing is said: each further one is then made anew for each request.
    if not session.is_mtls:
        session.mount(url, HTTPAdapter(pool_maxsize=CONNECTIONS))
    found = session.merge_environment_settings(url, {}, None, None, None)
    session.proxies, session.verify, session.cert = found["proxies"], found["verify"], found["cert"]
    session.trust_env = False


# What gRPC says where Python's clients have an exception. It reports all of it as UNAVAILABLE.
_LOCAL = re.compile(
    r"metadata from plugin failed"  # the credentials
    r"|DNS resolution failed|errors resolving|[Aa]ddress lookup failed|C-ares status"
    r"|CERTIFICATE_VERIFY_FAILED|HTTP proxy returned|Network is unreachable|Too many open files"
)
_NO_ADDRESSES = "returned answer with no data"  # see `local_faults`: the name itself has none


def _is_local(error: Exception) -> bool:
    """Return whether this machine is the reason; see ``local_faults``."""
    said = f"{error} {error.__cause__}"
    if _LOCAL.search(said):
        return _NO_ADDRESSES not in said
    # A connection that cannot be made is one to the proxy, where there is one.
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
