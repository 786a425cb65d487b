"""Differences between our clients and those that the SDKs make."""

import ast
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from typing import Any

import google.auth
import grpc
import pytest
import requests
from botocore.utils import parse_timestamp
from google.api_core import grpc_helpers
from google.auth.credentials import AnonymousCredentials
from hypothesis import given
from hypothesis import strategies as st

from mcloud.clouds import gcp
from mcloud.clouds.access import ask
from mcloud.clouds.aws.client import make_client, moment
from mcloud.clouds.gcp.client import (
    make_firestore,
    make_metrics,
    make_publisher,
    make_storage,
    make_subscriber,
    translated,
)
from mcloud.errors import ConfigError, Refused
from mcloud.notify.web import post

from .web import Answer, serve

SDKS = ("google", "grpc", "requests")


def test_one_thread_at_a_time_imports_googles_libraries() -> None:
    """The threads of a command make their clients at once, and load most libraries there."""
    tree = ast.parse(Path(gcp.__file__).with_name("client.py").read_text())
    imports = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        and ast.unparse(node).split()[1].split(".")[0] in SDKS
    ]
    guarded = [
        each
        for node in ast.walk(tree)
        if isinstance(node, ast.With) and ast.unparse(node.items[0]) == "_importing"
        for each in node.body
    ]
    assert len(imports) > 10
    assert [ast.unparse(node) for node in imports if node not in guarded] == []


MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))


@given(MOMENTS)
def test_times_are_parsed_with_the_result_of_botocore(at: datetime) -> None:
    whole = at.replace(microsecond=0)
    for text in (
        f"{at:%Y-%m-%dT%H:%M:%S.%f}Z",
        f"{whole:%Y-%m-%dT%H:%M:%S}Z",
        format_datetime(whole, usegmt=True),
        str(int(whole.timestamp())),
    ):
        assert moment(text) == parse_timestamp(text)
    assert moment(at.timestamp()) == parse_timestamp(at.timestamp())


@pytest.mark.parametrize("text", ["20240808T235400Z", "2024-08-08T23:54:00+02:00", "8 Aug 2024"])
def test_other_time_formats_are_parsed_by_botocore(text: str) -> None:
    assert moment(text) == parse_timestamp(text)


@pytest.mark.parametrize("text", ["soonZ", "never GMT", ""])
def test_invalid_times_raise_the_error_of_botocore(text: str) -> None:
    with pytest.raises(ValueError, match="Invalid timestamp"):
        moment(text)


def test_times_in_answers_are_parsed_by_mcloud() -> None:
    client = make_client("s3", "eu-west-1", "http://127.0.0.1:1")
    parser = client._endpoint._response_parser_factory.create_parser("rest-xml")
    assert parser._timestamp_parser is moment


def test_proxies_of_cloud_storage_are_those_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:3128")
    session = make_storage("project", "http://storage.test:80")._http
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    request = session.merge_environment_settings("http://storage.test:80/b", {}, None, None, None)
    assert request["proxies"]["http"] == "http://127.0.0.1:3128"
    monkeypatch.setenv("no_proxy", "storage.test")
    assert not make_storage("project", "http://storage.test:80")._http.proxies.get("http")


@pytest.fixture
def _left_by_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set variables of other tools and other accounts."""
    broken = tmp_path / "config"
    broken.write_text("no [ ini =")
    for name, value in {
        "AWS_CONFIG_FILE": str(broken),
        "AWS_SHARED_CREDENTIALS_FILE": str(broken),
        "AWS_PROFILE": "there-is-none-such",
        "AWS_MAX_ATTEMPTS": "many",
        "AWS_DEFAULTS_MODE": "nonsense",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_CA_BUNDLE": "/there/is/none",
        "AWS_ENDPOINT_URL_SQS": "https://sqs.us-east-1.amazonaws.com",
        "GOOGLE_API_USE_MTLS_ENDPOINT": "always",
        "GOOGLE_APPLICATION_CREDENTIALS": "/there/is/none.json",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("_left_by_others")
def test_the_storage_client_does_not_read_the_bucket_settings() -> None:
    """Google's client would also read the settings of the bucket, in a thread of its own."""
    asked: list[str] = []

    def answer(method: str, path: str) -> Answer:
        asked.append(path.partition("?")[0])
        return 200, {"items": []}

    with serve(answer) as url:
        client = make_storage("project", url)
        before = set(threading.enumerate())
        list(client.bucket("raw").list_blobs())
        client._http.close()  # the thread of the server that answers it ends, too
        for thread in set(threading.enumerate()) - before:
            thread.join(5)
    assert asked == ["/storage/v1/b/raw/o"]


def test_settings_for_the_real_clouds_do_not_affect_embedded_clients() -> None:
    address = "http://127.0.0.1:1"
    assert make_client("sqs", "eu-west-1", address).meta.endpoint_url == address
    assert make_storage("project", address)._connection.build_api_url("/b").startswith(address)


@pytest.mark.usefixtures("_left_by_others")
def test_clients_of_the_real_clouds_name_a_broken_file() -> None:
    with pytest.raises(Refused, match=r"Unable to parse config file: .*config"):
        make_client("sqs", "eu-west-1")


@pytest.mark.parametrize("make", [partial(make_firestore, "p", "d"), partial(make_storage, "p")])
def test_a_site_on_google_cloud_refuses_emulator_variables(
    make: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FIRESTORE", "STORAGE"):
        monkeypatch.setenv(f"{name}_EMULATOR_HOST", "127.0.0.1:1")
    with pytest.raises(ConfigError, match="names an emulator, and this site is on Google Cloud"):
        make()


def test_a_missing_file_of_certificates_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/there/is/none")
    words = "read from /there/is/none: No such file or directory; check REQUESTS_CA_BUNDLE"
    with pytest.raises(Refused, match=words):
        ask("https://127.0.0.1:1/")
    with pytest.raises(Refused, match=words):
        post("https://127.0.0.1:1/", {})
    with (
        pytest.raises(Refused, match="/there/is/none; check REQUESTS_CA_BUNDLE"),
        translated("the bucket"),
    ):
        requests.get("https://127.0.0.1:1/", timeout=1)


def firestore(endpoint: str) -> object:
    return make_firestore("p", "(default)", endpoint)._firestore_api


@pytest.mark.parametrize("endpoint", ["", "127.0.0.1:9"])
@pytest.mark.parametrize("make", [make_publisher, make_subscriber, make_metrics, firestore])
def test_a_channel_to_google_connects_again_within_seconds(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[str], object], endpoint: str
) -> None:
    """By default gRPC would wait for up to two minutes."""
    given: list[dict[str, object]] = []
    usual = grpc.insecure_channel

    def record(*arguments: Any, **settings: Any) -> object:
        given.append(dict(settings["options"]))
        return usual("127.0.0.1:9")

    monkeypatch.setattr(grpc, "insecure_channel", record)
    monkeypatch.setattr(grpc_helpers, "create_channel", record)
    monkeypatch.setattr(google.auth, "default", lambda *a, **k: (AnonymousCredentials(), "p"))
    make(endpoint)
    assert given
    assert all(each["grpc.max_reconnect_backoff_ms"] == 5_000 for each in given)
