"""Folding and merging equal the oracle: the candle is the same, whatever the queues do."""

from collections import defaultdict
from decimal import Decimal, Inexact
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mcloud.market.candle import (
    Candle,
    by_minute,
    fold,
    merge,
    parse_timestamp,
    to_timestamp,
)
from mcloud.market.trade import MAX_TIME, Trade

from . import oracle
from .trade_sets import START, several_symbols, subsets, trade_sets

Store = dict[tuple[str, int], Candle]

EMPTY = Candle("BTCUSDT", START)
ONE_MINUTE = trade_sets(minutes=1, smallest=1)
WITH_VOIDS = trade_sets(minutes=1, smallest=1, voids=True)


def write(store: Store, batch: list[Trade]) -> None:
    """Store one batch as a cloud function does."""
    for (symbol, start), trades in by_minute(batch).items():
        candle = store.get((symbol, start), Candle(symbol, start))
        folded = fold(candle, trades)
        assert folded.disagreements == ()
        store[symbol, start] = folded.candle


def replicate(one: Store, other: Store) -> Store:
    """Replicate between two stores as the replicator does."""
    united = dict(other)
    for key, candle in one.items():
        merged = merge(candle, other.get(key, Candle(*key)))
        assert merged.disagreements == ()
        united[key] = merged.candle
    return united


def folded(trades: list[Trade], start: int = START) -> Candle:
    return fold(Candle("BTCUSDT", start), trades).candle


def assert_equals_oracle(store: Store, trades: list[Trade]) -> None:
    expected = oracle.candles(trades)
    assert {key for key, candle in store.items() if candle.has_trades} == expected.keys()
    groups: dict[tuple[str, int], list[Trade]] = defaultdict(list)
    for trade in trades:
        groups[trade.symbol, trade.time // 60_000 * 60_000].append(trade)
    for key, candle in store.items():
        assert not candle.has_trades or values(candle) == expected[key]
        assert candle.trade_count + candle.void_count == len({t.id for t in groups[key]})
        assert candle.encode_fragments() == oracle.fragments(groups[key])
        assert candle.runs == oracle.runs(groups[key])
        assert candle.timestamp == oracle.timestamp(candle.start)


def values(candle: Candle) -> oracle.Expected:
    return oracle.Expected(*(getattr(candle, name) for name in oracle.Expected._fields))


@settings(max_examples=300)
@given(several_symbols(), st.randoms(use_true_random=False), st.data())
def test_any_delivery_and_any_tree_of_merges_gives_the_oracles_candles(
    trades: list[Trade], random: Random, data: st.DataObject
) -> None:
    deliveries = trades + data.draw(subsets(trades))
    random.shuffle(deliveries)
    stores: list[Store] = [{}]
    while deliveries:
        size = random.randint(1, 20)
        batch, deliveries = deliveries[:size], deliveries[size:]
        if random.random() < 0.3:
            stores.append({})
        write(random.choice(stores), batch)
        if random.random() < 0.2:
            write(random.choice(stores), batch)
    while len(stores) > 1:
        random.shuffle(stores)
        stores.append(replicate(stores.pop(), stores.pop()))
    assert_equals_oracle(stores[0], trades)


@given(trade_sets(voids=True), st.randoms(use_true_random=False))
def test_one_trade_at_a_time_in_any_order(trades: list[Trade], random: Random) -> None:
    shuffled = random.sample(trades, len(trades))
    store: Store = {}
    for trade in shuffled:
        write(store, [trade])
    assert_equals_oracle(store, trades)


@given(WITH_VOIDS, st.data())
def test_merge_is_commutative_associative_and_idempotent(
    trades: list[Trade], data: st.DataObject
) -> None:
    a, b, c = (folded(data.draw(subsets(trades))) for _ in range(3))
    ab = merge(a, b)
    assert ab == merge(b, a)
    assert merge(ab.candle, c) == merge(a, merge(b, c).candle)
    assert merge(a, a) == (a, ())
    assert merge(ab.candle, a) == merge(ab.candle, b) == ab
    assert merge(a, EMPTY) == merge(EMPTY, a) == (a, ())


@given(WITH_VOIDS, st.data())
def test_merging_is_folding_the_union(trades: list[Trade], data: st.DataObject) -> None:
    some, others = data.draw(subsets(trades)), data.draw(subsets(trades))
    assert merge(folded(some), folded(others)).candle == folded(some + others)


@given(WITH_VOIDS, st.data())
def test_folding_known_trades_changes_nothing(trades: list[Trade], data: st.DataObject) -> None:
    candle = folded(trades)
    assert fold(candle, data.draw(subsets(trades))) == (candle, ())


@given(WITH_VOIDS)
def test_the_stored_form_round_trips(trades: list[Trade]) -> None:
    candle = folded(trades)
    assert Candle.from_record(candle.to_record()) == candle
    again = Candle.decode(candle.symbol, candle.timestamp, candle.encode_fragments())
    assert again == candle
    assert again.encode_fragments() == candle.encode_fragments()


@given(WITH_VOIDS, st.data())
@example([Trade("BTCUSDT", 5, Decimal(1), Decimal(1), START, True)], None)
def test_a_damaged_stored_form_is_a_value_error_or_a_candle(
    trades: list[Trade], data: st.DataObject | None
) -> None:
    text = folded(trades).encode_fragments()
    if data is None:
        changed = "5:1.2.3,1"
    else:
        at = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(at, min(len(text), at + 3)))
        new = data.draw(st.text("0123456789/~:,. -eN", max_size=3))
        changed = text[:at] + new + text[end:]
    try:
        candle = Candle.decode("BTCUSDT", to_timestamp(START), changed)
    except ValueError:
        return
    stored = candle.encode_fragments()
    assert Candle.decode("BTCUSDT", to_timestamp(START), stored) == candle


