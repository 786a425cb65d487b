"""Each remedy that mcloud prints, followed in the situation that prints it.

Remedies for Terraform's state are in ``tests/terraform/test_remedies.py``, and remedies that need a
real cloud in ``tests/clouds/test_causes.py``.
"""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from patience import PATIENCE, eventually
from remedies import advised, commands_in_source, follow

from mcloud.alerts.rules import Rules
from mcloud.cli.app import COMMANDS, make_app
from mcloud.cli.session import Session
from mcloud.clouds.aws.client import make_client
from mcloud.local import control
from mcloud.local.children import free_ports
from mcloud.local.state import Home, State
from mcloud.runs import all_runs

from .conftest import Terminal

# Values of fields in messages other than names of sites and runs.
FIELDS = {"{how}": "", "{','.join(up)}": "aws,gcp", "{}": "BTCUSDT"}


@pytest.mark.parametrize(("file", "command"), sorted(set(commands_in_source())))
def test_every_advised_command_exists(file: str, command: str) -> None:
    """Options and arguments are checked as well, since a user would run into an outdated name."""
    for field, value in FIELDS.items():
        command = command.replace(field, value)
    words = shlex.split(re.sub(r"\{[^}]*\}", "aws", command))[1:]
    found = typer.main.get_command(make_app(set(COMMANDS)))
    context = found.make_context("mcloud", words)
    while hasattr(found, "resolve_command") and (left := [*context._protected_args, *context.args]):
        name, found, words = found.resolve_command(context, left)
        assert found is not None, left
        context = found.make_context(name, words, parent=context)


ENDLESS = ("--source", "simulate", "--speed", "realtime", "--rate", 20)


@pytest.fixture
def terminal(tmp_path: Path, embedded: State) -> Iterator[Terminal]:
    """A command line with its own runs, on the clouds that all tests share."""
    made = Terminal(tmp_path, tmp_path / "state")
    describe(made, embedded)
    yield made
    for kind in ("producers", "replicators", "guards", "alerts"):
        for run in all_runs(tmp_path / "state" / kind):
            holder = run.lock.holder()
            if holder is not None:
                holder.kill()


def describe(terminal: Terminal, embedded: State, **aws: str) -> None:
    """Write a mcloud.toml with both sites. ``aws`` has invalid settings of that site."""
    text = 'profile = "test"\n'
    for name, outputs in sorted(embedded.outputs.items()):
        values = {"cloud": name, **outputs, **(aws if name == "aws" else {})}
        text += f"[profiles.test.sites.{name}]\n"
        text += "".join(f'{key} = "{value}"\n' for key, value in values.items())
    (terminal.folder / "mcloud.toml").write_text(text)


def faults(terminal: Terminal, *arguments: str) -> dict[str, str]:
    """Return the remedies of ``mcloud doctor`` for all problems, by subject."""
    done = terminal.run("doctor", *arguments, "-o", "json")
    checks = json.loads(done.stdout)["checks"]
    return {check["subject"]: check["remedy"] for check in checks if check["state"] != "ok"}


@pytest.mark.slow
def test_the_remedy_stops_only_the_conflicting_process(terminal: Terminal) -> None:
    for name in ("first", "second"):
        started = terminal.run("produce", *ENDLESS, "--name", name, "--detach")
        assert started.returncode == 0, started.stderr
    again = terminal.run("produce", *ENDLESS, "--name", "first", "--detach")
    assert again.returncode == 1
    follow(terminal, advised(again.stderr)[0])
    listed = json.loads(terminal.run("ps", "-o", "json").stdout)
    running = {each["name"]: each["running"] for each in listed}
    assert running == {"first": False, "second": True}
    started = terminal.run("produce", *ENDLESS, "--name", "first", "--detach")
    assert started.returncode == 0, started.stderr
    for command in advised(started.stderr):
        if not command.endswith("-f"):
            follow(terminal, command)


