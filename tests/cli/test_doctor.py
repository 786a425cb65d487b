"""``mcloud doctor``: its reports and exit codes."""

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mcloud.feed.simulate import Simulate
from mcloud.local.children import free_ports
from mcloud.local.exchange.thread import LocalExchange
from mcloud.local.state import State

from .conftest import Terminal

SERVICES = ["queue", "function", "candles", "archive"]


@pytest.fixture
def exchange() -> Iterator[str]:
    """Yield the lines of mcloud.toml that configure an exchange which answers."""
    market = Simulate(["BTCUSDT"], seed=1, start_time=1_735_775_880_000, rate=10)
    with LocalExchange(market, speed=1.0, symbols=["BTCUSDT"]) as server:
        yield f'[exchange]\nws_url = "{server.ws_url}"\nrest_url = "{server.rest_url}"\n'


@pytest.fixture
def terraform(tmp_path: Path) -> str:
    """Return a fake Terraform of the right version, for machines without Terraform."""
    binary = tmp_path / "terraform"
    binary.write_text("#!/bin/sh\necho Terraform v1.11.4\n")
    binary.chmod(0o755)
    return str(binary)


def answered(terminal: Terminal, *arguments: str, **environment: str) -> tuple[int, list[Any]]:
    done = terminal.run("doctor", *arguments, "-o", "json", **environment)
    assert done.stderr == ""
    document = json.loads(done.stdout)
    assert set(document) == {"profile", "ok", "checks"}
    assert document["ok"] is (done.returncode == 0)
    for check in document["checks"]:
        assert set(check) == {"subject", "site", "state", "finding", "remedy", "seconds"}
        assert check["state"] in ("ok", "warning", "fault", "unknown")
        assert check["finding"]
        if check["state"] == "fault":
            assert check["remedy"], check
    return done.returncode, document["checks"]


def of(checks: list[Any], site: str) -> dict[str, Any]:
    return {check["subject"]: check for check in checks if check["site"] == site}


def sites(embedded: State, **changes: dict[str, str]) -> str:
    """Return a mcloud.toml with a profile ``test`` of the embedded clouds."""
    text = 'profile = "test"\n'
    for name, outputs in embedded.outputs.items():
        settings = {"cloud": name, **outputs, **changes.get(name, {})}
        text += f"[profiles.test.sites.{name}]\n"
        text += "".join(f'{key} = "{value}"\n' for key, value in settings.items() if value)
    return text


def test_running_embedded_clouds_have_no_problems(mcloud_up: Terminal, exchange: str) -> None:
    (mcloud_up.folder / "mcloud.toml").write_text(exchange)
    code, checks = answered(mcloud_up)
    assert code == 0, checks
    assert of(checks, "")["embedded clouds"]["state"] == "ok"
    for site in ("aws", "gcp"):
        found = of(checks, site)
        assert {subject: each["state"] for subject, each in found.items()} == dict.fromkeys(
            ["clock", *SERVICES], "ok"
        )
        assert all(found[service]["seconds"] > 0 for service in SERVICES)
    done = mcloud_up.run("doctor", "gcp")
    assert done.returncode == 0
    assert "\ngcp\n" in done.stdout
    assert "\naws\n" not in done.stdout


def test_without_embedded_clouds_the_remedy_is_to_start_them(
    mcloud: Terminal, exchange: str
) -> None:
    (mcloud.folder / "mcloud.toml").write_text(exchange)
    code, checks = answered(mcloud)
    assert code == 3
    (fault,) = [check for check in checks if check["state"] == "fault"]
    assert (fault["subject"], fault["remedy"]) == ("embedded clouds", "run `mcloud local up`")
    done = mcloud.run("doctor")
    assert done.returncode == 3
    assert "→ run `mcloud local up`" in done.stdout


