"""A site's sender loses no message of the spool, whatever the queue does."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mcloud.clouds.ports import Site, Unsent
from mcloud.errors import Contention, Refused, Throttled, Unavailable
from mcloud.market.envelope import Message, decode, encode, version_of
from mcloud.market.trade import Trade
from mcloud.producer import sender as sender_module
from mcloud.producer.breaker import CLOSED, HALF_OPEN, LONGEST_PAUSE, OPEN, Breaker
from mcloud.producer.envelope_support import AWAY, FUNCTION_ANSWERS, Reads, SupportReader
from mcloud.producer.sender import GRACE, LOOK, Sender
from mcloud.producer.spool import Spool
from mcloud.producer.spool_message import SpoolEntry

from .queues import FakeQueue
from .sources import PATIENCE
from .spools import SITES, bodies, entry, fill

THROTTLED = Unsent(0, "throttled", False)


@pytest.fixture
def release() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool.open(tmp_path / "spool", ("aws", "gcp")) as opened:
        yield opened


class Start:
    """Starts senders without pauses, and closes them at the end."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._senders: list[Sender] = []

    def __call__(
        self,
        queue: FakeQueue,
        *,
        site: str = "aws",
        threads: int = 2,
        freshness: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        jitter: Callable[[float, float], float] = lambda low, high: 0.0,
        reads: Callable[[], Reads] = lambda: Reads(2),
        suspect: Callable[[], None] = lambda: None,
    ) -> Sender:
        sender = Sender(
            *(site, queue, self._spool),
            threads=threads,
            freshness=freshness,
            clock=clock,
            wall=wall,
            jitter=jitter,
            reads=reads,
            suspect=suspect,
        )
        self._senders.append(sender)
        return sender

    def close(self) -> None:
        for sender in self._senders:
            sender.close()


@pytest.fixture
def start(spool: Spool) -> Iterator[Start]:
    starting = Start(spool)
    yield starting
    starting.close()


class Clock:
    now = 100.0
    reads = 0

    def __call__(self) -> float:
        self.reads += 1
        return self.now


@pytest.mark.parametrize(
    "answers",
    [
        (),
        (Unavailable("down"),) * 4,
        ([THROTTLED, Unsent(3, "throttled", False)],) * 5,
        (Unavailable("down"), [Unsent(index, "throttled", False) for index in range(10)]) * 3,
    ],
    ids=["sound", "down", "throttled in part", "all of it"],
)
@pytest.mark.parametrize("threads", [1, 5])
def test_every_message_arrives_once(
    spool: Spool, start: Start, answers: tuple, threads: int
) -> None:  # type: ignore[type-arg]
    queue = FakeQueue(*answers)
    spool.append([entry(id_) for id_ in range(300)])
    sender = start(queue, threads=threads)
    eventually(lambda: not sender.delivery.waiting)
    assert sorted(arrived(queue)) == sorted(bodies(range(300)))
    delivery = sender.delivery
    assert (delivery.messages, delivery.trades, delivery.waiting_trades) == (300, 300, 0)
    assert (delivery.error, delivery.breaker, delivery.refused) == ("", CLOSED, False)
    assert delivery.latency is not None
    assert spool.pending("gcp").messages == 300  # the other site's messages are unchanged


def test_the_oldest_is_sent_first_and_only_refused_messages_again(
    spool: Spool, start: Start
) -> None:
    queue = FakeQueue([Unsent(1, "throttled", False), Unsent(8, "throttled", False)])
    fill(spool, range(12))
    sender = start(queue, threads=1)
    eventually(lambda: not sender.delivery.waiting)
    first = [id_ for id_ in range(10) if id_ not in (1, 8)]
    assert arrived(queue) == bodies([*first, 1, 8, 10, 11])


def test_a_failure_is_reported_until_a_success(
    spool: Spool, start: Start, release: threading.Event
) -> None:
    queue = FakeQueue(Unavailable("SQS is down"), lambda: release.wait(PATIENCE))
    fill(spool, [1])
    sender = start(queue, threads=1)
    queue.wait_for(lambda: queue.calls == 2)
    delivery = sender.delivery
    assert (delivery.waiting, delivery.error, delivery.latency) == (1, "SQS is down", None)
    release.set()
    eventually(lambda: not sender.delivery.waiting and not sender.delivery.error)
    assert sender.delivery.messages == 1