@pytest.mark.parametrize(
    "text",
    [
        "junk",
        "5:1",
        "5:1,2,3",
        "5:-1,2",
        "5:NaN,2",
        "5:1.2.3,2",
        "5:.,2",
        "5:1,2 5:1,2",  # twice
        "6:1,2 4:1,2",  # out of order
        "4:1,2 5:1,2",  # not joined
        "5/1:1,1,1,1,2,2",  # not aligned
        "4/1:1,1,1,1,2,2 5:1,2",  # overlapping
        "4/0:1,1,1,1,2,2",
        "0/63:1,1,1,1,2,2",
        "99999999999999999999:1,2",
        "5:0,2",
        "5~0:",  # no void is listed, although all ids are void
        "4/1~0:",
        "4/1~0,1:1,1,1,1,2,2",
        "4/1~2:1,1,1,1,2,2",
        "4/1~1,0:1,1,1,1,2,2",
        "4/1~00:1,1,1,1,2,2",
        "4/1:0,0,0,0,0,0",
        "4: 5:",  # not joined
        "0/62:",  # more voids than any market has
    ],
)
def test_an_invalid_stored_form_raises_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Candle.decode("BTCUSDT", "2024-08-08T23:53:00Z", text)


@given(ONE_MINUTE, st.data())
def test_the_first_of_two_trades_with_one_id_is_kept(
    trades: list[Trade], data: st.DataObject
) -> None:
    trade = data.draw(st.sampled_from(trades))
    other = trade._replace(quantity=trade.quantity + 1)
    result = fold(EMPTY, [*trades, other])
    assert result.candle == folded(trades)
    (report,) = result.disagreements
    assert (report.symbol, report.first_id, report.last_id) == ("BTCUSDT", trade.id, trade.id)
    assert fold(EMPTY, [other, *trades]).candle == folded(
        [other if known.id == trade.id else known for known in trades]
    )


@given(ONE_MINUTE, st.data())
def test_a_fragment_with_different_content_is_reported(
    trades: list[Trade], data: st.DataObject
) -> None:
    candle = folded(trades)
    trade = data.draw(st.sampled_from(trades))
    other = trade._replace(quantity=trade.quantity + 1)
    again = [other if known.id == trade.id else known for known in trades]
    result = fold(candle, again)
    assert result.candle == candle
    (report,) = result.disagreements
    assert report.first_id <= trade.id <= report.last_id


def test_a_disagreement_between_sites_is_decided_alike_and_reported() -> None:
    trade = Trade("BTCUSDT", 5, Decimal("61837.63"), Decimal("0.02"), START, True)
    one = folded([trade])
    other = folded([trade._replace(quantity=Decimal("0.03"))])
    assert merge(one, other) == merge(other, one)
    result = merge(one, other)
    assert result.candle == one
    (report,) = result.disagreements
    assert str(report) == "BTCUSDT 5: kept 5:61837.63,0.02, refused 5:61837.63,0.03"


def test_trades_and_candles_that_do_not_belong_are_refused() -> None:
    trade = Trade("BTCUSDT", 5, Decimal(1), Decimal(1), START, True)
    strangers = [
        trade._replace(id=6, symbol="ETHUSDT"),
        trade._replace(id=6, time=START - 1),
        trade._replace(id=6, time=START + 60_000),
    ]
    for stranger in strangers:
        with pytest.raises(ValueError, match="is not of BTCUSDT"):
            fold(EMPTY, [trade, stranger])
    for other in (Candle("ETHUSDT", START), Candle("BTCUSDT", START + 60_000)):
        with pytest.raises(ValueError, match="cannot merge"):
            merge(EMPTY, other)


