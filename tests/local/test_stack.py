"""The embedded provisioner through the command line, on clouds of this test only."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import Terminal
from terraform.test_deploy_gcp import copy_of_mcloud

from mcloud.local import children, control

ARGUMENTS = ("-o", "json")


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Terminal]:
    """A command line without running clouds."""
    ports = dict(zip(("aws", "gcp", "storage", "function"), children.free_ports(4), strict=True))
    lines = [f"{name}_port = {port}" for name, port in ports.items()]
    (tmp_path / "mcloud.toml").write_text("[local]\n" + "\n".join(lines) + "\n")
    yield Terminal(tmp_path, tmp_path / "state")
    control.down(tmp_path / "state" / "local")


@pytest.mark.slow
def test_the_life_of_both_sites(own: Terminal, tmp_path: Path) -> None:
    # Neither a plan nor a destruction starts anything.
    first = own.run("plan", "--detailed-exitcode")
    assert first.returncode == 3
    assert "create  the embedded clouds" in first.stdout
    assert sites(own, "destroy", "all", "--yes")["aws"]["result"] == "unchanged"
    assert own.run("local", "status").returncode == 3

    deployed = sites(own, "deploy", "all", "--yes")
    assert {name: each["result"] for name, each in deployed.items()} == {
        "aws": "deployed",
        "gcp": "deployed",
    }
    assert all(set(each["services"].values()) == {"up"} for each in deployed.values())
    again = own.run("deploy", "--yes")
    assert again.returncode == 0
    assert again.stdout == (
        "aws: no changes; queue, function, candles, archive answer\n"
        "gcp: no changes; queue, function, candles, archive answer\n"
    )
    assert "next: `mcloud produce --site aws,gcp`" in again.stderr

    # Changed code updates only the functions.
    upgraded = copy_of_mcloud(tmp_path / "upgraded")
    for handler in ("aws/processor.py", "gcp/main.py"):
        with (upgraded / "functions" / handler).open("a") as file:
            file.write("# other code\n")
    ours = own.environment["PYTHONPATH"]
    own.environment["PYTHONPATH"] = str(upgraded)
    changed = sites(own, "deploy", "--yes")
    assert [each["address"] for each in changed["aws"]["plan"]["changes"]] == [
        "aws_lambda_function.processor",
        "aws_lambda_function.anomaly",
        "aws_lambda_function.compact",
    ]
    assert [each["address"] for each in changed["gcp"]["plan"]["changes"]] == [
        "google_cloudfunctions2_function.processor",
        "google_cloudfunctions2_function.anomaly",
        "google_cloudfunctions2_function.compact",
    ]
    assert own.run("plan", "--detailed-exitcode").returncode == 0
    own.environment["PYTHONPATH"] = ours

    # Data is only deleted by name, and the other site remains.
    kept = own.run("destroy", "aws", "--yes")
    assert kept.returncode == 2
    assert kept.stderr.endswith("; use --confirm mcloud\n")
    assert sites(own, "destroy", "aws", "--yes", "--confirm", "mcloud")["aws"]["done"] == 12
    after = json.loads(own.run("plan", *ARGUMENTS).stdout)["sites"]
    assert after["aws"]["plan"]["counts"]["create"] == 12
    assert after["gcp"]["plan"]["counts"]["create"] == 0
    gone = sites(own, "destroy", "gcp", "--yes", "--confirm", "mcloud")["gcp"]
    assert gone["done"] == len(gone["plan"]["changes"]) == 7
    back = own.run("deploy", "--yes")
    assert back.returncode == 0, back.stderr


@pytest.mark.slow
def test_states_of_terraform_are_set_aside_with_the_data(own: Terminal) -> None:
    state = own.folder / "state"
    assert own.run("local", "up").returncode == 0
    left = [state / kind / "local" / "aws" for kind in ("terraform", "outputs")]
    for path in left:
        path.mkdir(parents=True)
    other = state / "outputs" / "prod"
    other.mkdir()
    assert own.run("local", "down", "--keep").returncode == 0
    assert all(path.exists() for path in left)
    assert own.run("local", "up").returncode == 0
    assert all(path.exists() for path in left)
    assert own.run("local", "down").returncode == 0
    assert not any(path.parent.exists() for path in left)
    assert other.exists()


@pytest.mark.slow
def test_impossible_requests_are_refused(own: Terminal) -> None:
    google = own.run("plan", "gcp", "--provisioner", "terraform")
    assert google.returncode == 2
    assert "Terraform cannot be used with the embedded Google Cloud" in google.stderr
    other = own.run("deploy", "--provisioner", "teraform")
    assert other.returncode == 2
    assert "did you mean 'terraform'?" in other.stderr
    with (own.folder / "mcloud.toml").open("a") as file:
        file.write('[profiles.prod.sites.aws]\ncloud = "aws"\n')
    embedded = own.run("--profile", "prod", "plan", "--provisioner", "embedded")
    assert embedded.returncode == 2
    assert "is for the profile 'local'" in embedded.stderr
    assert own.run("plan", "azure").returncode == 2


def sites(terminal: Terminal, *arguments: str) -> dict[str, Any]:
    done = terminal.run(*arguments, *ARGUMENTS)
    assert done.returncode == 0, done.stderr
    outcomes: dict[str, Any] = json.loads(done.stdout)["sites"]
    return outcomes