def test_a_request_that_fails_is_suspicious(spool: Spool, start: Start) -> None:
    suspected = threading.Event()
    fill(spool, [1])
    queue = FakeQueue(Unavailable("gone"))
    start(queue, suspect=suspected.set)
    queue.wait_for(lambda: len(queue.taken) == 1)
    assert suspected.wait(PATIENCE)


def test_a_request_that_is_late_is_suspicious_before_it_is_over(
    spool: Spool, start: Start, release: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender_module, "LATE", 0.05)
    suspected = threading.Event()
    fill(spool, [1])
    queue = FakeQueue(lambda: release.wait(PATIENCE))
    start(queue, suspect=suspected.set)
    assert suspected.wait(PATIENCE)
    assert queue.taken == []
    release.set()
    queue.wait_for(lambda: len(queue.taken) == 1)


def test_a_request_that_is_accepted_in_time_is_not_suspicious(
    spool: Spool, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender_module, "LATE", 10 * PATIENCE)
    suspected = threading.Event()
    fill(spool, [1])
    queue = FakeQueue()
    start(queue, suspect=suspected.set)
    queue.wait_for(lambda: len(queue.taken) == 1)
    # Nothing is left that would report the request later.
    eventually(lambda: not any(isinstance(each, threading.Timer) for each in threading.enumerate()))
    assert not suspected.is_set()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Refused("no such queue", remedy="deploy it"), "no such queue; deploy it"),
        (Contention("never heard of"), "never heard of"),
        (
            ZeroDivisionError("an unexpected exception"),
            "ZeroDivisionError: an unexpected exception",
        ),
        ([THROTTLED, Unsent(1, "too long", True)], "too long"),
    ],
    ids=["refused", "ours", "a fault", "one of them"],
)
def test_a_refusal_is_reported_at_once_and_tried_again_later(
    spool: Spool, start: Start, answer: Exception | list[Unsent], error: str
) -> None:
    clock = Clock()
    queue = FakeQueue(answer)
    spool.append([entry(id_) for id_ in range(2)])
    sender = start(queue, threads=1, clock=clock)
    eventually(lambda: sender.delivery.error != "")
    delivery = sender.delivery
    assert (delivery.error, delivery.refused, delivery.waiting) == (error, True, 2)
    assert (queue.calls, queue.taken) == (1, [])
    clock.now += 29
    time.sleep(0.6)  # longer than a sender takes to poll again
    assert queue.calls == 1
    clock.now += 1.5
    eventually(lambda: not sender.delivery.waiting)
    assert sender.delivery.refused is False
    assert arrived(queue) == bodies([0, 1])


def test_a_requested_wait_is_obeyed(spool: Spool, start: Start) -> None:
    clock = Clock()
    queue = FakeQueue(Throttled("too many requests", 7.0))
    fill(spool, [1])
    sender = start(queue, threads=3, clock=clock)
    eventually(lambda: sender.delivery.error != "")
    clock.now += 6.9
    time.sleep(0.6)
    assert queue.calls == 1
    clock.now += 0.2
    eventually(lambda: not sender.delivery.waiting)
    assert queue.calls == 2


def test_the_open_breaker_lets_one_attempt_pass(
    spool: Spool, start: Start, release: threading.Event
) -> None:
    clock = Clock()
    down = Unavailable("down")
    queue = FakeQueue(down, down, down, lambda: release.wait(PATIENCE))
    fill(spool, range(60))
    # The pauses after the first two failures are zero; the pause after the third is long.
    sender = start(queue, threads=1, clock=clock, jitter=lambda low, high: 0 if high < 2 else high)
    eventually(lambda: sender.delivery.breaker == OPEN)
    assert (queue.calls, sender.delivery.waiting) == (3, 60)
    clock.now += 2
    queue.wait_for(lambda: queue.calls == 4)
    assert sender.delivery.breaker == HALF_OPEN
    release.set()
    eventually(lambda: not sender.delivery.waiting)
    assert sender.delivery.breaker == CLOSED


