"""Faults of this machine: credentials, name resolution, proxies and certificates.

Requests then fail before they reach a cloud, which says nothing about the site: the guard must not
move the traffic because of them.
"""

import errno
import json
import socket
import ssl
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
import urllib3
from google.api_core import exceptions as google_errors
from google.api_core.grpc_helpers import wrap_errors
from google.auth.exceptions import RefreshError, TransportError

from mcloud import http
from mcloud.clouds.aws import client as aws
from mcloud.clouds.aws.client import make_client, translated
from mcloud.clouds.aws.probe import AwsProbe
from mcloud.clouds.gcp import client as gcp
from mcloud.clouds.gcp.probe import GcpProbe
from mcloud.clouds.observation import DOWN, UNKNOWN, Observation
from mcloud.clouds.resources import AwsResources, GcpResources
from mcloud.errors import McloudError, Refused, Unavailable, shows_outage
from mcloud.local.children import free_ports
from mcloud.local_faults import is_local

AWS_SITE = AwsResources(
    "us-east-1",
    "https://sqs.us-east-1.amazonaws.com/0/q",
    "https://sqs.us-east-1.amazonaws.com/0/d",
    "candles",
    "control",
    "bucket",
    "processor",
)


@pytest.fixture(autouse=True)
def _no_credentials_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


def probed(timeout: float = 10) -> McloudError:
    """Return the error of a probe of a site on the real AWS. The probe has no clients: it must fail
    before it uses them."""
    with pytest.raises(McloudError) as caught:
        AwsProbe(None, None, None, None, AWS_SITE).check("queue", timeout)
    return caught.value


def unknown(error: Exception) -> bool:
    return Observation().then(error, 0.0).state == UNKNOWN


