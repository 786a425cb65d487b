"""A cursor equals a simple model: new ids are taken once, and missing ids are reported."""

from collections.abc import Iterable
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcloud.market.trade import MAX_ID, Trade
from mcloud.producer import cursor as module
from mcloud.producer.cursor import ABSENT, QUICK, Cursor, Hole, Position
from mcloud.producer.produce import _with_holes

Ids = list[tuple[str, int]]


def trade(id_: int, symbol: str = "BTCUSDT") -> Trade:
    return Trade(symbol, id_, Decimal(1), Decimal(1), 0, False)


def trades(ids: Iterable[int]) -> list[Trade]:
    return [trade(id_) for id_ in ids]


def ids(trades: list[Trade]) -> list[int]:
    return [trade.id for trade in trades]


class Model:
    """Every id that was seen, and for each missing id the time when a higher one was first seen."""

    def __init__(self) -> None:
        self.seen: dict[str, set[int]] = {}
        self.start: dict[str, int] = {}
        self.passed: dict[tuple[str, int], int] = {}

    def admit(self, chunk: Ids, now: int) -> Ids:
        admitted = []
        for symbol, id_ in chunk:
            start = self.start.setdefault(symbol, id_)
            seen = self.seen.setdefault(symbol, set())
            if id_ < start or id_ in seen:
                continue
            for missing in range(max(seen, default=start - 1) + 1, id_):
                self.passed[symbol, missing] = now
            self.passed.pop((symbol, id_), None)
            seen.add(id_)
            admitted.append((symbol, id_))
        return admitted

    def holes(self) -> set[tuple[str, int, int, int]]:
        """Return maximal holes, each with the time when all of it had been passed over."""
        runs: list[tuple[str, int, int, int]] = []
        for (symbol, id_), since in sorted(self.passed.items()):
            if runs and (runs[-1][0], runs[-1][2]) == (symbol, id_ - 1):
                assert runs[-1][3] == since
                runs[-1] = (symbol, runs[-1][1], id_, since)
            else:
                runs.append((symbol, id_, id_, since))
        return set(runs)


# Runs of ids are the usual case; single ids in any order are the exceptions.
runs = st.builds(
    lambda symbol, first, length: [(symbol, first + n) for n in range(length)],
    st.sampled_from(["BTCUSDT", "ETHUSDT"]),
    st.integers(0, 40),
    st.integers(1, 12),
)
chunks = st.lists(runs, max_size=5).map(lambda each: [pair for run in each for pair in run])
deliveries = st.lists(chunks | chunks.flatmap(st.permutations), max_size=12)


@given(deliveries, st.data())
def test_admitted_ids_and_holes_cover_all_ids(delivery: list[Ids], data: st.DataObject) -> None:
    cursor, model = Cursor(), Model()
    for now, chunk in enumerate(delivery):
        admitted = cursor.admit([trade(id_, symbol) for symbol, id_ in chunk], now)
        assert [(each.symbol, each.id) for each in admitted] == model.admit(chunk, now)
        assert {hole[:4] for hole in cursor.holes()} == model.holes()
        for symbol, seen in model.seen.items():
            assert cursor.position(symbol) == max(seen) + 1
        if data.draw(st.booleans(), label="restart"):
            cursor = Cursor(cursor.dump())
    symbols = {symbol for chunk in delivery for symbol, _ in chunk}
    assert {position.symbol for position in cursor.dump()} == symbols


@given(deliveries)
def test_every_trade_is_admitted_or_counted(delivery: list[Ids]) -> None:
    cursor, admitted = Cursor(), 0
    for chunk in delivery:
        admitted += len(cursor.admit([trade(id_, symbol) for symbol, id_ in chunk], 0))
    assert admitted + cursor.repeats + cursor.early == sum(map(len, delivery))


def test_a_jump_opens_a_hole_and_a_repair_splits_shrinks_and_closes_it() -> None:
    cursor = Cursor()
    assert ids(cursor.admit(trades([100, 101, 110]), now=7)) == [100, 101, 110]
    assert cursor.holes() == [Hole("BTCUSDT", 102, 109, 7)]
    assert cursor.holes()[0].missing == 8
    assert ids(cursor.admit(trades([105]), now=8)) == [105]
    assert cursor.holes() == [Hole("BTCUSDT", 102, 104, 7), Hole("BTCUSDT", 106, 109, 7)]
    assert ids(cursor.admit(trades([102, 109, 103, 104]), now=9)) == [102, 109, 103, 104]
    assert cursor.holes() == [Hole("BTCUSDT", 106, 108, 7)]
    cursor.admit(trades([106, 107, 108]), now=10)
    assert cursor.holes() == []
    assert cursor.position("BTCUSDT") == 111


