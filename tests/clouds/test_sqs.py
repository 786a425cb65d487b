"""Requests to SQS: their size by partition of AWS, and their retries."""

from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from mcloud.clouds.aws.queue import SqsQueue
from mcloud.deadline import briefly
from mcloud.market.envelope import Message

KIB = 1024


@pytest.mark.parametrize(
    ("region", "batches"),
    [
        ("eu-west-1", [8]),
        ("us-gov-west-1", [8]),
        ("cn-north-1", [4, 4]),  # 256 KiB, not 1 MiB
        ("cn-northwest-1", [4, 4]),
    ],
)
def test_the_batch_size_is_that_of_the_partition(region: str, batches: list[int]) -> None:
    client = boto3.client(
        "sqs", region_name=region, aws_access_key_id="-", aws_secret_access_key="-"
    )
    messages = [Message("x" * 60 * KIB) for _ in range(8)]
    with Stubber(client) as stub:
        for count in batches:
            sent = [{"Id": str(n), "MessageId": "m", "MD5OfMessageBody": "d"} for n in range(count)]
            stub.add_response(
                "send_message_batch",
                {"Successful": sent, "Failed": []},
                {"QueueUrl": "q", "Entries": [ANY] * count},
            )
        assert SqsQueue(client, "q", "d").send(messages) == []
        stub.assert_no_pending_responses()


class Client:
    def __init__(self) -> None:
        self.meta = type("Meta", (), {"region_name": "us-east-1"})
        self.sent = 0

    def send_message_batch(self, **request: Any) -> dict[str, Any]:
        self.sent += len(request["Entries"])
        return {}


def test_only_brief_sends_use_the_client_that_retries_nothing() -> None:
    usual, once = Client(), Client()
    queue = SqsQueue(usual, "queue", "dlq", once)
    message = Message("a", {})
    queue.send([message])
    assert (usual.sent, once.sent) == (1, 0)
    briefly(lambda: queue.send([message]))
    assert (usual.sent, once.sent) == (1, 1)
