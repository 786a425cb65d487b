"""Holes in the ids are filled from a history, oldest first, or reported with the reason."""

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import pytest

from mcloud.errors import Refused, Throttled, Unavailable
from mcloud.feed.binance.endpoints import endpoints
from mcloud.feed.binance.rest import BinanceRest
from mcloud.feed.feed import LONGEST_VOID, VOID_AFTER, HistoryAnswer, IdSpan
from mcloud.local.exchange.thread import LocalExchange
from mcloud.market.trade import Trade
from mcloud.producer import repair as module
from mcloud.producer.cursor import ABSENT, QUICK, Cursor, Hole, Position
from mcloud.producer.newest_ids import QUIET, SETTLE
from mcloud.producer.repair import LONGEST_DOUBT, LONGEST_PAUSE, History, Repairer

from .sources import PATIENCE, START, FakeHistory, hole, trade, trades


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK", 0.005)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Rig:
    """A repairer and the cursor whose holes it fills, connected as in the producer."""

    def __init__(self, history: History, *holes: Hole) -> None:
        self.clock = Clock()
        self.repairer = Repairer(history, clock=self.clock, wall=lambda: self.wall)
        self.wall = START / 1000
        end = {each.symbol: each.last + 1 for each in holes}
        self.cursor = Cursor(
            Position(symbol, 0, next_id, tuple(h for h in holes if h.symbol == symbol))
            for symbol, next_id in end.items()
        )
        self.got: list[Trade] = []
        self.repairer.look_at(self.cursor.holes())

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, "it did not happen"
            self.turn()
            time.sleep(0.002)

    def turn(self) -> None:
        for repaired in self.repairer.take():
            assert sum(not each.is_void for each in repaired.trades) <= module.PAGE
            self.got += self.cursor.admit(repaired.trades, 0)
            if repaired.reason:
                self.cursor.note(repaired.hole, repaired.reason)
        self.repairer.look_at(self.cursor.holes())


@pytest.fixture
def rig() -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def make(*arguments: Any) -> Rig:
        rigs.append(Rig(*arguments))
        return rigs[-1]

    yield make
    for each in rigs:
        each.repairer.stop()


def test_holes_are_filled_page_by_page_oldest_first(rig: Callable[..., Rig]) -> None:
    eth = trades(range(50, 60), "ETHUSDT")
    history = FakeHistory([*trades(range(10_000)), *eth])
    young = hole(20, 22, since=9)
    old = hole(50, 59, "ETHUSDT", since=1)
    middle = hole(3_000, 5_499, since=5)
    filled = rig(history, young, middle, old)
    filled.until(lambda: not filled.cursor.holes())
    assert filled.got == [*eth, *trades(range(3_000, 5_500)), *trades(range(20, 23))]
    # Each page is fetched once, and only missing ids are fetched.
    assert history.asked == [
        ("ETHUSDT", 50, 10),
        ("BTCUSDT", 3_000, 1_000),
        ("BTCUSDT", 4_000, 1_000),
        ("BTCUSDT", 5_000, 500),
        ("BTCUSDT", 20, 3),
    ]
    assert filled.cursor.repeats == 0


def test_ids_missing_at_the_exchange_stay_a_hole(
    rig: Callable[..., Rig],
) -> None:
    history = FakeHistory([*trades(range(10, 14)), *trades(range(17, 30))])
    filled = rig(history, hole(10, 20))
    filled.until(lambda: filled.cursor.holes() == [hole(14, 16)._replace(**missing(1))])
    assert filled.got == [*trades(range(10, 14)), *trades(range(17, 21))]


def test_a_hole_that_cannot_be_filled_is_tried_later_and_later(rig: Callable[..., Rig]) -> None:
    history = FakeHistory([])
    filled = rig(history, hole(5, 7))
    waits = []
    for attempt in range(1, 13):
        filled.until(partial(has_failed, filled, attempt))
        assert len(history.asked) == attempt
        # Just before its time nothing happens.
        pause = module.FIRST_PAUSE * 2**attempt
        if attempt > QUICK:
            pause = min(LONGEST_PAUSE * 2 ** (attempt - QUICK - 1), LONGEST_DOUBT)
        filled.clock.now += pause - 0.001
        for _ in range(10):
            filled.turn()
            time.sleep(0.002)
        assert len(history.asked) == attempt
        filled.clock.now += 0.002
        waits.append(pause)
    assert waits[:5] == [4, 8, 16, 600, 1200]
    assert waits[-1] == LONGEST_DOUBT