@pytest.mark.slow
@pytest.mark.parametrize("by", ["produce", "doctor"])
def test_trades_that_a_site_refused_are_sent_later_as_advised(
    terminal: Terminal, embedded: State, by: str
) -> None:
    queue = embedded.outputs["aws"]["queue_url"]
    describe(terminal, embedded, queue_url=f"{queue}-none")
    simulated = ("--source", "simulate", "--count", 300, "--symbols", "RMDUSDT")
    failed = terminal.run("produce", *simulated, "--name", "mine")
    assert failed.returncode == 1
    advice = faults(terminal)["producer mine"] if by == "doctor" else failed.stderr
    command = [each for each in advised(advice) if "produce" in each][-1]
    describe(terminal, embedded)
    # It sends what is left and reads nothing new, whatever the source of the run before.
    assert re.search(r"aws +300 ", follow(terminal, command))
    assert "producer mine" not in faults(terminal)


@pytest.mark.slow
def test_a_deleted_queue_is_deployed_again(mcloud_up: Terminal, embedded: State) -> None:
    outputs = embedded.outputs["aws"]
    sqs = make_client("sqs", "us-east-1", outputs["endpoint_url"])
    sqs.delete_queue(QueueUrl=outputs["queue_url"])
    (command,) = advised(faults(mcloud_up, "aws")["queue"])
    follow(mcloud_up, f"{command} --yes")  # on a terminal it asks for confirmation
    assert "queue" not in faults(mcloud_up, "aws")


def test_a_state_folder_that_others_may_read(mcloud: Terminal) -> None:
    state = mcloud.folder / "a state"  # a name that a shell would split
    mcloud.environment["MCLOUD_STATE"] = str(state)
    state.mkdir(mode=0o755)
    (command,) = advised(faults(mcloud)["state folder"])
    follow(mcloud, command)
    assert "state folder" not in faults(mcloud)


def test_an_advised_command_stays_in_the_profile(mcloud: Terminal) -> None:
    """A profile that is given by a flag does not apply to other commands."""
    sites = "\n".join(
        f'[profiles.{profile}.sites.aws]\ncloud = "aws"' for profile in ("prod", "staging")
    )
    (mcloud.folder / "mcloud.toml").write_text(f'profile = "prod"\n{sites}\n')
    assert advised(mcloud.run("outputs").stderr) == ["mcloud deploy aws"]
    expected = "mcloud deploy aws --profile staging"
    assert advised(mcloud.run("outputs", "--profile", "staging").stderr) == [expected]


def test_a_document_names_the_profile_too(capsys: pytest.CaptureFixture[str]) -> None:
    session = Session(profile="the 'other'")
    session.print_json({"checks": [{"remedy": "run `mcloud deploy`, or `mcloud local up`"}]})
    (check,) = json.loads(capsys.readouterr().out)["checks"]
    deploy, up = advised(check["remedy"])
    assert shlex.split(deploy) == ["mcloud", "deploy", "--profile", "the 'other'"]
    assert up == "mcloud local up"  # the same clouds, whatever the profile
    assert session.advice(check["remedy"]) == check["remedy"]


@pytest.mark.parametrize(("harm", "profile"), [("", "prod"), ("[]", "staging")])
def test_damaged_outputs_name_the_deployment_of_their_profile(
    mcloud: Terminal, harm: str, profile: str
) -> None:
    """The tests with Terraform check that it repairs them."""
    (mcloud.folder / "mcloud.toml").write_text(
        'profile = "prod"\n'
        '[profiles.prod.sites.aws]\ncloud = "aws"\n[profiles.staging.sites.aws]\ncloud = "aws"\n'
    )
    outputs = mcloud.folder / "state" / "outputs" / profile / "aws.json"
    outputs.parent.mkdir(parents=True)
    outputs.write_text(harm)
    for command in ("outputs", "status", "verify"):
        failed = mcloud.run(command, "--profile", profile)
        assert failed.returncode == 1
        assert advised(failed.stderr) == [f"mcloud deploy aws --profile {profile}"]