def program(tmp_path: Path, body: str) -> str:
    path = tmp_path / "credentials.py"
    path.write_text(f"#!{sys.executable}\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def use_process(tmp_path: Path, command: str) -> None:
    (tmp_path / "config").write_text(f"[default]\ncredential_process = {command}\n")


@pytest.mark.parametrize(
    "body",
    [
        "raise SystemExit('the vault is sealed')",
        "print('no JSON')",
        "print('[]')",
        "print('{\"Version\": 7}')",
    ],
)
def test_a_credential_process_that_fails(body: str, tmp_path: Path) -> None:
    use_process(tmp_path, program(tmp_path, body))
    error = probed()
    assert unknown(error), error
    assert "credential_process" in error.remedy


def test_a_credential_process_that_is_missing(tmp_path: Path) -> None:
    use_process(tmp_path, "/there/is/none")
    error = probed()
    assert unknown(error)
    assert "/there/is/none" in error.message


def test_a_credential_process_that_hangs(tmp_path: Path) -> None:
    use_process(tmp_path, program(tmp_path, "import time; time.sleep(3)"))
    error = probed(timeout=0.4)
    assert unknown(error)
    assert "credentials cannot be fetched" in error.message


@contextmanager
def serving(status: int) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        do_POST = do_PUT = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_a_credential_endpoint_of_ecs_that_refuses(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    with serving(status) as url:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
        error = probed()
    assert unknown(error), error


def test_a_credential_endpoint_of_ecs_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    (port,) = free_ports(1)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{port}")
    assert unknown(probed())


def test_a_metadata_server_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(503) as url:
        monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", url)
        assert unknown(probed())


@pytest.mark.parametrize("status", [403, 500, 503])
def test_an_sts_that_refuses_the_role(
    status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    with serving(status) as url:
        (tmp_path / "config").write_text(
            "[default]\nrole_arn = arn:aws:iam::123456789012:role/x\nsource_profile = base\n"
            f"services = local\n[services local]\nsts =\n  endpoint_url = {url}\n"
            "[profile base]\naws_access_key_id = a\naws_secret_access_key = b\n"
        )
        error = probed()
    assert unknown(error), error
    assert "credentials cannot be fetched" in error.message


def test_a_client_fetches_no_credentials_before_its_first_call(tmp_path: Path) -> None:
    use_process(tmp_path, program(tmp_path, "raise SystemExit('the vault is sealed')"))
    client = make_client("sts", "us-east-1")
    with pytest.raises(Unavailable, match="the vault is sealed") as caught, translated("STS"):
        client.get_caller_identity()
    assert caught.value.is_local


def test_no_credentials_at_all() -> None:
    error = probed()
    assert unknown(error)
    assert "aws configure" in error.remedy


def refuse_names(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def look_up(*_: object, **__: object) -> Any:
        raise socket.gaierror(number, "cannot be looked up")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


def by_botocore() -> None:
    with translated("SQS"):
        client = make_client("sqs", "us-east-1", "http://sqs.test", attempts=1)
        client.get_queue_attributes(QueueUrl="http://sqs.test/0/q", AttributeNames=["QueueArn"])


def by_requests() -> None:
    with gcp.translated("Cloud Storage"):
        requests.get("http://storage.test", timeout=1)


def by_our_own() -> None:
    with gcp.translated("Cloud Logging"):
        http.ask("GET", "http://logging.test", http.GOOGLE)


CLIENTS = [by_botocore, by_requests, by_our_own]


@pytest.mark.parametrize("call", CLIENTS)
@pytest.mark.parametrize("number", [socket.EAI_AGAIN, socket.EAI_NONAME, socket.EAI_FAIL])
def test_names_that_cannot_be_looked_up(
    call: Callable[[], None], number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_names(monkeypatch, number)
    with pytest.raises(Unavailable) as caught:
        call()
    assert unknown(caught.value)


@pytest.mark.parametrize("call", CLIENTS)
def test_a_name_that_has_lost_its_addresses_is_an_outage(
    call: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_names(monkeypatch, socket.EAI_NODATA)
    with pytest.raises(Unavailable) as caught:
        call()
    assert Observation().then(caught.value, 0.0).state == DOWN


@pytest.mark.parametrize("call", CLIENTS)
@pytest.mark.parametrize("status", [0, 407, 503])
def test_a_proxy_that_fails(
    call: Callable[[], None], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    (port,) = free_ports(1)

    def secured() -> None:
        # Through HTTPS, so that the client asks the proxy for a tunnel.
        if call is by_botocore:
            with translated("SQS"):
                sqs = make_client("sqs", "us-east-1", "https://sqs.test", attempts=1)
                sqs.get_queue_attributes(QueueUrl="https://sqs.test/0/q", AttributeNames=["All"])
        elif call is by_requests:
            with gcp.translated("Cloud Storage"):
                requests.get("https://storage.test", timeout=1)
        else:
            with gcp.translated("Cloud Logging"):
                http.ask("GET", "https://logging.test", http.GOOGLE)

    with serving(status or 500) as url:
        monkeypatch.setenv("https_proxy", _tunnel(url, port, status))
        with pytest.raises(Unavailable) as caught:
            secured()
    assert unknown(caught.value), caught.value


def _tunnel(url: str, port: int, status: int) -> str:
    return url if status else f"http://127.0.0.1:{port}"


def test_messages_of_grpc_are_recognised() -> None:
    """The words are those of grpcio 1.7x, see ``test_a_name_by_grpc`` for a real one."""
    local = [
        "Getting metadata from plugin failed with error: the token server is away",
        "DNS resolution failed for pubsub.googleapis.com:443: C-ares status is not ARES_SUCCESS"
        " qtype=A name=pubsub.googleapis.com is_balancer=0: Could not contact DNS servers",
        "failed to connect to all addresses; last error: UNKNOWN: ipv4:10.0.0.1:3128: HTTP proxy"
        " returned response code 407",
        "failed to connect to all addresses; last error: UNKNOWN: ipv4:1.2.3.4:443: Ssl handshake"
        " failed: SSL_ERROR_SSL: error:1000007d: CERTIFICATE_VERIFY_FAILED",
    ]
    theirs = [
        "failed to connect to all addresses; last error: UNKNOWN: ipv4:142.250.1.95:443: Failed to"
        " connect to remote host: Connection refused",
        "DNS resolution failed for pubsub.googleapis.com:443: C-ares status is not ARES_SUCCESS"
        " qtype=A name=pubsub.googleapis.com: DNS server returned answer with no data",
        "The service is currently unavailable.",
    ]
    for said in (*local, *theirs):
        for error in (
            google_errors.ServiceUnavailable(said),
            google_errors.RetryError("Timeout of 8.0s exceeded", ValueError(said)),
        ):
            with pytest.raises(Unavailable) as caught, gcp.translated("Pub/Sub"):
                raise error
            assert unknown(caught.value) == (said in local), said


def test_a_name_by_grpc() -> None:
    ask = grpc.insecure_channel("no-such-host.invalid:443").unary_unary("/a.B/C")
    with pytest.raises(Unavailable) as caught, gcp.translated("Pub/Sub"):
        wrap_errors(ask)(b"", timeout=5)
    assert unknown(caught.value), caught.value


@pytest.mark.parametrize(
    "error", [TransportError("the token server is away"), RefreshError("invalid_grant")]
)
def test_a_token_server_that_fails(error: Exception) -> None:
    with pytest.raises(McloudError) as caught, gcp.translated("Firestore"):
        raise error
    assert unknown(caught.value)


def test_google_credentials_that_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    held = threading.Event()
    monkeypatch.setattr("mcloud.clouds.gcp.probe.make_session", lambda: held.wait(5))
    to = GcpResources("p", "us-central1", "t", "s", "d", "e", "(default)", "c", "k", "b", "f")
    probe = GcpProbe(None, None, None, to)
    with pytest.raises(Unavailable) as caught:
        probe.check("queue", 0.2)
    held.set()
    assert unknown(caught.value)
    assert "credentials cannot be fetched" in str(caught.value)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENETUNREACH, "Network is unreachable"), True),
        (OSError(errno.EMFILE, "Too many open files"), True),
        (ssl.SSLCertVerificationError("certificate is not yet valid"), True),
        (urllib3.exceptions.ProxyError("no", OSError("no")), True),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), False),
        (ConnectionResetError(errno.ECONNRESET, "reset"), False),
        (TimeoutError("late"), False),
        (ssl.SSLEOFError("closed"), False),
    ],
)
def test_local_causes_are_recognized(error: Exception, expected: bool) -> None:
    assert is_local(error) is expected
    wrapped = urllib3.exceptions.MaxRetryError(urllib3.HTTPConnectionPool("host"), "/", error)
    assert is_local(requests.ConnectionError(wrapped)) is expected


def test_only_a_service_that_does_not_answer_is_an_outage() -> None:
    assert shows_outage(Unavailable("it is away"))
    assert shows_outage(TimeoutError())
    assert not shows_outage(Unavailable("no proxy", is_local=True))
    assert not shows_outage(Refused("no permission"))
    assert not shows_outage(ValueError())


# One chain of credentials


def test_many_threads_make_many_clients_and_ask_for_credentials_once(tmp_path: Path) -> None:
    count = tmp_path / "count"
    answer = {"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b"}
    body = f"open({str(count)!r}, 'a').write('x'); print({json.dumps(answer)!r})"
    use_process(tmp_path, program(tmp_path, body))
    barrier = threading.Barrier(8)
    clients: list[Any] = []

    def make(service: str) -> None:
        barrier.wait()
        client = make_client(service, "eu-west-1")
        client._request_signer._credentials.get_frozen_credentials()
        clients.append(client)

    services = ["sqs", "dynamodb", "s3", "lambda"] * 2
    threads = [threading.Thread(target=make, args=(service,)) for service in services]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(clients) == 8
    assert count.read_text() == "x"
    assert len({id(each._request_signer._credentials) for each in clients}) == 1


def test_assumed_roles_are_in_the_cache_of_the_aws_cli(tmp_path: Path) -> None:
    """Each process, and each start of one, would otherwise ask for MFA again."""
    (tmp_path / "config").write_text(
        "[default]\nrole_arn = arn:aws:iam::123456789012:role/x\nsource_profile = base\n"
        "[profile base]\naws_access_key_id = a\naws_secret_access_key = b\n"
    )
    make_client("sqs", "eu-west-1")
    (provider,) = (
        each
        for each in aws._session("eu-west-1")[1]._resolver.providers
        if each.METHOD == "assume-role"
    )
    assert provider.cache._working_dir == str(Path("~/.aws/cli/cache").expanduser())