def test_repeats_and_earlier_trades_are_counted_separately() -> None:
    cursor = Cursor()
    cursor.admit(trades([100, 101]), now=0)
    assert cursor.admit(trades([99, 100, 101, 5, 100]), now=0) == []
    assert (cursor.repeats, cursor.early) == (3, 2)
    assert cursor.holes() == []


def test_a_jump_may_have_any_size() -> None:
    cursor = Cursor()
    assert ids(cursor.admit(trades([0, MAX_ID, 1, 2**62]), now=0)) == [0, MAX_ID, 1, 2**62]
    assert [hole[1:3] for hole in cursor.holes()] == [(2, 2**62 - 1), (2**62 + 1, MAX_ID - 1)]


def test_holes_are_returned_oldest_first() -> None:
    cursor = Cursor()
    cursor.admit([trade(1), trade(1, "ETHUSDT"), trade(10)], now=5)
    cursor.admit([trade(10, "ETHUSDT")], now=4)
    cursor.admit([trade(20)], now=6)
    assert [(hole.symbol, hole.first) for hole in cursor.holes()] == [
        ("ETHUSDT", 2),
        ("BTCUSDT", 2),
        ("BTCUSDT", 11),
    ]


def test_an_attempt_counts_for_the_rest_of_the_hole() -> None:
    cursor = Cursor()
    cursor.admit(trades([1, 10, 20]), now=0)
    hole, later = cursor.holes()
    cursor.admit(trades([5]), now=1)
    cursor.note(hole, "418 until 12:00")
    left = [(each.first, each.attempts, each.reason) for each in cursor.holes()]
    assert left == [(2, 1, "418 until 12:00"), (6, 1, "418 until 12:00"), (11, 0, "")]
    cursor.note(later._replace(symbol="ETHUSDT"), "unknown symbol")
    assert [each.attempts for each in cursor.holes()] == [1, 1, 0]
    cursor.note(cursor.holes()[0], "timed out")
    assert cursor.holes()[0] == Hole("BTCUSDT", 2, 4, 0, attempts=2, reason="timed out")
    assert Cursor(cursor.dump()).holes() == cursor.holes()


def test_a_symbol_can_start_before_its_first_trade() -> None:
    cursor = Cursor()
    assert cursor.position("BTCUSDT") is None
    cursor.resume("BTCUSDT", 50)
    assert cursor.position("BTCUSDT") == 50
    assert ids(cursor.admit(trades([49, 53, 50]), now=1)) == [53, 50]
    assert cursor.holes() == [Hole("BTCUSDT", 51, 52, 1)]
    with pytest.raises(ValueError, match="BTCUSDT is at 54 already"):
        cursor.resume("BTCUSDT", 60)


@pytest.mark.parametrize(
    "old",
    [
        Hole("BTCUSDT", 8, 9, 5),
        Hole("BTCUSDT", 8, 9, 9, attempts=2, reason="no answer"),
        Hole("BTCUSDT", 8, 9, 5, attempts=40, reason=ABSENT),
    ],
)
@pytest.mark.parametrize("how", ["jump", "expect", "memory"])
def test_a_new_loss_does_not_extend_an_old_adjacent_hole(old: Hole, how: str) -> None:
    cursor = Cursor([Position("BTCUSDT", 1, 10, (old,))])
    if how == "jump":
        cursor.admit(trades([12]), now=9)
    elif how == "expect":
        cursor.expect("BTCUSDT", 11, now=9)
    new = Hole("BTCUSDT", 10, 11, 9)
    if how == "memory":  # a crash loses these
        position = _with_holes(Position("BTCUSDT", 1, 12, (old,)), [10, 11], 9)
        assert position.holes == (old, new)
    else:
        assert cursor.holes() == [old, new]
        assert Cursor(cursor.dump()).holes() == [old, new]
    both = trades([8, 9, 10, 11])
    assert cursor.admit(both, 10) == both
    assert cursor.holes() == []


def test_losses_that_are_noticed_at_once_and_not_tried_are_one_hole() -> None:
    cursor = Cursor([Position("BTCUSDT", 1, 10)])
    cursor.expect("BTCUSDT", 11, now=9)
    cursor.admit(trades([13]), now=9)
    assert cursor.holes() == [Hole("BTCUSDT", 10, 12, 9)]


