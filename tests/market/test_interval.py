"""Candles of longer intervals equal the oracle at that interval."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcloud.market.candle import Candle, by_minute, fold
from mcloud.market.interval import INTERVALS, Bar, derive
from mcloud.market.trade import Trade

from . import oracle
from .trade_sets import START, trade_sets

DAY = 86_400_000  # ms
# The minutes are in many hours of one day, and in the neighbouring days.
MOMENTS = st.integers(-DAY, DAY).map(lambda offset: START + offset) | st.integers(
    START, START + 1_200_000
)


def one_minute_candles(trades: list[Trade]) -> list[Candle]:
    groups = by_minute(trades).items()
    return [fold(Candle(*key), group).candle for key, group in groups]


@pytest.mark.parametrize(("name", "width"), INTERVALS.items())
@given(trades=trade_sets(moments=MOMENTS))
def test_derived_bars_equal_the_oracle(name: str, width: int, trades: list[Trade]) -> None:
    bars = derive(one_minute_candles(trades), name)
    expected = sorted(oracle.candles(trades, width).values(), key=lambda bar: bar.start)
    assert [tuple(bar) for bar in bars] == [tuple(bar) for bar in expected]
    assert [bar.timestamp for bar in bars] == [oracle.timestamp(bar.start) for bar in expected]


@given(trade_sets(moments=MOMENTS))
def test_the_order_of_the_candles_does_not_matter(trades: list[Trade]) -> None:
    candles = one_minute_candles(trades)
    backwards = sorted(candles, key=lambda candle: -candle.start)
    assert derive(backwards, "1h") == derive(candles, "1h")


def test_empty_candles_make_no_bar() -> None:
    assert derive([], "1h") == []
    assert derive([Candle("BTCUSDT", START)], "1m") == []


def test_a_bar_and_the_oracle_have_the_same_fields() -> None:
    assert Bar._fields == oracle.Expected._fields


def test_intervals_divide_the_day() -> None:
    assert list(INTERVALS) == ["1m", "5m", "15m", "1h", "1d"]
    assert all(DAY % width == 0 and width % oracle.MINUTE == 0 for width in INTERVALS.values())


def test_voids_decide_neither_open_nor_close() -> None:
    one = Decimal(1)

    def candle(start: int, *trades: Trade) -> Candle:
        return fold(Candle("BTCUSDT.um", start), trades).candle

    # Ordered by id: the void 7, the trades 8 and 9, and the void 10. The times are in reverse.
    first = candle(
        0,
        Trade("BTCUSDT.um", 9, Decimal(3), one, 1, True),
        Trade.void("BTCUSDT.um", 7, 1),
    )
    second = candle(
        60_000,
        Trade("BTCUSDT.um", 8, Decimal(2), one, 60_001, True),
        Trade.void("BTCUSDT.um", 10, 60_001),
    )
    (bar,) = derive([first, second], "5m")
    assert (bar.open, bar.close) == (Decimal(2), Decimal(3))
    assert (bar.first_id, bar.last_id, bar.trade_count) == (7, 10, 2)
