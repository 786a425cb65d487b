"""The whole life cycle of the AWS stack, with the real provider on the embedded AWS."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest

from mcloud.clouds.aws.site import AwsSite
from mcloud.clouds.resources import AwsResources
from mcloud.feed.simulate import Simulate
from mcloud.market.envelope import encode_all
from mcloud.rehearsal.demo import stored_rows
from mcloud.rehearsal.oracle import expected_rows

from .module import Module, aws_module

START = 1_735_775_880_000  # 2025-01-01T23:58:00Z
PATIENCE = 90.0  # seconds

# ministack leaves most fields of an alarm out of its answer to the provider, which Terraform then
# takes for a change.
MISREAD = "aws_cloudwatch_metric_alarm."


@pytest.mark.timeout(900)  # the provider waits 25 s after each change of a queue
def test_life_of_a_stack(tmp_path: Path, endpoint_url: str, bundles: dict[str, str]) -> None:
    module = aws_module(tmp_path / "aws", endpoint_url)
    variables = {"name": "life", "bundle": bundles["aws"], "deletion_protection": False}
    module.set(**variables)
    module.apply()
    outputs = module.outputs()
    to = AwsResources.from_outputs({**outputs, "endpoint_url": endpoint_url})
    assert changes(module) == {}
    assert module.move_back() > 10  # a stack from before
    assert changes(module) == {}

    # The resources that Terraform made turn trades into exact candles.
    site = AwsSite("aws", to)
    trades = list(Simulate(["BTCUSDT"], seed=7, start_time=START, count=2_000))
    assert site.queue.send(encode_all(trades)) == []
    expected = expected_rows(trades)
    eventually(lambda: stored_rows(site, ["BTCUSDT"]) == expected)
    assert site.queue.dead_letter_depth().ready == 0
    for url in (to.queue_url, to.dlq_url):
        assert refuses_plain_http(endpoint_url, url)

    # Changed code updates only the function.
    other = tmp_path / "other.zip"
    other.write_bytes(Path(bundles["aws"]).read_bytes() + b"\0")
    module.set(**{**variables, "bundle": str(other)})
    assert changes(module) == {
        "aws_lambda_function.processor": ["update"],
        'aws_lambda_function.scheduled["anomaly"]': ["update"],
        'aws_lambda_function.scheduled["compact"]': ["update"],
    }

    module.run("destroy", "-input=false", "-no-color", "-auto-approve")
    assert module.state() == []


def changes(module: Module) -> dict[str, list[str]]:
    return {
        address: actions
        for address, actions in module.changes().items()
        if not address.startswith(MISREAD)
    }


def refuses_plain_http(endpoint_url: str, queue_url: str) -> bool:
    """Return whether the queue's policy denies it. The embedded AWS does not enforce policies."""
    sqs = boto3.client(
        "sqs",
        region_name="us-east-1",
        endpoint_url=endpoint_url,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    answer = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["Policy"])
    (statement,) = json.loads(answer["Attributes"]["Policy"])["Statement"]
    condition = {"Bool": {"aws:SecureTransport": "false"}}
    return (statement["Effect"], statement["Condition"]) == ("Deny", condition)


def eventually(true: Callable[[], bool]) -> None:
    give_up = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < give_up, "it did not come true"
        time.sleep(0.2)
