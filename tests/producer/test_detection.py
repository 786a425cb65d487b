"""Detection in the producer: any order of trades gives what the candles of the same trades give."""

from collections.abc import Sequence
from decimal import Decimal, localcontext
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcloud.market.anomaly import Anomaly, Minute, Thresholds, detect, minute
from mcloud.market.candle import MINUTE, Candle, by_minute, fold
from mcloud.market.trade import EXACT, Trade
from mcloud.producer import minutes
from mcloud.producer.detection import OVERLAP, SymbolDetector
from mcloud.producer.minutes import FoldedMinute

SYMBOL = "BTCUSDT"
START = 1_723_161_240_000
WINDOW = 10
TESTED = Thresholds(
    window=WINDOW, jump_score=3, jump_least=0.01, volume_score=2, volume_least=2, drift_score=1.5
)
SPAN = WINDOW * MINUTE


def trade(id_: int, minute_: int, price: str = "100", quantity: str = "1") -> Trade:
    return Trade(SYMBOL, id_, Decimal(price), Decimal(quantity), START + minute_ * MINUTE, True)


def candles_of(trades: Sequence[Trade]) -> list[Candle]:
    found = [
        fold(Candle(symbol, start), part).candle
        for (symbol, start), part in sorted(by_minute(trades).items())
    ]
    return [each for each in found if each.has_trades]


def minutes_of(trades: Sequence[Trade]) -> list[Minute]:
    return [minute(each) for each in candles_of(trades)]


@st.composite
def histories(draw: st.DrawFn) -> list[Trade]:
    """Trades of up to 60 minutes, by id: jumps, spikes, drifts, voids, holes and silent minutes."""
    random = Random(draw(st.integers(0, 2**32)))
    level, id_, made = Decimal(100), draw(st.integers(0, 5)), []
    for number in range(draw(st.integers(1, 60))):
        if random.random() < 0.1:
            level *= Decimal(random.choice(["1.02", "0.97", "1.1"]))
        if random.random() < 0.1:
            id_ += random.randint(0, 3)  # a hole
        for _ in range(random.choice([0, 1, 1, 2, 3])):
            price = level * Decimal(random.choice(["1", "1.001", "0.999", "1.05"]))
            quantity = Decimal(random.choice(["1", "1.5", "0", "20"]))
            time = START + number * MINUTE + random.randrange(MINUTE)
            is_void = random.random() < 0.1
            made.append(
                Trade.void(SYMBOL, id_, time)
                if is_void
                else Trade(SYMBOL, id_, price, quantity, time, True)
            )
            id_ += 1
    return made


def in_parts(random: Random, trades: list[Trade]) -> list[list[Trade]]:
    """Cut trades into batches of any size."""
    parts = []
    while trades:
        size = random.choice([1, 2, 5, 20])
        parts.append(trades[:size])
        trades = trades[size:]
    return parts


@settings(deadline=None, max_examples=300)
@given(histories(), st.integers(0, 2**32))
def test_trades_in_order_give_what_their_candles_give(trades: list[Trade], seed: int) -> None:
    """Every minute is judged, however rarely: here after a random number of batches."""
    random = Random(seed)
    detector = SymbolDetector(SYMBOL, TESTED)
    found: list[Anomaly] = []
    for part in in_parts(random, trades):
        found += detector.take(part)
        if random.random() < 0.3:
            found += detector.judge()
    found += detector.judge()
    last = {each.key: each for each in found}
    assert sorted(last.values(), key=key) == sorted(detect(minutes_of(trades), 0, TESTED), key=key)


def key(anomaly: Anomaly) -> str:
    return anomaly.key


@settings(deadline=None, max_examples=300)
@given(histories(), st.integers(0, 2**32))
def test_late_and_repeated_trades_give_the_same(trades: list[Trade], seed: int) -> None:
    """Trades that are up to two windows late change the verdicts as if they had been in order."""
    random = Random(seed)
    detector = SymbolDetector(SYMBOL, TESTED)
    last: dict[str, Anomaly] = {}
    given_ = [*trades, *(each for each in trades if random.random() < 0.2)]
    # A trade may arrive when the newest one is up to a minute less than two windows ahead.
    given_.sort(key=lambda each: each.time + random.choice([0, 0, random.randrange(2 * SPAN)]))
    for part in in_parts(random, given_):
        # Batches of the packer have ascending ids.
        batch = sorted({each.id: each for each in part}.values(), key=lambda each: each.id)
        last |= {each.key: each for each in detector.take(batch)}
        if random.random() < 0.3:
            last |= {each.key: each for each in detector.judge()}
    last |= {each.key: each for each in detector.judge()}
    assert detector.too_late is None
    newest = max(each.time for each in trades) if trades else 0
    expected = detect(minutes_of(trades), 0, TESTED)
    for anomaly in expected:
        known = last[anomaly.key]
        if anomaly.start >= newest - 2 * SPAN:
            assert known == anomaly
        else:  # whether it is complete may be learnt later than that
            assert vars(known) | {"complete": None} == vars(anomaly) | {"complete": None}


