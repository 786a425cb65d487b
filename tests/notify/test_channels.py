"""Channels with real servers: a web server on loopback, and the embedded clouds."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import rude
from clouds.web import Answer, serve
from patience import PATIENCE

from mcloud.clouds.aws.client import make_client
from mcloud.clouds.gcp.client import make_publisher, make_subscriber
from mcloud.config import load
from mcloud.errors import ConfigError, Refused, Unavailable
from mcloud.local.state import State
from mcloud.notify import payload
from mcloud.notify.channels import Channel, channels
from mcloud.notify.open import open_notifier
from mcloud.notify.origin import Origin
from mcloud.notify.web import post

from .events import FIRING, HAPPENED, RESOLVED

OURS = Origin("local")

SECRET = "T0000-secret-XXXX"


@dataclass
class Web:
    """A web server that records posts and gives answers."""

    url: str = ""
    answer: Answer = (200, "ok")
    posted: list[tuple[str, Any]] = field(default_factory=list)

    def __call__(self, method: str, said: str) -> Answer:
        path, _, body = said.partition(" ")
        self.posted.append((path, json.loads(body)))
        return self.answer


@pytest.fixture
def web() -> Iterator[Web]:
    web = Web()
    with serve(web) as web.url:
        yield web


@pytest.fixture
def channel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Channel]:
    """Return a function that makes a channel from the lines of a table."""

    def make(*lines: str, **environment: str) -> Channel:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        (tmp_path / "mcloud.toml").write_text("\n".join(("[channels.desk]", *lines)))
        return channels(load(None, tmp_path, {}))["desk"]

    return make


def test_a_webhook_gets_the_format_of_slack(web: Web, channel: Callable[..., Channel]) -> None:
    url = f"{web.url}/services/{SECRET}"
    desk = channel('type = "webhook"', 'url_env = "MCLOUD_WEBHOOK_URL"', MCLOUD_WEBHOOK_URL=url)
    assert desk.deliver(FIRING) == "HTTP 200 ok"
    assert web.posted == [(f"/services/{SECRET}", payload.slack(FIRING, OURS))]


def test_a_secret_may_be_in_a_dotenv(
    web: Web, channel: Callable[..., Channel], tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text(f"MCLOUD_WEBHOOK_URL={web.url}/{SECRET}\n")
    desk = channel('type = "webhook"', 'url_env = "MCLOUD_WEBHOOK_URL"')
    assert desk.deliver(FIRING) == "HTTP 200 ok"
    assert web.posted[0][0] == f"/{SECRET}"


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (404, "no_service", Refused),
        (400, "invalid_payload", Refused),
        (302, "moved", Refused),
        (429, "rate_limited", Unavailable),
        (503, "", Unavailable),
    ],
)
def test_the_answer_of_a_webhook_is_reported_without_its_url(
    web: Web, channel: Callable[..., Channel], status: int, text: str, kind: type[Exception]
) -> None:
    web.answer = (status, f"{text} /services/{SECRET} \x1b[31m")
    desk = channel('type = "webhook"', 'url_env = "HOOK"', HOOK=f"{web.url}/services/{SECRET}")
    with pytest.raises(kind) as caught:
        desk.deliver(FIRING)
    assert str(caught.value) == f"HTTP {status} {text} ******** [31m".replace("  ", " ")


@pytest.mark.parametrize(("said", "seconds"), [("30", 30.0), ("\xb2", None), ("-3", None)])
@pytest.mark.parametrize("status", [429, 503])
def test_when_to_try_again_is_passed_on(status: int, said: str, seconds: float | None) -> None:
    with (
        serve(lambda *_: (status, "slow down"), headers={"Retry-After": said}) as url,
        pytest.raises(Unavailable, match=f"HTTP {status} slow down") as caught,
    ):
        post(url, {})
    assert getattr(caught.value, "retry_after", None) == seconds


def test_a_success_status_counts_although_the_body_is_endless() -> None:
    with rude.serve(rude.ALL["a body without end"]) as url:
        assert post(url, {}).endswith("(the answer was cut: longer than 65,536 bytes)")


@pytest.mark.parametrize("before", range(150, 201, 5))
def test_an_answer_is_not_cut_inside_a_secret(
    web: Web, channel: Callable[..., Channel], before: int
) -> None:
    """A part of a secret would not be recognised, and would therefore be shown."""
    web.answer = (404, f"{'x' * before} /services/{SECRET}")
    desk = channel('type = "webhook"', 'url_env = "HOOK"', HOOK=f"{web.url}/services/{SECRET}")
    with pytest.raises(Refused) as caught:
        desk.deliver(FIRING)
    assert "service" not in str(caught.value)
    assert SECRET[:4] not in str(caught.value)


def test_a_token_in_an_answer_is_masked(web: Web, channel: Callable[..., Channel]) -> None:
    web.answer = (404, f"no such hook: {SECRET}")
    desk = channel('type = "webhook"', 'url_env = "HOOK"', HOOK=f"{web.url}/hooks/{SECRET}?a=b")
    with pytest.raises(Refused) as caught:
        desk.deliver(FIRING)
    assert str(caught.value) == "HTTP 404 no such hook: ********"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"http://127.0.0.1:1/{SECRET}", "127.0.0.1 does not answer: .*refused"),
        (f"http://hooks.example.com/{SECRET}", "the value of HOOK must be https"),
        (f"ftp://hooks.example.com/{SECRET}", "the value of HOOK is not an http or https URL"),
        (f"https://[{SECRET}", "the value of HOOK is not a URL"),
        (f"https://127.0.0.1:99999/{SECRET}", "127.0.0.1"),
        (f"{SECRET}", "the value of HOOK is not an http or https URL"),
    ],
)
def test_no_error_contains_a_secret(channel: Callable[..., Channel], url: str, words: str) -> None:
    desk = channel('type = "webhook"', 'url_env = "HOOK"', HOOK=url)
    with pytest.raises((Refused, Unavailable), match=words) as caught:
        desk.deliver(FIRING)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_pagerduty_gets_its_own_format(web: Web, channel: Callable[..., Channel]) -> None:
    web.answer = (202, {"status": "success", "message": "Event processed", "dedup_key": SECRET})
    desk = channel(
        'type = "pagerduty"',
        'routing_key_env = "KEY"',
        f'url = "{web.url}/"',
        'severity = "warning"',
        "repeat = 1",
        KEY=SECRET,
    )
    assert (desk.severity, desk.repeat) == ("warning", 3600.0)
    said = [desk.deliver(event) for event in (FIRING, RESOLVED, HAPPENED)]
    assert all(each.startswith("HTTP 202") and SECRET not in each for each in said)
    assert web.posted == [
        ("/v2/enqueue", payload.pagerduty(FIRING, OURS, SECRET)),
        ("/v2/enqueue", payload.pagerduty(RESOLVED, OURS, SECRET)),
        ("/v2/change/enqueue", payload.pagerduty_change(HAPPENED, OURS, SECRET)),
    ]


def test_a_missing_secret_is_a_failed_delivery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOOK", raising=False)
    text = '[channels.desk]\ntype = "webhook"\nurl_env = "HOOK"\n'
    (tmp_path / "mcloud.toml").write_text(text)
    notifier = open_notifier(load(None, tmp_path, {}))
    notifier.send(FIRING)
    notifier.close(PATIENCE)
    assert notifier.failures() == [
        "desk: dead letters on aws: 3: HOOK is not set; set it in the environment or in .env"
    ]


def test_without_channels_nothing_is_sent(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    notifier = open_notifier(load(None, tmp_path, {}))
    notifier.send(FIRING)
    assert set(threading.enumerate()) <= before
    notifier.close(PATIENCE)
    assert notifier.failures() == []


@pytest.mark.parametrize(
    ("lines", "line", "words"),
    [
        (
            "",
            1,
            r'\[channels.desk\] needs type = "webhook", .* or "pagerduty"',
        ),
        ('type = "webhok"', 2, "did you mean 'webhook'"),
        ("type = 1", 2, "type must be a text"),
        ('type = "webhook"', 2, "needs url_env"),
        ('type = "webhook"\nurl = "https://hooks.slack.com/x"', 3, "on loopback only"),
        ('type = "webhook"\nurl = "http://u:p@example.com/"', 3, "on loopback only"),
        ('type = "webhook"\nurl = "http://127.0.0.1:1/"\nurl_env = "X"', 3, "needs url_env"),
        ('type = "webhook"\nurl_evn = "X"', 3, "did you mean 'url_env'"),
        ('type = "pagerduty"', 2, "needs routing_key_env"),
        ('type = "pagerduty"\nrouting_key_env = "X"\nurl = "http://x.com"', 4, "must be https"),
        ('type = "sns"', 2, "needs a topic, such as arn:"),
        ('type = "sns"\ntopic = "alerts"', 3, "needs a topic, such as arn:"),
        ('type = "pubsub"\ntopic = "alerts"', 3, "needs a topic, such as projects/"),
        ('type = "pubsub"\nseverity = "bad"', 3, "one of info, warning, critical"),
        ('type = "sns"\nrepeat = 0', 3, "repeat must be 0.01 or more"),
    ],
)
def test_an_invalid_table_is_reported_with_its_line(
    channel: Callable[..., Channel], lines: str, line: int, words: str
) -> None:
    with pytest.raises(ConfigError, match=rf"mcloud.toml:{line}: .*{words}") as caught:
        channel(lines)
    assert "hooks.slack" not in str(caught.value)


def test_a_channel_is_a_table_with_a_name(tmp_path: Path) -> None:
    for text in ('[channels]\ndesk = "x"\n', '[channels."a b"]\ntype = "sns"\n'):
        (tmp_path / "mcloud.toml").write_text(text)
        with pytest.raises(ConfigError, match=r"mcloud.toml:\d: "):
            channels(load(None, tmp_path, {}))


def test_sns_and_pubsub_on_the_embedded_clouds(
    embedded: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check what a subscriber receives: SNS through a queue, Pub/Sub through a subscription."""
    aws, gcp = embedded.resources()["aws"], embedded.resources()["gcp"]
    sns = make_client("sns", aws.region, aws.endpoint_url)
    sqs = make_client("sqs", aws.region, aws.endpoint_url)
    arn = sns.create_topic(Name="test-notify")["TopicArn"]
    queue = sqs.create_queue(QueueName="test-notify")["QueueUrl"]
    queue_arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue_arn["Attributes"]["QueueArn"])
    topic = f"projects/{gcp.project}/topics/test-notify"
    subscription = f"projects/{gcp.project}/subscriptions/test-notify"
    make_publisher(gcp.pubsub_endpoint).create_topic(name=topic)
    subscriber = make_subscriber(gcp.pubsub_endpoint)
    subscriber.create_subscription(name=subscription, topic=topic)
    (tmp_path / "mcloud.toml").write_text(
        f'[channels.mail]\ntype = "sns"\ntopic = "{arn}"\n'
        f'[channels.programs]\ntype = "pubsub"\ntopic = "{topic}"\n'
    )
    monkeypatch.setenv("MCLOUD_STATE", str(Path(embedded.options["home"]).parent))

    notifier = open_notifier(load(None, tmp_path, os.environ))
    notifier.send(FIRING)
    notifier.close(PATIENCE)
    assert notifier.failures() == []
    (mail,) = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"]
    mail = json.loads(mail["Body"])
    assert (mail["Subject"], mail["Message"]) == (
        payload.subject(FIRING),
        payload.plain(FIRING, OURS),
    )
    assert mail["MessageAttributes"]["severity"] == {"Type": "String", "Value": "critical"}
    (received,) = subscriber.pull(subscription=subscription, max_messages=5).received_messages
    assert json.loads(received.message.data) == payload.document(FIRING, OURS)
    assert dict(received.message.attributes) == payload.attributes(FIRING, OURS)
    (tmp_path / "mcloud.toml").write_text(
        f'[channels.mail]\ntype = "sns"\ntopic = "{arn}-not-there"\n'
        f'[channels.programs]\ntype = "pubsub"\ntopic = "{topic}-not-there"\n'
    )
    for channel in channels(load(None, tmp_path, os.environ)).values():
        with pytest.raises(Refused, match="not-there"):
            channel.deliver(FIRING)