@pytest.mark.slow
def test_a_watcher_is_started(terminal: Terminal) -> None:
    looked = terminal.run("alerts", "list")
    follow(terminal, advised(looked.stderr)[0])
    assert "no watcher runs" not in terminal.run("alerts", "list").stderr


@pytest.mark.slow
def test_a_guard_is_started_and_one_that_died_is_forgotten(terminal: Terminal) -> None:
    unknown = terminal.run("guard", "explain")
    (command,) = advised(unknown.stderr)
    follow(terminal, f"{command} --detach")  # otherwise it stays in the foreground
    (guard,) = all_runs(terminal.folder / "state" / "guards")
    eventually(lambda: terminal.run("guard", "explain").returncode == 0)
    holder = guard.lock.holder()
    assert holder is not None
    holder.kill()
    holder.wait(PATIENCE)
    wrong = json.loads(terminal.run("status", "-o", "json").stdout)["wrong"]
    (line,) = [each for each in wrong if "its process has died" in each]
    follow(terminal, advised(line)[0])
    wrong = json.loads(terminal.run("status", "-o", "json").stdout)["wrong"]
    assert not any("its process has died" in each for each in wrong)


@pytest.mark.slow
def test_paused_guards_are_resumed(terminal: Terminal) -> None:
    assert terminal.run("guard", "pause", "--why", "a test").returncode == 0
    rule = next(each for each in Rules().rules if each.name == "guard-paused")
    follow(terminal, advised(rule.text)[0])
    document = json.loads(terminal.run("status", "-o", "json").stdout)
    assert not document.get("paused")


@pytest.mark.slow
def test_the_embedded_clouds_are_brought_up(mcloud: Terminal) -> None:
    """The clouds are down, up, hanging in one service, killed, or emptied."""
    ports = free_ports(4)
    names = ("aws_port", "gcp_port", "storage_port", "function_port")
    lines = "".join(f"{name} = {port}\n" for name, port in zip(names, ports, strict=True))
    (mcloud.folder / "mcloud.toml").write_text(f"[local]\n{lines}")
    try:
        for arguments in (("outputs",), ("local", "status"), ("local", "outage", "aws")):
            failed = mcloud.run(*arguments)
            assert failed.returncode != 0
            assert "mcloud local up" in advised(failed.stderr + failed.stdout), arguments
        (command,) = advised(mcloud.run("outputs").stderr)
        follow(mcloud, command)
        assert mcloud.run("outputs").returncode == 0
        (command,) = advised(mcloud.run("local", "up").stderr)
        assert "listens" in follow(mcloud, command)

        begun = mcloud.run("local", "outage", "aws")
        (command,) = [each for each in advised(begun.stderr) if "--end" in each]
        follow(mcloud, command)

        supervisor = Home(mcloud.folder / "state" / "local").lock.holder()
        assert supervisor is not None
        supervisor.kill()
        supervisor.wait(PATIENCE)
        died = mcloud.run("local", "status")
        follow(mcloud, advised(died.stderr + died.stdout)[0])
        assert mcloud.run("outputs").returncode == 0
    finally:
        control.down(mcloud.folder / "state" / "local")


DRASTIC = ("stop", "failover", "dlq redrive", "dlq drop", "resolve", "restore")


def test_a_message_advises_no_drastic_command_without_its_object() -> None:
    """`mcloud stop`, for example, stops every process of the folder."""
    found = [
        (path, command)
        for path, command in commands_in_source()
        for each in DRASTIC
        if command.removeprefix("mcloud ").startswith(each)
    ]
    assert len(found) >= 10
    assert [each for each in found if each[1].removeprefix("mcloud ") in DRASTIC] == []


def test_verify_advises_a_repair_of_what_it_compared() -> None:
    line = ["mcloud", "verify", "aws,gcp", "--symbols", "BTCUSDT", "--start", "2024-08-08"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", line)
        assert Session().again("--repair") == f"{' '.join(line)} --repair"
