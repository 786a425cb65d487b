"""From a source through the spool to the queues of several sites."""

import threading
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mcloud.clouds.ports import Queue
from mcloud.errors import McloudError, Refused, Unavailable
from mcloud.feed.simulate import Simulate
from mcloud.market.envelope import decode
from mcloud.market.trade import Trade
from mcloud.producer import produce as module
from mcloud.producer.produce import FeedReader, ProducerProgress, produce
from mcloud.producer.route import Route
from mcloud.producer.spool import Spool

from .queues import FakeQueue
from .sources import PATIENCE, START, Script, trade, trades


@pytest.fixture
def release() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def stream(count: int) -> list[Trade]:
    return list(Simulate(["BTCUSDT", "ETHUSDT"], seed=1, start_time=START, count=count))


def run(
    path: Path, given: Iterable[Trade], queues: Mapping[str, Queue], **options: Any
) -> ProducerProgress:
    with Spool.open(path, list(queues)) as spool:
        return produce(FeedReader(given), queues, spool, **options)


def test_every_trade_reaches_every_queue(path: Path) -> None:
    given = stream(5_000)
    queues = {"aws": FakeQueue(), "gcp": FakeQueue(*[Unavailable("down")] * 2)}
    told: list[ProducerProgress] = []
    done = run(path, given, queues, batch=300, progress=told.append)
    assert done.complete
    assert (done.read, done.last_time) == (5_000, max(each.time for each in given))
    assert (done.repeats, done.holes, done.problem, done.spool_full) == (0, (), "", False)
    for name, queue in queues.items():
        assert queue.trades == sorted(given)
        site = done.sites[name]
        assert (site.trades, site.waiting, site.error) == (5_000, 0, "")
        assert site.messages == len(queue.taken) >= 5_000 / 300
    assert told[-1].sites == done.sites
    with Spool.open(path, list(queues)) as spool:
        assert [spool.pending(name).messages for name in queues] == [0, 0]


def test_the_callers_stop_is_not_touched(path: Path) -> None:
    """A caller uses it to distinguish an interrupted run from one that ended."""
    stop = threading.Event()
    assert run(path, stream(10), {"aws": FakeQueue()}, stop=stop).complete
    assert not stop.is_set()


def test_repeats_are_sent_once_and_different_trades_under_one_id_both(path: Path) -> None:
    one = Trade("BTCUSDT", 7, Decimal(1), Decimal(1), START, True)
    other = one._replace(price=Decimal(2))
    queue = FakeQueue()
    done = run(path, [one, one, other, one], {"aws": queue})
    assert queue.trades == [one, other]
    assert (done.read, done.sites["aws"].trades) == (4, 2)


def test_an_empty_source_sends_nothing(path: Path) -> None:
    queue = FakeQueue()
    done = run(path, [], {"aws": queue})
    assert (done.read, done.last_time, done.complete, queue.calls) == (0, 0, True, 0)


def test_a_trade_is_on_the_disk_before_a_queue_sees_it(path: Path) -> None:
    queue = FakeQueue()
    seen: list[int] = []

    with Spool.open(path, ["aws"]) as spool:

        class Looking(FakeQueue):
            def send(self, messages: Any) -> Any:
                seen.append(spool.pending("aws").messages)
                bodies = {body for (body,) in spool._db.execute("SELECT body FROM message")}
                assert {message.body.encode() for message in messages} <= bodies
                return super().send(messages)

        queue = Looking()
        assert produce(FeedReader(stream(3_000)), {"aws": queue}, spool, batch=100).complete
    assert all(seen)
    assert queue.trades == sorted(stream(3_000))


def test_messages_of_an_earlier_run_are_sent_first(path: Path) -> None:
    first, second = stream(3_000)[:1_000], stream(3_000)[1_000:]
    away = FakeQueue(Refused("no access"), for_ever=True)
    left = run(path, first, {"aws": away}, batch=100)
    assert (left.complete, left.sites["aws"].waiting_trades) == (False, 1_000)
    queue = FakeQueue()
    # The feed yields nothing before all earlier trades have arrived.
    with Spool.open(path, ["aws"]) as spool:
        source = Script(lambda: queue.trades == sorted(first), second)
        done = produce(source, {"aws": queue}, spool)
    assert done.complete
    assert (done.read, done.sites["aws"].trades) == (2_000, 3_000)
    assert queue.trades == sorted(first + second)


