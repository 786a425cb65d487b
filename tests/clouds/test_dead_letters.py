"""Taking dead letters, and deleting or releasing them."""

import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from botocore.stub import Stubber
from google.api_core.exceptions import DeadlineExceeded
from google.pubsub_v1.types import PullResponse

from mcloud.clouds.aws.client import make_client
from mcloud.clouds.aws.queue import SqsQueue
from mcloud.clouds.factory import open_site
from mcloud.clouds.gcp.client import make_metrics, make_publisher, make_subscriber
from mcloud.clouds.gcp.metrics import CloudMonitoring
from mcloud.clouds.gcp.queue import PATIENT, PubSubQueue, PullPatience
from mcloud.clouds.ports import DeadLetter, Site
from mcloud.errors import Refused, Unavailable
from mcloud.local.state import State
from mcloud.market.envelope import Message
from mcloud.replication.deadletters import unseen

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


def test_taken_letters_are_hidden_until_they_are_released(site: Site) -> None:
    sent = letters(25)  # more than a batch
    send_to_dlq(site, sent)
    taken = take(site, 25)
    assert bodies(taken) == sorted(message.body for message in sent)
    assert all(letter.attributes["number"] == letter.body.decode().split()[1] for letter in taken)
    assert site.queue.take_dead_letters(10) == []
    site.queue.release_dead_letters(taken)
    assert bodies(take(site, 25)) == bodies(taken)


def test_only_the_given_letters_are_deleted(site: Site) -> None:
    send_to_dlq(site, letters(15))
    taken = take(site, 15)
    site.queue.delete_dead_letters(taken[:12])
    site.queue.release_dead_letters(taken[12:])
    left = take(site, 3)
    assert bodies(left) == bodies(taken[12:])
    assert site.queue.take_dead_letters(10) == []


class Stingy:
    """A client of Pub/Sub that answers pulls late, in part or with nothing while messages wait."""

    def __init__(self, client: Any, answers: list[int | None]) -> None:
        self._client = client
        self.answers = answers
        """Number of messages in each of the next answers; None is an answer that comes too late."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def pull(self, *, max_messages: int, **options: Any) -> Any:
        given = self.answers.pop(0) if self.answers else max_messages
        if given is None:
            raise DeadlineExceeded("504 Deadline Exceeded")
        if given == 0:
            return PullResponse()
        return self._client.pull(max_messages=min(given, max_messages), **options)


def stingy(state: State, answers: list[int | None], patience: PullPatience) -> PubSubQueue:
    """Return a queue behind a stingy Pub/Sub, with a new subscription for its dead letters."""
    to = state.resources()["gcp"]
    name = f"stingy-{uuid.uuid4().hex}"
    publisher, subscriber = make_publisher(to.pubsub_endpoint), make_subscriber(to.pubsub_endpoint)
    topic = f"projects/{to.project}/topics/{name}"
    publisher.create_topic(name=topic)
    subscriber.create_subscription(
        name=f"projects/{to.project}/subscriptions/{name}", topic=topic, ack_deadline_seconds=60
    )
    to = replace(to, topic=name, dlq_subscription=name)
    metrics = CloudMonitoring(make_metrics(to.monitoring_endpoint), to)
    return PubSubQueue(publisher, Stingy(subscriber, answers), metrics, to, patience)


QUICK = PullPatience(timeout=5, seconds=0, empty=3, pause=0)


@pytest.mark.slow
def test_a_stingy_pubsub_delivers_all_in_the_end(embedded: State) -> None:
    queue = stingy(embedded, [None, 0, 2, 0, None, 1, 0, 0], QUICK)
    assert queue.send(letters(7)) == []
    assert len(queue.take_dead_letters(100)) == 7


def test_letters_that_pubsub_holds_back_are_counted(embedded: State) -> None:
    queue = stingy(embedded, [2, 0, None, 0], QUICK)
    assert queue.send(letters(5)) == []
    seen = queue.dead_letters(100)
    assert len(seen) == 2
    more = unseen(queue, len(seen))
    assert more is not None
    assert more.count == 3
    assert unseen(queue, 5) is None


def test_with_an_unknown_depth_the_number_of_unread_letters_is_unknown(embedded: State) -> None:
    to = embedded.resources()["gcp"]
    unknown = open_site("gcp", replace(to, dlq_subscription="there-is-none-such")).queue
    assert unseen(unknown, 0) is None


def test_the_real_pubsub_is_given_time(embedded: State) -> None:
    queue = PubSubQueue(None, None, None, replace(embedded.resources()["gcp"], pubsub_endpoint=""))
    assert queue.patience == PATIENT
    assert 10 <= PATIENT.seconds <= 20
    assert PATIENT.empty >= 3


def test_the_limit_of_taken_letters_is_kept(site: Site) -> None:
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

    def test_the_other_letters_are_deleted_before_the_error_is_raised(self, sqs: Any) -> None:
        queue, stubber = sqs
        stubber.add_response(
            "delete_message_batch", _answer(range(9), [failure("9", "ReceiptHandleIsInvalid")])
        )
        stubber.add_response("delete_message_batch", _answer(range(2), []))
        with pytest.raises(Refused, match="1 of 12 dead letters were not deleted: Receipt"):
            queue.delete_dead_letters(_held(12))

    def test_a_transient_failure_can_be_retried(self, sqs: Any) -> None:
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
    def test_releasing_a_visible_letter_is_no_error(self, sqs: Any, code: str, said: str) -> None:
        queue, stubber = sqs
        over = failure("0", code, said)
        stubber.add_response("change_message_visibility_batch", _answer([1], [over]))
        queue.release_dead_letters(_held(2))
        stubber.add_response(
            "change_message_visibility_batch", _answer([1], [failure("0", "AccessDenied")])
        )
        with pytest.raises(Refused, match="1 of 2 dead letters were not released: AccessDenied"):
            queue.release_dead_letters(_held(2))

    def test_a_letter_with_an_expired_hold_is_not_deleted(self, sqs: Any) -> None:
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