def test_only_one_thread_tries_a_recovering_site(
    spool: Spool, start: Start, release: threading.Event
) -> None:
    clock = Clock()
    barrier = threading.Barrier(5, timeout=PATIENCE)

    def fail() -> None:
        barrier.wait()
        raise Unavailable("down")

    queue = FakeQueue(*[fail] * 5, lambda: release.wait(PATIENCE))
    fill(spool, range(100))
    sender = start(queue, threads=5, clock=clock, jitter=lambda low, high: high)
    eventually(lambda: sender.delivery.breaker == OPEN and not spool._outboxes["aws"].taken)
    clock.now += 10
    queue.wait_for(lambda: queue.calls == 6)
    time.sleep(0.6)
    assert (queue.calls, sender.delivery.breaker) == (6, HALF_OPEN)
    release.set()
    eventually(lambda: not sender.delivery.waiting)


def test_a_site_that_accepts_parts_of_batches_does_not_open_the_breaker(
    spool: Spool, start: Start
) -> None:
    queue = FakeQueue(*[[THROTTLED]] * 3)
    fill(spool, range(30))
    pauses: list[float] = []

    def note(low: float, high: float) -> float:
        pauses.append(high)
        return 0.0

    sender = start(queue, threads=1, jitter=note)
    eventually(lambda: not sender.delivery.waiting)
    assert pauses == [0.5, 0.5, 0.5]


def test_an_outage_of_days_is_waited_out() -> None:
    clock = Clock()
    breaker = Breaker(clock, lambda low, high: high)
    for _ in range(5_000):
        breaker.fail()
    assert breaker.wait() == LONGEST_PAUSE


def test_a_call_that_hangs_does_not_delay_others(
    spool: Spool, start: Start, release: threading.Event
) -> None:
    hanging, good = FakeQueue(lambda: release.wait(PATIENCE)), FakeQueue()
    fill(spool, range(3))
    sender = start(hanging)
    hanging.wait_for(lambda: hanging.calls == 1)
    fill(spool, range(3, 50))
    other = start(good, site="gcp")
    # The site's other thread and the other site do not wait.
    eventually(lambda: sender.delivery.waiting == 3 and not other.delivery.waiting)
    assert sorted(arrived(good)) == sorted(bodies(range(50)))
    release.set()
    eventually(lambda: not sender.delivery.waiting)
    assert sorted(arrived(hanging)) == sorted(bodies(range(50)))