def test_a_feed_that_waits_does_not_delay_earlier_trades(
    path: Path, release: threading.Event
) -> None:
    """Binance sends bursts within a millisecond, followed by a pause."""
    given = stream(7)
    queue = FakeQueue()

    def feed() -> Iterator[Trade]:
        yield from given
        queue.wait_for(lambda: len(queue.taken) >= 2)
        assert queue.trades == sorted(given)
        release.set()

    run(path, feed(), {"aws": queue}, linger=0.05)
    assert release.is_set()


def test_an_error_of_the_feed_is_raised_after_its_trades_are_delivered(path: Path) -> None:
    given = stream(700)

    def feed() -> Iterator[Trade]:
        yield from given
        raise McloudError("the file ended in the middle")

    queues = {"aws": FakeQueue(), "gcp": FakeQueue(Unavailable("down"))}
    told: list[ProducerProgress] = []
    with pytest.raises(McloudError, match="ended in the middle"):
        run(path, feed(), queues, progress=told.append)
    assert all(queue.trades == sorted(given) for queue in queues.values())
    assert told[-1].complete
    assert told[-1].read == 700


def test_stop_ends_the_reading_and_delivers_what_was_read(path: Path) -> None:
    stop = threading.Event()
    given: list[Trade] = []

    def feed() -> Iterator[Trade]:
        for each in Simulate(["BTCUSDT"], seed=1, start_time=START):  # this feed does not end
            given.append(each)
            if len(given) == 1_234:
                stop.set()
            yield each

    queue = FakeQueue(Unavailable("down"))
    done = run(path, feed(), {"aws": queue}, batch=100, stop=stop)
    assert done.complete
    # up to the last trade that the feed has yielded
    assert len(given) == done.read >= 1_234
    assert queue.trades == given


def test_stop_does_not_wait_for_a_feed_that_hangs(path: Path, release: threading.Event) -> None:
    given = stream(3)
    stop = threading.Event()

    def feed() -> Iterator[Trade]:
        yield from given
        stop.set()
        release.wait(PATIENCE)

    queue = FakeQueue()
    done = run(path, feed(), {"aws": queue}, linger=60, stop=stop)
    assert not release.is_set()
    assert queue.trades == sorted(given)
    assert done.complete


def test_an_unavailable_site_is_given_up_some_time_after_stop(path: Path) -> None:
    stop = threading.Event()
    away, good = FakeQueue(Unavailable("gone"), for_ever=True), FakeQueue()

    def tell(progress: ProducerProgress) -> None:
        if away.calls:
            stop.set()

    queues = {"aws": away, "gcp": good}
    done = run(path, stream(2_000), queues, batch=20, drain=0.5, progress=tell, stop=stop)
    assert not done.complete
    assert (done.sites["aws"].trades, done.sites["aws"].error) == (0, "gone")
    assert done.sites["gcp"].trades == done.read == 2_000
    # All trades that were read and not delivered are counted and kept.
    assert done.sites["aws"].waiting_trades == 2_000
    again = FakeQueue()
    run(path, [], {"aws": again})
    assert again.trades == good.trades == sorted(stream(2_000))


def test_a_full_spool_pauses_the_reading(path: Path, release: threading.Event) -> None:
    limit = 2**20
    behind, good = FakeQueue(lambda: release.wait(PATIENCE), for_ever=True), FakeQueue()
    chunks = [trades(range(first, first + 100)) for first in range(0, 8_000, 100)]
    full: list[ProducerProgress] = []

    def tell(progress: ProducerProgress) -> None:
        if progress.spool_full:
            full.append(progress)
            if len(full) == 5:
                release.set()

    with Spool.open(path, ["aws", "gcp"], limit_bytes=limit) as spool:
        # One trade per message, so that few trades fill it.
        done = produce(Script(*chunks), {"aws": behind, "gcp": good}, spool, batch=1, progress=tell)
    assert done.complete
    assert not done.spool_full
    assert len(behind.trades) == len(good.trades) == 8_000
    # Nothing is read while the spool is full.
    assert len({progress.read for progress in full[:5]}) == 1
    assert full[0].read < 8_000
    assert all(limit * 0.9 <= progress.spool_bytes <= limit + 100_000 for progress in full[:5])


