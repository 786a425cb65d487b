"""The queue of trades in SQS."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from mcloud.clouds.aws.client import passes, translated
from mcloud.clouds.batches import batches
from mcloud.clouds.ports import DEAD_LETTER_HOLD, DeadLetter, Depth, Unsent
from mcloud.deadline import is_brief
from mcloud.errors import Refused, Unavailable
from mcloud.market.envelope import Message

MAX_ENTRIES = 10  # maximum number of messages in a batch
MAX_BATCH = 1024 * 1024  # bytes; limit of all messages of a batch together
MAX_BATCH_IN_CHINA = 256 * 1024  # only the commercial and GovCloud regions have the larger limit


class SqsQueue:
    is_live = True

    def __init__(
        self, client: Any, queue_url: str, dlq_url: str, sender: Any | None = None
    ) -> None:
        """``sender`` is a client that retries nothing, for brief calls. A producer has retries of
        its own, and has to know that a site throttles it.
        """
        self._client = client
        self._sender = client if sender is None else sender
        self._queue_url = queue_url
        self._dlq_url = dlq_url
        is_in_china = client.meta.region_name.startswith("cn-")
        self._max_batch = MAX_BATCH_IN_CHINA if is_in_china else MAX_BATCH

    def send(self, messages: Sequence[Message]) -> list[Unsent]:
        unsent = []
        numbered = list(enumerate(messages))
        for batch in batches(
            numbered, lambda each: each[1].size, most=MAX_ENTRIES, limit=self._max_batch
        ):
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
                client = self._sender if is_brief() else self._client
                answer = client.send_message_batch(QueueUrl=self._queue_url, Entries=entries)
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
        letters = self.take_dead_letters(limit)
        self.release_dead_letters(letters)
        return letters

    def take_dead_letters(self, limit: int) -> list[DeadLetter]:
        found: dict[str, DeadLetter] = {}
        empty = 0
        with translated(f"SQS {self._dlq_url}"):
            while len(found) < limit and empty < 2:
                answer = self._client.receive_message(
                    QueueUrl=self._dlq_url,
                    MaxNumberOfMessages=min(MAX_ENTRIES, limit - len(found)),
                    MessageAttributeNames=["All"],
                    VisibilityTimeout=DEAD_LETTER_HOLD,
                    WaitTimeSeconds=1,  # a short poll queries only some of the servers
                )
                received = answer.get("Messages", [])
                empty = 0 if received else empty + 1
                found |= {message["MessageId"]: _dead_letter(message) for message in received}
        return list(found.values())

    def delete_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        failed = []
        for entries in _entries(letters):
            with translated(f"SQS {self._dlq_url}"):
                answer = self._client.delete_message_batch(QueueUrl=self._dlq_url, Entries=entries)
            failed += answer.get("Failed", [])
        self._tell(failed, len(letters), "deleted")

    def release_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        failed = []
        for entries in _entries(letters):
            with translated(f"SQS {self._dlq_url}"):
                answer = self._client.change_message_visibility_batch(
                    QueueUrl=self._dlq_url,
                    Entries=[{**entry, "VisibilityTimeout": 0} for entry in entries],
                )
            failed += [each for each in answer.get("Failed", []) if not _is_back(each)]
        self._tell(failed, len(letters), "released")

    def _tell(self, failed: Sequence[dict[str, Any]], count: int, done: str) -> None:
        """Raise an error if some entries of a batch failed. The other entries are done."""
        if not failed:
            return
        reasons = sorted({f"{each['Code']}: {each.get('Message', '')}" for each in failed})
        text = (
            f"SQS {self._dlq_url}: {len(failed)} of {count} dead letters were not {done}: "
            + ", ".join(reasons)
        )
        if all(passes(each["Code"]) or not each["SenderFault"] for each in failed):
            raise Unavailable(text)
        raise Refused(text, remedy="those that were held for too long can be taken again")

    def _depth(self, url: str) -> Depth:
        names = [
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "VisibilityTimeout",
        ]
        with translated(f"SQS {url}"):
            answer = self._client.get_queue_attributes(QueueUrl=url, AttributeNames=names)
        ready, in_flight, hidden = (int(answer["Attributes"][name]) for name in names)
        return Depth(ready, in_flight, as_of=time.time(), redelivery=hidden)


def _is_back(failure: dict[str, Any]) -> bool:
    """Return whether a letter could not be released because its hold has expired and it is already
    visible.

    SQS has three answers for that: the code MessageNotInflight, and InvalidParameterValue with
    "Value … for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not
    available for visibility timeout change." or "… Reason: The receipt handle has expired."
    """
    code, said = failure["Code"].rpartition(".")[2], failure.get("Message", "")
    return code == "MessageNotInflight" or (
        code == "InvalidParameterValue"
        and ("visibility timeout change" in said or "handle has expired" in said)
    )


def _entries(letters: Sequence[DeadLetter]) -> Iterator[list[dict[str, Any]]]:
    for begin in range(0, len(letters), MAX_ENTRIES):
        yield [
            {"Id": str(index), "ReceiptHandle": letter.receipt}
            for index, letter in enumerate(letters[begin : begin + MAX_ENTRIES])
        ]


def _dead_letter(message: dict[str, Any]) -> DeadLetter:
    return DeadLetter(
        id=message["MessageId"],
        receipt=message["ReceiptHandle"],
        body=message["Body"].encode(),
        attributes={
            name: attribute.get("StringValue", "")
            for name, attribute in message.get("MessageAttributes", {}).items()
        },
        deliveries=None,  # the count of SQS includes every read of the letter
    )