def test_attempts_continue_after_weeks(rig: Callable[..., Rig]) -> None:
    history = FakeHistory([], Unavailable("down"))
    filled = rig(history, hole(5, 7, attempts=5_000))
    filled.until(lambda: filled.cursor.holes()[0].attempts == 5_001)
    filled.clock.now += LONGEST_PAUSE
    filled.until(lambda: filled.cursor.holes()[0].attempts == 5_002)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Unavailable("no answer"), "no answer"),
        (Refused("no key", remedy="get one"), "no key; get one"),
        (ZeroDivisionError("ours"), "ZeroDivisionError: ours"),
    ],
    ids=["unavailable", "refused", "a fault"],
)
def test_a_failure_is_the_reason_of_its_hole_only(
    rig: Callable[..., Rig], error: Exception, reason: str
) -> None:
    history = FakeHistory(trades(range(100)), error)
    filled = rig(history, hole(5, 7, since=1), hole(20, 22, since=2))
    filled.until(lambda: len(filled.cursor.holes()) == 1)
    (left,) = filled.cursor.holes()
    assert left == hole(5, 7, since=1, attempts=1, reason=reason)
    filled.clock.now += module.FIRST_PAUSE * 2
    filled.until(lambda: not filled.cursor.holes())
    assert sorted(filled.got) == [*trades(range(5, 8)), *trades(range(20, 23))]


def test_answers_are_checked_against_the_request(rig: Callable[..., Rig]) -> None:
    """Only missing trades are accepted, whatever a server returns."""
    history = FakeHistory([], trades([3, 4, 5, 6, 9, 12]))
    filled = rig(history, hole(5, 10))
    filled.until(lambda: bool(filled.cursor.holes()[-1].attempts))
    assert filled.got == trades([5, 6, 9])
    assert [(each.first, each.last) for each in filled.cursor.holes()] == [(7, 8), (10, 10)]


def test_only_a_few_pages_are_fetched_in_advance(rig: Callable[..., Rig]) -> None:
    history = FakeHistory(trades(range(20_000)))
    filled = rig(history, hole(0, 19_999))
    deadline = time.monotonic() + PATIENCE
    while len(history.asked) < module.AHEAD + 1:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    time.sleep(0.1)  # enough time to ask for more
    assert len(history.asked) == module.AHEAD + 1
    filled.until(lambda: not filled.cursor.holes())
    assert filled.got == trades(range(20_000))
    assert len(history.asked) == 20


def test_a_hole_filled_by_the_stream_is_not_requested_again(rig: Callable[..., Rig]) -> None:
    history = FakeHistory([], Unavailable("down"))
    filled = rig(history, hole(5, 7))
    filled.until(lambda: filled.cursor.holes()[0].attempts == 1)
    filled.cursor.admit(trades([5, 6, 7]), 0)
    filled.turn()
    filled.clock.now += LONGEST_PAUSE
    time.sleep(0.1)
    assert len(history.asked) == 1


@pytest.fixture
def market() -> Iterator[LocalExchange]:
    with LocalExchange(trades(range(1, 3_001)), wait_for=0) as exchange:
        assert exchange.wait_finished(PATIENCE)
        yield exchange


def rest(exchange: LocalExchange) -> BinanceRest:
    return BinanceRest(endpoints(ws_url=exchange.ws_url, rest_url=exchange.rest_url))


def test_against_the_rest_of_an_exchange(market: LocalExchange, rig: Callable[..., Rig]) -> None:
    market.fault("rest_gap", symbol="BTCUSDT", first=1_500, last=1_509)
    filled = rig(rest(market), hole(100, 2_600))
    filled.until(lambda: [h.attempts for h in filled.cursor.holes()] == [1])
    assert filled.cursor.holes() == [hole(1_500, 1_509)._replace(**missing(1))]
    market.lift()
    filled.clock.now += LONGEST_PAUSE
    filled.until(lambda: not filled.cursor.holes())
    assert sorted(filled.got) == trades(range(100, 2_601))


