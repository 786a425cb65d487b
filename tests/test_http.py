"""Every client reads a limited amount, ends in time and stays usable, whatever a server does."""

import ast
import re
import ssl
import subprocess
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import rude
from clouds.web import anonymous, serve
from hypothesis import given
from hypothesis import strategies as st
from patience import PATIENCE

from mcloud import http
from mcloud.clouds.access import Target, ask_time
from mcloud.clouds.gcp.access import GcpAccess
from mcloud.clouds.gcp.billing import BillingExport
from mcloud.clouds.gcp.client import GcpSession, translated
from mcloud.clouds.gcp.logs import CloudLogging
from mcloud.clouds.gcp.probe import GcpProbe
from mcloud.clouds.gcp.spans import CloudTrace
from mcloud.clouds.gcp.transfer import StorageTransfer
from mcloud.clouds.otlp import Otlp
from mcloud.clouds.resources import GcpResources
from mcloud.config import ExchangeConfig
from mcloud.doctor import machine
from mcloud.errors import McloudError, Refused, Unavailable
from mcloud.feed.binance.endpoints import endpoints
from mcloud.feed.binance.rest import BinanceRest
from mcloud.local.deployment import gcp_resources
from mcloud.local.gcp.pubsub_push import Pusher
from mcloud.local.schedule import call
from mcloud.notify import web

Call = Callable[[str], object]

MOST = 64 * http.KIB
LIMITS = [name for name, value in vars(http).items() if isinstance(value, http.HttpLimit)]
"""Names of the limits of all kinds of answers."""


def google_credentials(url: str) -> Any:
    """Return credentials whose tokens come from ``url``."""
    from google.oauth2.credentials import Credentials

    return Credentials(
        None, refresh_token="r", token_uri=f"{url}/token", client_id="c", client_secret="s"
    )


def token(url: str) -> None:
    with translated("Google"):
        GcpSession(google_credentials(url)).refresh()


def metadata(url: str) -> None:
    from google.auth.compute_engine import _metadata

    from mcloud.clouds.gcp.client import _Tokens

    tokens: Any = _Tokens(http.HttpClient(), time.monotonic() + http.TOKEN.seconds)
    with translated("Google"):
        _metadata.get(tokens, "instance", root=f"{url}/")


def site(function_url: str = "") -> GcpResources:
    return gcp_resources(
        pubsub="", firestore="", monitoring="", storage="", function_url=function_url
    )


def transfer(url: str) -> StorageTransfer:
    service = StorageTransfer("from", "into", "p", "role", url)
    service.__dict__["_session"] = anonymous()
    return service


def access(url: str) -> GcpAccess:
    target = Target("mcloud", "us-central1", "p", site())
    asker = GcpAccess(target, lambda api: url)
    asker.__dict__["_session"] = anonymous()
    return asker


def probe(url: str) -> GcpProbe:
    return GcpProbe(None, None, None, site(url))


def push(url: str) -> int:
    from google.pubsub_v1 import PubsubMessage

    subscription: Any = SimpleNamespace(name="projects/p/subscriptions/s")
    message = PubsubMessage.pb(PubsubMessage(data=b"x"))
    return Pusher(url, subscription)._post(message, None, http.FUNCTION.seconds)


def exchange(url: str) -> BinanceRest:
    where = endpoints("binance", rest_url=url)
    return BinanceRest(where, sleep=stop_waiting)


def stop_waiting(seconds: float) -> None:
    raise Unavailable(f"it would wait for {seconds} s")


def doctor(url: str) -> object:
    config: Any = SimpleNamespace(exchange=ExchangeConfig(rest_url=url))
    return machine._exchange(config)


