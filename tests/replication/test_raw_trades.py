"""The two readers of raw trades give the same hours."""

import sys
from collections.abc import Iterable

import pytest
from bulk.arrivals import arrivals, decimals
from hypothesis import given
from market.trade_sets import START, trade_sets

from mcloud.bulk.columns import from_trades
from mcloud.market.candle import Candle, fold
from mcloud.market.trade import Trade
from mcloud.replication.raw_columns import InColumns
from mcloud.replication.raw_trades import OneByOne, raw_reader


@given(arrivals(price=decimals(7, 2)))
def test_both_readers_give_the_same_hour(trades: list[Trade]) -> None:
    half = len(trades) // 2
    parts = [part for part in (trades[:half], trades[half:]) if part]
    one, columns = OneByOne(), InColumns()
    expected = one.hour("BTCUSDT", parts)
    found = columns.hour("BTCUSDT", [from_trades(part) for part in parts])
    assert found.everything.runs == expected.everything.runs
    assert found.disputed.runs == expected.disputed.runs
    assert [columns.ids(from_trades(part)).runs for part in parts] == [
        one.ids(part).runs for part in parts
    ]
    for start in range(START, START + 4 * 60_000, 60_000):
        minute = expected.minute(start)
        assert ordered(found.minute(start)) == ordered(minute)
        sound = [trade for trade in minute if trade.id not in expected.disputed]
        candle = fold(Candle("BTCUSDT", start), sound).candle
        assert found.candles.get(start, Candle("BTCUSDT", start)) == candle


@given(trade_sets(voids=True))
def test_an_hour_without_disputes_has_a_candle_for_each_minute(trades: list[Trade]) -> None:
    found = InColumns().hour("BTCUSDT", [from_trades(trades)])
    assert {*found.candles} == {trade.time // 60_000 * 60_000 for trade in trades}


def ordered(trades: Iterable[Trade]) -> list[Trade]:
    return sorted(trades, key=lambda trade: (trade.id, trade))


def test_without_the_extra_trades_are_read_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(raw_reader(), InColumns)
    monkeypatch.delitem(sys.modules, "mcloud.replication.raw_columns")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert isinstance(raw_reader(), OneByOne)
