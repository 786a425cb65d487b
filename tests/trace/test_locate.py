"""The minute of a trade by its id equals a full search, with few reads of the store."""

from collections.abc import Iterator
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcloud.market.candle import MINUTE, Candle, fold
from mcloud.market.trade import Trade
from mcloud.trace.locate import Place, holds, locate

START = 1_723_161_240_000


class Store:
    """Candles by time. It counts the candles that are read."""

    def __init__(self, candles: list[Candle]) -> None:
        self.candles = candles
        self.read = 0

    def range(self, start: int, end: int) -> Iterator[Candle]:
        for candle in self.candles:
            if start <= candle.start < end:
                self.read += 1
                yield candle

    @property
    def newest(self) -> Candle | None:
        return self.candles[-1] if self.candles else None

    def locate(self, trade_id: int) -> Place:
        return locate(self.range, self.newest, trade_id)


def candle(minute: int, ids: list[int]) -> Candle:
    at = START + minute * MINUTE
    trades = [Trade("BTCUSDT", id_, Decimal(7), Decimal(1), at, True) for id_ in ids]
    return fold(Candle("BTCUSDT", at), trades).candle


@st.composite
def stores(draw: st.DrawFn) -> Store:
    """Draw minutes and ids with gaps of all sizes: seconds, a night, a year."""
    minute, id_, candles = 0, draw(st.sampled_from([0, 3, 10**6])), []
    for _ in range(draw(st.integers(0, 12))):
        minute += draw(st.sampled_from([1, 1, 2, 59, 60, 61, 700, 600_000]))
        ids = []
        for _ in range(draw(st.integers(1, 5))):
            ids.append(id_)
            id_ += draw(st.sampled_from([1, 1, 1, 2, 50]))
        candles.append(candle(minute, ids))
    return Store(candles)


@settings(max_examples=60)
@given(stores(), st.data())
def test_the_result_equals_that_of_a_full_search(store: Store, data: st.DataObject) -> None:
    edges = [n + d for c in store.candles for n in (c.first_id, c.last_id) for d in (-1, 0, 1)]
    trade_id = max(0, data.draw(st.sampled_from([0, *edges])))
    (expected,) = [c for c in store.candles if holds(c, trade_id)] or [None]
    place = store.locate(trade_id)
    assert place.candle == expected
    if expected is not None:
        assert (place.around, place.note) == ((expected.start, expected.start), "")
        return
    assert place.note
    # Its place would be between the candles with lower and higher ids.
    below = [c.start for c in store.candles if c.first_id < trade_id]
    above = [c.start for c in store.candles if c.first_id > trade_id]
    if place.around is not None:
        begin, end = place.around
        assert begin in below
        assert end is None or end >= begin
        assert end is None or not above or end <= above[0]
        assert (end is None) == (store.newest is not None and trade_id > store.newest.last_id)


def test_a_year_of_minutes_is_not_read() -> None:
    store = Store([candle(minute, [minute]) for minute in range(30_000)])
    for minute in (0, 1, 77, 15_000, 29_940, 29_999):
        store.read = 0
        place = store.locate(minute)
        assert place.candle is not None
        assert place.candle.first_id == minute
        assert store.read < 150


@pytest.mark.parametrize(
    ("candles", "trade_id", "note"),
    [
        ([], 5, "there are no candles of the symbol"),
        ([(0, [10, 11])], 5, "below the oldest candle"),
        ([(0, [10, 11])], 12, "above the newest candle, 2024-08-08T23:54:00Z"),
        ([(0, [10, 12])], 11, "in no candle from 2024-08-08T23:54:00Z on, where it would be"),
        (
            [(0, [10]), (1, [12])],
            11,
            "in no candle up to 2024-08-08T23:55:00Z, where it would be",
        ),
    ],
)
def test_the_reason_for_a_missing_candle(
    candles: list[tuple[int, list[int]]], trade_id: int, note: str
) -> None:
    assert Store([candle(*each) for each in candles]).locate(trade_id).note == note