CLIENTS: dict[str, Call] = {
    "webhook": lambda url: web.post(url, {"text": "x"}),
    "exchange, symbols": lambda url: exchange(url).listing(),
    "exchange, trades": lambda url: exchange(url).latest_id("BTCUSDT"),
    "doctor, exchange": doctor,
    "clock": ask_time,
    "reach": lambda url: access(url).reach("queue"),
    "rights": lambda url: access(url)._held("topic", ["pubsub.topics.publish"]),
    "billing account": lambda url: access(url).quotas()["billing"](),
    "services": lambda url: access(url).quotas()["APIs"](),
    "database": lambda url: access(url).quotas()["database"](),
    "bill": lambda url: BillingExport("p", "s", "p.d.t", anonymous(), url).bill("a", "b"),
    "logs": lambda url: CloudLogging(anonymous(), "p", "f", url).find("BTCUSDT", 1, 0, 1),
    "spans": lambda url: CloudTrace("p", anonymous(), url).export([]),
    "collector": lambda url: Otlp(url, "", {}).export([]),
    "transfer, find": lambda url: transfer(url).find("t"),
    "transfer, start": lambda url: transfer(url).start(["raw/"], "t"),
    "transfer, look": lambda url: transfer(url).look("operations/1"),
    "transfer, end": lambda url: transfer(url).end("operations/1"),
    "function": lambda url: probe(url).check("function", http.GOOGLE.seconds),
    "schedule": call,
    "push": push,
    "token": token,
    "metadata": metadata,
}


