"""An exchange as the source: ids are dense, so missing trades are known, fetched or reported."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcloud.errors import Unavailable
from mcloud.feed.binance.connection import Timing
from mcloud.feed.binance.endpoints import endpoints
from mcloud.feed.binance.rest import BinanceRest
from mcloud.feed.binance.source import BinanceSource
from mcloud.feed.simulate import Simulate
from mcloud.local.exchange.thread import LocalExchange
from mcloud.market.envelope import decode
from mcloud.market.trade import Trade
from mcloud.producer import newest_ids, repair
from mcloud.producer.cursor import Cursor
from mcloud.producer.id_reset import LONG
from mcloud.producer.produce import Intake, ProducerProgress, produce
from mcloud.producer.route import Route
from mcloud.producer.spool import Spool

from .queues import FakeQueue
from .sources import PATIENCE, START, FakeHistory, Script, trade, trades
from .spools import as_left_by_a_crash, environment

ROUTE = Route(("aws",), "the only site")


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool.open(tmp_path / "spool", ["aws"]) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair, "LOOK", 0.005)
    monkeypatch.setattr(newest_ids, "SETTLE", 0.1)


def test_repeats_are_dropped_and_counted(spool: Spool) -> None:
    queue = FakeQueue()
    chunks = (trades([7, 8, 8]), trades([7, 8, 9]), trades([9, 6, 10]))
    done = produce(Script(*chunks), {"aws": queue}, spool, live=True)
    assert queue.trades == trades(range(7, 11))
    assert (done.read, done.repeats, done.holes) == (4, 5, ())


def test_restarted_trade_ids_are_reported_and_not_taken_for_repeats(spool: Spool) -> None:
    before = trades(range(1000, 1004))
    after = [
        trade(id_)._replace(time=before[-1].time + 1 + id_ * 1000)
        for id_ in range(LONG // 1000 + 1)
    ]
    done = produce(
        Script(before, *([each] for each in after)), {"aws": FakeQueue()}, spool, live=True
    )
    assert (done.read, done.repeats) == (len(before), len(after))
    assert done.problem.startswith(
        "trades of BTCUSDT are dropped: their ids belong to earlier trades"
    )


def test_without_history_a_hole_is_reported_and_stays(spool: Spool) -> None:
    queue = FakeQueue()
    chunks = (trades([1, 2, 6]), trades([20], "ETHUSDT"))
    done = produce(Script(*chunks), {"aws": queue}, spool, live=True)
    assert [(hole.symbol, hole.first, hole.last) for hole in done.holes] == [("BTCUSDT", 3, 5)]
    (position,) = [each for each in spool.resume_points() if each.symbol == "BTCUSDT"]
    assert (position.next_id, position.holes) == (7, done.holes)


def test_a_hole_is_filled_from_the_history_beside_the_live_trades(spool: Spool) -> None:
    queue = FakeQueue()
    history = FakeHistory(trades(range(1, 5_001)))
    live = [trades([id_]) for id_ in range(4_001, 4_501)]
    source = Script(
        trades([1]), *live, lambda: len(queue.trades) >= 4_500, trades(range(4_501, 5_001))
    )
    done = produce(source, {"aws": queue}, spool, history=history, live=True, linger=0)
    assert queue.trades == trades(range(1, 5_001))
    assert (done.read, done.repeats, done.holes) == (5_000, 0, ())
    assert [each[1:] for each in history.asked] == [
        (2, 1_000), (1_002, 1_000), (2_002, 1_000), (3_002, 999)
    ]  # fmt: skip


def test_a_hole_that_cannot_be_filled_has_its_reason(spool: Spool) -> None:
    queue = FakeQueue()
    history = FakeHistory(trades(range(1, 3)), *[Unavailable("no answer")] * 50)
    told: list[ProducerProgress] = []

    def is_tried() -> bool:
        return bool(told and told[-1].holes and told[-1].holes[0].attempts)

    source = Script(trades([1, 5]), is_tried, trades([6]))
    done = produce(
        source, {"aws": queue}, spool, history=history, live=True, linger=0, progress=told.append
    )
    assert [(hole.first, hole.last, hole.reason) for hole in done.holes] == [(2, 4, "no answer")]
    # The hole is remembered, and a later run that can fill it does so.
    history = FakeHistory(trades(range(1, 10)))
    source = Script(lambda: len(queue.trades) == 6, trades([7]))
    done = produce(source, {"aws": queue}, spool, history=history, live=True, linger=0)
    assert queue.trades == trades(range(1, 8))
    assert done.holes == ()


def test_a_restart_fetches_trades_of_the_meantime(spool: Spool) -> None:
    queue = FakeQueue()
    produce(Script(trades(range(1, 11))), {"aws": queue}, spool, live=True)
    history = FakeHistory(trades(range(1, 101)))
    source = Script(trades([90]), lambda: len(queue.trades) == 90, trades([91]))
    done = produce(source, {"aws": queue}, spool, history=history, live=True, linger=0)
    assert done.holes == ()
    assert queue.trades == trades(range(1, 92))
    assert history.asked == [("BTCUSDT", 11, 79)]


def test_a_start_fetches_missed_trades_even_if_no_trade_follows(spool: Spool) -> None:
    queue = FakeQueue()
    produce(Script(trades(range(1, 11))), {"aws": queue}, spool, live=True)
    history = FakeHistory([*trades(range(1, 21)), *trades(range(9), "ETHUSDT")])
    done = produce(
        Script(lambda: len(queue.trades) == 20), {"aws": queue}, spool,
        history=history, live=True, opened=once("BTCUSDT", "ETHUSDT"), linger=0,
    )  # fmt: skip
    assert queue.trades == trades(range(1, 21))
    assert done.holes == ()
    # A symbol without trades begins with its first trade, and not before.
    assert history.asked == [("BTCUSDT", 11, 10)]


def test_a_lost_end_that_cannot_be_fetched_is_reported_and_remembered(spool: Spool) -> None:
    history = FakeHistory(trades(range(1, 6)), *[Unavailable("no answer")] * 999)
    told: list[ProducerProgress] = []

    def is_named() -> bool:
        return bool(told and told[-1].holes and told[-1].holes[0].attempts)

    produce(
        Script(trades([1, 2]), is_named), {"aws": FakeQueue()}, spool,
        history=history, live=True, opened=once("BTCUSDT"), linger=0, progress=told.append,
    )  # fmt: skip
    (hole,) = told[-1].holes
    assert (hole.first, hole.last, hole.reason) == (3, 5, "no answer")
    (position,) = spool.resume_points()
    assert [(hole.first, hole.last) for hole in position.holes] == [(3, 5)]
    # The next trade follows directly and opens no other hole.
    cursor = Cursor([position])
    assert cursor.admit(trades([6]), 0) == trades([6])
    assert len(cursor.holes()) == 1


def test_a_trade_that_the_stream_delivers_late_was_not_lost(spool: Spool) -> None:
    """REST may be ahead. Its trades are expected, and taken from whichever source is first."""
    queue = FakeQueue()
    history = FakeHistory(trades(range(1, 9)), *[Unavailable("no answer")] * 999)
    told: list[ProducerProgress] = []
    source = Script(
        trades([1]), lambda: bool(told and told[-1].holes), trades([4, 2, 3]), trades(range(5, 10))
    )
    done = produce(
        source, {"aws": queue}, spool,
        history=history, live=True, opened=once("BTCUSDT"), linger=0, progress=told.append,
    )  # fmt: skip
    assert queue.trades == trades(range(1, 10))
    assert (done.holes, done.repeats) == ((), 0)


# Sequences of events in the stream of a symbol
events = st.lists(
    st.one_of(
        st.tuples(st.just("live"), st.integers(1, 9)),
        st.tuples(st.just("missed"), st.integers(1, 6)),
        st.tuples(st.just("again"), st.integers(1, 4)),
        st.tuples(st.just("repaired"), st.integers(1, 4)),
        st.tuples(st.just("commit"), st.just(0)),
        st.tuples(st.just("crash"), st.just(0)),
    ),
    max_size=30,
)


@settings(max_examples=40, deadline=None)
@given(events, st.integers(1, 12), st.sampled_from([0.0, 60.0]))
def test_after_a_crash_at_any_point_every_id_arrives(
    tmp_path_factory: pytest.TempPathFactory,
    events: list[tuple[str, int]],
    batch: int,
    linger: float,
) -> None:
    """Committed ids are present, and all others are reported as missing."""
    path = tmp_path_factory.mktemp("crash") / "0" / "spool"
    spool = Spool.open(path, ["aws"])
    intake = Intake(spool, True, lambda: ROUTE, batch, linger)
    next_id = 100  # the exchange's next id
    start: int | None = None  # the first id that was taken
    committed: int | None = None  # the first id that is on the disk
    for number, (event, count) in enumerate([*events, ("crash", 0)], start=1):
        given: list[Trade] = []
        if event == "live":
            given = trades(range(next_id, next_id + count))
            next_id += count
        elif event == "missed":
            next_id += count
        elif event == "again":
            given = trades(range(next_id - count, next_id))
        elif event == "repaired":
            given = everything_missing(intake)[:count]
        elif event == "commit":
            intake.commit()
            committed = start
        else:
            path = as_left_by_a_crash(path, path.parents[1] / str(number))
            spool.close()
            spool = Spool.open(path, ["aws"])
            intake = Intake(spool, True, lambda: ROUTE, batch, linger)
            start = committed
        if given and start is None:
            start = given[0].id
        intake.take(given)
    # It continues with the next trade, and the exchange has all trades.
    intake.take([trade(next_id)])
    intake.take(everything_missing(intake))
    intake.close()
    intake.commit()
    ids = {each.id for each in stored(spool)}
    spool.close()
    assert ids == set(range(next_id if start is None else start, next_id + 1))


voids_and_crashes = st.lists(
    st.one_of(
        st.tuples(st.just("live"), st.integers(1, 6)),
        st.tuples(st.just("late"), st.integers(0, 30)),
        st.tuples(st.just("other"), st.integers(1, 6)),
        st.tuples(st.just("commit"), st.just(0)),
        st.tuples(st.just("crash"), st.just(0)),
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(voids_and_crashes, st.integers(1, 12), st.sampled_from([0.0, 60.0]))
def test_after_a_crash_at_any_point_a_late_trade_still_replaces_its_void(
    tmp_path_factory: pytest.TempPathFactory,
    events: list[tuple[str, int]],
    batch: int,
    linger: float,
) -> None:
    path = tmp_path_factory.mktemp("crash") / "0" / "spool"
    spool = Spool.open(path, ["aws"])
    intake = Intake(spool, True, lambda: ROUTE, batch, linger)
    intake.take(trades([0]) + trades([0], "ETHUSDT"))
    intake.close()
    intake.commit()
    next_id, next_other = 1, 1
    voids: list[Trade] = []  # every second id of a symbol is used up without a trade
    late: set[int] = set()  # the ids of those whose trades came later
    for number, (event, count) in enumerate([*events, ("crash", 0)], start=1):
        if event == "live":
            ids = range(next_id, next_id + count)
            came = [Trade.void("BTCUSDT", id_, START) if id_ % 2 else trade(id_) for id_ in ids]
            voids += [each for each in came if each.is_void]
            next_id += count
            intake.take(came)
        elif event == "other":
            intake.take(trades(range(next_other, next_other + count), "ETHUSDT"))
            next_other += count
        elif event == "late" and voids:
            id_ = voids[count % len(voids)].id
            late.add(id_)
            intake.take([trade(id_)])
        elif event == "commit":
            intake.commit()
        elif event == "crash":
            path = as_left_by_a_crash(path, path.parents[1] / str(number))
            spool.close()
            spool = Spool.open(path, ["aws"])
            intake = Intake(spool, True, lambda: ROUTE, batch, linger)
    # The ids in memory are lost, and the exchange now has the trade of each id except the voids.
    intake.take(trades([next_id]))
    holes = [hole for hole in intake.holes() if hole.symbol == "BTCUSDT"]
    missing = {id_ for hole in holes for id_ in range(hole.first, hole.last + 1)}
    intake.take(
        [
            Trade.void("BTCUSDT", id_, START) if id_ % 2 and id_ not in late else trade(id_)
            for id_ in missing
        ]
    )
    # Now the trades of all voids arrive, even those whose only copy was lost in a crash.
    intake.take(trades(each.id for each in voids))
    intake.close()
    intake.commit()
    ids = {each.id for each in stored(spool) if each.symbol == "BTCUSDT" and not each.is_void}
    spool.close()
    assert ids >= set(range(next_id))


PRODUCER = """
import os, sys
from pathlib import Path
from mcloud.market.envelope import decode
from mcloud.producer import repair
from mcloud.producer.produce import produce
from mcloud.producer.spool import Spool
from tests.producer.sources import FakeHistory, Script, trades