def test_an_exchange_that_fails_for_a_while(market: LocalExchange, rig: Callable[..., Rig]) -> None:
    market.fault("rest_error", count=1, status=502)
    filled = rig(rest(market), hole(100, 200))
    filled.until(lambda: [h.attempts for h in filled.cursor.holes()] == [1])
    assert "502" in filled.cursor.holes()[0].reason
    filled.clock.now += LONGEST_PAUSE
    filled.until(lambda: not filled.cursor.holes())
    assert filled.got == trades(range(100, 201))


def has_failed(rig: Rig, attempts: int) -> bool:
    return rig.cursor.holes()[0].attempts == attempts


def missing(attempts: int) -> dict[str, Any]:
    return {"attempts": attempts, "reason": "the exchange does not have these ids"}


def test_the_ends_of_streams_are_checked_if_there_is_no_hole(
    rig: Callable[..., Rig],
) -> None:
    order: list[str] = []

    class Watched(FakeHistory):
        def trades_from(self, symbol: str, first_id: int, limit: int) -> list[Trade]:
            order.append("repair")
            return super().trades_from(symbol, first_id, limit)

        def latest_id(self, symbol: str, *, background: bool) -> int | None:
            order.append(symbol)
            if order.count(symbol) == 1:
                raise Unavailable("no answer") if symbol == "BTCUSDT" else ZeroDivisionError("ours")
            return super().latest_id(symbol, background=background)

    known = [*trades(range(10_000)), *trades(range(50), "ETHUSDT")]
    filled = rig(Watched(known), hole(1_000, 3_999))
    tails = filled.repairer.tails
    tails.opened(["BTCUSDT", "ETHUSDT"])
    filled.clock.now += SETTLE
    filled.until(lambda: {"BTCUSDT", "ETHUSDT"} <= set(order))
    # Every request that failed is repeated.
    filled.clock.now += QUIET
    filled.until(lambda: order.count("BTCUSDT") == order.count("ETHUSDT") == 2)
    assert order[:3] == ["repair"] * 3
    filled.until(lambda: filled.cursor.holes() == [])
    filled.clock.now += SETTLE
    answers: list[tuple[str, int]] = []

    def is_told() -> bool:
        answers.extend(tails.take())
        return len(answers) == 2

    filled.until(is_told)
    assert sorted(answers) == [("BTCUSDT", 9_999), ("ETHUSDT", 49)]


LATE = (START + VOID_AFTER) / 1000 + 200  # seconds; ten minutes after all trades of this test
DOUBTFUL = {"attempts": 4, "reason": ABSENT}


def test_unannounced_ids_become_void_after_ten_minutes(rig: Callable[..., Rig]) -> None:
    known = [each for each in trades(range(1, 100)) if each.id not in (50, 51)]
    filled = rig(FakeHistory(known), hole(50, 51))
    filled.wall = LATE - 400
    for attempt in range(1, 5):
        filled.until(partial(has_failed, filled, attempt))
        filled.clock.now += 20
    assert filled.got == []
    filled.wall = LATE
    filled.clock.now += LONGEST_PAUSE
    filled.until(lambda: not filled.cursor.holes())
    # The voids have the time of the trade before them.
    assert filled.got == [Trade.void("BTCUSDT", id_, trade(49).time) for id_ in (50, 51)]
    # A trade that comes later replaces the void.
    assert filled.cursor.admit([trade(50)], 0) == [trade(50)]


@pytest.mark.parametrize(
    "known",
    [range(1, 50), range(52, 100), (), (*range(1, 50), *range(52 + LONGEST_VOID, 20_000))],
    ids=["no higher id", "no lower id", "nothing", "too many in a row"],
)
def test_nothing_else_is_void(rig: Callable[..., Rig], known: Iterable[int]) -> None:
    history = FakeHistory(trades(known))
    last = 51 + LONGEST_VOID if 52 + LONGEST_VOID in known else 51
    filled = rig(history, hole(50, last, **DOUBTFUL))
    filled.wall = LATE
    filled.until(partial(has_failed, filled, 5))
    assert filled.got == []
    assert filled.cursor.holes()[0].is_doubtful


