"""Damaged documents on embedded sites, through the commands of an operator."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from clouds.test_control_contract import put_raw

from mcloud.clouds.factory import open_site
from mcloud.clouds.ports import Site
from mcloud.failover import debts
from mcloud.failover.decide import Debt
from mcloud.local.state import State

from .conftest import Terminal

EPOCH = 10**20
"""A number beyond int64, which DynamoDB stores nevertheless."""


@pytest.fixture
def sites(embedded: State) -> Iterator[dict[str, Site]]:
    found = {name: open_site(name, each) for name, each in embedded.resources().items()}
    yield found
    for site in found.values():
        site.control.forget_record()
        for kind, key in (("guard", "pause"), ("debt", "gone"), ("lag", "gcp aws all")):
            site.control.forget(kind, key)
        site.control.forget("heartbeats", "1 of 4")
        site.control.forget_heartbeat("BADUSDT")


def answered(terminal: Terminal, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command, and repeat it while a site is too slow, as on a busy machine."""
    for _ in range(10):
        done = terminal.run(*arguments)
        if not any(each in done.stderr for each in ("no answer within", "cannot be read: ")):
            break
    return done


@pytest.mark.slow
def test_commands_work_without_damaged_documents_until_these_are_repaired(
    mcloud_up: Terminal, sites: dict[str, Site]
) -> None:
    aws = sites["aws"]
    record = {"primary": "aws", "mode": "manual", "reason": "", "by": "me", "at": 1.0}
    put_raw(aws, "control", "record", {**record, "epoch": EPOCH})
    put_raw(aws, "guard", "pause", {"document": "{"})
    put_raw(aws, "debt", "gone", {"document": json.dumps({"site": "gone"})})
    put_raw(aws, "lag", "gcp aws all", {"lag": "of an older version"})
    put_raw(aws, "heartbeat", "BADUSDT", {"trades": "many"})
    put_raw(sites["gcp"], "debt", "gone", {"document": json.dumps({"version": 2})})
    put_raw(aws, "heartbeats", "1 of 4", {"document": "{"})
    broken = (
        *("control record", "guard pause", "debt gone", "lag gcp aws all"),
        *("heartbeat BADUSDT", "heartbeats 1 of 4"),
    )

    for _ in range(10):  # late answers of a busy machine are missing from it
        status = mcloud_up.run("status", "-o", "json")
        assert status.returncode == 3, status.stderr
        told = json.loads(status.stdout)
        if told["sites"]["aws"]["damaged"]["count"] == len(broken):
            break
    for name in broken:
        assert any(f"aws: the {name} is damaged: " in line for line in told["wrong"])
    assert told["sites"]["aws"]["damaged"]["count"] == len(broken)

    line = 'mcloud_damaged_documents{site="aws"} 6'
    for _ in range(10):
        metrics = mcloud_up.run("metrics")
        assert (metrics.returncode, metrics.stderr) == (0, "")
        if line in metrics.stdout:
            break
    assert line in metrics.stdout
    look = answered(mcloud_up, "failover", "gcp", "--dry-run", "-o", "json")
    assert look.returncode == 0, look.stderr
    for _ in range(10):
        alerts = mcloud_up.run("alerts", "list", "-o", "json")
        (rule,) = [
            r for r in json.loads(alerts.stdout)["rules"] if r["name"] == "damaged-documents"
        ]
        states = {each["names"][0]: each["state"] for each in rule["figures"]}
        if states["aws"] == "firing":
            break
    assert (states["aws"], alerts.returncode) == ("firing", 3), alerts.stderr

    listed = answered(mcloud_up, "documents", "list", "-o", "json")
    assert listed.returncode == 3, listed.stderr
    documents = json.loads(listed.stdout)["documents"]
    assert len(documents) == len(broken) + 1
    assert [each["why_none"] for each in documents if each["newer"]] == [
        "none: upgrade this mcloud"
    ]
    refused = mcloud_up.run("documents", "repair")
    assert refused.returncode == 2
    assert "repair 6 documents?; use --yes" in refused.stderr

    moved = answered(mcloud_up, "failover", "gcp", "--yes", "-o", "json")
    assert moved.returncode == 0, moved.stderr
    assert list(json.loads(moved.stdout)["away"]) == ["aws"]
    assert str(aws.control.record()).startswith("the control record is damaged: epoch is")

    repaired = answered(mcloud_up, "documents", "repair", "--yes", "-o", "json")
    assert repaired.returncode == 3, repaired.stderr  # one document has a newer version
    said = json.loads(repaired.stdout)
    assert len(said["repaired"]) == len(broken)
    assert [each["newer"] for each in said["left"]] == [True]
    assert aws.control.record() == sites["gcp"].control.record()
    assert list(sites["gcp"].control.kept("debt")["gone"]) == ["version"]
    log = json.loads(mcloud_up.run("failover", "--history", "-o", "json").stdout)
    assert [each["step"] for each in log[-6:]] == ["repair document"] * 6
    assert mcloud_up.run("documents", "list").returncode == 3
    sites["gcp"].control.forget("debt", "gone")
    assert mcloud_up.run("documents", "list").stderr.endswith("are valid\n")


