"""Which anomalies are found, and that the result depends on the candles only."""

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcloud.feed.replay import open_replay
from mcloud.feed.simulate import Simulate
from mcloud.market.anomaly import Anomaly, Minute, Thresholds, detect, minute
from mcloud.market.candle import MINUTE, Candle, by_minute, fold
from mcloud.market.trade import Trade

START = 1_735_775_880_000  # 2025-01-01T23:58:00Z
DAY = 86_400  # seconds


def minutes(trades: Iterable[Trade]) -> list[Minute]:
    groups = by_minute(trades).items()
    found = [minute(fold(Candle(*key), group).candle) for key, group in groups]
    return sorted(found, key=lambda each: each.start)


def steady(count: int, price: str = "100", volume: str = "10", first: int = 0) -> list[Minute]:
    """Return minutes with five trades each, whose price moves up and down by a thousandth."""
    found = []
    for n in range(first, first + count):
        close = Decimal(price) * (1 + Decimal(n % 3 - 1) / 1000)
        more = Decimal(volume) * (1 + Decimal(n % 5) / 10)
        found.append(one(n, close, close, close, more))
    return found


def one(n: int, high: Decimal, low: Decimal, close: Decimal, volume: Decimal) -> Minute:
    start = START + n * MINUTE
    return Minute("XUSDT", start, high, low, close, volume, 5, 5 * n, 5 * n + 4, True)


def changed(all_: list[Minute], n: int, **fields: object) -> list[Minute]:
    return [each._replace(**fields) if i == n else each for i, each in enumerate(all_)]  # type: ignore[arg-type]


