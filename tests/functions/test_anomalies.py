"""The anomaly function on Lambda, called like by its schedule, with the embedded AWS."""

import importlib.util
import json
from collections.abc import Iterator
from decimal import Decimal
from types import ModuleType
from typing import Any

import pytest
from patience import eventually

from mcloud.clouds.aws.client import make_client
from mcloud.clouds.factory import open_site
from mcloud.clouds.ports import Heartbeat, Site
from mcloud.infra.bundle import shipped
from mcloud.local.state import State
from mcloud.market.candle import MINUTE, Candle, fold
from mcloud.market.trade import Trade

SYMBOL = "FNODDUSDT"
START = 1_723_161_240_000


@pytest.fixture
def function(embedded: State, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    to = embedded.outputs["aws"]
    monkeypatch.setenv("AWS_REGION", to["region"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", to["endpoint_url"])
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")  # as Lambda gives credentials to a function
    monkeypatch.setenv("CANDLES_TABLE", to["candles_table"])
    monkeypatch.setenv("CONTROL_TABLE", to["control_table"])
    monkeypatch.setenv("ANOMALY_THRESHOLDS", '{"jump_least": 0.03}')
    path = shipped("functions") / "aws" / "anomalies.py"
    spec = importlib.util.spec_from_file_location("handler_anomalies", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def told(embedded: State, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """The messages of the alerts' topic, in a list that grows."""
    to = embedded.outputs["aws"]
    sns, sqs = (make_client(each, to["region"], to["endpoint_url"]) for each in ("sns", "sqs"))
    topic = sns.create_topic(Name="alerts-of-test")["TopicArn"]
    queue = sqs.create_queue(QueueName="alerts-of-test")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn["QueueArn"])
    monkeypatch.setenv("ALERTS_TOPIC", topic)

    class Told(list[dict[str, Any]]):
        def __len__(self) -> int:
            received = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
            for message in received.get("Messages", ()):
                self.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            return super().__len__()

    yield Told()
    sns.delete_topic(TopicArn=topic)
    sqs.delete_queue(QueueUrl=queue)


def test_an_anomaly_is_published_once(
    embedded: State, function: ModuleType, told: list[dict[str, Any]]
) -> None:
    fill(open_site("aws", embedded.resources()["aws"]))
    # Data of other tests is checked too. Symbols that cannot be read come last.
    look(function)
    eventually(lambda: len(told))
    mine = [each for each in told if SYMBOL in each["Message"]]
    assert len(mine) == 1
    (line,) = [line for line in mine[0]["Message"].splitlines() if SYMBOL in line]
    assert line == f"{SYMBOL} 2024-08-08T23:59:00Z price-jump: 104 (+4.00%)"
    assert mine[0]["Subject"].startswith("mcloud: ")
    before = len(told)
    look(function)
    assert len(told) == before


def look(function: ModuleType) -> None:
    from contextlib import suppress

    from mcloud.errors import McloudError

    with suppress(McloudError):
        assert function.handler({}, None)["anomalies"] >= 0


def fill(site: Site) -> None:
    """Store six candles at 100. In the last one, a trade at 102.5 passes, one at 104 does not."""
    for n, price in enumerate(("100", "100", "102.5", "100", "100", "104")):
        start = START + n * MINUTE
        prices = ("100", price, "100")
        trades = [
            Trade(SYMBOL, 3 * n + i, Decimal(p), Decimal(1), start + i, True)
            for i, p in enumerate(prices)
        ]
        site.candles.create([fold(Candle(SYMBOL, start), trades).candle])
    site.control.beat([Heartbeat(SYMBOL, START + 5 * MINUTE, 18, 1, 0.0)])
