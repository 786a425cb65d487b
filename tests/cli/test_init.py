"""``mcloud init`` and ``mcloud config show``, from an empty folder to effective settings."""

import json
import os
import pty
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .conftest import Terminal

NEXT = "next: `mcloud doctor`, `mcloud plan`, `mcloud deploy`\n"
COST = re.compile(r"one symbol with 30 trades/s costs about \$[\d.]+ on aws.*\n")
ENV = """\
AWS_REGION=eu-west-1
S3_BUCKET=raw-trades
TRADING_SYMBOL=ETHUSDT
BINANCE_API_KEY=hush
"""
ENV_GCP = "GCP_PROJECT_ID=my-project\nGCP_REGION=europe-west1\n"


def shown(mcloud: Terminal, *arguments: str) -> dict[str, Any]:
    """Return the values and origins of ``config show``."""
    done = mcloud.run("config", "show", "-o", "json", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def values(mcloud: Terminal) -> dict[str, Any]:
    return {name: each["value"] for name, each in shown(mcloud)["settings"].items()}


def test_the_default_is_a_site_on_aws(mcloud: Terminal) -> None:
    done = mcloud.run("init")
    assert (done.returncode, done.stdout) == (0, "")
    assert COST.sub("", done.stderr) == (
        "wrote mcloud.toml: profile prod, aws\n"
        "gcp is left out because no project is known; edit the file, or use --gcp-project\n" + NEXT
    )
    assert values(mcloud) == {
        "profile": "prod",
        "state": str(mcloud.folder / "state"),
        "sites.aws.cloud": "aws",
        "sites.aws.name": "mcloud",
        "sites.aws.region": "us-east-1",
    }
    assert "# [profiles.prod.sites.gcp]" in (mcloud.folder / "mcloud.toml").read_text()


def test_flags_answer_all_questions(mcloud: Terminal) -> None:
    done = mcloud.run(
        *("init", "--profile", "desk", "--aws-region", "us-west-2", "--gcp-project", "my-project"),
        *("--gcp-region", "europe-west1", "--name", "desk-7", "--budget", 50),
        *("--alert-email", "desk@example.com"),
    )
    # The advice names the given profile.
    words = re.sub(r"`(mcloud [a-z]+)`", r"`\1 --profile desk`", NEXT)
    assert COST.sub("", done.stderr) == "wrote mcloud.toml: profile desk, aws and gcp\n" + words
    found = values(mcloud)
    for site in ("aws", "gcp"):
        assert found[f"sites.{site}.name"] == "desk-7"
        assert found[f"sites.{site}.variables.monthly_budget"] == 50
        assert found[f"sites.{site}.variables.alert_email"] == "desk@example.com"
    assert found["profile"] == "desk"
    assert found["sites.aws.region"] == "us-west-2"
    assert found["sites.gcp.region"] == "europe-west1"
    assert found["sites.gcp.project"] == "my-project"


def test_values_of_env_files_are_used(mcloud: Terminal) -> None:
    (mcloud.folder / ".env").write_text(ENV)
    (mcloud.folder / ".env.gcp").write_text(ENV_GCP)
    done = mcloud.run("init", "-o", "json")
    answer = json.loads(done.stdout)
    assert answer["sites"] == ["aws", "gcp"]
    assert answer["text"] == (mcloud.folder / "mcloud.toml").read_text()
    assert 'region = "eu-west-1"' in answer["text"]
    assert 'region = "europe-west1"' in answer["text"]
    assert 'project = "my-project"' in answer["text"]
    assert COST.sub("", done.stderr) == (
        "wrote mcloud.toml: profile prod, aws and gcp\n"
        "warning: .env:2 sets raw_bucket of aws to raw-trades, which overrides mcloud.toml\n" + NEXT
    )


def test_a_variable_that_overrides_a_flag_is_reported(mcloud: Terminal) -> None:
    done = mcloud.run("init", "--aws-region", "us-west-2", "--sites", "aws", AWS_REGION="eu-west-1")
    assert "warning: environment AWS_REGION sets region of aws to eu-west-1" in done.stderr
    assert "gcp" not in done.stderr


def test_an_existing_file_is_replaced_only_with_force(mcloud: Terminal) -> None:
    path = mcloud.folder / "mcloud.toml"
    path.write_text("# mine\n")
    done = mcloud.run("init")
    assert (done.returncode, done.stderr) == (
        2,
        f"error: {path} already exists; use --force to replace it\n",
    )
    assert path.read_text() == "# mine\n"
    dry = mcloud.run("init", "--dry-run")
    assert path.read_text() == "# mine\n"
    assert mcloud.run("init", "--force").returncode == 0
    assert path.read_text() == dry.stdout
    assert list(mcloud.folder.iterdir()) == [path]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sites", "aws,azure"], "unknown site 'azure'; choose from aws, gcp"),
        (["--sites", "gcp"], "the site gcp needs a project; use --gcp-project"),
        (
            ["--gcp-project", "My Project"],
            "invalid gcp project 'My Project'; use a project's id,",
        ),
        (["--gcp-region", "europe-west1"], "--gcp-region is for the site gcp, which is left out"),
        (
            ["--sites", "gcp", "--gcp-project", "my-project", "--aws-region", "us-west-2"],
            "--aws-region is for the site aws, which is left out",
        ),
        (
            ["--aws-region", "europe-west1"],
            "invalid aws region 'europe-west1'; use a region such as us-east-1",
        ),
        (["--name", "x"], "invalid name 'x'; use 4 to 18 lower-case letters"),
        (
            ["--alert-email", "desk"],
            "invalid alert email 'desk'; use an address such as desk@example.com",
        ),
        (["--budget", "0"], "it must be 1 or more"),
        (["--profile", "local"], "the profile 'local' is built in"),
    ],
    ids=" ".join,
)
def test_a_wrong_answer_is_named_and_nothing_is_written(
    mcloud: Terminal, arguments: list[str], message: str
) -> None:
    done = mcloud.run("init", *arguments)
    assert message in " ".join(done.stderr.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert list(mcloud.folder.iterdir()) == []


def test_a_wrong_variable_is_named_with_its_line(mcloud: Terminal) -> None:
    (mcloud.folder / ".env").write_text("\nAWS_REGION=Ireland\n")
    done = mcloud.run("init")
    assert (
        done.stderr
        == "error: .env:2: invalid aws region 'Ireland'; use a region such as us-east-1\n"
    )
    assert done.returncode == 2


def on_a_terminal(
    mcloud: Terminal, typed: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run ``mcloud init`` on a terminal with typed input."""
    person, terminal = pty.openpty()
    # The terminal keeps the lines until they are read. Enter answers the remaining questions.
    os.write(person, typed.encode() + b"\n" * 8)
    process = subprocess.Popen(
        mcloud.command("init", *arguments),
        cwd=mcloud.folder,
        env=mcloud.environment,
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=terminal,
        text=True,
    )
    os.close(terminal)
    seen = b""
    try:
        while read := os.read(person, 4096):
            seen += read
    except OSError:
        pass  # the other end is closed, since the command has ended
    finally:
        os.close(person)
    written, _ = process.communicate(timeout=60)
    return subprocess.CompletedProcess([], process.returncode, written, seen.decode())


def test_the_question_is_repeated_until_the_answer_is_valid(mcloud: Terminal) -> None:
    typed = "My Project\nmy-project\n\neurope-west1\n\n5000\n"
    done = on_a_terminal(mcloud, typed)
    assert done.returncode == 0
    assert "AWS region [us-east-1]:" in done.stderr
    assert "Error: invalid gcp project 'My Project'" in done.stderr
    assert done.stderr.count("Google Cloud project (Enter for none):") == 2
    found = values(mcloud)
    assert found["sites.aws.region"] == "us-east-1"
    assert found["sites.gcp.project"] == "my-project"
    assert found["sites.gcp.region"] == "europe-west1"
    assert found["sites.gcp.variables.monthly_budget"] == 5000
    assert "sites.aws.variables.alert_email" not in found


def test_on_a_terminal_only_missing_answers_are_asked_for(mcloud: Terminal) -> None:
    (mcloud.folder / ".env.gcp").write_text(ENV_GCP)
    done = on_a_terminal(mcloud, "", "--aws-region", "us-west-2", "--alert-email", "a@b.c")
    assert "AWS region" not in done.stderr
    assert "Google Cloud project (Enter for none) [my-project]:" in done.stderr
    assert values(mcloud)["sites.gcp.region"] == "europe-west1"


def test_with_yes_it_asks_nothing(mcloud: Terminal) -> None:
    done = on_a_terminal(mcloud, "", "--yes")
    assert done.stderr.lstrip().startswith("wrote mcloud.toml")
    assert done.returncode == 0


def test_config_show_names_the_source_of_each_value(mcloud: Terminal) -> None:
    assert mcloud.run("init", "--gcp-project", "my-project").returncode == 0
    (mcloud.folder / ".env").write_text(ENV)
    done = mcloud.run("config", "show")
    rows = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    rows = [[name, value, origin.strip()] for name, value, origin in rows]
    assert rows[0] == ["setting", "value", "from"]
    assert ["sites.aws.region", "eu-west-1", ".env:1"] in rows
    assert ["sites.aws.raw_bucket", "raw-trades", ".env:2"] in rows
    assert ["symbol", "ETHUSDT", ".env:3"] in rows
    assert ["sites.gcp.region", "us-central1", "mcloud.toml:34"] in rows
    assert "hush" not in done.stdout


def test_config_show_lists_variables_without_effect(mcloud: Terminal) -> None:
    (mcloud.folder / ".env").write_text(ENV)
    reason = "the profile 'local' has its own"
    assert shown(mcloud)["ignored"] == {
        "AWS_REGION": {"origin": ".env:1", "reason": reason},
        "S3_BUCKET": {"origin": ".env:2", "reason": reason},
    }
    line = next(
        each for each in mcloud.run("config", "show").stdout.splitlines() if "S3_BUCKET" in each
    )
    assert line.split("  ")[0] == "S3_BUCKET"
    assert f"no effect: {reason}" in line
    assert line.rstrip().endswith(".env:2")
    assert shown(mcloud)["settings"]["profile"] == {"value": "local", "origin": "default"}


def test_a_folder_that_cannot_be_written_is_reported(mcloud: Terminal) -> None:
    path = Path(mcloud.folder / "mcloud.toml")
    path.mkdir()
    done = mcloud.run("init", "--force")
    assert done.stderr == (
        f"error: {path} cannot be written: Is a directory; a folder has that name: move it away\n"
    )
    assert done.returncode == 1
    assert list(mcloud.folder.iterdir()) == [path]
