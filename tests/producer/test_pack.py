"""Batches contain all trades, in order and in time."""

from collections import Counter
from decimal import Decimal
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mcloud.market.trade import Trade
from mcloud.producer.pack import MINUTES, Batch, Packer, in_minutes, in_order


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def trade(id_: int, symbol: str = "BTCUSDT", price: int = 1) -> Trade:
    return Trade(symbol, id_, Decimal(price), Decimal(1), id_, True)


def trades_of(batches: list[Batch]) -> list[list[Trade]]:
    return [batch.trades for batch in batches]


# Few ids and prices, so that repeats and different trades with one id are frequent.
trades = st.builds(
    trade, st.integers(0, 12), st.sampled_from(["BTCUSDT", "ETHUSDT"]), st.integers(1, 2)
)
chunks = st.lists(trades, max_size=20)
steps = st.lists(st.tuples(chunks, st.floats(0, 3)), max_size=12)


@given(steps, st.integers(1, 8), st.floats(0, 5))
def test_every_trade_is_packed_in_order(
    steps: list[tuple[list[Trade], float]], size: int, linger: float
) -> None:
    clock = Clock()
    packer = Packer(clock, batch=size, linger=linger)
    batches: list[list[Trade]] = []
    for chunk, pause in steps:
        batches += trades_of(packer.add(chunk))
        # No batch that could have been closed is kept.
        assert all(len(packer.open(symbol)) < size for symbol in ("BTCUSDT", "ETHUSDT"))
        clock.now += pause
        batches += trades_of(packer.due())
    batches += trades_of(packer.flush())
    for batch in batches:
        assert 1 <= len(batch) <= size
        assert len({each.symbol for each in batch}) == 1
        assert all(a.id < b.id for a, b in pairwise(batch))
    given_in = Counter(each for chunk, _ in steps for each in chunk)
    came_out = Counter(each for batch in batches for each in batch)
    assert came_out.keys() == given_in.keys()
    # A repeat in the same batch is dropped, and no trade is added.
    assert all(came_out[each] <= given_in[each] for each in given_in)
    assert packer.flush() == []


@given(st.lists(trades, max_size=60), st.integers(1, 8), st.lists(st.integers(0, 60)))
def test_chunks_are_packed_as_single_trades_are(
    given_in: list[Trade], size: int, cuts: list[int]
) -> None:
    def packed(chunks: list[list[Trade]]) -> list[list[Trade]]:
        packer = Packer(Clock(), batch=size, linger=60)
        batches = [batch for chunk in chunks for batch in packer.add(chunk)]
        return sorted(trades_of(batches + packer.flush()))

    ends = [0, *sorted(cuts), len(given_in)]
    assert packed([given_in[a:b] for a, b in pairwise(ends)]) == packed([[t] for t in given_in])


@given(st.lists(trades, max_size=30))
def test_a_batch_has_no_repeated_trade(batch: list[Trade]) -> None:
    parts = in_order(batch) if batch else []
    assert sorted(each for part in parts for each in part) == sorted(set(batch))


def test_different_trades_with_one_id_are_both_packed() -> None:
    first, second = trade(5, price=1), trade(5, price=2)
    assert in_order([trade(6), first, second, first, trade(4)]) == [
        [trade(4), first, trade(6)],
        [second],
    ]


def test_a_full_batch_is_returned_at_once() -> None:
    packer = Packer(Clock(), batch=3, linger=60)
    assert packer.add([trade(2), trade(1), trade(1, "ETHUSDT")]) == []
    assert trades_of(packer.add([trade(3)])) == [[trade(1), trade(2), trade(3)]]
    assert trades_of(packer.flush()) == [[trade(1, "ETHUSDT")]]


def test_no_trade_waits_longer_than_linger() -> None:
    clock = Clock()
    packer = Packer(clock, batch=100, linger=2.0)
    packer.add([trade(1)])
    clock.now += 1.5
    packer.add([trade(2), trade(1, "ETHUSDT")])
    clock.now += 0.4
    assert packer.due() == []
    clock.now += 0.1
    # The oldest trade of each symbol's batch counts.
    assert packer.due() == [Batch([trade(1), trade(2)], 100.0)]
    assert packer.due() == []
    clock.now += 1.5
    assert packer.due() == [Batch([trade(1, "ETHUSDT")], 101.5)]


def test_the_next_batch_has_a_time_of_its_own() -> None:
    clock = Clock()
    packer = Packer(clock, batch=2, linger=2.0)
    packer.add([trade(1)])
    clock.now += 1.9
    assert packer.add([trade(2), trade(3)]) == [Batch([trade(1), trade(2)], 100.0)]
    clock.now += 1.9
    assert packer.due() == []
    clock.now += 0.1
    assert packer.due() == [Batch([trade(3)], 101.9)]


def test_without_linger_nothing_waits() -> None:
    packer = Packer(Clock(), batch=100, linger=0)
    packer.add([trade(1)])
    assert trades_of(packer.due()) == [[trade(1)]]


@given(st.lists(st.integers(0, 3 * MINUTES), min_size=1, max_size=4 * MINUTES))
def test_a_batch_makes_a_bounded_number_of_candles(gaps: list[int]) -> None:
    """The bound holds for illiquid symbols, and for times in any order."""
    given_in = [trade(id_)._replace(time=minute * 60_000) for id_, minute in enumerate(gaps)]
    parts = in_minutes(given_in)
    assert [each for part in parts for each in part] == given_in
    assert all(len({each.time // 60_000 for each in part}) <= MINUTES for part in parts)


def test_a_liquid_batch_is_never_divided() -> None:
    busy = [trade(id_)._replace(time=id_ * 30) for id_ in range(20_000)]
    assert in_minutes(busy) == [busy]
