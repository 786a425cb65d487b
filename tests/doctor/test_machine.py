import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from states import producer

from mcloud.clouds.access import FAULT, OK, UNKNOWN, WARNING
from mcloud.config import Config, load
from mcloud.doctor.check import DoctorCheck
from mcloud.doctor.machine import look_at
from mcloud.feed.simulate import Simulate
from mcloud.local.children import free_ports
from mcloud.local.exchange.thread import LocalExchange
from mcloud.producer.reported_state import ProducerState
from mcloud.runs import Running

PROD = '[profiles.prod.sites.aws]\ncloud = "aws"\n'


def at(folder: Path, profile: str, exchange: str = "", **environment: str) -> Config:
    if not exchange:
        (port,) = free_ports(1)
        exchange = f'ws_url = "ws://127.0.0.1:{port}"\nrest_url = "http://127.0.0.1:{port}"\n'
    (folder / "mcloud.toml").write_text(f"{PROD}\n[exchange]\n{exchange}")
    return load(profile, folder, environment)


def looked(config: Config, *producers: Running[ProducerState]) -> dict[str, DoctorCheck]:
    checks = look_at(config, producers)
    assert {check.site for check in checks} == {""}
    return {check.subject: check for check in checks}


@pytest.mark.parametrize(("profile", "state"), [("local", WARNING), ("prod", FAULT)])
def test_a_missing_tool_is_a_fault_only_if_the_profile_needs_it(
    tmp_path: Path, profile: str, state: str
) -> None:
    found = looked(at(tmp_path, profile, MCLOUD_TERRAFORM="no-such-terraform"))
    for subject in ("terraform", "exchange", "trade stream"):
        assert found[subject].state == state
        assert found[subject].remedy
    assert "no-such-terraform" in found["terraform"].finding
    assert "Connection refused" in found["exchange"].finding
    assert found["python"].state == OK


@pytest.mark.parametrize(
    ("says", "state"),
    [("Terraform v1.4.9", FAULT), ("OpenTofu v1.8.0", OK), ("something else", FAULT)],
)
def test_the_version_of_terraform_is_checked(tmp_path: Path, says: str, state: str) -> None:
    binary = tmp_path / "terraform"
    binary.write_text(f"#!/bin/sh\necho '{says}'\n")
    binary.chmod(0o755)
    found = looked(at(tmp_path, "prod", MCLOUD_TERRAFORM=str(binary)))["terraform"]
    assert found.state == state
    assert str(binary) in found.finding


def test_a_version_that_cannot_lock_the_state_of_a_site(tmp_path: Path) -> None:
    binary = tmp_path / "terraform"
    binary.write_text("#!/bin/sh\necho Terraform v1.9.8\n")
    binary.chmod(0o755)
    config = at(tmp_path, "prod", MCLOUD_TERRAFORM=str(binary))
    site = next(iter(config.sites.values()))
    config.sites[site.name] = replace(site, backend={"type": "s3", "bucket": "states"})
    found = looked(config)["terraform"]
    assert found.state == FAULT
    assert "needs Terraform 1.10 or newer" in found.finding


def test_a_missing_provider_mirror(tmp_path: Path) -> None:
    binary = tmp_path / "tofu"
    binary.write_text("#!/bin/sh\necho OpenTofu v1.8.0\n")
    binary.chmod(0o755)
    mirror = str(tmp_path / "none")
    config = at(tmp_path, "prod", MCLOUD_TERRAFORM=str(binary), TF_PLUGIN_DIR=mirror)
    found = looked(config)["terraform"]
    assert (found.state, mirror in found.finding) == (FAULT, True)
    assert "TF_PLUGIN_DIR" in found.remedy


def test_an_exchange_that_answers(tmp_path: Path) -> None:
    market = Simulate(["BTCUSDT"], seed=1, start_time=1_735_775_880_000, rate=10)
    with LocalExchange(market, speed=1.0, symbols=["BTCUSDT"]) as server:
        where = f'ws_url = "{server.ws_url}"\nrest_url = "{server.rest_url}"\n'
        found = looked(at(tmp_path, "prod", where))
    for subject in ("exchange", "trade stream"):
        assert (found[subject].state, found[subject].finding != "") == (OK, True)
        assert found[subject].seconds is not None


