"""``mcloud alerts`` as users run it."""

import json
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from clouds.web import Answer, serve
from patience import eventually

from mcloud.cli import alerts
from mcloud.clouds.aws.client import make_client
from mcloud.errors import UsageError
from mcloud.local.state import State

from .conftest import Terminal

TABLE = """[channels.desk]
type = "webhook"
url_env = "HOOK"

[alerts.test-letters]
figure = "sites.aws.dead_letters.ready"
above = 1000000
severity = "critical"

[cost]
budget_usd = 1000000
"""


class Desk:
    """A webhook that records the texts it receives."""

    def __init__(self) -> None:
        self.url, self.texts = "", list[str]()
        self.answer: Answer = (200, "ok")

    def __call__(self, method: str, said: str) -> Answer:
        self.texts.append(json.loads(said.partition(" ")[2])["text"])
        return self.answer


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    with serve(desk) as url:
        desk.url = f"{url}/services/SECRET"
        yield desk


@pytest.mark.slow
def test_a_test_goes_through_each_channel(mcloud: Terminal, desk: Desk) -> None:
    done = mcloud.run("alerts", "test")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: no channels are configured; add one as [channels.NAME] to mcloud.toml\n"
    )
    (mcloud.folder / "mcloud.toml").write_text(TABLE)
    done = mcloud.run("alerts", "test", "dsk", HOOK=desk.url)
    assert (done.returncode, done.stderr) == (
        2,
        "error: unknown channel 'dsk'; choose from desk; did you mean 'desk'?\n",
    )
    done = mcloud.run("alerts", "test", "-o", "json", HOOK=desk.url)
    assert done.returncode == 0, done.stderr
    (said,) = json.loads(done.stdout)
    assert (said["name"], said["ok"], said["answer"]) == ("desk", True, "HTTP 200 ok")
    assert [text.split(" ")[0] for text in desk.texts] == ["*[firing]", "*[resolved]"]
    desk.answer = (404, "no_service at /services/SECRET")
    done = mcloud.run("alerts", "test", HOOK=desk.url)
    assert done.returncode == 3
    assert "HTTP 404 no_service at ********" in done.stdout
    assert "SECRET" not in done.stdout + done.stderr
    assert "HOOK is not set" in mcloud.run("alerts", "test").stdout


@pytest.mark.slow
def test_a_dead_letter_fires_an_alert_that_is_sent_and_resolved(
    mcloud_up: Terminal, embedded: State, desk: Desk
) -> None:
    """The test has its own queues, since other tests have dead letters too."""
    aws = embedded.resources()["aws"]
    sqs = make_client("sqs", aws.region, aws.endpoint_url)
    queue = sqs.create_queue(QueueName="test-alerts-dlq")["QueueUrl"]
    path = mcloud_up.folder / "mcloud.toml"
    about = {**aws.to_outputs(), "dlq_url": queue}
    lines = [f"{key} = {json.dumps(value)}" for key, value in about.items()]
    path.write_text(
        "\n".join(("[profiles.here.sites.aws]", 'cloud = "aws"', *lines, TABLE)).replace(
            "above = 1000000", "above = 0"
        )
    )
    mcloud_up.environment |= {
        "HOOK": desk.url,
        "MCLOUD_PROFILE": "here",
        "MCLOUD_STATE": str(mcloud_up.folder / "state"),
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }

    def listed(*code: int) -> dict[str, Any]:
        done = mcloud_up.run("alerts", "list", "-o", "json")
        assert done.returncode in code, done.stderr
        document = json.loads(done.stdout)
        rules = {each["name"]: each for each in document["rules"]}
        (budget,) = rules["budget"]["figures"]
        assert (budget["path"], budget["state"]) == ("budgets.total.used", "ok"), budget
        return {**rules["test-letters"], "watched": document["watched"]}

    # Alerts about other tests with the same clouds may fire as well.
    rule = listed(0, 3)
    assert (rule["origin"], rule["severity"]) == (f"mcloud.toml:{_line(path)}", "critical")
    assert [(each["state"], each["value"]) for each in rule["figures"]] == [("ok", 0)]
    sqs.send_message(QueueUrl=queue, MessageBody="poison")
    assert listed(3)["figures"][0]["state"] == "firing"

    silence = _silence(mcloud_up, "test-letters", "--for", "2h", "--why", "an upgrade")
    assert listed(3)["figures"][0]["silenced"]["id"] == silence

    # A second watcher has its own folder, as on another machine.
    other = Terminal(mcloud_up.folder / "other", mcloud_up.folder / "other" / "state")
    other.folder.mkdir()
    (other.folder / "mcloud.toml").write_text(path.read_text())
    other.environment = {
        **mcloud_up.environment,
        "MCLOUD_STATE": str(other.folder / "state"),
    }
    both, pids = (mcloud_up, other), list[int]()
    try:
        for each in (mcloud_up, other):
            done = each.run("alerts", "watch", "--interval", "1", "--detach", "-o", "json")
            assert done.returncode == 0, done.stderr
            pids.append(json.loads(done.stdout)["pid"])
        eventually(
            lambda: all("(silenced by" in each.run("logs", "alerts").stdout for each in both)
        )
        assert listed(3)["watched"]
        assert mcloud_up.run("ps", "--check").returncode == 0
        status = other.run("status").stdout
        assert "1 silence until" in status
        assert "alert: test-letters: 1 message, above 0 messages, silenced until" in status
        assert not [each for each in desk.texts if "test-letters" in each]
        assert other.run("alerts", "unsilence", silence).returncode == 0
        eventually(lambda: [each for each in desk.texts if "test-letters" in each])
        sqs.purge_queue(QueueUrl=queue)
        eventually(lambda: [each for each in desk.texts if "[resolved] test-letters" in each])
        over = "WARNING resolved: test-letters"
        eventually(lambda: all(over in _log(each) for each in both))
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
    eventually(lambda: all(each.run("ps", "--check").returncode == 3 for each in both))
    told = [text.splitlines()[0] for text in desk.texts if "test-letters" in text]
    assert told == [
        "*[firing] critical: test-letters: 1 message, above 0 messages*",
        "*[resolved] test-letters: over, it is 0 messages*",
    ]
    audit = (other.folder / "state" / "audit.jsonl").read_text()
    assert '"step": "unsilence"' in audit
    log = mcloud_up.run("logs", "alerts").stdout
    assert "WARNING firing: test-letters: 1 message, above 0 messages" in log
    assert "SECRET" not in log
    (watcher,) = json.loads(mcloud_up.run("ps", "-o", "json").stdout)
    assert (watcher["kind"], watcher["name"]) == ("watcher", "alerts")
    assert not [each for each in watcher["firing"] if "test-letters" in str(each)]


NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("lasts", "until", "begin", "said"),
    [
        (
            None,
            None,
            None,
            "the silence needs an end: use either --for, such as --for 2h, or --until",
        ),
        ("2h", "2030-01-01", None, "the silence needs an end"),
        ("2", None, None, "invalid duration '2' for --for; use one such as 30s, 90m"),
        ("31d", None, None, "a silence can last 30 days at most"),
        ("5w", None, None, "a silence can last 30 days at most"),
        (None, "2020-01-01", None, "would end at 2020-01-01 00:00 UTC"),
        (None, "soon", None, "invalid time 'soon' for --until"),
        ("2h", None, "soon", "invalid time 'soon' for --from"),
        ("2h", None, "2020-01-01", "would end at 2020-01-01 02:00 UTC"),
        (None, "2030-01-01", "2030-01-02", "before it begins"),
        (None, "2100-01-01", None, "a silence can last 30 days at most"),
        (
            "2h",
            None,
            "9999-12-31",
            "begin at 9999-12-31 00:00 UTC, more than a year ahead",
        ),
    ],
)
def test_an_invalid_silence_is_refused(
    lasts: str | None, until: str | None, begin: str | None, said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        alerts._window(NOW, lasts, until, begin)
    assert said in str(caught.value)


def test_the_window_of_a_silence_is_parsed() -> None:
    assert alerts._window(NOW, "2h", None, None) == (NOW, NOW + 7200)
    assert alerts._window(NOW, "30d", None, None) == (NOW, NOW + 30 * 86_400)
    later = alerts._window(NOW, None, "2027-06-01T02:00+01:00", "2027-06-01")
    assert later == (1_811_808_000.0, 1_811_811_600.0)


@pytest.mark.slow
def test_a_planned_silence_is_listed_and_can_be_cancelled(mcloud_up: Terminal) -> None:
    begin = datetime.now(UTC) + timedelta(days=30)
    later = ("--from", begin.isoformat(timespec="minutes"), "--for", "2h", "--why")
    done = mcloud_up.run("alerts", "silence", "dead-letters", "gcp", *later, " ")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == 'error: a silence needs a reason; add --why "..."\n'
    silence = _silence(mcloud_up, "dead-letters", "gcp", *later, "moving")
    assert "rule dead-letters of gcp" in mcloud_up.run("alerts", "silences").stdout
    assert mcloud_up.run("alerts", "unsilence", silence, "--why", "not needed").returncode == 0
    done = mcloud_up.run("alerts", "unsilence", silence)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"no silence '{silence}' is active or planned" in done.stderr


def _log(terminal: Terminal) -> str:
    state = Path(terminal.environment["MCLOUD_STATE"])
    return (state / "alerts" / "alerts" / "watcher.log").read_text()


def _silence(terminal: Terminal, *arguments: str) -> str:
    done = terminal.run("alerts", "silence", *arguments, "-o", "json")
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["id"])


def _line(path: Any) -> int:
    lines: list[str] = path.read_text().splitlines()
    return lines.index("[alerts.test-letters]") + 1