def test_holes_side_by_side_are_joined_after_their_quick_attempts() -> None:
    """A stream that is silent for days, and whose trades REST does not have, has few holes."""
    cursor = Cursor([Position("BTCUSDT", 1, 10)])
    for now in range(100):
        cursor.expect("BTCUSDT", 10 + now, now)
        assert cursor.holes()[-1] == Hole("BTCUSDT", 10 + now, 10 + now, now)
        for _ in range(QUICK):
            for hole in cursor.holes():
                cursor.note(hole, ABSENT)
    assert cursor.holes() == [Hole("BTCUSDT", 10, 109, 0, QUICK, ABSENT)]
    cursor.expect("BTCUSDT", 110, 100)
    for _ in range(QUICK):
        cursor.note(cursor.holes()[-1], "no answer")
    assert [hole.is_doubtful for hole in cursor.holes()] == [True, False]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=40))
def test_ids_that_the_exchange_has_are_admitted_or_missing(
    events: list[tuple[bool, int]],
) -> None:
    """A cursor reports exactly the announced trades that never came, in any order of events."""
    cursor = Cursor()
    start: int | None = None
    came: set[int] = set()
    newest = -1
    for told, id_ in events:
        if told:
            missing = cursor.expect("BTCUSDT", id_, 0)
            assert missing == (start is not None and id_ > newest)
            newest = max(newest, id_) if start is not None else newest
        else:
            start = id_ if start is None else start
            is_new = id_ >= start and id_ not in came
            assert cursor.admit([trade(id_)], 0) == ([trade(id_)] if is_new else [])
            if id_ >= start:
                came.add(id_)
            newest = max(newest, id_)
    named = [id_ for hole in cursor.holes() for id_ in range(hole.first, hole.last + 1)]
    assert sorted(named) == sorted(set(range(start or 0, newest + 1)) - came if came else set())
    holes = sorted(cursor.holes(), key=lambda hole: hole.first)
    assert all(a.last + 1 < b.first for a, b in pairwise(holes))


def void(id_: int) -> Trade:
    return Trade.void("BTCUSDT", id_, 0)


def test_a_void_is_an_id_that_has_been_seen_and_a_trade_replaces_it_once() -> None:
    cursor = Cursor()
    assert cursor.admit([trade(1), void(2), trade(3)], 0) == [trade(1), void(2), trade(3)]
    assert cursor.holes() == []
    assert cursor.admit([void(2), void(3)], 0) == []
    assert cursor.repeats == 2
    assert cursor.admit([trade(2), trade(2)], 0) == [trade(2)]
    assert cursor.repeats == 3


def test_a_void_fills_a_hole_and_a_trade_replaces_it() -> None:
    cursor = Cursor()
    cursor.admit([trade(1), trade(4)], 0)
    assert cursor.admit([void(2), void(3)], 0) == [void(2), void(3)]
    assert cursor.holes() == []
    assert cursor.admit([trade(3)], 0) == [trade(3)]


def test_only_the_newest_voids_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "VOIDS", 3)
    cursor = Cursor()
    cursor.admit([trade(1), *(void(id_) for id_ in range(2, 7))], 0)
    assert cursor.admit(trades(range(2, 7)), 0) == trades(range(4, 7))


@pytest.mark.parametrize("restarts", [1, 3])
def test_a_trade_replaces_a_void_of_an_earlier_run(restarts: int) -> None:
    cursor = Cursor()
    known: dict[tuple[str, int], bool] = {}
    cursor.admit([trade(1), void(2), void(3), trade(4)], 0)
    for _ in range(restarts):
        known |= cursor.void_changes
        cursor.saved([*cursor.void_changes])
        assert cursor.void_changes == {}
        cursor = Cursor(cursor.dump(), [each for each, is_known in known.items() if is_known])
    assert cursor.admit(trades([4, 3, 1, 3]), 0) == trades([3])
    assert cursor.void_changes == {("BTCUSDT", 3): False}


def test_a_void_that_is_forgotten_is_a_change_like_any_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "VOIDS", 2)
    cursor = Cursor([Position("BTCUSDT", 0, 9)], [("BTCUSDT", 3), ("BTCUSDT", 5)])
    cursor.admit([void(9)], 0)
    assert cursor.void_changes == {("BTCUSDT", 9): True, ("BTCUSDT", 3): False}