def test_the_state_folder_is_checked(tmp_path: Path) -> None:
    config = at(tmp_path, "local")
    assert looked(config)["state folder"].state == OK
    assert not config.state.exists()  # it was checked, but not created
    config.state.mkdir()
    config.state.chmod(0o755)
    open_to_all = looked(config)["state folder"]
    assert (open_to_all.state, open_to_all.remedy) == (WARNING, f"run `chmod 700 {config.state}`")
    config.state.chmod(0o700)
    assert looked(config)["state folder"].state == OK
    assert list(config.state.iterdir()) == []
    config.state.rmdir()
    config.state.touch()
    assert looked(config)["state folder"].state == FAULT


def test_embedded_clouds_that_are_down(tmp_path: Path) -> None:
    found = looked(at(tmp_path, "local"))["embedded clouds"]
    assert (found.state, found.remedy) == (FAULT, "run `mcloud local up`")
    assert "embedded clouds" not in looked(at(tmp_path, "prod"))


SITE = {"waiting_trades": 0, "refused": False, "error": ""}


def said(*, ago: float = 0, **more: Any) -> Callable[[], ProducerState]:
    """Return what makes the state that a producer wrote ``ago`` seconds before now."""
    fields = {"spool_full": False, "problem": "", "sites": {"aws": SITE}, **more}
    return lambda: producer(at=time.time() - ago, **fields)


OWED = {"aws": {**SITE, "waiting_trades": 1_234}}
REFUSED = {"aws": {**SITE, "refused": True, "error": "AccessDenied"}}


@pytest.mark.parametrize(
    ("runs", "state", "verdict", "words"),
    [
        (False, lambda: None, OK, "never ran"),
        (True, said(), OK, "its spool is empty"),
        (True, said(sites=OWED), OK, "1,234 trades wait for aws"),
        (False, said(sites=OWED), WARNING, "1,234 trades wait for aws"),
        (True, said(sites=OWED, spool_full=True), FAULT, "is full"),
        (True, said(sites=REFUSED), FAULT, "aws: AccessDenied"),
        (True, said(problem="no room on the disk"), FAULT, "no room on the disk"),
        (True, said(ago=3600), FAULT, "reported nothing"),
        (False, said(ago=3600), OK, "its spool is empty"),
    ],
)
def test_the_state_of_a_producer_is_checked(
    tmp_path: Path,
    runs: bool,
    state: Callable[[], ProducerState | None],
    verdict: str,
    words: str,
) -> None:
    found = looked(at(tmp_path, "local"), Running("default", runs, state()))["producer default"]
    assert found.state == verdict
    assert words in found.finding
    assert bool(found.remedy) is (verdict not in (OK, UNKNOWN))


def test_a_damaged_spool_is_remembered(tmp_path: Path) -> None:
    config = at(tmp_path, "local")
    folder = config.state / "producers" / "default"
    folder.mkdir(parents=True)
    for suffix in ("", "-wal"):
        (folder / f"spool.sqlite.corrupt-1{suffix}").touch()
    found = looked(config, Running("default", True, said()()))["producer default"]
    assert found.state == WARNING
    assert found.finding.endswith("aside: spool.sqlite.corrupt-1")


@pytest.mark.parametrize(
    ("name", "profile", "state"),
    [
        ("TF_WORKSPACE", "prod", FAULT),
        ("TF_WORKSPACE", "local", WARNING),
        ("TF_VAR_password", "prod", WARNING),
        ("TF_LOG_PROVIDER", "prod", OK),
    ],
)
def test_the_treatment_of_terraforms_variables_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, profile: str, state: str
) -> None:
    for each in [each for each in os.environ if each.startswith("TF_")]:
        monkeypatch.delenv(each)
    none = looked(at(tmp_path, profile))["terraform's shell"]
    assert none.state == OK
    assert "TF_WORKSPACE would be refused; TF_DATA_DIR, TF_VAR_*" in none.finding
    monkeypatch.setenv(name, "s3cret")
    found = looked(at(tmp_path, profile))["terraform's shell"]
    assert found.state == state
    assert name in found.finding
    assert "s3cret" not in str(found)
    assert found.remedy == ("" if state == OK else f"run `unset {name}`")
