"""The producer's message log: its content, its limited size, and that it never blocks."""

import os
from collections.abc import Iterable
from decimal import Decimal
from math import inf
from pathlib import Path
from threading import Event, Thread

import pytest

from mcloud.errors import Unavailable
from mcloud.market.envelope import decode, encode
from mcloud.market.trade import Trade
from mcloud.producer.message_log import Journey, MessageLog, find
from mcloud.producer.parcels import Parcel, combine
from mcloud.producer.produce import FeedReader, produce
from mcloud.producer.spool import Spool
from mcloud.producer.spool_message import Spooled, SpoolEntry

from .queues import FakeQueue

START = 1_735_775_880_000


def trades(first: int, last: int, symbol: str = "BTCUSDT") -> list[Trade]:
    return [
        Trade(symbol, id_, Decimal(7), Decimal(1), START + id_, True)
        for id_ in range(first, last + 1)
    ]


def entry(of: list[Trade]) -> SpoolEntry:
    return SpoolEntry.of(encode(of, one_in=1), received_at=START + 5, sites=["aws", "gcp"])


def parcel(*entries: SpoolEntry) -> Parcel:
    """Return a parcel with these messages."""
    spooled = [Spooled(n, each.message, each.count, START) for n, each in enumerate(entries)]
    ((combined,), _) = combine(spooled, until=inf, oldest=inf, one_in=1)
    return combined


def note(
    trail: MessageLog, of: list[Trade], at: int, sites: Iterable[str] = ("aws",)
) -> SpoolEntry:
    made = entry(of)
    trail.spooled([(of, made)], at)
    for number, site in enumerate(sites, start=1):
        trail.sent(site, [parcel(made)], at + number)
    return made


def test_a_trade_is_found_with_all_that_was_noted(tmp_path: Path) -> None:
    with MessageLog(tmp_path) as trail:
        note(trail, trades(1, 9), START + 10)
        made = note(trail, trades(10, 19), START + 20, ["gcp", "aws"])
        note(trail, trades(10, 19, "ETHUSDT"), START + 30)
        trail.sent("aws", [parcel(made)], START + 99)  # sent again, since the answer was lost
    (journey,) = find(tmp_path, "BTCUSDT", 12)
    assert journey == Journey(
        10,
        19,
        trades=10,
        times=(START + 10, START + 19),
        received=START + 5,
        spooled=START + 20,
        traceparent=made.message.attributes["traceparent"],
        sent={"gcp": START + 21, "aws": START + 22},
    )
    assert find(tmp_path, "BTCUSDT", 20) == find(tmp_path, "BTCUSD", 12) == []
    assert find(tmp_path / "elsewhere", "BTCUSDT", 12) == []


def test_a_message_that_was_sent_with_others_has_the_trace_of_their_parcel(tmp_path: Path) -> None:
    with MessageLog(tmp_path) as trail:
        made = [note(trail, trades(1, 9), START, ()), note(trail, trades(10, 19), START, ())]
        sent = parcel(*made)
        trail.sent("aws", [sent], START + 1)
    for trade_id, each in ((5, made[0]), (15, made[1])):
        (journey,) = find(tmp_path, "BTCUSDT", trade_id)
        assert journey.sent == {"aws": START + 1}
        assert journey.traceparent == sent.message.attributes["traceparent"]
        assert journey.traceparent != each.message.attributes["traceparent"]


def test_a_message_spooled_before_the_record_existed_is_found(
    tmp_path: Path,
) -> None:
    with MessageLog(tmp_path) as trail:
        trail.sent("aws", [parcel(entry(trades(1, 9)))], START)
    assert find(tmp_path, "BTCUSDT", 5) == [Journey(1, 9, sent={"aws": START})]


def test_a_truncated_line_is_skipped(tmp_path: Path) -> None:
    with MessageLog(tmp_path) as trail:
        note(trail, trades(1, 9), START)
        note(trail, trades(1, 9), START)
    path = tmp_path / "trail.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    (journey,) = find(tmp_path, "BTCUSDT", 5)
    assert journey.sent == {"aws": START + 1}


