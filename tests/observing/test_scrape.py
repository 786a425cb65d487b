"""Metrics on other addresses, with a token or TLS, requested by real clients."""

import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from mcloud.errors import McloudError, UsageError
from mcloud.observing.scrape import CONNECTIONS, Listen, Tls, address, serving

SECRET = "0123456789abcdef-a-token"
ANY = "0.0.0.0"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """A self-signed certificate for 127.0.0.1."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make certificates with")
    return made(tmp_path_factory.mktemp("tls"), "server")


def made(folder: Path, name: str) -> Tls:
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout", key, "-out", cert),
            *("-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
        ],
        check=True,
        capture_output=True,
    )
    return Tls(cert, key)


@contextmanager
def serve(host: str = ANY, token: str | None = None, tls: Tls | None = None) -> Iterator[str]:
    """Yield the URL at which a client on this machine reaches the server."""
    with serving(Listen(host, 0, token, tls), lambda: "a 1\n") as url:
        yield url.replace(ANY, "127.0.0.1")


def get(url: str, authorization: str | None = None, **said: object) -> requests.Response:
    headers = {} if authorization is None else {"Authorization": authorization}
    return requests.get(url, headers=headers, timeout=30, **said)  # type: ignore[arg-type]


@pytest.mark.parametrize("host", [ANY, "::", "192.0.2.1", "metrics.example"])
def test_another_address_is_refused_without_token_and_tls(host: str) -> None:
    said = r"needs a token or TLS; set MCLOUD_METRICS_TOKEN"
    with pytest.raises(UsageError, match=said), serving(Listen(host), str):
        pass


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "::1"])
def test_loopback_needs_no_token(host: str) -> None:
    assert Listen(host).is_loopback
    if host in ("127.0.0.1", "localhost"):
        with serve(host) as url:
            assert get(url).text == "a 1\n"


@pytest.mark.parametrize(
    "said",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Bearer {SECRET}x",
        f"Bearer {SECRET[:-1]}",
        f"Basic {SECRET}",
        SECRET,
        "Bearer \xfc",
    ],
)
def test_a_wrong_token_is_refused(said: str | None) -> None:
    with serve(token=SECRET) as url:
        for path in ("/metrics", "/", "/metrics?x=1"):
            answer = get(url.replace("/metrics", path), said)
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"] == 'Bearer realm="mcloud"'
            assert answer.text == ""
            assert SECRET not in str(answer.headers)


def test_the_token_is_accepted_under_any_host_name(capfd: pytest.CaptureFixture[str]) -> None:
    with serve(token=SECRET) as url:
        assert get(url, f"Bearer {SECRET}").text == "a 1\n"
        assert get(url, f"bearer {SECRET}").status_code == 200
        named = requests.get(
            url, headers={"Authorization": f"Bearer {SECRET}", "Host": "mcloud.example"}, timeout=30
        )
        assert named.status_code == 200
        head = requests.head(url, headers={"Authorization": f"Bearer {SECRET}"}, timeout=30)
        assert (head.status_code, head.headers["Content-Length"]) == (200, "4")
        assert get(url.replace("/metrics", "/"), f"Bearer {SECRET}").status_code == 404
    assert SECRET not in "".join(capfd.readouterr())


def test_the_token_counts_on_loopback_too() -> None:
    with serve("127.0.0.1", SECRET) as url:
        assert get(url).status_code == 401
        assert get(url, f"Bearer {SECRET}").status_code == 200


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_metrics_are_served_over_tls_only(
    certificate: Tls, capfd: pytest.CaptureFixture[str]
) -> None:
    with serve(tls=certificate) as url:
        assert url.startswith("https://")
        assert get(url, verify=str(certificate.cert)).text == "a 1\n"
        with pytest.raises(requests.exceptions.SSLError):
            get(url)  # the certificate is not trusted
        with pytest.raises(requests.exceptions.ConnectionError):
            get(url.replace("https", "http"))
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        port = int(url.rpartition(":")[2].partition("/")[0])
        with socket.create_connection(("127.0.0.1", port)) as plain, pytest.raises(OSError):  # noqa: PT011
            old.wrap_socket(plain)
        assert get(url, verify=str(certificate.cert)).status_code == 200
    assert capfd.readouterr().err == "", "no traceback for a client that cannot"


def test_tls_and_a_token(certificate: Tls) -> None:
    with serve(token=SECRET, tls=certificate) as url:
        assert get(url, verify=str(certificate.cert)).status_code == 401
        assert get(url, f"Bearer {SECRET}", verify=str(certificate.cert)).status_code == 200


def test_clients_with_a_certificate(certificate: Tls, tmp_path: Path) -> None:
    client, stranger = made(tmp_path, "client"), made(tmp_path, "stranger")
    mutual = Tls(certificate.cert, certificate.key, client.cert)
    with serve(tls=mutual) as url:
        for cert, is_let_in in ((client, True), (stranger, False), (None, False)):
            pair = None if cert is None else (str(cert.cert), str(cert.key))
            if is_let_in:
                assert get(url, verify=str(certificate.cert), cert=pair).text == "a 1\n"
            else:
                with pytest.raises(requests.exceptions.ConnectionError):
                    get(url, verify=str(certificate.cert), cert=pair)


def test_a_silent_client_does_not_delay_others(certificate: Tls) -> None:
    """This includes the handshake, which runs in the thread of the client."""
    with serve(tls=certificate) as url:
        port = int(url.rpartition(":")[2].partition("/")[0])
        with socket.create_connection(("127.0.0.1", port)):
            begun = time.monotonic()
            assert get(url, verify=str(certificate.cert)).status_code == 200
            assert time.monotonic() - begun < 9


def test_connections_are_bounded() -> None:
    with serve(token=SECRET) as url:
        port = int(url.rpartition(":")[2].partition("/")[0])
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
        with pytest.raises(requests.exceptions.ConnectionError):
            get(url, f"Bearer {SECRET}")
        for each in silent:
            each.close()
        while True:
            try:
                assert get(url, f"Bearer {SECRET}").status_code == 200
                break
            except requests.exceptions.ConnectionError:
                time.sleep(0.01)


@pytest.mark.parametrize("what", ["missing", "empty", "swapped", "another key", "no ca", "locked"])
def test_unusable_tls_files_are_reported(certificate: Tls, tmp_path: Path, what: str) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    locked = tmp_path / "locked.key"
    subprocess.run(
        ["openssl", "ec", "-in", certificate.key, "-aes128", "-passout", "pass:x", "-out", locked],
        check=True,
        capture_output=True,
    )
    tls = {
        "missing": Tls(tmp_path / "no.pem", certificate.key),
        "empty": Tls(empty, certificate.key),
        "swapped": Tls(certificate.key, certificate.cert),
        "another key": Tls(certificate.cert, made(tmp_path, "other").key),
        "no ca": Tls(certificate.cert, certificate.key, empty),
        "locked": Tls(certificate.cert, locked),
    }[what]
    with pytest.raises(McloudError, match=r"\.(pem|key)") as caught, serve(tls=tls):
        pass
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0.0.0.0:9999", ("0.0.0.0", 9999)),
        ("10.0.0.1", ("10.0.0.1", 9464)),
        ("[::]:9999", ("::", 9999)),
        ("[::1]", ("::1", 9464)),
        ("::1", ("::1", 9464)),
        (":9999", ("0.0.0.0", 9999)),
        ("metrics.example:80", ("metrics.example", 80)),
    ],
)
def test_addresses_are_parsed(text: str, found: tuple[str, int]) -> None:
    assert address(text, 9464) == found


@pytest.mark.parametrize("text", ["", ":", "a:", "a:b", "a:0", "a:65536", "http://a:1", "a b:1"])
def test_invalid_addresses_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="invalid address"):
        address(text, 9464)


def test_an_address_of_another_machine_is_reported() -> None:
    with pytest.raises(McloudError, match=r"192\.0\.2\.1"), serve("192.0.2.1", SECRET):
        pass
