"""A merge into a store writes only if it adds something."""

from hypothesis import given
from hypothesis import strategies as st
from market.trade_sets import START, subsets, trade_sets
from producer.sources import trade

from mcloud.market.candle import MINUTE, Candle, fold, merge
from mcloud.market.trade import Trade
from mcloud.replication.candle_streams import merge_into

from .memory import Faults, MemoryCandles

IN_A_MINUTE = trade_sets(minutes=1)


def candle(trades: list[Trade]) -> Candle:
    return fold(Candle("BTCUSDT", START), trades).candle


@st.composite
def two_states(draw: st.DrawFn) -> tuple[Candle, Candle]:
    everything = draw(IN_A_MINUTE)
    return candle(draw(subsets(everything))), candle(draw(subsets(everything)))


@given(two_states())
def test_a_store_is_written_only_if_the_merge_adds_trades(
    states: tuple[Candle, Candle],
) -> None:
    stored, brought = states
    store = MemoryCandles(Faults())
    if stored.fragments:
        store.create([stored])
    writes = len(store.log)
    both = merge(stored, brought).candle
    merged = merge_into(store, brought)
    assert merged.changed == (both != stored)
    assert len(store.log) == writes + merged.changed
    assert list(store.range("BTCUSDT", START, START + MINUTE)) == ([both] if both.fragments else [])
    assert merge_into(store, brought) == (False, ())


def test_another_writer_in_between_is_merged_too() -> None:
    store = MemoryCandles(Faults())
    first, second = (candle([trade(n)._replace(time=START)]) for n in (10, 11))

    def interfere(call: str) -> None:
        if call == "write":
            store.faults.before = lambda call: None
            store.create([second])

    store.faults.before = interfere
    assert merge_into(store, first).changed
    assert next(store.range("BTCUSDT", START, START + MINUTE)) == merge(first, second).candle


def test_a_disagreement_is_reported() -> None:
    store = MemoryCandles(Faults())
    one = trade(10)._replace(time=START)
    store.create([candle([one])])
    merged = merge_into(store, candle([one._replace(price=one.price + 1)]))
    assert [str(each) for each in merged.disagreements] != []
