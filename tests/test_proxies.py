"""The proxy of the environment."""

import os
import subprocess
import sys
import urllib.request
from typing import Any

import pytest
from botocore.utils import get_environ_proxies as proxies_of_boto3
from requests.utils import get_environ_proxies as proxies_of_requests

from mcloud.proxies import LOOPBACK, settle

PROXY = "http://proxy.example:3128"
INSIDE = ("http://127.0.0.1:4566", "http://localhost:4566/x", "http://[::1]:4566")
OUTSIDE = ("https://sqs.us-east-1.amazonaws.com", "https://hooks.slack.com/services/T/B/X")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def settled(**given: str) -> dict[str, str]:
    settle(given)
    return given


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize("address", [PROXY, "proxy.example:3128", " proxy.example:3128 "])
def test_the_variables_are_equal_for_all_clients(variable: str, address: str) -> None:
    found = settled(**{variable: address})
    assert found["https_proxy"] == found["HTTPS_PROXY"] == PROXY  # gRPC only reads lower-case names
    assert ("http_proxy" in found) == ("all" in variable.lower())


@pytest.mark.parametrize("clients", [proxies_of_boto3, proxies_of_requests])
@pytest.mark.parametrize("spared", ["", "corp.example", "127.0.0.1"])
def test_only_loopback_bypasses_the_proxy(
    clients: Any, spared: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settled(HTTP_PROXY=PROXY, HTTPS_PROXY=PROXY, NO_PROXY=spared).items():
        monkeypatch.setenv(name, value)
    assert [clients(url) for url in INSIDE] == [{}, {}, {}]
    assert all(clients(url)["https"] == PROXY for url in OUTSIDE)
    assert urllib.request.proxy_bypass("127.0.0.1:443")
    if spared:
        assert urllib.request.proxy_bypass(spared)


def test_lower_case_names_have_precedence() -> None:
    assert settled(https_proxy=PROXY, HTTPS_PROXY="http://other:1")["HTTPS_PROXY"] == PROXY
    assert settled(http_proxy=PROXY, https_proxy="")["https_proxy"] == ""


def test_grpc_has_variables_of_its_own() -> None:
    found = settled(grpc_proxy=PROXY, no_grpc_proxy="corp.example")
    assert found["no_grpc_proxy"].split(",") == ["corp.example", *LOOPBACK]
    assert found["no_proxy"].split(",") == list(LOOPBACK)


@pytest.mark.parametrize("given", [{}, {"NO_PROXY": "corp.example"}, {"HTTPS_PROXY": ""}])
def test_without_a_proxy_nothing_is_changed(given: dict[str, str]) -> None:
    assert settled(**given) == given


def test_a_single_star_excludes_every_host() -> None:
    assert settled(HTTPS_PROXY=PROXY, NO_PROXY="*")["NO_PROXY"] == "*"


def test_settling_twice_changes_nothing_more() -> None:
    once = settled(HTTPS_PROXY=PROXY, NO_PROXY="corp.example")
    assert settled(**once) == once


def test_the_command_sets_the_variables_before_anything_else() -> None:
    code = "import mcloud.__main__ as m, os, sys; sys.argv[1:] = ['--version']\n"
    code += "try: m.main()\nfinally: print(os.environ['no_proxy'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "HTTP_PROXY": PROXY},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == ",".join(LOOPBACK)