def kinds(found: list[Anomaly]) -> list[tuple[int, str]]:
    return [((each.start - START) // MINUTE, each.kind) for each in found]


def test_steady_minutes_have_no_anomaly() -> None:
    assert detect(steady(300), 0) == []


@pytest.mark.parametrize(("field", "price"), [("high", "105"), ("low", "95")])
def test_one_trade_at_a_wrong_price(field: str, price: str) -> None:
    found = detect(changed(steady(30), 20, **{field: Decimal(price)}), 0)
    assert kinds(found) == [(20, "price-jump")]
    (anomaly,) = found
    assert (anomaly.symbol, anomaly.value, anomaly.complete) == ("XUSDT", Decimal(price), True)
    assert anomaly.timestamp == "2025-01-02T00:18:00Z"
    assert anomaly.key == "2025-01-02T00:18:00Z XUSDT price-jump"
    # The preceding closes are 100.1, 99.9, 100, 100.1, 99.9.
    assert anomaly.usual == 100
    assert anomaly.change == Decimal(price) / 100 - 1
    # Most prices differ from the median of five by a thousandth: 8 of these are below 1%.
    off = max(Decimal(price) / 100, 100 / Decimal(price)) - 1
    assert anomaly.score == pytest.approx(off / (Decimal("0.01") / 8), rel=Decimal("1e-5"))


def test_a_close_at_a_wrong_price_is_no_reference() -> None:
    """The return to the usual price is not a jump."""
    wrong = Decimal(105)
    bad = changed(steady(30), 20, high=wrong, close=wrong)
    assert kinds(detect(bad, 0)) == [(20, "price-jump")]


def test_a_price_that_stays_elsewhere_is_one_jump() -> None:
    moved = steady(20) + steady(20, price="110", first=20)
    found = [each for each in kinds(detect(moved, 0)) if each[1] == "price-jump"]
    assert found == [(20, "price-jump")]


def test_down_after_up_is_another_jump() -> None:
    bad = changed(steady(30), 20, high=Decimal(105))
    bad = changed(bad, 21, low=Decimal(95))
    assert kinds(detect(bad, 0)) == [(20, "price-jump"), (21, "price-jump")]


def test_a_volatile_price_needs_a_larger_jump() -> None:
    wild = [
        each._replace(high=each.close * Decimal("1.02"), low=each.close / Decimal("1.02"))
        for each in steady(40)
    ]
    assert detect(changed(wild, 30, high=Decimal(110)), 0) == []
    assert kinds(detect(changed(wild, 30, high=Decimal(120)), 0)) == [(30, "price-jump")]


def test_a_volume_spike_is_found_once() -> None:
    bad = changed(steady(30), 20, volume=Decimal(500))
    found = detect(changed(bad, 21, volume=Decimal(600)), 0)
    assert kinds(found) == [(20, "volume-spike")]  # the next minute continues it
    assert found[0].usual == 12
    assert found[0].change == pytest.approx(Decimal(500) / 12 - 1, rel=Decimal("1e-5"))
    assert detect(changed(steady(30), 20, volume=Decimal(110)), 0) == []
    assert detect(changed(steady(30), 20, volume=Decimal(0)), 0) == []


def test_a_drift_without_jumps_is_found() -> None:
    """The price drifts by two thousandths per minute for an hour. No minute jumps."""
    rising = steady(60) + [
        each._replace(
            **{
                name: getattr(each, name) * (1 + Decimal(n) / 500)
                for name in ("high", "low", "close")
            }
        )
        for n, each in enumerate(steady(60, first=60), 1)
    ]
    found = detect(rising, 0)
    assert {each.kind for each in found} == {"drift"}
    assert 60 + 10 < (found[0].start - START) / MINUTE < 60 + 50
    assert found[0].value > found[0].usual
    falling = [
        each._replace(high=10000 / each.low, low=10000 / each.high, close=10000 / each.close)
        for each in rising
    ]
    fell = detect(falling, 0)
    assert {each.kind for each in fell} == {"drift"}
    assert (fell[0].start, fell[0].value < fell[0].usual) == (found[0].start, True)


def test_a_minute_that_still_grows_is_not_complete_and_has_no_drift_yet() -> None:
    last = changed(steady(30), 29, high=Decimal(105))
    (anomaly,) = detect(last, 0)
    assert not anomaly.complete
    grown = changed(steady(31), 29, high=Decimal(105))
    assert detect(grown, 0)[0] == Anomaly(**{**vars(anomaly), "complete": True})
    # The same holds if a trade is missing, inside or at an end.
    for field, value in (("is_whole", False), ("first_id", 146), ("last_id", 148)):
        assert not detect(changed(grown, 29, **{field: value}), 0)[0].complete


def test_after_a_hole_the_history_starts_again() -> None:
    """Ten minutes and their trades are missing, and the price is different afterwards."""
    elsewhere = steady(10, price="120", first=40)
    assert detect(steady(30) + elsewhere, 0) == []
    # If the ids continue, there was no trade, so that it is a jump.
    quiet = [
        each._replace(first_id=each.first_id - 50, last_id=each.last_id - 50) for each in elsewhere
    ]
    assert kinds(detect(steady(30) + quiet, 0))[0] == (40, "price-jump")


def test_without_history_there_is_no_verdict() -> None:
    for count in (1, 2, 3):
        bad = changed(steady(count), count - 1, high=Decimal(200), volume=Decimal(10_000))
        assert detect(bad, 0) == []
    bad = changed(steady(4), 3, high=Decimal(200), volume=Decimal(10_000))
    assert kinds(detect(bad, 0)) == [(3, "price-jump"), (3, "volume-spike")]
    assert detect([], 0) == []


def test_thresholds_decide_which_anomalies_are_found() -> None:
    bad = changed(steady(30), 20, high=Decimal(105), volume=Decimal(500))
    assert detect(bad, 0, Thresholds(jump_least=0.06, volume_least=50.0)) == []
    assert detect(bad, 0, Thresholds(jump_score=100.0, volume_score=50.0)) == []
    assert len(detect(bad, 0, Thresholds(jump_least=0.04, volume_least=30.0))) == 2


def test_the_text_of_an_anomaly() -> None:
    (anomaly,) = detect(changed(steady(30), 20, low=Decimal("61.5")), 0)
    assert str(anomaly) == "XUSDT 2025-01-02T00:18:00Z price-jump: 61.5 (-38.50%)"
    (spike,) = detect(changed(steady(30), 20, volume=Decimal(600)), 0)
    assert str(spike).endswith("volume-spike: 600 (50 times the usual)")


@pytest.mark.parametrize(
    "values",
    [
        *({"window": 9}, {"window": 60.5}, {"jump_least": "1"}, {"jump_score": float("nan")}),
        *({"jump_score": True}, {"volume_least": 1}),
    ],
)
def test_invalid_thresholds_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="number from"):
        Thresholds(**values)


@st.composite
def histories(draw: st.DrawFn) -> list[Minute]:
    """Draw minutes with wild prices and volumes, silences and holes."""
    found, n, id_ = [], 0, 100
    for _ in range(draw(st.integers(0, 45))):
        prices = [Decimal(100) + draw(st.sampled_from([0, 0, 0, 1, -1, 5, -5])) for _ in range(3)]
        volume = Decimal(draw(st.sampled_from([0, 1, 2, 3, 500])))
        high, low, close = max(prices), min(prices), prices[2]
        found.append(Minute("X", START + n * MINUTE, high, low, close, volume, 1, id_, id_, True))
        n += draw(st.sampled_from([1, 1, 1, 1, 2, 11]))
        id_ += draw(st.sampled_from([1, 1, 1, 1, 1, 2]))
    return found


@given(histories(), st.data())
def test_the_result_depends_only_on_candles_within_reach(
    history: list[Minute], data: st.DataObject
) -> None:
    """The result for a minute does not depend on when and over which range it is computed."""
    thresholds = Thresholds(window=10, drift_least=0.001, drift_score=1.0)
    everything = detect(history, 0, thresholds)
    since = START + data.draw(st.integers(0, 60)) * MINUTE
    near = [each for each in history if each.start >= since - thresholds.reach]
    assert detect(near, since, thresholds) == [each for each in everything if each.start >= since]
    # Later minutes only change whether the last one is known to be complete.
    until = data.draw(st.integers(0, len(history)))
    early = detect(history[:until], 0, thresholds)
    there = {each.key: each for each in everything}
    assert {each.key for each in early} <= set(there)
    settled = [each for each in early if each.start < history[until - 1].start]
    assert all(there[each.key] == each for each in settled)


# Recorded trades with injected faults


@pytest.fixture(scope="module", params=["btcusdt", "ethusdt"])
def recorded(request: pytest.FixtureRequest, recordings: Path) -> list[Trade]:
    return list(open_replay(recordings / f"spot-{request.param}-trades-20240808.jsonl.gz"))


def stretched(trades: list[Trade], factor: int) -> list[Trade]:
    """Stretch the times: with a factor of 30, two seconds become a minute."""
    first = trades[0].time // MINUTE * MINUTE
    return [each._replace(time=first + (each.time - first) * factor) for each in trades]


@pytest.mark.parametrize("factor", [1, 10, 30])
def test_no_alarm_on_recorded_trades(recorded: list[Trade], factor: int) -> None:
    found = minutes(stretched(recorded, factor))
    assert len(found) >= 5.5 * factor
    assert detect(found, 0) == []


@pytest.mark.parametrize("factor", [1, 10])
def test_every_bad_print_in_recorded_trades_is_found(recorded: list[Trade], factor: int) -> None:
    """One trade, 5% too high or too low, is put into each minute that has a history."""
    trades = stretched(recorded, factor)
    known = minutes(trades)
    random = Random(1)
    for index in range(3, len(known)):
        id_ = random.randrange(known[index].first_id, known[index].last_id + 1)
        share = Decimal("1.05") if index % 2 else Decimal("0.95")
        at = id_ - trades[0].id
        bad = trades[at]._replace(price=trades[at].price * share)
        found = detect(minutes([*trades[:at], bad, *trades[at + 1 :]]), 0)
        assert [(each.start, each.kind) for each in found] == [(known[index].start, "price-jump")]
        assert found[0].value == bad.price


def test_every_burst_in_recorded_trades_is_found(recorded: list[Trade]) -> None:
    """All quantities of one minute are multiplied by 50. The last, short minute is left out."""
    known = minutes(recorded)
    for each in known[3:-1]:
        loud = [
            trade._replace(quantity=trade.quantity * 50)
            if each.first_id <= trade.id <= each.last_id
            else trade
            for trade in recorded
        ]
        found = detect(minutes(loud), 0)
        assert [(one.start, one.kind) for one in found] == [(each.start, "volume-spike")]


def test_a_drift_of_recorded_prices_is_found(recorded: list[Trade]) -> None:
    """The price rises by two thousandths per minute from the hundredth on. No minute jumps."""
    trades = stretched(recorded, 30)
    begin = trades[0].time // MINUTE * MINUTE + 100 * MINUTE
    risen = [
        each._replace(price=each.price * (1 + Decimal(max(0, each.time - begin)) / MINUTE / 500))
        for each in trades
    ]
    found = detect(minutes(risen), 0)
    assert [each.kind for each in found] == ["drift"]
    assert begin < found[0].start < begin + 40 * MINUTE


@pytest.mark.slow
def test_false_alarms_on_a_made_up_day() -> None:
    """A simulated day has few false alarms.

    At one trade per second, the volume of a simulated minute is sometimes 20 times the median:
    one of a hundred fills is above 99 times the usual size. At ten trades per second there is no
    false alarm in ten days.
    """
    made = Simulate(["BTCUSDT"], seed=4, start_time=START, duration=DAY, rate=1)
    found = minutes(made)
    assert len(found) > 1400
    alarms = detect(found, 0)
    assert {each.kind for each in alarms} <= {"volume-spike"}
    assert len(alarms) <= 2
