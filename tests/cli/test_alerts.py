"""``mcloud alerts`` as its users have it."""

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from clouds.web import Answer, serve
from patience import eventually

from mcloud.clouds.aws.client import make_client
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
    """What a webhook was told: the texts."""

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
        "error: there are no channels; describe one as [channels.NAME] in mcloud.toml\n"
    )
    (mcloud.folder / "mcloud.toml").write_text(TABLE)
    done = mcloud.run("alerts", "test", "dsk", HOOK=desk.url)
    assert (done.returncode, done.stderr) == (
        2,
        "error: no channel 'dsk'; there is desk; did you mean 'desk'?\n",
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
def test_a_dead_letter_fires_is_told_and_is_over(
    mcloud_up: Terminal, embedded: State, desk: Desk
) -> None:
    """On queues of its own, since other tests have dead letters too."""
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

    # What other tests did with the same clouds may fire as well.
    rule = listed(0, 3)
    assert (rule["origin"], rule["severity"]) == (f"mcloud.toml:{_line(path)}", "critical")
    assert [(each["state"], each["value"]) for each in rule["figures"]] == [("ok", 0)]
    sqs.send_message(QueueUrl=queue, MessageBody="poison")
    assert listed(3)["figures"][0]["state"] == "firing"

    done = mcloud_up.run("alerts", "watch", "--interval", "1", "--detach", "-o", "json")
    assert done.returncode == 0, done.stderr
    pid = json.loads(done.stdout)["pid"]
    try:
        eventually(lambda: [each for each in desk.texts if "test-letters" in each])
        assert listed(3)["watched"]
        assert mcloud_up.run("ps", "--check").returncode == 0
        sqs.purge_queue(QueueUrl=queue)
        eventually(lambda: [each for each in desk.texts if "[resolved] test-letters" in each])
    finally:
        os.kill(pid, signal.SIGTERM)
    eventually(lambda: mcloud_up.run("ps", "--check").returncode == 3)
    told = [text.splitlines()[0] for text in desk.texts if "test-letters" in text]
    assert told == [
        "*[firing] critical: test-letters: 1 message, above 0 messages*",
        "*[resolved] test-letters: over, it is 0 messages*",
    ]
    log = mcloud_up.run("logs", "alerts").stdout
    assert "WARNING firing: test-letters: 1 message, above 0 messages" in log
    assert "SECRET" not in log
    (watcher,) = json.loads(mcloud_up.run("ps", "-o", "json").stdout)
    assert (watcher["kind"], watcher["name"]) == ("watcher", "alerts")
    assert not [each for each in watcher["firing"] if "test-letters" in str(each)]


def _line(path: Any) -> int:
    lines: list[str] = path.read_text().splitlines()
    return lines.index("[alerts.test-letters]") + 1