@pytest.mark.slow
def test_forgetting_the_catch_up_of_a_removed_site_explains_what_happens_to_its_data(
    mcloud_up: Terminal, sites: dict[str, Site]
) -> None:
    debts.note(sites, Debt("gone", 3, 1.7e9), at=1.7e9, seconds=10.0)
    status = mcloud_up.run("status")
    assert "run `mcloud failover --forget gone`" in status.stdout.replace("\n", " ")
    asked = mcloud_up.run("failover", "--forget", "gone")
    assert asked.returncode == 2
    assert "was replaced as primary in epoch 3, and has not been proven equal" in asked.stderr
    assert "nothing is deleted there" in asked.stderr
    assert "forget the catch-up of gone?; use --yes" in asked.stderr
    done = mcloud_up.run("failover", "--forget", "gone", "--yes", "-o", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"forgotten": "gone", "epoch": 3, "away": {}}
    assert debts.read(sites, 10.0).get("gone") is None
    log = json.loads(mcloud_up.run("failover", "--history", "-o", "json").stdout)
    assert log[-1]["step"] == "forget debt"
    again = mcloud_up.run("failover", "--forget", "gone", "--yes")
    assert again.returncode == 2
    assert "no catch-up is due for 'gone'" in again.stderr


def test_a_site_that_exists_is_caught_up_and_not_forgotten(
    mcloud_up: Terminal, sites: dict[str, Site]
) -> None:
    debts.note(sites, Debt("gcp", 3, 1.7e9), at=1.7e9, seconds=10.0)
    done = mcloud_up.run("failover", "--forget", "gcp", "--yes")
    for site in sites.values():
        site.control.forget("debt", "gcp")
    assert done.returncode == 2
    assert "gcp is a site of the profile local, and can still be caught up" in done.stderr


def test_a_damaged_state_file_does_not_stop_a_list(mcloud_up: Terminal) -> None:
    home = mcloud_up.folder / "state"
    here: Any = {"MCLOUD_STATE": str(home)}
    for kind in ("producers", "replicators", "guards", "alerts"):
        (home / kind / "one").mkdir(parents=True)
        (home / kind / "one" / "state.json").write_text('{"at": "x", "pid": 7, "sites": []}')
    done = mcloud_up.run("ps", **here)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("ended, its state.json is damaged") == 4
    assert done.stderr.count("`mcloud documents repair` repairs it") == 4
    told = json.loads(mcloud_up.run("ps", "-o", "json", **here).stdout)
    assert all("is damaged: " in each["damaged"] for each in told)
    for command in (["guard", "explain", "--name", "one"], ["guard", "status", "--name", "one"]):
        shown = mcloud_up.run(*command, **here)
        assert shown.returncode == 1
        assert shown.stderr.startswith("error: ")
        assert "state.json is damaged" in shown.stderr
    assert mcloud_up.run("stop", **here).returncode == 0


def test_a_state_of_a_newer_version_is_not_overwritten(mcloud_up: Terminal) -> None:
    home = mcloud_up.folder / "state"
    (home / "producers" / "default").mkdir(parents=True)
    path = home / "producers" / "default" / "state.json"
    path.write_text('{"version": 2}')
    here: Any = {"MCLOUD_STATE": str(home)}
    (home / "local").symlink_to(f"{mcloud_up.environment['MCLOUD_STATE']}/local")
    done = mcloud_up.run("produce", "--source", "simulate", "--count", "5", **here)
    assert done.returncode == 1
    assert "was written by a newer mcloud" in done.stderr
    assert "another --name" in done.stderr
    assert path.read_text() == '{"version": 2}'
    path.write_text("{")
    done = mcloud_up.run("produce", "--source", "simulate", "--count", "5", **here)
    assert done.returncode == 0, done.stderr
    assert "is damaged (it is not JSON" in done.stderr
    assert len(list(path.parent.glob("state.json.damaged-*"))) == 1
