"""The event source mapping of the embedded AWS on a slow machine."""

import io
import json
import uuid
import zipfile
from typing import Any

import pytest
from patience import eventually

from mcloud.clouds.aws.client import make_client
from mcloud.local.aws.mapping import HIDE
from mcloud.local.state import State

HANDLER = """
import time

def handler(event, context):
    time.sleep({seconds})
"""


def zipped(code: str) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as file:
        file.writestr("slow.py", code)
    return written.getvalue()


@pytest.mark.slow
def test_a_slow_call_does_not_use_up_the_deliveries_of_its_messages(embedded: State) -> None:
    """The messages of a call stay hidden until it ends, also beyond the queue's timeout."""
    to = embedded.outputs["aws"]
    sqs, lambda_ = (
        make_client(service, to["region"], to["endpoint_url"]) for service in ("sqs", "lambda")
    )
    name = f"slow-{uuid.uuid4().hex}"
    arns: dict[str, str] = {}
    urls: dict[str, str] = {}
    for queue in (f"{name}-dlq", name):
        urls[queue] = sqs.create_queue(QueueName=queue)["QueueUrl"]
        attributes = sqs.get_queue_attributes(QueueUrl=urls[queue], AttributeNames=["QueueArn"])
        arns[queue] = attributes["Attributes"]["QueueArn"]
    hidden = HIDE + 1
    redrive = {"deadLetterTargetArn": arns[f"{name}-dlq"], "maxReceiveCount": "1"}
    sqs.set_queue_attributes(
        QueueUrl=urls[name],
        Attributes={
            "VisibilityTimeout": f"{hidden:.0f}",
            "RedrivePolicy": json.dumps(redrive),
        },
    )
    lambda_.create_function(
        FunctionName=name,
        Runtime="python3.13",
        Role="arn:aws:iam::000000000000:role/any",
        Handler="slow.handler",
        Code={"ZipFile": zipped(HANDLER.format(seconds=2 * hidden))},
        Timeout=60,
    )
    lambda_.create_event_source_mapping(EventSourceArn=arns[name], FunctionName=name)
    sqs.send_message(QueueUrl=urls[name], MessageBody="any")

    def left(queue: str) -> int:
        counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer: dict[str, Any] = sqs.get_queue_attributes(
            QueueUrl=urls[queue], AttributeNames=counts
        )["Attributes"]
        return sum(int(answer[count]) for count in counts)

    eventually(lambda: left(name) == 0)
    assert left(f"{name}-dlq") == 0