repair.LOOK = 0.005
folder, start, end = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])

class FileQueue:
    def __init__(self, name):
        self.file = open(folder / name, "a")

    def send(self, messages):
        for message in messages:
            for each in decode(message.body).trades:
                self.file.write(f"{each.symbol} {each.id}\\n")
        self.file.flush()
        return []

class Market(Script):
    def chunks(self, timeout):
        for id_ in range(start, end, 3):
            yield trades(range(id_, min(id_ + 3, end))) + trades([id_], "ETHUSDT")
            print(id_, flush=True)  # on the disk, or its place is
        print("end", flush=True)
        # The rest is repaired.
        while progress is None or progress.holes:
            yield []

progress = None

def tell(each):
    global progress
    progress = each

known = trades(range(0, end)) + [t for i in range(0, end) for t in trades([i], "ETHUSDT")]
queues = {name: FileQueue(name) for name in ("aws", "gcp")}
with Spool.open(folder / "spool", list(queues)) as spool:
    produce(Market(), queues, spool, history=FakeHistory(known), live=True,
            linger=0.02, batch=10, progress=tell)
"""


@pytest.mark.slow
def test_killed_again_and_again_a_real_process_delivers_every_id(tmp_path: Path) -> None:
    random = Random(3)
    begin, end = 0, 0
    for kill in [True] * 6 + [False]:
        end = begin + 3_000
        command = [sys.executable, "-c", PRODUCER, str(tmp_path), str(begin), str(end)]
        wanted = random.randrange(1, 150)
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=environment()
        ) as producer:
            assert producer.stdout
            for count, line in enumerate(producer.stdout):
                # The next start has to find the trades that it missed in between.
                begin = int(line) + 50 if line[0].isdigit() else begin
                if kill and count == wanted:
                    producer.kill()
        assert producer.returncode == (-9 if kill else 0)
    for site in ("aws", "gcp"):
        lines = (tmp_path / site).read_text().split("\n")
        # The kill may have truncated a line, which was then written again.
        got = {line for line in lines if len(line.split()) == 2}
        assert {f"BTCUSDT {id_}" for id_ in range(end)} <= got
        last = max(int(line.split()[1]) for line in got if line.startswith("ETHUSDT"))
        assert {f"ETHUSDT {id_}" for id_ in range(last + 1)} <= got


def test_a_market_with_lost_connections_is_delivered_completely(tmp_path: Path) -> None:
    """Streams, REST, cursor and repair work together in one process."""
    market = list(Simulate(["BTCUSDT", "ETHUSDT"], seed=8, start_time=START, rate=500, duration=4))
    timing = Timing(overlap=0.05, quiet=0.5, first_backoff=0.02, longest_backoff=0.05)
    queues = {"aws": FakeQueue(), "gcp": FakeQueue(*[Unavailable("down")] * 2)}
    stop = threading.Event()
    cuts = 0
    with LocalExchange(market, speed=1.0, wait_for=2) as exchange:
        here = endpoints(ws_url=exchange.ws_url, rest_url=exchange.rest_url)
        rest = BinanceRest(here)
        source = BinanceSource(here, ["BTCUSDT", "ETHUSDT"], rest=rest, timing=timing)

        def tell(progress: ProducerProgress) -> None:
            nonlocal cuts
            line = source.state.connections[0]
            # Not at the ends: a trade that no other trade follows is not known to be missing.
            if (
                cuts < 5
                and line.open
                and line.reconnects == cuts
                and progress.read > 500 * (cuts + 1)
            ):
                cuts += 1
                exchange.fault("cut")
            if exchange.wait_finished(0) and not source.state.waiting and not progress.holes:
                stop.set()

        with Spool.open(tmp_path / "spool", list(queues)) as spool:
            done = produce(
                source, queues, spool,
                history=rest, live=True, linger=0.1, progress=tell, stop=stop,
            )  # fmt: skip
    assert cuts == 5
    assert done.complete
    assert done.holes == ()
    for queue in queues.values():
        assert queue.trades == sorted(market)


@pytest.mark.parametrize("fault", ["cut", "drop"])
def test_the_last_trades_are_delivered_although_none_follow(
    tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last trades happen while no client is connected, or are not sent to the client."""
    monkeypatch.setattr(newest_ids, "QUIET", 1.0)
    symbols = ["BTCUSDT", "ETHUSDT"]
    early = list(Simulate(symbols, seed=4, start_time=START, rate=200, duration=1))
    ends = {s: max(t.id for t in early if t.symbol == s) for s in symbols}
    late = [
        Trade(symbol, ends[symbol] + n, Decimal(n), Decimal(1), early[-1].time + 3_000, True)
        for n in (1, 2, 3)
        for symbol in symbols
    ]
    queue = FakeQueue()
    stop = threading.Event()
    harmed = False
    with LocalExchange([*early, *late], speed=1.0, wait_for=2) as exchange:
        here = endpoints(ws_url=exchange.ws_url, rest_url=exchange.rest_url)
        rest = BinanceRest(here)
        timing = Timing(overlap=0.05, quiet=0.5, first_backoff=0.02, longest_backoff=0.05)
        source = BinanceSource(here, symbols, rest=rest, timing=timing)
        deadline = time.monotonic() + PATIENCE

        def tell(progress: ProducerProgress) -> None:
            nonlocal harmed
            assert time.monotonic() < deadline, progress
            if not harmed and progress.read >= len(early):
                harmed = True
                if fault == "cut":
                    exchange.fault("refuse")
                    exchange.fault("cut")
                else:
                    exchange.fault("drop", count=len(late))
            if harmed and exchange.wait_finished(0):
                exchange.lift()
                if progress.read == len(early) + len(late):
                    stop.set()

        with Spool.open(tmp_path / "spool", ["aws"]) as spool:
            done = produce(
                source, {"aws": queue}, spool,
                history=rest, live=True, opened=source.opened, linger=0.1, progress=tell, stop=stop,
            )  # fmt: skip
    assert queue.trades == sorted([*early, *late])
    assert (done.complete, done.holes) == (True, ())


def test_positions_are_those_of_a_cursor(spool: Spool) -> None:
    """The next run continues at exactly the id at which a run ended."""
    produce(Script(trades([5, 6, 9, 7])), {"aws": FakeQueue()}, spool, live=True)
    cursor = Cursor(spool.resume_points())
    assert cursor.position("BTCUSDT") == 10
    assert [(hole.first, hole.last) for hole in cursor.holes()] == [(8, 8)]
    assert cursor.admit(trades([6, 8, 10]), 0) == trades([8, 10])


def once(*symbols: str) -> Callable[[], list[str]]:
    """Return a function that reports once that the streams of these symbols began again."""
    left = list(symbols)

    def opened() -> list[str]:
        now, left[:] = left[:], []
        return now

    return opened


def stored(spool: Spool) -> list[Trade]:
    bodies = spool._db.execute("SELECT body FROM message").fetchall()
    return [each for (body,) in bodies for each in decode(body.decode()).trades]


def everything_missing(intake: Intake) -> list[Trade]:
    holes = intake.holes()
    return [trade(id_) for hole in holes for id_ in range(hole.first, hole.last + 1)]
