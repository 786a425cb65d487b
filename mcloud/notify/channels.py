"""``[channels.NAME]`` of mcloud.toml: where events go.

    [channels.desk]
    type = "webhook"                     # Slack, or any service with compatible webhooks
    url_env = "MCLOUD_WEBHOOK_URL"       # the variable that has the URL, which is a secret

    [channels.oncall]
    type = "pagerduty"
    routing_key_env = "MCLOUD_PAGERDUTY_KEY"
    severity = "critical"                # and above; by default all

    [channels.mail]
    type = "sns"
    topic = "arn:aws:sns:us-east-1:123456789012:mcloud-alerts"

    [channels.programs]
    type = "pubsub"
    topic = "projects/my-project/topics/alerts"
    repeat = 1                           # hours until a firing alert is sent again

A secret comes from the environment, ``.env.gcp`` or ``.env``, never from the file itself. In the
profile ``local``, topics are those of the embedded clouds.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from mcloud.clouds.factory import open_topic
from mcloud.clouds.notify import PUBSUB, SNS, Topic
from mcloud.config import LOCAL, Config, setting, variables
from mcloud.config.document import Where
from mcloud.config.settings import choice, read, tables
from mcloud.errors import Refused
from mcloud.notify import payload, web
from mcloud.notify.event import SEVERITIES, Event, Severity
from mcloud.notify.origin import origin
from mcloud.sites.resources import site_resources

EVENTS_API = "https://events.pagerduty.com"
REPEAT = 4.0  # hours


ChannelKind = Literal["webhook", "sns", "pubsub", "pagerduty"]


@dataclass(frozen=True)
class Channel:
    name: str
    kind: ChannelKind
    severity: Severity
    """Lowest severity that the channel delivers."""
    repeat: float
    """Seconds after which a firing alert is sent again."""
    deliver: Callable[[Event], str]
    """Sends an event and returns the answer. Raises McloudError; with Unavailable, a retry makes
    sense.
    """


@dataclass(frozen=True)
class Webhook:
    type: str
    """``webhook``."""
    url_env: str | None = setting(None)
    """Name of the variable that has the URL, which is a secret."""
    url: str | None = setting(None)
    """URL on loopback."""
    severity: Severity = setting("info", one_of=SEVERITIES)
    """Lowest severity that the channel delivers."""
    repeat: float = setting(REPEAT, least=0.01)
    """Hours after which a firing alert is sent again."""


@dataclass(frozen=True)
class PagerDuty:
    type: str
    """``pagerduty``."""
    routing_key_env: str | None = setting(None)
    """Name of the variable that has the routing key, which is a secret."""
    url: str = setting(EVENTS_API)
    """URL of the Events API."""
    severity: Severity = setting("info", one_of=SEVERITIES)
    """Lowest severity that the channel delivers."""
    repeat: float = setting(REPEAT, least=0.01)
    """Hours after which a firing alert is sent again."""


@dataclass(frozen=True)
class CloudTopic:
    type: str
    """``sns`` or ``pubsub``."""
    topic: str | None = setting(None)
    """ARN of an SNS topic, or ``projects/PROJECT/topics/TOPIC``."""
    severity: Severity = setting("info", one_of=SEVERITIES)
    """Lowest severity that the channel delivers."""
    repeat: float = setting(REPEAT, least=0.01)
    """Hours after which a firing alert is sent again."""


def channels(config: Config) -> dict[str, Channel]:
    """Return the channels, by name.

    A missing secret is not an error here, since it must not stop a failover.

    Raises:
        ConfigError: a table is invalid; the message names its line.
    """
    return {name: _channel(config, name) for name in tables(config.document, ("channels",))}


def _channel(config: Config, name: str) -> Channel:
    where: Where = ("channels", name)
    kind = choice(config.document, where, "type", _KINDS)
    return _KINDS[kind](config, name, kind)


class _Table(Protocol):
    """The settings that all channels have."""

    @property
    def severity(self) -> Severity: ...
    @property
    def repeat(self) -> float: ...


AnyTable = TypeVar("AnyTable", bound=_Table)


def _reader(
    table: type[AnyTable], make: Callable[[Config, Where, AnyTable], Callable[[Event], str]]
) -> Callable[[Config, str, ChannelKind], Channel]:
    """Return a function that reads a channel by its name and kind."""

    def channel(config: Config, name: str, kind: ChannelKind) -> Channel:
        where = ("channels", name)
        said = read(config.document, where, table)
        return Channel(name, kind, said.severity, said.repeat * 3600, make(config, where, said))

    return channel


def _webhook(config: Config, where: Where, said: Webhook) -> Callable[[Event], str]:
    table, ours = ".".join(where), origin(config)
    if (said.url is None) == (said.url_env is None):
        message = f"[{table}] needs url_env, the name of the variable that has its URL"
        raise config.document.error(where, "url" if said.url else "type", message)
    if said.url is not None:
        if web.problem_with(said.url) or not web.is_loopback(said.url):
            message = f"{table}.url may be on loopback only: another URL is a secret, for url_env"
            raise config.document.error(where, "url", message)
        address = said.url
        return lambda event: web.post(address, payload.slack(event, ours))

    variable = said.url_env or ""

    def deliver(event: Event) -> str:
        url = _secret(config, variable)
        if problem := web.problem_with(url):
            raise Refused(f"the value of {variable} {problem}")
        return web.post(url, payload.slack(event, ours))

    return deliver


def _pagerduty(config: Config, where: Where, said: PagerDuty) -> Callable[[Event], str]:
    table, ours = ".".join(where), origin(config)
    variable = said.routing_key_env
    if variable is None:
        message = f"[{table}] needs routing_key_env, the name of the variable that has the key"
        raise config.document.error(where, "type", message)
    if problem := web.problem_with(said.url):
        raise config.document.error(where, "url", f"{table}.url {problem}")
    base = said.url.rstrip("/")

    def deliver(event: Event) -> str:
        key = _secret(config, variable)
        if payload.is_change(event):
            body = payload.pagerduty_change(event, ours, key)
            return web.post(f"{base}/v2/change/enqueue", body, key)
        return web.post(f"{base}/v2/enqueue", payload.pagerduty(event, ours, key), key)

    return deliver


def _sns(config: Config, where: Where, said: CloudTopic) -> Callable[[Event], str]:
    topic = _topic(config, where, said, SNS.fullmatch, "arn:aws:sns:us-east-1:123456789012:alerts")
    ours = origin(config)
    return lambda event: topic().publish(
        payload.subject(event), payload.plain(event, ours), payload.attributes(event, ours)
    )


def _pubsub(config: Config, where: Where, said: CloudTopic) -> Callable[[Event], str]:
    import json

    topic = _topic(config, where, said, PUBSUB.fullmatch, "projects/my-project/topics/alerts")
    ours = origin(config)
    return lambda event: topic().publish(
        payload.subject(event),
        json.dumps(payload.document(event, ours)),
        payload.attributes(event, ours),
    )


def _topic(
    config: Config, where: Where, said: CloudTopic, form: Callable[[str], object], example: str
) -> Callable[[], Topic]:
    """Return a function that opens the topic once. After a failure, the next event tries again."""
    name = said.topic
    if name is None or not form(name):
        message = f"[{'.'.join(where)}] needs a topic, such as {example}"
        raise config.document.error(where, "topic" if name else "type", message)
    opened: list[Topic] = []

    def topic() -> Topic:
        if not opened:
            opened.append(open_topic(name, _endpoint(config, said.type)))
        return opened[0]

    return topic


def _endpoint(config: Config, kind: str) -> str:
    """Return the endpoint of the embedded cloud, or an empty string for the real one."""
    if config.profile != LOCAL:
        return ""
    from mcloud.clouds.resources import AwsResources

    for each in site_resources(config).values():
        if isinstance(each, AwsResources) == (kind == "sns"):
            return each.endpoint_url if isinstance(each, AwsResources) else each.pubsub_endpoint
    raise Refused(f"the profile {LOCAL!r} has no cloud for {kind}")


def _secret(config: Config, variable: str) -> str:
    folder = config.document.path.parent
    found = variables.read(folder, os.environ, {variable})
    if variable not in found:
        raise Refused(f"{variable} is not set", remedy="set it in the environment or in .env")
    return str(found[variable].value).strip()


_KINDS: Mapping[ChannelKind, Callable[[Config, str, ChannelKind], Channel]] = {
    "webhook": _reader(Webhook, _webhook),
    "sns": _reader(CloudTopic, _sns),
    "pubsub": _reader(CloudTopic, _pubsub),
    "pagerduty": _reader(PagerDuty, _pagerduty),
}
