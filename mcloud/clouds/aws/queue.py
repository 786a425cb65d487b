"""SQS."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from mcloud.clouds.aws.client import passes, translated
from mcloud.clouds.ports import DeadLetter, Depth, Unsent
from mcloud.market.envelope import Message

MAX_ENTRIES = 10  # a batch
MAX_BATCH = 1024 * 1024  # bytes, all its messages together


class SqsQueue:
    def __init__(self, client: Any, queue_url: str, dlq_url: str) -> None:
        self._client = client
        self._queue_url = queue_url
        self._dlq_url = dlq_url

    def send(self, messages: Sequence[Message]) -> list[Unsent]:
        unsent = []
        for batch in _batches(messages):
            entries = [
                {
                    "Id": str(index),
                    "MessageBody": message.body,
                    "MessageAttributes": {
                        name: {"DataType": "String", "StringValue": value}
                        for name, value in message.attributes.items()
                    },
                }
                for index, message in batch
            ]
            with translated(f"SQS {self._queue_url}"):
                answer = self._client.send_message_batch(QueueUrl=self._queue_url, Entries=entries)
            unsent += [
                Unsent(
                    int(failed["Id"]),
                    f"{failed['Code']}: {failed.get('Message', '')}",
                    permanent=failed["SenderFault"] and not passes(failed["Code"]),
                )
                for failed in answer.get("Failed", [])
            ]
        return unsent

    def depth(self) -> Depth:
        return self._depth(self._queue_url)

    def dead_letter_depth(self) -> Depth:
        return self._depth(self._dlq_url)

    def dead_letters(self, limit: int) -> list[DeadLetter]:
        found: dict[str, DeadLetter] = {}
        receipts = []
        empty = 0
        with translated(f"SQS {self._dlq_url}"):
            while len(found) < limit:
                answer = self._client.receive_message(
                    QueueUrl=self._dlq_url,
                    MaxNumberOfMessages=min(MAX_ENTRIES, limit - len(found)),
                    MessageAttributeNames=["All"],
                    VisibilityTimeout=30,
                    WaitTimeSeconds=1,  # a short poll asks some of the servers only
                )
                received = answer.get("Messages", [])
                empty = 0 if received else empty + 1
                if empty == 2:
                    break
                for message in received:
                    found[message["MessageId"]] = _dead_letter(message)
                    receipts.append(message["ReceiptHandle"])
            for receipt in receipts:
                self._client.change_message_visibility(
                    QueueUrl=self._dlq_url, ReceiptHandle=receipt, VisibilityTimeout=0
                )
        return list(found.values())

    def _depth(self, url: str) -> Depth:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        with translated(f"SQS {url}"):
            answer = self._client.get_queue_attributes(QueueUrl=url, AttributeNames=names)
        ready, in_flight = (int(answer["Attributes"][name]) for name in names)
        return Depth(ready, in_flight, as_of=time.time())


def _batches(messages: Sequence[Message]) -> Iterator[list[tuple[int, Message]]]:
    """Fill batches as full as SQS allows, each message with its position."""
    batch: list[tuple[int, Message]] = []
    size = 0
    for index, message in enumerate(messages):
        if batch and (len(batch) == MAX_ENTRIES or size + message.size > MAX_BATCH):
            yield batch
            batch, size = [], 0
        batch.append((index, message))
        size += message.size
    if batch:
        yield batch


def _dead_letter(message: dict[str, Any]) -> DeadLetter:
    return DeadLetter(
        id=message["MessageId"],
        body=message["Body"].encode(),
        attributes={
            name: attribute.get("StringValue", "")
            for name, attribute in message.get("MessageAttributes", {}).items()
        },
        deliveries=None,  # what SQS counts includes every look at it
    )