@pytest.fixture(scope="module")
def rude_servers() -> Iterator[dict[str, str]]:
    with rude.serve_all(rude.ALL) as urls:
        yield urls


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give all kinds of answers little time, so that an endless answer ends soon."""
    for name in LIMITS:
        limit: http.HttpLimit = getattr(http, name)
        monkeypatch.setattr(http, name, http.HttpLimit(min(limit.most, MOST), 0.3))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """A function that returns the number of bytes that its thread has read from the network."""
    read = threading.local()
    take = http._Budget.take

    def counting(self: http._Budget, count: int) -> int:
        read.bytes = getattr(read, "bytes", 0) + count
        return take(self, count)

    monkeypatch.setattr(http._Budget, "take", counting)
    return lambda: int(getattr(read, "bytes", 0))


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("client", CLIENTS)
def test_no_server_hurts_a_client(
    client: str, rude_servers: dict[str, str], counted: Callable[[], int]
) -> None:
    """Under each behaviour the call returns, and raises only errors of mcloud."""
    ends: dict[str, tuple[object, int]] = {}

    def ask(behaviour: str, url: str) -> None:
        try:
            came: object = CLIENTS[client](url)
        except Exception as error:  # noqa: BLE001 - looked at below
            came = error
        ends[behaviour] = came, counted()

    before = set(threading.enumerate())
    threads = [threading.Thread(target=ask, args=each) for each in rude_servers.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert ends.keys() == rude_servers.keys(), "one never came back"
    raised = {
        behaviour: repr(came)
        for behaviour, (came, _) in ends.items()
        if isinstance(came, Exception) and not isinstance(came, McloudError)
    }
    assert raised == {}
    # Google's clients ask for a token more than once, and a transfer takes two requests.
    most = 6 * (http.HEAD + 2 * MOST + http.CHUNK)
    assert {name: count for name, (_, count) in ends.items() if count > most} == {}

    # A probe gives its call up at its deadline. The thread of the call ends a moment later.
    def left() -> set[str]:
        return {each.name for each in set(threading.enumerate()) - before if each.name != "rude"}

    limit = time.monotonic() + PATIENCE
    while left() and time.monotonic() < limit:
        time.sleep(0.05)
    assert left() == set(), "a thread was left behind"


QUICK = http.HttpLimit(MOST, 0.3)
AMPLE = http.HttpLimit(MOST, PATIENCE)


def limit_for(behaviour: str) -> http.HttpLimit:
    """Return a limit with little time only if time ends the request.

    A slow machine then changes no outcome.
    """
    return QUICK if behaviour in rude.TIMED else AMPLE


@pytest.mark.parametrize("behaviour", rude.NO_ANSWER)
def test_without_a_status_there_is_no_answer(behaviour: str, rude_servers: dict[str, str]) -> None:
    url = rude_servers[behaviour]
    with pytest.raises(http.NoAnswer) as caught:
        http.ask("GET", f"{url}/secret?token=secret", limit_for(behaviour))
    assert str(caught.value) == f"{url} does not answer: {caught.value.reason}"
    assert "\n" not in caught.value.reason
    assert (caught.value.reason == "timed out after 0.3 s") == (behaviour in rude.TIMED)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("behaviour", rude.CUT)
def test_a_status_counts_although_the_body_is_cut(
    behaviour: str, rude_servers: dict[str, str]
) -> None:
    answer, limit = ask_until_headers_come(rude_servers[behaviour], limit_for(behaviour))
    assert (answer.status, answer.ok, bool(answer.cut)) == (200, True, True)
    timed_out = answer.cut == f"timed out after {limit.seconds:g} s"
    assert timed_out == (behaviour in rude.TIMED)
    assert len(answer.body) <= MOST
    with pytest.raises(Unavailable, match="is incomplete"):
        answer.json()


def ask_until_headers_come(
    url: str, limit: http.HttpLimit
) -> tuple[http.HttpAnswer, http.HttpLimit]:
    """Ask with more and more time, because a slow machine may need all of it for the headers."""
    while limit.seconds < PATIENCE:
        with suppress(http.NoAnswer):
            return http.ask("GET", url, limit), limit
        limit = replace(limit, seconds=4 * limit.seconds)
    return http.ask("GET", url, limit), limit


@pytest.mark.parametrize("behaviour", rude.NONSENSE)
def test_an_invalid_body_is_not_a_document(behaviour: str, rude_servers: dict[str, str]) -> None:
    url = rude_servers[behaviour]
    found: object = None
    with suppress(Unavailable):
        answer = http.ask("GET", url, AMPLE)
        assert isinstance(answer.text, str)
        assert answer.time is None
        assert answer.retry_after is None
        found = answer.document()
    assert found in (None, {}, {"error": [[]]}, {"error": {"message": 4}})


@pytest.mark.parametrize("behaviour", ["a gzip bomb", "a body without end", "1xx without end"])
def test_memory_use_is_limited(behaviour: str, rude_servers: dict[str, str]) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(Unavailable):
            http.ask("GET", rude_servers[behaviour], AMPLE).json()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * 2**20


def test_valid_answers_are_read_completely() -> None:
    """A body may have several forms."""
    import gzip
    import zlib

    text = b'{"a": "' + b"b" * 50_000 + b'"}'
    forms = {
        "length": rude.whole(text),
        "no length": rude.OK + b"\r\n" + text,
        "chunks": rude.CHUNKED
        + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (text[:7], text[7:]))
        + b"0\r\nX-Sum: 1\r\n\r\n",
        "gzip": rude.whole(gzip.compress(text), "Content-Encoding: gzip"),
        "deflate": rude.whole(zlib.compress(text), "Content-Encoding: Deflate"),
        "100 first": b"HTTP/1.1 100 Continue\r\n\r\n" + rude.whole(text),
    }
    with rude.serve_all({name: rude.once(data) for name, data in forms.items()}) as urls:
        for name, url in urls.items():
            answer = http.ask("GET", url, AMPLE)
            assert (name, answer.cut, answer.json()) == (name, "", {"a": "b" * 50_000})


def test_an_answer_of_one_request_is_never_taken_for_that_of_another() -> None:
    """A connection is used again only after a complete answer."""
    for data in (
        b"HTTP/1.1 103 Early Hints\r\n\r\n" + rude.whole(b'{"of": "another"}'),
        rude.whole(b"x" * (MOST + 1)) + rude.whole(b'{"of": "another"}'),
        rude.whole(b"{}") + rude.whole(b'{"of": "another"}'),
    ):
        with rude.serve(rude.once(data)) as url:
            client = http.HttpClient()
            first = client.ask("GET", url, AMPLE)
            try:
                second = client.ask("GET", url, AMPLE)
            except http.NoAnswer:  # the kept connection was closed at that moment
                continue
            finally:
                client.close()
            assert (first.status, first.body) == (second.status, second.body)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("0", 0),
        ("17", 17),
        ("1.5", 1.5),
        (" 3 ", 3),
        ("-5", None),
        ("999999999999999999", 1e18),
        ("9" * 400, None),
        ("1e3", None),
        ("\xb2", None),
        ("soon", None),
        ("", None),
        ("nan", None),
        ("inf", None),
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
        ("Mon, 99 Foo 2026 99:99:99 GMT", None),
    ],
)
def test_retry_after(said: str, seconds: float | None) -> None:
    with serve(lambda *_: (429, ""), headers={"Retry-After": said}) as url:
        assert http.ask("GET", url, AMPLE).retry_after == seconds


@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6))
def test_a_date_to_retry_after_is_one_of_the_servers_clock(ahead: int, wait: int) -> None:
    now = time.time() + ahead
    date, until = (
        format_datetime(datetime.fromtimestamp(int(at), UTC), usegmt=True)
        for at in (now, now + wait)
    )
    answer = http.HttpAnswer("", 503, {"Date": date, "Retry-After": until}, b"", "", 0, 0)
    assert answer.retry_after == pytest.approx(max(0, wait), abs=1)


@given(st.text(st.characters(max_codepoint=255), max_size=40))
def test_any_retry_after_header_is_parsed(said: str) -> None:
    answer = http.HttpAnswer("", 503, {"Date": said, "Retry-After": said}, b"", "", 0, 0)
    assert answer.retry_after is None or answer.retry_after >= 0
    assert answer.time is None or isinstance(answer.time, float)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a certificate of loopback and its key."""
    path = tmp_path_factory.mktemp("tls") / "loopback.pem"
    options = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9000 -subj /CN=127.0.0.1"
    subprocess.run(
        f"openssl req -x509 {options} -keyout {path} -out {path}.crt"
        " -addext subjectAltName=IP:127.0.0.1".split(),
        check=True,
        capture_output=True,
    )
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