@pytest.mark.parametrize("since", [START, START + VOID_AFTER])
def test_a_hole_is_not_void_before_it_is_ten_minutes_old(
    rig: Callable[..., Rig], since: int
) -> None:
    known = [each for each in trades(range(1, 100)) if each.id != 50]
    filled = rig(FakeHistory(known), hole(50, 50, since=since, **DOUBTFUL))
    filled.wall = LATE
    is_void = since == START
    filled.until(lambda: not filled.cursor.holes() or has_failed(filled, 5))
    assert bool(filled.got) == is_void


def test_void_neighbours_of_a_hole_are_taken_into_account(rig: Callable[..., Rig]) -> None:
    known = [each for each in trades(range(1, 900)) if not 300 <= each.id < 350]
    # All trades except one were announced.
    filled = rig(FakeHistory(known), hole(325, 325, **DOUBTFUL))
    filled.wall = LATE
    filled.until(lambda: not filled.cursor.holes())
    assert filled.got == [Trade.void("BTCUSDT", 325, trade(299).time)]


def test_without_a_key_the_reason_names_the_lost_trades(rig: Callable[..., Rig]) -> None:
    class Keyless(FakeHistory):
        def search(self, *_: object, background: bool) -> HistoryAnswer:
            return HistoryAnswer([], [IdSpan(40, 50, START), IdSpan(52, 60, START)])

    filled = rig(Keyless([]), hole(50, 52, **DOUBTFUL))
    filled.wall = LATE
    filled.until(lambda: any(each.attempts == 5 for each in filled.cursor.holes()))
    assert [each.id for each in filled.got] == [51]
    assert any("1 of them are trades" in each.reason for each in filled.cursor.holes())


def test_a_loss_beside_a_doubtful_hole_is_fetched_at_once(rig: Callable[..., Rig]) -> None:
    history = FakeHistory([*trades(range(10)), *trades(range(13, 30))])
    filled = rig(history, hole(10, 12, attempts=QUICK + 5, reason=ABSENT))
    filled.until(lambda: bool(history.asked))  # its first attempt; the next one is hours later
    filled.cursor.expect("BTCUSDT", 15, 0)
    filled.until(lambda: filled.got == trades(range(13, 16)))
    assert [each[:3] for each in filled.cursor.holes()] == [("BTCUSDT", 10, 12)]


def test_real_trades_are_fetched_at_once_while_hundreds_of_ids_are_doubtful(
    rig: Callable[..., Rig],
) -> None:
    """Doubtful holes use up their share of the budget."""
    order: list[int] = []

    class Busy(FakeHistory):
        def trades_from(self, symbol: str, first_id: int, limit: int) -> list[Trade]:
            order.append(first_id)
            return super().trades_from(symbol, first_id, limit)

        def search(
            self, symbol: str, first_id: int, last_id: int, margin: int, *, background: bool
        ) -> HistoryAnswer:
            assert background
            order.append(-first_id)
            if len(order) % 5 == 0:
                raise Throttled("others come first", 60.0)
            return HistoryAnswer.of([])

    doubtful = [hole(10 * n, 10 * n, **DOUBTFUL) for n in range(1, 501)]
    real = hole(6_000, 6_300, since=START + 1)
    filled = rig(Busy(trades(range(6_000, 6_301))), *doubtful, real)
    filled.until(lambda: len(filled.got) == 301)
    assert filled.got == trades(range(6_000, 6_301))
    # The real holes come next, after requests that were already running.
    assert len(order) <= module.AHEAD + 4
    asked = len(order)
    for _ in range(20):
        filled.turn()
        time.sleep(0.005)
    assert len(order) <= asked + 5, "it waits for the budget"
    filled.clock.now += 61
    filled.until(lambda: len(order) > asked + 5 or len(order) % 5 == 0)
    assert len(filled.cursor.holes()) == 500