def test_a_sum_that_does_not_fit_is_refused_and_never_rounded() -> None:
    # The first and the last digit of one product or sum are 28 places apart, so that the exact
    # result needs at least 39 digits.
    long = Decimal("9999999999999999.999999999999")
    trades = [Trade("BTCUSDT", n, long, long, START, True) for n in range(2)]
    with pytest.raises(Inexact):
        fold(EMPTY, trades)


@given(st.integers(0, MAX_TIME // 60_000).map(lambda minute: minute * 60_000))
def test_timestamps_round_trip(start: int) -> None:
    assert to_timestamp(start) == oracle.timestamp(start)
    assert parse_timestamp(to_timestamp(start)) == start


@given(st.integers(0, 2**40), st.integers(1, 300))
def test_a_run_needs_few_fragments(first: int, count: int) -> None:
    one = Decimal(1)
    trades = [Trade("BTCUSDT", first + n, one, one, START, True) for n in range(count)]
    assert len(folded(trades).fragments) <= 2 * count.bit_length()
    # Voids do not split a block.
    with_voids = [Trade.void("BTCUSDT", t.id, START) if t.id % 7 == 3 else t for t in trades]
    assert len(folded(with_voids).fragments) == len(folded(trades).fragments)


@given(WITH_VOIDS, st.data())
def test_a_trade_replaces_a_void_in_either_order(trades: list[Trade], data: st.DataObject) -> None:
    late = data.draw(st.sampled_from(trades))._replace(price=Decimal(3), quantity=Decimal(2))
    void = Trade.void("BTCUSDT", late.id, START)
    others = [trade for trade in trades if trade.id != late.id]
    right = folded([*others, late])
    early = folded([*others, void])
    for outcome in (
        fold(early, [late]),
        fold(right, [void]),
        fold(EMPTY, [*others, void, late]),
        fold(EMPTY, [late, *others, void]),
        merge(early, right),
        merge(right, early),
        merge(early, folded([late])),
        merge(folded([late]), early),
    ):
        assert outcome == (right, ())


def test_late_trades_for_voids_of_both_sites_are_reported() -> None:
    trades = [Trade("BTCUSDT", n, Decimal(n + 1), Decimal(1), START, True) for n in range(8)]
    voids = [Trade.void("BTCUSDT", n, START) for n in range(8)]
    one = folded([*trades[:4], voids[4], *trades[5:]])
    other = folded([*trades[:6], voids[6], *trades[7:]])
    result = merge(one, other)
    assert result == merge(other, one)
    assert result.candle == other  # its content is the smaller one
    (report,) = result.disagreements
    assert (report.first_id, report.last_id) == (0, 7)
    # Folding the trades corrects it.
    assert fold(one, trades) == (folded(trades), ())


def test_a_candle_of_voids_only_has_no_prices() -> None:
    candle = folded([Trade.void("BTCUSDT", n, START) for n in range(4, 7)])
    record = candle.to_record()
    assert record == {
        "symbol": "BTCUSDT",
        "timestamp": "2024-08-08T23:53:00Z",
        "volume": "0",
        "quote_volume": "0",
        "trade_count": 0,
        "first_id": 4,
        "last_id": 6,
        "fragments": "4/1: 6:",
        "void_count": 3,
    }
    assert Candle.from_record(record) == candle
    assert not candle.has_trades


def test_a_trade_that_cannot_be_among_those_of_its_fragment_is_reported() -> None:
    trades = [
        Trade("BTCUSDT", id_, Decimal(10 + id_ % 3), Decimal(1), 1_000, True) for id_ in range(16)
    ]
    candle = fold(Candle("BTCUSDT", 0), trades).candle
    assert len(candle.fragments) == 1
    cases = [
        (trades[5]._replace(price=Decimal(99)), True),  # above the high
        (trades[5]._replace(price=Decimal(1)), True),  # below the low
        (trades[0]._replace(price=Decimal(11)), True),  # not the open
        (trades[15]._replace(price=Decimal(12)), True),  # not the close
        (trades[5]._replace(quantity=Decimal(999)), True),  # more than all of them
        (trades[5], False),
    ]
    for trade, contradicts in cases:
        again = fold(candle, [trade])
        assert again.candle == candle
        assert [d.first_id for d in again.disagreements] == [trade.id] * contradicts
        other = fold(Candle("BTCUSDT", 0), [trade]).candle
        assert bool(merge(candle, other).disagreements) == contradicts
        assert bool(merge(other, candle).disagreements) == contradicts