def tls_server(certificate: Path, answers: rude.Answers) -> AbstractContextManager[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return rude.serve(answers, context)


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        (rude.ALL["silent"], "timed out after 0.3 s"),
        (
            rude.drip(b"", b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc" + b"x" * 9000),
            "timed out after 0.3 s",
        ),
        (rude.once(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "WRONG_VERSION_NUMBER"),
    ],
    ids=["silent", "dripping", "no TLS"],
)
def test_a_handshake_that_fails(answers: rude.Answers, reason: str) -> None:
    with rude.serve(answers) as url, pytest.raises(http.NoAnswer, match=reason):
        http.ask("GET", url.replace("http:", "https:"), QUICK)


@pytest.mark.parametrize("behaviour", ["drips its status", "1xx without end"])
def test_encrypted_answers_are_limited_as_well(
    behaviour: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", f"{certificate}.crt")
    hello = rude.once(rude.whole(b'{"hello": 1}'))
    with tls_server(certificate, hello) as url:
        assert http.ask("GET", url, AMPLE).json() == {"hello": 1}
    with (
        tls_server(certificate, rude.ALL[behaviour]) as url,
        pytest.raises(http.NoAnswer),
    ):
        http.ask("GET", url, replace(QUICK, seconds=1.0))


def test_certificates_are_checked(certificate: Path) -> None:
    with (
        tls_server(certificate, rude.once(rude.whole(b"{}"))) as url,
        pytest.raises(http.NoAnswer, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        http.ask("GET", url, AMPLE)


@pytest.mark.parametrize("behaviour", ["silent", "headers without end", "drips its headers"])
def test_a_misbehaving_proxy_is_limited_as_well(
    behaviour: str, rude_servers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for scheme in ("http", "https"):
        monkeypatch.setenv(f"{scheme}_proxy", rude_servers[behaviour])
        with pytest.raises(http.NoAnswer):
            http.ask("GET", f"{scheme}://api.example.com/", replace(QUICK, seconds=1.0))


def test_a_proxy_gets_its_password_and_excluded_hosts_bypass_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard: list[Any] = []
    with serve(lambda *_: (200, "proxied"), heard=heard) as url:
        monkeypatch.setenv("http_proxy", url.replace("//", "//me:p%40ss@"))
        assert http.ask("GET", "http://api.example.com/", AMPLE).text == "proxied"
        monkeypatch.setenv("no_proxy", "api.example.com")
        assert http.proxy_for("http://api.example.com/") == ""
    headers = {name.lower(): value for name, value in heard[0].items()}
    assert headers["proxy-authorization"] == "Basic bWU6cEBzcw=="


def test_a_slow_name_lookup_is_not_awaited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = threading.Event()
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found.wait() and [])
    try:
        with pytest.raises(http.NoAnswer, match=r"timed out after 0\.3 s"):
            http.ask("GET", "http://slow.example.com/", QUICK)
    finally:
        found.set()


def test_an_address_that_is_dead_leaves_time_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import socket

    with serve(lambda *_: (200, "alive")) as url:
        port = int(url.rpartition(":")[2])
        addresses = [("127.0.0.2", 1), ("127.0.0.1", port)]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", each) for each in addresses]
        monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)
        assert http.ask("GET", "http://two.example.com/", AMPLE).text == "alive"


@pytest.mark.parametrize(
    "url", ["http://[", "http://a b/", "https://127.0.0.1:99999/", "http://" + "a" * 300 + ".com"]
)
def test_an_invalid_request_is_refused_without_its_url(url: str) -> None:
    with pytest.raises((Refused, Unavailable)) as caught:
        http.ask("GET", f"{url}/secret", AMPLE)
    assert "secret" not in str(caught.value)


READERS = ("requests", "urllib3", "urllib.request", "http.client", "httpx", "aiohttp", "httplib2")
"""Modules that read HTTP answers."""

ELSEWHERE = {
    # Only the SDKs' sessions and errors are used, and no answer is read.
    "mcloud/clouds/gcp/client.py": {"requests", "requests.adapters", "requests.structures"},
}
"""Other modules that may import some of them, with the modules that they may import."""


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, each.name) for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module
            yield from ((node.lineno, f"{node.module}.{each.name}") for each in node.names)


def is_reader(module: str) -> bool:
    own = any(module == each or module.startswith(f"{each}.") for each in READERS)
    # Classes that sign requests for an SDK also give out a session.
    return own or module.startswith(("google.auth.transport.requests", "google.auth.transport.url"))


def outside_the_mechanism(path: str, source: str) -> list[str]:
    """Return the places where a module could read an HTTP answer or a WebSocket without limits."""
    tree = ast.parse(source)
    allowed = ELSEWHERE.get(path, set())
    found = [
        f"{path}:{line}: {module}"
        for line, module in imported(tree)
        if is_reader(module)
        and not any(module in (each, f"{each}.{module.rpartition('.')[2]}") for each in allowed)
    ]
    if ELSEWHERE.get(path):
        found += [
            f"{path}:{node.lineno}: {ast.unparse(node.func)}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and re.fullmatch(
                r"requests\.(\w+)|urllib3\.(request|\w*Manager)", ast.unparse(node.func)
            )
        ]
    sockets = any(module.startswith("websockets") for _, module in imported(tree))
    found += [
        f"{path}:{node.lineno}: a WebSocket without {option}"
        for node in ast.walk(tree)
        if sockets and isinstance(node, ast.Call) and ast.unparse(node.func) == "connect"
        for option in ("max_size", "open_timeout")
        if option not in {each.arg for each in node.keywords}
    ]
    return found


def test_no_module_reads_an_answer_in_another_way() -> None:
    root = Path(http.__file__).parent.parent
    paths = [*(root / "mcloud").rglob("*.py"), *(root / "functions").rglob("*.py")]
    sources = {path.relative_to(root).as_posix(): path.read_text() for path in paths}
    del sources["mcloud/http.py"]
    assert len(sources) > 300
    assert [each for args in sources.items() for each in outside_the_mechanism(*args)] == []


@pytest.mark.parametrize(
    "source",
    [
        "import requests",
        "def f():\n    import requests as r",
        "from requests import get",
        "from urllib import request",
        "import urllib.request",
        "from urllib.request import urlopen",
        "from http.client import HTTPSConnection",
        "from http import client",
        "import urllib3.poolmanager",
        "from google.auth.transport.requests import AuthorizedSession",
        "from websockets.sync.client import connect\nconnect(url, open_timeout=1)",
        "from websockets.asyncio.client import connect\nconnect(url, max_size=1)",
    ],
)
def test_the_check_for_other_clients_works(source: str) -> None:
    assert outside_the_mechanism("mcloud/new.py", source)
    assert outside_the_mechanism("mcloud/clouds/gcp/client.py", "requests.get(url)")
