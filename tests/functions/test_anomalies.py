"""The anomaly function on Lambda, called like by its schedule, with the embedded AWS."""

import importlib.util
import json
from collections.abc import Iterator
from decimal import Decimal
from types import ModuleType
from typing import Any

import pytest
from patience import eventually

from mcloud.clouds.anomalies import store
from mcloud.clouds.aws.client import make_client
from mcloud.clouds.factory import open_site
from mcloud.infra.bundle import shipped
from mcloud.local.state import State
from mcloud.market.anomaly import Anomaly

SYMBOL = "FNODDUSDT"
START = 1_723_161_240_000


@pytest.fixture
def function(embedded: State, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    to = embedded.outputs["aws"]
    monkeypatch.setenv("AWS_REGION", to["region"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", to["endpoint_url"])
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")  # as Lambda gives credentials to a function
    monkeypatch.setenv("CONTROL_TABLE", to["control_table"])
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
    numbers = map(Decimal, ("104", "100", "0.04", "9"))
    found = Anomaly(SYMBOL, START, "price-jump", *numbers, 3, True)
    store(open_site("aws", embedded.resources()["aws"]).control, found)
    # Anomalies of other tests are sent too.
    assert function.handler({}, None)["anomalies"] >= 1
    eventually(lambda: len(told))
    mine = [each for each in told if SYMBOL in each["Message"]]
    assert len(mine) == 1
    (line,) = [line for line in mine[0]["Message"].splitlines() if SYMBOL in line]
    assert line == f"{SYMBOL} 2024-08-08T23:54:00Z price-jump: 104 (+4.00%)"
    assert mine[0]["Subject"].startswith("mcloud: ")
    while function.handler({}, None)["anomalies"]:
        pass
    assert len([each for each in told if SYMBOL in each["Message"]]) == 1