@pytest.mark.slow
def test_a_site_that_hangs_does_not_hide_the_others(
    mcloud: Terminal, embedded: State, exchange: str, terraform: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        config = sites(embedded, aws={"endpoint_url": url, "queue_url": f"{url}/0/q"})
        (mcloud.folder / "mcloud.toml").write_text(config + exchange)
        code, checks = answered(mcloud, MCLOUD_TERRAFORM=terraform)
    assert code == 3
    assert all(of(checks, "gcp")[service]["state"] == "ok" for service in SERVICES)
    for service in SERVICES:
        assert of(checks, "aws")[service]["state"] == "fault"
        assert of(checks, "aws")[service]["finding"] == "no answer within 2 s"
    clock = of(checks, "aws")["clock"]
    assert (clock["state"], clock["finding"]) == ("unknown", "no answer within 2 s")


def test_the_embedded_aws_is_checked_like_the_real_one(
    mcloud: Terminal, embedded: State, exchange: str, terraform: str
) -> None:
    """It has credentials, permissions and quotas, and is found by the usual variables."""
    config = sites(embedded, aws={"endpoint_url": ""})
    (mcloud.folder / "mcloud.toml").write_text(config + exchange)
    code, checks = answered(
        mcloud,
        "aws",
        MCLOUD_TERRAFORM=terraform,
        AWS_ENDPOINT_URL=embedded.outputs["aws"]["endpoint_url"],
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",
    )
    assert code == 0, checks
    found = of(checks, "aws")
    assert found["credentials"]["finding"] == "arn:aws:iam::000000000000:root"
    assert found["may producer"]["state"] == "warning"  # since the user is root
    for subject in ("deployment", "credentials", "clock", "concurrency", *SERVICES):
        assert found[subject]["state"] == "ok"
    assert of(checks, "gcp") == {}


def test_missing_credentials_and_an_unreachable_network_are_reported(
    mcloud: Terminal, terraform: str
) -> None:
    (mcloud.folder / "mcloud.toml").write_text(
        '[profiles.prod.sites.aws]\ncloud = "aws"\n'
        '[profiles.prod.sites.gcp]\ncloud = "gcp"\nproject = "my-project"\n'
        '[profiles.prod.sites.gcp-eu]\ncloud = "gcp"\n'
    )
    (port,) = free_ports(1)
    code, checks = answered(
        mcloud,
        "--profile",
        "prod",
        MCLOUD_TERRAFORM=terraform,
        # an address on which nothing listens
        HTTPS_PROXY=f"http://127.0.0.1:{port}",
        https_proxy=f"http://127.0.0.1:{port}",
        AWS_EC2_METADATA_DISABLED="true",
        AWS_CONFIG_FILE="/dev/null",
        AWS_SHARED_CREDENTIALS_FILE="/dev/null",
        GOOGLE_APPLICATION_CREDENTIALS="/nowhere.json",
    )
    assert code == 3
    for site, remedy in (("aws", "aws configure sso"), ("gcp", "gcloud auth application-default")):
        found = of(checks, site)
        assert found["deployment"]["state"] == "warning"
        assert f"mcloud deploy {site}" in found["deployment"]["remedy"]
        assert found["credentials"]["state"] == "fault"
        assert remedy in found["credentials"]["remedy"]
        assert found["may deployer"]["state"] == "unknown"
        assert found["clock"]["state"] == "unknown"
        assert all("proxy" in found[service]["remedy"] for service in SERVICES)
    assert of(checks, "gcp-eu")["project"]["remedy"].startswith('set project = "…" in [profiles.')
    assert of(checks, "")["exchange"]["state"] == "fault"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gpc"], "unknown site 'gpc'; choose from aws, gcp; did you mean 'gcp'"),
        (["--role", "producr"], "unknown role 'producr'; choose from .*; did you mean 'producer'"),
    ],
)
def test_an_unknown_site_or_role_is_refused(
    mcloud: Terminal, arguments: list[str], message: str
) -> None:
    done = mcloud.run("doctor", *arguments)
    assert (done.returncode, done.stdout) == (2, "")

    assert re.search(message, done.stderr)
