"""Leases, backoff and dead letters, with a clock that the test sets."""

from typing import Any

import pytest
from google.pubsub_v1.types import PubsubMessage

from mcloud.local.gcp.pubsub_backlog import Backlog, Consumer, Owed, Policy

NAME = "projects/p/subscriptions/s"


class Desk:
    """A backlog with a clock, one consumer without limits, and a dead-letter topic."""

    def __init__(self, policy: Policy | None = None, *, has_grave: bool = True) -> None:
        self.now = 1000.0
        self.buried: list[str] = []
        self.has_grave = has_grave
        self.backlog = Backlog(NAME, lambda: self.now, self._bury, policy)
        self.consumer = Consumer(lambda: None)

    def offer(self, *ids: str, size: int = 10) -> None:
        for message_id in ids:
            self.backlog.offer(PubsubMessage.pb()(message_id=message_id), size)

    def take(self, limit: int = 100, seconds: float = 10, **limits: Any) -> list[str]:
        """Return the ack ids of the leased messages."""
        taken = self.backlog.take(self.consumer, limit, seconds, **limits)
        return [self.backlog.ack_id(owed) for owed in taken]

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.backlog.expire()

    def _bury(self, owed: Owed) -> bool:
        if self.has_grave:
            self.buried.append(owed.message.message_id)
        return self.has_grave


def test_a_lease_excludes_others_until_it_passes() -> None:
    desk = Desk()
    desk.offer("1")
    (first,) = desk.take()
    assert desk.take() == []
    desk.wait(9.9)
    assert desk.take() == []
    desk.wait(0.1)
    (second,) = desk.take()
    assert first != second


def test_an_acknowledged_message_is_gone_for_good() -> None:
    desk = Desk()
    desk.offer("1", "2")
    desk.backlog.acknowledge(desk.take(1))
    assert len(desk.backlog) == 1
    desk.wait(100)
    assert desk.take() == [f"{NAME}:2-1"]


def test_a_late_acknowledgement_spares_the_redelivery() -> None:
    desk = Desk()
    desk.offer("1")
    late = desk.take()
    desk.wait(10)
    desk.backlog.acknowledge(late)
    assert desk.take() == []
    assert len(desk.backlog) == 0


def test_extending_moves_the_deadline_both_ways() -> None:
    desk = Desk()
    desk.offer("1")
    lease = desk.take(seconds=10)
    desk.backlog.extend(lease, 60)
    desk.wait(59)
    assert desk.take() == []
    desk.backlog.extend(lease, 2)
    assert desk.backlog.next_due() == desk.now + 2
    desk.wait(2)
    assert len(desk.take()) == 1


def test_the_ids_of_a_passed_lease_neither_extend_nor_release() -> None:
    desk = Desk()
    desk.offer("1")
    old = desk.take()
    desk.wait(10)
    desk.take(seconds=10)
    desk.backlog.extend(old, 600)
    desk.backlog.release(old)
    assert desk.take() == []
    assert desk.backlog.next_due() == desk.now + 10


@pytest.mark.parametrize("ack_id", ["", "nonsense", f"{NAME}:1", "projects/p/subscriptions/x:1-1"])
def test_foreign_ack_ids_are_refused_and_nothing_is_settled(ack_id: str) -> None:
    desk = Desk()
    desk.offer("1")
    lease = desk.take()
    for call in (desk.backlog.acknowledge, desk.backlog.release):
        with pytest.raises(ValueError, match=ack_id or "^$"):
            call([*lease, ack_id])
    assert len(desk.backlog) == 1
    assert desk.take() == []


def test_the_backoff_doubles_up_to_its_maximum() -> None:
    desk = Desk(Policy(minimum_backoff=1, maximum_backoff=5))
    desk.offer("1")
    rests = []
    for _ in range(5):
        desk.backlog.release(desk.take())
        due = desk.backlog.next_due()
        assert due is not None
        rests.append(due - desk.now)
        desk.wait(rests[-1] - 0.01)
        assert desk.take() == []
        desk.wait(0.01)
    assert rests == [1, 2, 4, 5, 5]


def test_an_expired_lease_rests_too() -> None:
    desk = Desk(Policy(minimum_backoff=3, maximum_backoff=3))
    desk.offer("1")
    desk.take(seconds=10)
    desk.wait(10)
    assert desk.take() == []
    desk.wait(3)
    assert len(desk.take()) == 1


@pytest.mark.parametrize("how", ["released", "expired"])
def test_the_last_attempt_is_followed_by_the_dead_letter_topic(how: str) -> None:
    desk = Desk(Policy(max_attempts=5))
    desk.offer("1")
    for attempt in range(1, 6):
        assert not desk.buried
        lease = desk.take(seconds=10)
        assert lease == [f"{NAME}:1-{attempt}"]
        if how == "released":
            desk.backlog.release(lease)
        else:
            desk.wait(10)
    assert desk.buried == ["1"]
    assert len(desk.backlog) == 0
    assert desk.take() == []


