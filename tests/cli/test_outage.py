"""``mcloud local outage``"""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import PATIENCE, eventually

from mcloud.local import outage
from mcloud.local.state import State

from .conftest import Terminal


@pytest.fixture
def home(embedded: State) -> Iterator[Path]:
    folder = Path(embedded.options["home"])
    yield folder
    outage.end(folder)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("azure",), "unknown site 'azure'; choose from aws, gcp"),
        (
            ("aws", "--service", "queues"),
            "unknown service 'queues'; choose from queue, function, candles",
        ),
        (("aws", "--how", "explode"), "unknown kind of outage 'explode'; choose from refuse, hang"),
        (("aws", "--for", "soon"), "invalid duration 'soon' for --for; use one such as 30s"),
        (("aws", "--for", "0s"), "invalid duration '0s' for --for"),
        (("--service", "queue"), "the site is missing; choose from aws, gcp"),
        (("aws", "--end", "--for", "3s"), "--end can only be combined with a site and --service"),
    ],
)
def test_invalid_arguments_are_refused(
    mcloud_up: Terminal, home: Path, arguments: tuple[str, ...], says: str
) -> None:
    run = mcloud_up.run("local", "outage", *arguments)
    assert run.returncode == 2
    assert says in run.stderr
    assert run.stderr.count("\n") == 1
    assert outage.active(home) == []


def test_an_outage_needs_running_embedded_clouds(mcloud: Terminal) -> None:
    run = mcloud.run("local", "outage", "aws")
    assert (run.returncode, run.stdout) == (1, "")
    assert "the embedded clouds are down; run `mcloud local up`" in run.stderr


@pytest.mark.slow
def test_outages_can_be_started_listed_and_ended(mcloud_up: Terminal, home: Path) -> None:
    run = mcloud_up.run("local", "outage", "gcp", "--service", "archive", "--for", "5m")
    assert (run.returncode, run.stdout) == (0, "")
    assert run.stderr == "gcp archive refuses for 5m\n"
    mcloud_up.run("local", "outage", "aws", "--how", "slow", "-o", "json")
    shown = json.loads(mcloud_up.run("local", "outage", "-o", "json").stdout)
    assert [(each["site"], each["service"], each["how"]) for each in shown] == [
        ("gcp", "archive", "refuse"),
        ("aws", None, "slow"),
    ]
    assert 0 < shown[0]["seconds_left"] <= 300
    assert shown[1]["until"] is None
    status = mcloud_up.run("local", "status")
    assert "aws (all of it) is slow, since" in status.stdout
    assert json.loads(mcloud_up.run("local", "status", "-o", "json").stdout)["outages"]
    ended = mcloud_up.run("local", "outage", "--end")
    assert sorted(ended.stderr.splitlines()) == [
        "aws (all of it) is slow: ended",
        "gcp archive refuses: ended",
    ]
    assert mcloud_up.run("local", "outage").stderr == "there is no outage\n"


def test_ctrl_c_ends_the_outage_that_the_command_waits_for(mcloud_up: Terminal, home: Path) -> None:
    outage.begin(home, "gcp", "queue", "slow", None)
    process = mcloud_up.start("local", "outage", "aws", "--service", "archive", "--wait")
    eventually(lambda: len(outage.active(home)) == 2)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    assert [each.service for each in outage.active(home)] == ["queue"]
    process.communicate()


def test_an_outage_ends_on_time_after_its_command_was_killed(
    mcloud_up: Terminal, home: Path
) -> None:
    process = mcloud_up.start("local", "outage", "aws", "--wait", "--for", "1.5s")
    eventually(lambda: outage.active(home) != [])
    process.kill()
    process.communicate()
    eventually(lambda: outage.active(home) == [])


@pytest.mark.slow
def test_what_a_site_that_refuses_leaves_to_the_commands_that_read(
    mcloud_up: Terminal, home: Path
) -> None:
    outage.begin(home, "aws", None, "refuse", None)
    refused = mcloud_up.run("dlq", "list", "aws")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("error: aws cannot be read: the queue: ")
    assert "add --wait" in refused.stderr

    def left_out() -> list[str]:
        documents = mcloud_up.run("documents", "list", "-o", "json")
        return list(json.loads(documents.stdout)["unavailable"])

    # On a machine that is too busy, the healthy site may be late as well, but not for ever.
    eventually(lambda: left_out() == ["aws"])

    def verified() -> bool:
        done = mcloud_up.run("verify", "-o", "json")
        assert done.returncode == 1
        assert "warning: aws is left out: " in done.stderr
        found = json.loads(done.stdout or "{}")
        return (list(found.get("left_out", ())), list(found.get("sites", ()))) == (["aws"], ["gcp"])

    eventually(verified)
    outage.begin(home, "gcp", None, "refuse", None)
    nothing = mcloud_up.run("verify")
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert "error: no site can be read: aws: " in nothing.stderr
    status = mcloud_up.run("status")
    assert status.returncode == 3
    assert status.stdout.startswith("FAULT  no site is up")


@pytest.mark.slow
def test_candles_are_read_from_the_next_site(mcloud_up: Terminal, home: Path) -> None:
    made = mcloud_up.run("produce", "--source", "simulate", "--symbols", "OUTUSDT", "--count", 20)
    assert made.returncode == 0, made.stderr
    eventually(lambda: mcloud_up.run("candles", "OUTUSDT", "--site", "gcp").stdout)
    outage.begin(home, "aws", "candles", "refuse", None)

    def is_from_gcp() -> bool:
        found = mcloud_up.run("candles", "OUTUSDT")
        assert "aws cannot be read: " in found.stderr or "aws: " in found.stderr
        return found.stdout.startswith("timestamp") and "this is from gcp" in found.stderr

    eventually(is_from_gcp)
    named = mcloud_up.run("candles", "OUTUSDT", "--site", "aws")
    assert named.returncode == 1
    assert named.stderr.startswith("error: aws cannot be read: ")