@pytest.mark.parametrize("limit", [1_500, 3_262, 20_000])
def test_the_log_is_never_larger_than_its_limit_and_keeps_the_newest(
    tmp_path: Path, limit: int
) -> None:
    for run in range(12):
        with MessageLog(tmp_path, limit=limit) as trail:
            for number in range(run * 7, run * 7 + 7):
                note(trail, trades(number * 10, number * 10 + 9), START)
                assert sum(each.stat().st_size for each in tmp_path.iterdir()) <= limit
        assert find(tmp_path, "BTCUSDT", run * 70 + 69)[0].sent == {"aws": START + 1}
    assert len(list(tmp_path.iterdir())) == 2
    assert find(tmp_path, "BTCUSDT", 0) == []


def test_a_disk_that_refuses_the_record_stops_no_trade(tmp_path: Path) -> None:
    nowhere = tmp_path / "gone"
    queue = FakeQueue()
    with Spool.open(tmp_path / "spool", ["aws"]) as spool, MessageLog(nowhere) as trail:
        done = produce(FeedReader(trades(1, 500)), {"aws": queue}, spool, trail=trail, batch=100)
        assert done.complete
        assert len(queue.trades) == 500
        assert trail.problem.endswith("cannot be written: No such file or directory")
        nowhere.mkdir()
        note(trail, trades(1, 9), START)
        assert trail.problem == ""
    assert find(nowhere, "BTCUSDT", 4)


def test_threads_do_not_tear_each_others_lines(tmp_path: Path) -> None:
    with MessageLog(tmp_path, limit=400_000) as trail:
        threads = [
            Thread(target=lambda n=n: [note(trail, trades(n, n), START) for _ in range(50)])
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lines = (tmp_path / "trail.jsonl").read_text().splitlines()
    assert len(lines) == 8 * 50 * 2
    assert all(line.startswith("{") and line.endswith("}") for line in lines)


def test_a_run_records_its_steps_and_its_messages_carry_the_trace(tmp_path: Path) -> None:
    queues = {"aws": FakeQueue(), "gcp": FakeQueue(*[Unavailable("down")] * 2)}
    given = trades(1, 950)
    with Spool.open(tmp_path / "spool", list(queues)) as spool, MessageLog(tmp_path) as trail:
        produce(FeedReader(given), queues, spool, trail=trail, batch=100)
    for id_ in (1, 500, 950):
        (journey,) = find(tmp_path, "BTCUSDT", id_)
        assert journey.received is not None
        assert journey.spooled is not None
        assert set(journey.sent) == {"aws", "gcp"}
        # The same clock measures all times: received, on the disk, sent.
        assert journey.received <= journey.spooled <= min(journey.sent.values())
        sent = {
            each.attributes["traceparent"]
            for queue in queues.values()
            for each in queue.taken
            if any(trade.id == id_ for trade in decode(each.body).trades)
        }
        assert sent == {journey.traceparent}


def test_a_message_sent_again_by_the_next_run_keeps_its_trace(tmp_path: Path) -> None:
    away, back = FakeQueue(Unavailable("away"), for_ever=True), FakeQueue()
    path = tmp_path / "spool"
    stop = Event()
    stop.set()
    with Spool.open(path, ["aws"]) as spool, MessageLog(tmp_path) as trail:
        produce(FeedReader(trades(1, 50)), {"aws": away}, spool, trail=trail, stop=stop, drain=0)
    left = find(tmp_path, "BTCUSDT", 1)
    with Spool.open(path, ["aws"]) as spool, MessageLog(tmp_path) as trail:
        produce(FeedReader([]), {"aws": back}, spool, trail=trail)
    if left:  # the producer may have stopped before the first trade
        assert left[0].sent == {}
        (after,) = find(tmp_path, "BTCUSDT", 1)
        assert set(after.sent) == {"aws"}
        assert back.taken[0].attributes["traceparent"] == after.traceparent


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    with MessageLog(tmp_path) as trail:
        note(trail, trades(1, 1), START)
    assert os.stat(tmp_path / "trail.jsonl").st_mode & 0o077 == 0