def test_a_full_spool_still_accepts_trades_that_were_read(
    path: Path, release: threading.Event
) -> None:
    behind = FakeQueue(lambda: release.wait(PATIENCE), for_ever=True)
    late = trade(1, "ETHUSDT")

    def tell(progress: ProducerProgress) -> None:
        if progress.spool_full:
            stored = spool._db.execute("SELECT COUNT(*) FROM message WHERE symbol = 'ETHUSDT'")
            if stored.fetchone() == (1,):
                release.set()

    with Spool.open(path, ["aws"], limit_bytes=2**20) as spool:
        # Too recent for its batch to be written together with the others.
        source = Script([*trades(range(12_000)), late])
        done = produce(source, {"aws": behind}, spool, batch=2, linger=0.3, progress=tell)
    assert done.complete


def test_a_full_disk_is_reported_and_waited_for(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY", 0.01)
    told: list[ProducerProgress] = []
    queue = FakeQueue()

    def tell(progress: ProducerProgress) -> None:
        told.append(progress)
        if progress.problem and len(told) > 3:
            pages(spool, 100_000)

    with Spool.open(path, ["aws"]) as spool:
        source = Script(trades([1]), lambda: pages(spool, 30), trades(range(2, 3_000)))
        done = produce(source, {"aws": queue}, spool, batch=1, progress=tell)
    assert done.complete
    assert done.problem == ""
    assert queue.trades == trades(range(1, 3_000))
    (problem,) = {progress.problem for progress in told} - {""}
    assert problem.startswith(f"no room for the spool {path}")


def test_a_run_stopped_with_a_full_disk_reports_the_problem(path: Path) -> None:
    stop = threading.Event()

    def tell(progress: ProducerProgress) -> None:
        if progress.problem:
            stop.set()

    with Spool.open(path, ["aws"]) as spool:
        pages(spool, 12)
        with pytest.raises(Unavailable, match="no room for the spool"):
            produce(
                Script(trades(range(3_000))), {"aws": FakeQueue()}, spool,
                batch=1, progress=tell, stop=stop,
            )  # fmt: skip


def test_a_site_that_refuses_does_not_affect_the_others(path: Path) -> None:
    given = stream(30_000)
    refusing, good = FakeQueue(Refused("no access"), for_ever=True), FakeQueue()
    done = run(path, given, {"aws": refusing, "gcp": good}, batch=50)
    assert not done.complete
    assert good.trades == sorted(given)
    site = done.sites["aws"]
    assert (site.trades, site.refused, site.error) == (0, True, "no access")
    assert site.waiting == len(good.taken)


def test_a_batch_goes_to_the_route_at_the_time_of_writing(path: Path) -> None:
    queues = {"aws": FakeQueue(), "gcp": FakeQueue()}
    routes = {"now": Route(("aws",), "it leads")}

    def change() -> bool:
        if len(queues["aws"].trades) == 500:
            routes["now"] = Route(("gcp",), "it leads now")
            return True
        return False

    with Spool.open(path, list(queues)) as spool:
        source = Script(trades(range(500)), change, trades(range(500, 800)))
        done = produce(source, queues, spool, batch=100, route=lambda: routes["now"])
    assert done.complete
    assert done.route.reason == "it leads now"
    assert queues["aws"].trades == trades(range(500))
    assert queues["gcp"].trades == trades(range(500, 800))


def test_a_report_that_fails_ends_the_run_and_the_reading(path: Path) -> None:
    ended = threading.Event()

    def feed() -> Iterator[Trade]:
        try:
            yield from Simulate(["BTCUSDT"], seed=1, start_time=START)
        finally:
            ended.set()

    def tell(progress: ProducerProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(path, feed(), {"aws": FakeQueue()}, progress=tell)
    assert ended.wait(PATIENCE)


def test_messages_hold_one_symbol_with_ids_ascending(path: Path) -> None:
    queue = FakeQueue()
    run(path, stream(2_000), {"aws": queue}, batch=128)
    for message in queue.taken:
        envelope = decode(message.body, message.attributes)
        assert 1 <= len(envelope.trades) <= 128
        assert int(message.attributes["count"]) == len(envelope.trades)


def pages(spool: Spool, count: int) -> bool:
    """Give the spool a disk of this size."""
    spool._db.execute(f"PRAGMA max_page_count = {count}")
    return True
