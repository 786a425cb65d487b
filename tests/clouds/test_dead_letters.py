"""Taking dead letters, and deleting or releasing them."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.stub import Stubber

from mcloud.clouds.aws.client import make_client
from mcloud.clouds.aws.queue import SqsQueue
from mcloud.clouds.ports import DeadLetter, Site
from mcloud.errors import Refused, Unavailable
from mcloud.market.envelope import Message

from .test_contract import send_to_dlq

PATIENCE = 60.0  # seconds


def letters(count: int) -> list[Message]:
    return [Message(f"letter {n}", {"number": str(n)}) for n in range(count)]


def take(site: Site, count: int) -> list[DeadLetter]:
    """Take letters; those that were just released may take a moment to reappear."""
    taken: list[DeadLetter] = []
    give_up = time.monotonic() + PATIENCE
    while len(taken) < count:
        assert time.monotonic() < give_up, f"{len(taken)} of {count} dead letters"
        taken += site.queue.take_dead_letters(count - len(taken))
    return taken


def bodies(taken: list[DeadLetter]) -> list[str]:
    return sorted(letter.body.decode() for letter in taken)


def test_what_is_taken_is_nobody_elses_until_it_is_released(site: Site) -> None:
    sent = letters(25)  # more than a batch
    send_to_dlq(site, sent)
    taken = take(site, 25)
    assert bodies(taken) == sorted(message.body for message in sent)
    assert all(letter.attributes["number"] == letter.body.decode().split()[1] for letter in taken)
    assert site.queue.take_dead_letters(10) == []
    site.queue.release_dead_letters(taken)
    assert bodies(take(site, 25)) == bodies(taken)


def test_what_is_deleted_is_gone_and_the_others_are_not(site: Site) -> None:
    send_to_dlq(site, letters(15))
    taken = take(site, 15)
    site.queue.delete_dead_letters(taken[:12])
    site.queue.release_dead_letters(taken[12:])
    left = take(site, 3)
    assert bodies(left) == bodies(taken[12:])
    assert site.queue.take_dead_letters(10) == []


def test_no_more_are_taken_than_asked_for(site: Site) -> None:
    send_to_dlq(site, letters(5))
    assert len(site.queue.take_dead_letters(2)) == 2
    assert len(take(site, 3)) == 3


def test_nothing_to_delete_or_release(site: Site) -> None:
    site.queue.delete_dead_letters([])
    site.queue.release_dead_letters([])
    assert site.queue.take_dead_letters(1) == []


class TestPartsOfABatch:
    """Answers of SQS when a part of a batch fails."""

    @pytest.fixture
    def sqs(self) -> Iterator[tuple[SqsQueue, Stubber]]:
        client = make_client("sqs", "us-east-1", "http://127.0.0.1:1")
        with Stubber(client) as stubber:
            yield SqsQueue(client, "http://127.0.0.1:1/0/q", "http://127.0.0.1:1/0/dlq"), stubber
            stubber.assert_no_pending_responses()

    def test_the_others_are_deleted_before_it_is_told(self, sqs: Any) -> None:
        queue, stubber = sqs
        stubber.add_response(
            "delete_message_batch", _answer(range(9), [failure("9", "ReceiptHandleIsInvalid")])
        )
        stubber.add_response("delete_message_batch", _answer(range(2), []))
        with pytest.raises(Refused, match="1 of 12 dead letters were not deleted: Receipt"):
            queue.delete_dead_letters(_held(12))

    def test_what_passes_can_be_tried_again(self, sqs: Any) -> None:
        queue, stubber = sqs
        wrong = [failure("0", "InternalError", is_ours=False), failure("1", "RequestThrottled")]
        stubber.add_response("delete_message_batch", _answer([], wrong))
        with pytest.raises(Unavailable, match="2 of 2 dead letters were not deleted"):
            queue.delete_dead_letters(_held(2))

    @pytest.mark.parametrize(
        ("code", "said"),
        [
            ("AWS.SimpleQueueService.MessageNotInflight", ""),
            ("MessageNotInflight", ""),
            # https://github.com/vmihailenco/taskq/issues/29
            (
                "InvalidParameterValue",
                "Value AQEB for parameter ReceiptHandle is invalid. Reason: Message does not exist"
                " or is not available for visibility timeout change.",
            ),
            (
                "InvalidParameterValue",
                "Value AQEB for parameter ReceiptHandle is invalid. Reason: The receipt handle has"
                " expired.",
            ),
        ],
    )
    def test_a_letter_that_is_back_already_is_released(
        self, sqs: Any, code: str, said: str
    ) -> None:
        queue, stubber = sqs
        over = failure("0", code, said)
        stubber.add_response("change_message_visibility_batch", _answer([1], [over]))
        queue.release_dead_letters(_held(2))
        stubber.add_response(
            "change_message_visibility_batch", _answer([1], [failure("0", "AccessDenied")])
        )
        with pytest.raises(Refused, match="1 of 2 dead letters were not released: AccessDenied"):
            queue.release_dead_letters(_held(2))

    def test_a_letter_whose_hold_is_over_is_not_deleted(self, sqs: Any) -> None:
        """Somebody else may hold it by now."""
        queue, stubber = sqs
        over = failure("0", "InvalidParameterValue", "Reason: The receipt handle has expired.")
        stubber.add_response("delete_message_batch", _answer([1], [over]))
        with pytest.raises(Refused, match="1 of 2 dead letters were not deleted"):
            queue.delete_dead_letters(_held(2))


def failure(id_: str, code: str, said: str = "said SQS", *, is_ours: bool = True) -> dict[str, Any]:
    return {"Id": id_, "Code": code, "SenderFault": is_ours, "Message": said}


def _answer(done: Any, failed: list[dict[str, Any]]) -> dict[str, Any]:
    return {"Successful": [{"Id": str(each)} for each in done], "Failed": failed}


def _held(count: int) -> list[DeadLetter]:
    return [DeadLetter(f"m{n}", f"receipt-{n}", b"", {}, None) for n in range(count)]