def test_without_a_dead_letter_topic_it_is_tried_again() -> None:
    desk = Desk(Policy(max_attempts=5), has_grave=False)
    desk.offer("1")
    for _ in range(7):
        desk.backlog.release(desk.take())
    desk.has_grave = True
    desk.backlog.release(desk.take())
    assert desk.buried == ["1"]


def test_the_same_id_twice_in_one_request_counts_once() -> None:
    desk = Desk(Policy(max_attempts=5))
    desk.offer("1")
    for _ in range(5):
        (lease,) = desk.take()
        desk.backlog.release([lease, lease])
    assert desk.buried == ["1"]


def test_a_consumer_gets_no_more_than_it_may_hold() -> None:
    desk = Desk()
    desk.consumer.max_messages = 2
    desk.offer("1", "2", "3")
    leases = desk.take()
    assert len(leases) == 2
    assert desk.take() == []
    desk.backlog.release(leases[:1])
    assert len(desk.take()) == 1
    desk.wait(10)
    assert desk.consumer.messages == desk.consumer.bytes == 0


def test_the_last_message_may_exceed_the_byte_limit() -> None:
    desk = Desk()
    desk.consumer.max_bytes = 15
    desk.offer("1", "2", "3", size=10)
    assert len(desk.take()) == 2


def test_one_answer_keeps_to_its_size_unless_a_single_message_is_larger() -> None:
    desk = Desk()
    desk.offer("1", "2", size=10)
    desk.offer("3", size=99)
    assert [len(desk.take(max_bytes=25)) for _ in range(3)] == [2, 1, 0]


def test_a_consumer_is_woken_when_it_gets_room() -> None:
    desk = Desk()
    woken = []
    desk.consumer.wake = lambda: woken.append(desk.consumer.has_room())
    desk.consumer.max_messages = 1
    desk.offer("1")
    desk.backlog.acknowledge(desk.take())
    assert woken == [True]


def test_timers_of_settled_messages_do_not_pile_up() -> None:
    desk = Desk()
    for i in range(20_000):
        desk.offer(str(i))
        desk.backlog.acknowledge(desk.take(seconds=600))
    assert len(desk.backlog._timers) <= 1001


def test_the_oldest_is_the_first_that_is_not_settled() -> None:
    desk = Desk()
    assert desk.backlog.oldest() is None
    desk.offer("1", "2")
    desk.backlog.acknowledge(desk.take(1))
    oldest = desk.backlog.oldest()
    assert oldest is not None
    assert oldest.message.message_id == "2"


ORDERED = Policy(minimum_backoff=5, maximum_backoff=5, keeps_order=True)


def offer_keyed(desk: Desk, *ids: str, key: str = "k") -> None:
    for message_id in ids:
        desk.backlog.offer(PubsubMessage.pb()(message_id=message_id, ordering_key=key), 10)


def ids(taken: list[str]) -> list[str]:
    return [each.rpartition(":")[2].partition("-")[0] for each in taken]


def test_a_key_goes_on_after_its_acknowledgement() -> None:
    desk = Desk(ORDERED)
    offer_keyed(desk, "1", "2", "3")
    offer_keyed(desk, "4", key="other")
    (first,) = desk.take(1)
    assert ids(desk.take()) == ["4"]
    desk.backlog.acknowledge([first])
    assert desk.backlog.has_free
    assert ids(desk.take()) == ["2", "3"]


def test_the_later_messages_of_a_key_rest_with_the_first() -> None:
    desk = Desk(ORDERED)
    offer_keyed(desk, "1", "2", "3")
    taken = desk.take()
    desk.backlog.acknowledge(taken[1:2])
    desk.backlog.release(taken[:1])
    assert desk.take() == []
    desk.wait(5)
    assert ids(desk.take()) == ["1", "3"]


def test_a_message_that_is_buried_lets_the_next_one_go() -> None:
    desk = Desk(Policy(max_attempts=1, keeps_order=True))
    offer_keyed(desk, "1", "2")
    desk.backlog.release(desk.take(1))
    assert desk.buried == ["1"]
    assert ids(desk.take()) == ["2"]


def test_a_key_begins_anew_after_its_last_message() -> None:
    desk = Desk(ORDERED)
    offer_keyed(desk, "1", "2")
    taken = desk.take()
    desk.backlog.acknowledge(taken[1:])
    offer_keyed(desk, "3")
    assert desk.take() == []
    desk.backlog.acknowledge(taken[:1])
    assert ids(desk.take()) == ["3"]