def test_accepted_messages_that_could_not_be_settled_are_settled_later(
    spool: Spool, start: Start, tmp_path: Path
) -> None:
    queue = FakeQueue([THROTTLED])
    fill(spool, range(30))
    spool._db.execute("PRAGMA busy_timeout = 5")
    with closing(sqlite3.connect(tmp_path / "spool", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        sender = start(queue)
        eventually(lambda: "cannot be used" in sender.delivery.error)
        assert queue.taken
        assert sender.delivery.waiting == 30
        other.execute("ROLLBACK")
    eventually(lambda: not sender.delivery.waiting)
    assert sorted(arrived(queue)) == sorted(bodies(range(30)))  # each body arrived once
    assert sender.delivery.messages == 30


def test_a_message_that_cannot_be_read_is_reported_and_ends_no_thread(
    spool: Spool, start: Start
) -> None:
    queue = FakeQueue()
    fill(spool, [1])
    spool._db.execute("UPDATE message SET last_id = 2")
    sender = start(queue, threads=1)
    eventually(lambda: "was damaged while it was open" in sender.delivery.error)
    spool._db.execute("UPDATE message SET last_id = 1")
    eventually(lambda: not sender.delivery.waiting)
    assert arrived(queue) == bodies([1])


def test_a_closed_sender_takes_no_messages(
    spool: Spool, start: Start, release: threading.Event
) -> None:
    queue = FakeQueue(lambda: release.wait(PATIENCE), for_ever=True)
    spool.append([entry(id_) for id_ in range(50)])
    sender = start(queue)
    queue.wait_for(lambda: queue.calls == 2)
    sender.close()
    release.set()
    eventually(lambda: sender.delivery.waiting == 30)
    assert (queue.calls, sender.delivery.messages) == (2, 20)


def test_a_call_may_outlive_the_spool(tmp_path: Path, release: threading.Event) -> None:
    queue = FakeQueue(lambda: release.wait(PATIENCE))
    with Spool.open(tmp_path / "spool", ("aws",)) as spool:
        spool.append([entry(1, sites=["aws"])])
        sender = Sender("aws", queue, spool, threads=1)
        queue.wait_for(lambda: queue.calls == 1)
        thread = next(each for each in threading.enumerate() if each.name == "send-aws")
        sender.close()
    release.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    with Spool.open(tmp_path / "spool", ("aws",)) as spool:
        assert spool.pending("aws").messages == 1  # it is sent again


def arrived(queue: FakeQueue) -> list[str]:
    return [message.body.rstrip() for message in queue.taken]


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def test_messages_that_the_function_cannot_read_wait_without_delaying_others(
    spool: Spool, start: Start
) -> None:
    highest = 1
    clock = Clock()
    queue = FakeQueue()
    spool.append([newer(id_) for id_ in range(0, 300, 2)])
    spool.append([entry(id_) for id_ in range(1, 300, 2)])
    sender = start(queue, clock=clock, reads=lambda: Reads(highest))
    eventually(lambda: sender.delivery.waiting == 150)
    assert sorted(m.body.strip() for m in queue.taken) == sorted(bodies(range(1, 300, 2)))
    eventually(lambda: sender.delivery.error.startswith("150 messages wait: the function of"))
    assert not sender.delivery.refused
    clock.now += FUNCTION_ANSWERS + 1
    assert sender.delivery.refused
    highest = 2
    eventually(lambda: not sender.delivery.waiting)
    assert sorted(m.body.strip() for m in queue.taken) == sorted(bodies(range(300)))
    assert (sender.delivery.error, sender.delivery.refused) == ("", False)


def test_a_hanging_control_store_delays_only_messages_of_newer_versions(
    spool: Spool, start: Start, release: threading.Event
) -> None:
    class Hanging:
        def get(self, kind: str, key: str) -> Any:
            release.wait()

    queue, clock = FakeQueue(), Clock()
    site = SimpleNamespace(name="aws", control=Hanging(), queue=queue)
    support = SupportReader(cast(Site, site), clock=clock)
    spool.append([newer(0), newer(1), entry(2)])
    sender = start(queue, clock=clock, reads=support.reads)
    for id_ in range(3, 20):
        queue.wait_for(lambda: len(queue.taken) == id_ - 2)  # noqa: B023
        spool.append([entry(id_)])
    queue.wait_for(lambda: len(queue.taken) == 18)
    assert sender.delivery.error == ""
    clock.now += FUNCTION_ANSWERS + AWAY
    eventually(lambda: "has not answered for 10 s" in sender.delivery.error)
    assert not sender.delivery.refused


@pytest.mark.parametrize(
    ("error", "refused"), [(Refused("no", remedy="grant it"), True), (Unavailable("away"), False)]
)
def test_a_control_store_that_fails_is_named_with_its_own_remedy(
    spool: Spool, start: Start, error: Exception, refused: bool
) -> None:
    class Failing:
        def get(self, kind: str, key: str) -> Any:
            raise error

    queue, clock = FakeQueue(), Clock()
    site = SimpleNamespace(name="aws", control=Failing(), queue=queue)
    support = SupportReader(cast(Site, site), clock=clock)
    spool.append([newer(1)])
    sender = start(queue, clock=clock, reads=support.reads)
    eventually(lambda: bool(sender.delivery.error))
    assert sender.delivery.error == (
        "1 message waits: the control store of aws does not show which message formats its function"
        f" reads: {error}"
    )
    clock.now += FUNCTION_ANSWERS + 1
    assert sender.delivery.refused == refused


def newer(id_: int, *, sites: Iterable[str] = SITES) -> SpoolEntry:
    """Return an entry that only newer functions can read."""
    message = Message(f"BTCUSDT {id_} {id_}", {"symbol": "BTCUSDT", "version": "2"})
    return SpoolEntry(message, "BTCUSDT", id_, id_, 1, id_, frozenset(sites))


def test_held_messages_stay_in_the_spool_for_the_next_run(spool: Spool, start: Start) -> None:
    spool.append([newer(1)])
    sender = start(FakeQueue(), reads=lambda: Reads(1))
    eventually(lambda: sender.delivery.error)
    sender.close()
    assert spool.pending("aws").messages == 1


def test_held_messages_that_move_to_another_site_are_no_problem_of_the_first(
    spool: Spool, start: Start
) -> None:
    spool.append([newer(1, sites={"aws"})])
    sender = start(FakeQueue(), reads=lambda: Reads(1))
    eventually(lambda: bool(sender.delivery.error))
    spool.reassign("aws", "gcp")
    assert (sender.delivery.error, sender.delivery.waiting) == ("", 0)
    other = FakeQueue()
    start(other, site="gcp")
    other.wait_for(lambda: len(other.taken) == 1)


FRESHNESS = 10.0  # seconds


class Feed:
    """Puts messages of several symbols into a spool, by a clock that the test sets."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._next = 0
        self.clock = Clock()
        self.clock.now = 1_735_775_880.0  # a whole minute
        self.trades: list[Trade] = []

    def bring(self, *symbols: str, sites: Iterable[str] = ("aws",)) -> None:
        """Add a message of each symbol, received now."""
        at = int(self.clock.now * 1000)
        for symbol in symbols:
            self._next += 1
            trade = Trade(symbol, self._next, Decimal(7), Decimal(1), at, True)
            message = encode([trade])
            self._spool.append([SpoolEntry.of(message, received_at=at, sites=sites)])
            self.trades.append(trade)

    def later(self, seconds: float) -> None:
        self.clock.now += seconds


@pytest.fixture
def feed(spool: Spool) -> Feed:
    return Feed(spool)


def test_a_window_becomes_one_message(spool: Spool, start: Start, feed: Feed) -> None:
    queue = FakeQueue()
    for _ in range(3):
        feed.bring("BTCUSDT", "ETHUSDT")
        feed.later(4)
    feed.later(GRACE - 2.1)  # the last trades of the window may still be on their way
    sender = start(queue, freshness=FRESHNESS, wall=feed.clock)
    time.sleep(3 * LOOK)
    assert queue.taken == []
    feed.later(0.2)
    queue.wait_for(lambda: len(queue.taken) == 1)
    eventually(lambda: sender.delivery.waiting == 0)
    assert queue.trades == sorted(feed.trades)
    delivery = sender.delivery
    assert (delivery.messages, delivery.trades) == (1, 6)
    feed.bring("BTCUSDT")
    feed.later(FRESHNESS - 1)
    feed.bring("BTCUSDT")  # of the third window
    feed.later(1)
    queue.wait_for(lambda: len(queue.taken) == 2)
    eventually(lambda: sender.delivery.waiting == 1)
    feed.later(FRESHNESS)
    queue.wait_for(lambda: len(queue.taken) == 3)
    assert queue.trades == sorted(feed.trades)


def test_a_hurried_sender_waits_for_no_window(spool: Spool, start: Start, feed: Feed) -> None:
    queue = FakeQueue()
    sender = start(queue, freshness=FRESHNESS, wall=feed.clock)
    eventually(lambda: feed.clock.reads > 2)
    feed.bring("BTCUSDT", "ETHUSDT")
    time.sleep(3 * LOOK)
    assert queue.taken == []
    sender.hurry()
    queue.wait_for(lambda: queue.trades == sorted(feed.trades))
    eventually(lambda: sender.delivery.waiting == 0)


def test_messages_of_another_site_are_sent_at_once(spool: Spool, start: Start, feed: Feed) -> None:
    queue = FakeQueue()
    start(queue, site="gcp", freshness=FRESHNESS, wall=feed.clock)
    eventually(lambda: feed.clock.reads > 2)
    feed.bring("BTCUSDT", "ETHUSDT")
    time.sleep(3 * LOOK)
    assert queue.taken == []
    spool.reassign("aws", "gcp")
    queue.wait_for(lambda: len(queue.taken) == 1)
    assert queue.trades == sorted(feed.trades)


def test_a_clock_set_back_delays_nothing(spool: Spool, start: Start, feed: Feed) -> None:
    queue = FakeQueue()
    start(queue, freshness=FRESHNESS, wall=feed.clock)
    eventually(lambda: feed.clock.reads > 2)
    feed.bring("BTCUSDT")
    feed.later(-3600)
    queue.wait_for(lambda: len(queue.taken) == 1)


def test_a_parcel_that_fails_is_tried_again_before_the_next_window(
    spool: Spool, start: Start, feed: Feed
) -> None:
    queue = FakeQueue(Unavailable("down"), [THROTTLED], Unavailable("down"))
    for n in range(40):
        feed.bring(f"A{n}USDT", "BTCUSDT")
    feed.later(FRESHNESS + GRACE)
    sender = start(queue, freshness=FRESHNESS, wall=feed.clock)
    eventually(lambda: not sender.delivery.waiting)
    assert queue.trades == sorted(feed.trades)
    assert sender.delivery.trades == 80


def test_a_minute_of_the_whole_market_is_one_window(spool: Spool, start: Start, feed: Feed) -> None:
    """12,000 messages of the spool are combined, so that each candle is written once."""
    symbols = [f"S{number}USDT" for number in range(400)]
    at = int(feed.clock.now * 1000)
    trades = [
        Trade(symbol, second, Decimal(7), Decimal(1), at + 1000 * second, True)
        for second in range(30)
        for symbol in symbols
    ]
    messages = map(encode, ([trade] for trade in trades))
    spool.append([SpoolEntry.of(each, received_at=at, sites=("aws",)) for each in messages])
    queue = FakeQueue()
    feed.later(60 + GRACE)
    sender = start(queue, freshness=60.0, wall=feed.clock)
    eventually(lambda: sender.delivery.waiting == 0)
    envelopes = [decode(each.body, each.attributes) for each in queue.taken]
    found = [{trade.symbol for trade in each.trades} for each in envelopes]
    assert sum(len(each.trades) for each in envelopes) == len(trades)
    assert sum(map(len, found)) == len(symbols)


def test_a_site_with_an_old_function_gets_messages_of_one_symbol(
    spool: Spool, start: Start, feed: Feed
) -> None:
    queue = FakeQueue()
    feed.bring("BTCUSDT", "ETHUSDT", "BTCUSDT")
    feed.later(FRESHNESS + GRACE)
    start(queue, freshness=FRESHNESS, wall=feed.clock, reads=lambda: Reads(1))
    queue.wait_for(lambda: len(queue.taken) == 2)
    assert all(version_of(each) == 1 for each in queue.taken)
    assert queue.trades == sorted(feed.trades)


def test_the_function_is_not_queried_for_messages_that_every_function_reads(
    spool: Spool, start: Start, feed: Feed
) -> None:
    def reads() -> Reads:
        pytest.fail("the control store would be read")

    queue = FakeQueue()
    feed.bring("BTCUSDT", "BTCUSDT")
    feed.later(FRESHNESS + GRACE)
    start(queue, freshness=FRESHNESS, wall=feed.clock, reads=reads)
    queue.wait_for(lambda: queue.trades == sorted(feed.trades))
    assert len(queue.taken) == 1


def test_a_backlog_is_sent_without_waiting_for_windows(
    spool: Spool, start: Start, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender_module, "WINDOW", 7)
    queue = FakeQueue()
    for _ in range(20):
        feed.bring("BTCUSDT", "ETHUSDT")
    feed.later(FRESHNESS + GRACE)
    sender = start(queue, freshness=FRESHNESS, wall=feed.clock)
    eventually(lambda: not sender.delivery.waiting)
    assert queue.trades == sorted(feed.trades)
    assert len(queue.taken) >= 6


def test_a_refused_settlement_does_not_delay_another_parcel(
    spool: Spool, start: Start, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender_module, "REQUEST", 1)
    settle, refusals = spool.settle, iter([Unavailable("the disk is full")])

    def refuse_once(site: str, ids: Iterable[int]) -> None:
        for error in refusals:
            raise error
        settle(site, ids)

    monkeypatch.setattr(spool, "settle", refuse_once)
    queue = FakeQueue()
    feed.bring("BTCUSDT", "ETHUSDT", "BNBUSDT")
    feed.later(FRESHNESS + GRACE)
    # Three parcels, since the function reads one symbol in a message.
    sender = start(queue, threads=1, freshness=FRESHNESS, wall=feed.clock, reads=lambda: Reads(1))
    eventually(lambda: not sender.delivery.waiting)
    assert queue.trades == sorted(feed.trades)
