from random import Random

import pytest

from mcloud.errors import UsageError
from mcloud.local.exchange.faults import KINDS, Fault, Faults, Wire, parse_fault
from mcloud.market.trade import Trade

from .clients import make_trades


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({}, "the kind of fault is missing"),
        ({"kind": "flood"}, "unknown fault 'flood'"),
        ({"kind": "cut", "colour": "red"}, "no colour"),
        ({"kind": "stall"}, "needs symbol"),
        ({"kind": "rest_gap", "symbol": "BTCUSDT", "first": "5"}, "needs last"),
        ({"kind": "slow", "rate": "nan"}, "rate must be above zero"),
        ({"kind": "drop", "count": "0"}, "count must be above zero"),
        ({"kind": "drop", "count": "many"}, "not a whole number"),
        ({"kind": "refuse", "status": "200"}, "not the HTTP status of a failure"),
        ({"kind": "refuse", "status": "499"}, "not the HTTP status of a failure"),
        ({"kind": "rest_429", "seconds": "soon"}, "not a number"),
    ],
)
def test_an_invalid_fault_is_refused(query: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_fault(query)


def test_a_fault_is_read_from_a_query() -> None:
    query = {"kind": "stall", "symbol": "btcusdt", "seconds": "2.5"}
    assert parse_fault(query) == Fault("stall", symbol="BTCUSDT", seconds=2.5)


def test_every_kind_is_explained() -> None:
    assert all(KINDS.values())


def test_a_fault_ends_with_its_time() -> None:
    faults = Faults()
    faults.begin(Fault("stall", symbol="BTCUSDT", seconds=5), now=10.0)
    assert faults.active("stall", 14.9, "BTCUSDT")
    assert not faults.active("stall", 14.9, "ETHUSDT")
    assert not faults.active("stall", 15.0, "BTCUSDT")
    assert faults.names(15.0) == []


def test_a_fault_ends_with_its_count() -> None:
    faults = Faults()
    faults.begin(Fault("rest_429", count=2), now=0.0)
    assert [faults.take("rest_429", 1.0) is not None for _ in range(3)] == [True, True, False]


def test_a_fault_without_an_end_is_lifted() -> None:
    faults = Faults()
    faults.begin(Fault("refuse"), now=0.0)
    assert faults.names(1e9) == ["refuse"]
    faults.lift()
    assert faults.names(1e9) == []


def test_a_momentary_fault_does_not_last() -> None:
    faults = Faults()
    faults.begin(Fault("cut"), now=0.0)
    assert faults.names(0.0) == []


def test_without_faults_trades_are_sent_unchanged() -> None:
    wire = Wire(Faults(), Random(1))
    trades = make_trades(5)
    assert [wire.put(trade, 0.0) for trade in trades] == [[trade] for trade in trades]


def test_a_stalled_symbol_is_sent_again_after_its_time() -> None:
    faults = Faults()
    wire = Wire(faults, Random(1))
    faults.begin(Fault("stall", symbol="BTCUSDT", seconds=3), now=0.0)
    sent = [wire.put(trade, float(now)) for now, trade in enumerate(make_trades(5))]
    assert [bool(each) for each in sent] == [False, False, False, True, True]


def test_dropped_trades_are_counted_by_symbol() -> None:
    faults = Faults()
    wire = Wire(faults, Random(1))
    faults.begin(Fault("drop", symbol="ETHUSDT", count=2), now=0.0)
    sent: list[Trade] = []
    for pair in zip(make_trades(4), make_trades(4, "ETHUSDT"), strict=True):
        for trade in pair:
            sent += wire.put(trade, 0.0)
    assert [t.id for t in sent if t.symbol == "BTCUSDT"] == [100, 101, 102, 103]
    assert [t.id for t in sent if t.symbol == "ETHUSDT"] == [102, 103]


def test_reordering_stays_within_its_window() -> None:
    faults = Faults()
    wire = Wire(faults, Random(1))
    faults.begin(Fault("reorder", count=10, seconds=100), now=0.0)
    trades = make_trades(35)
    sent = [trade for each in trades for trade in wire.put(each, 0.0)]
    assert len(sent) == 30
    assert sent != trades[:30]
    for start in (0, 10, 20):
        assert sorted(sent[start : start + 10]) == trades[start : start + 10]
    assert sorted(wire.flush()) == trades[30:]
    assert wire.flush() == []


def test_after_reordering_no_trade_is_held() -> None:
    faults = Faults()
    wire = Wire(faults, Random(1))
    faults.begin(Fault("reorder", count=10, seconds=1), now=0.0)
    first, second, third = make_trades(3)
    assert wire.put(first, 0.0) == []
    assert sorted(wire.put(second, 1.0)) == [first, second]
    assert wire.put(third, 1.0) == [third]


def test_sent_trades_can_be_repeated() -> None:
    faults = Faults()
    wire = Wire(faults, Random(1))
    trades = make_trades(5)
    for trade in trades[:3]:
        wire.put(trade, 0.0)
    faults.begin(Fault("drop", count=2), now=0.0)
    for trade in trades[3:]:
        wire.put(trade, 0.0)
    assert wire.repeat(2) == trades[1:3]
    assert wire.repeat(100) == trades[:3]