@settings(deadline=None)
@given(histories(), st.integers(0, 2**32))
def test_the_fold_equals_that_of_candles(trades: list[Trade], seed: int) -> None:
    random = Random(seed)
    given_ = [*trades, *(each for each in trades if random.random() < 0.3)]
    if given_:  # a trade replaces a void, and the first of two trades stays
        some = random.choice(given_)
        given_.append(some._replace(price=Decimal(7), quantity=Decimal(3)))
    random.shuffle(given_)
    for (symbol, start), part in by_minute(given_).items():
        candle, folded = Candle(symbol, start), FoldedMinute(symbol, start)
        with localcontext(EXACT):
            for piece in in_parts(random, part):
                candle = fold(candle, piece).candle
                folded = minutes.fold(folded, piece)
        assert list(folded.runs) == candle.runs
        assert len(folded.voids) == candle.void_count
        assert folded.minute == (minute(candle) if candle.has_trades else None)


def test_a_stored_candle_joins_the_trades_of_the_run() -> None:
    stored = fold(Candle(SYMBOL, START), [trade(n, 0, str(100 + n)) for n in range(1, 5)]).candle
    with localcontext(EXACT):
        own = minutes.fold(FoldedMinute(SYMBOL, START), [trade(5, 0, "90"), trade(6, 0, "95")])
        both = minutes.merge(own, stored)
        assert both.minute == Minute(
            *(SYMBOL, START, Decimal(104), Decimal(90), Decimal(95), Decimal(6), 6, 1, 6, True)
        )
        # It has all of the run's trades, or some of them. Trades 2 and 3 are one aggregate.
        assert minutes.merge(minutes.fold(FoldedMinute(SYMBOL, START), [trade(2, 0)]), stored) == (
            minutes.merge(FoldedMinute(SYMBOL, START), stored)
        )
        some = minutes.fold(FoldedMinute(SYMBOL, START), [trade(4, 0), trade(5, 0)])
        assert (
            minutes.merge(some, stored).minute
            == minutes.fold(
                FoldedMinute(SYMBOL, START),
                [*(trade(n, 0, str(100 + n)) for n in (1, 2, 3)), trade(4, 0), trade(5, 0)],
            ).minute
        )
        part = minutes.fold(FoldedMinute(SYMBOL, START), [trade(2, 0), trade(5, 0)])
        assert minutes.merge(part, stored).runs == ((1, 2), (4, 5))


def test_a_minute_is_reported_again_when_it_is_better_known() -> None:
    detector = SymbolDetector(SYMBOL, Thresholds())
    for number in range(5):
        assert detector.take([trade(number, number)]) == []
    assert detector.judge() == []
    detector.take([trade(5, 5, "105")])
    (first,) = detector.judge()
    assert (first.kind, first.value, first.trades, first.complete) == (
        *("price-jump", Decimal(105)),
        *(1, False),
    )
    assert detector.judge() == []
    detector.take([trade(6, 5, "106"), trade(8, 6)])
    (again,) = detector.judge()
    assert (again.key, again.value, again.trades) == (first.key, Decimal(106), 2)
    assert not again.complete
    detector.take([trade(7, 6)])
    (whole,) = detector.judge()
    assert (whole.key, whole.complete) == (first.key, True)


def test_history_comes_first_and_is_not_judged_again() -> None:
    history = [trade(n, n, "120" if n == 3 else "100") for n in range(20)]
    detector = SymbolDetector(SYMBOL, Thresholds())
    detector.take([trade(20, 20, "105")])
    assert detector.judge() == []  # without history, nothing is unusual
    detector.add_history(candles_of(history))
    (found,) = detector.judge()
    assert (found.kind, found.start) == ("price-jump", START + 20 * MINUTE)


def test_what_a_killed_run_had_not_judged_is_judged_again() -> None:
    history = [trade(n, n, "105" if n == 18 else "100") for n in range(20)]
    assert OVERLAP >= 2 * MINUTE
    detector = SymbolDetector(SYMBOL, Thresholds())
    detector.take([trade(20, 20)])
    detector.add_history(candles_of(history))
    assert [each.start for each in detector.judge()] == [START + 18 * MINUTE]


def test_trades_of_forgotten_minutes_are_left_out() -> None:
    detector = SymbolDetector(SYMBOL, Thresholds(window=10))
    detector.take([trade(1, 60)])
    assert detector.take([trade(0, 0, "1")]) == []
    assert detector.too_late == START
    assert detector.judge() == []


def test_a_long_silence_leaves_no_minute_unjudged() -> None:
    detector = SymbolDetector(SYMBOL, Thresholds(window=10))
    for number in range(6):
        assert detector.take([trade(number, number, "105" if number == 5 else "100")]) == []
    (found,) = detector.take([trade(6, 10_000)])
    assert found.start == START + 5 * MINUTE


def test_memory_is_constant() -> None:
    detector = SymbolDetector(SYMBOL, Thresholds(window=10))
    for number in range(500):
        detector.take([trade(2 * number, number)])
        detector.take([Trade.void(SYMBOL, 2 * number + 1, START + number * MINUTE)])
    assert len(detector._series.starts) <= 32
    assert len(detector._others) <= 31


def test_volumes_that_do_not_fit_are_an_error() -> None:
    detector = SymbolDetector(SYMBOL, Thresholds())
    with pytest.raises(ArithmeticError):
        detector.take([trade(1, 0, quantity=f"{10**37}"), trade(2, 0, quantity="0.01")])
