"""Indicators equal hand-computed values and a slow oracle that computes with fractions."""

import math
import statistics
from decimal import Context, Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcloud.market.candle import Candle, fold
from mcloud.market.indicators import (
    DAY,
    YEAR,
    BadIndicator,
    Indicator,
    compute,
    parse,
    reach,
    signed_text,
)
from mcloud.market.interval import Bar
from mcloud.market.quiet import TimelineStep, timeline
from mcloud.market.trade import Trade

MINUTE = 60_000
MIDNIGHT = 1_723_075_200_000  # 2024-08-08T00:00:00Z
START = MIDNIGHT + DAY - 5 * MINUTE


def bar(minute: int, close: str, volume: str = "1") -> Bar:
    """Return a bar of one trade."""
    price, quantity = Decimal(close), Decimal(volume)
    start = START + minute * MINUTE
    return Bar("X", start, price, price, price, price, quantity, price * quantity, 1, 7, 7)


def whole(bars: list[Bar]) -> list[TimelineStep]:
    """Return the bars as a timeline in which nothing is missing."""
    return [TimelineStep(each, True, True) for each in bars]


def values(text: str, bars: list[Bar], width: int = MINUTE) -> list[str | None]:
    return shown(text, whole(bars), width)


def shown(text: str, steps: list[TimelineStep], width: int = MINUTE) -> list[str | None]:
    (indicator,) = parse(text)
    return [None if v is None else signed_text(v) for v in compute(steps, width, indicator)]


def steps_of(*trades: tuple[int, int, str]) -> list[TimelineStep]:
    """Return the timeline of trades of quantity 1, given as (minute, id, price)."""
    candles: dict[int, Candle] = {}
    for minute, id_, price in trades:
        start = START + minute * MINUTE
        trade = Trade("X", id_, Decimal(price), Decimal(1), start, False)
        candles[start] = fold(candles.get(start, Candle("X", start)), [trade]).candle
    return timeline(list(candles.values()), "1m").steps


FIVE = [bar(0, "10"), bar(1, "11"), bar(2, "13"), bar(3, "12", "3"), bar(4, "9")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sma:1", ["10", "11", "13", "12", "9"]),
        ("sma:3", [None, None, "11.3333333333", "12", "11.3333333333"]),
        ("sma:6", [None] * 5),
        # The first value is the mean of the first three. Each step then adds half the difference.
        ("ema:3", [None, None, "11.3333333333", "11.6666666667", "10.3333333333"]),
        ("vwap:2", [None, "10.5", "12", "12.25", "11.25"]),
        ("vwap", ["10", "10.5", "11.3333333333", "11.6666666667", "11.2857142857"]),
        ("returns", [None, "0.1", "0.181818181818", "-0.0769230769231", "-0.25"]),
    ],
)
def test_indicators_equal_figures_computed_by_hand(text: str, expected: list[str | None]) -> None:
    assert values(text, FIVE) == expected


def test_volatility_is_the_deviation_of_log_returns_a_year() -> None:
    (found,) = values("volatility:3", FIVE)[3:4]
    logs = [math.log(b / a) for a, b in ((10, 11), (11, 13), (13, 12))]
    assert float(found or "nan") == pytest.approx(
        statistics.stdev(logs) * math.sqrt(525_600), rel=1e-11
    )
    hourly = [each._replace(start=MIDNIGHT + 12 * n * MINUTE * 5) for n, each in enumerate(FIVE)]
    (other,) = values("volatility:3", hourly, 60 * MINUTE)[3:4]
    assert float(other or "nan") == pytest.approx(float(found or "nan") / math.sqrt(60), rel=1e-11)


def test_a_constant_price_has_no_volatility() -> None:
    still = [bar(n, "61.5") for n in range(5)]
    assert values("volatility:2", still) == [None, None, "0", "0", "0"]
    assert values("returns", still) == [None, "0", "0", "0", "0"]


def test_a_quiet_minute_has_the_last_close_and_no_volume() -> None:
    """The ids continue across the minutes 1 and 2, so nothing was traded."""
    steps = steps_of((0, 7, "10"), (3, 8, "16"), (4, 9, "16"))
    assert shown("sma:4", steps) == [None, None, None, "11.5", "13"]
    assert shown("vwap:2", steps) == [None, "10", None, "16", "16"]
    assert shown("returns", steps) == [None, "0", "0", "0.6", "0"]


@pytest.mark.parametrize("minute", [1, 3], ids=["next minute", "later minute"])
def test_after_a_hole_every_indicator_starts_again(minute: int) -> None:
    """The id 8 is missing between two minutes, which may or may not be neighbours."""
    steps = steps_of((0, 7, "10"), (minute, 9, "16"), (minute + 1, 10, "17"))
    assert len(steps) == 3
    assert shown("sma:2", steps) == [None, None, "16.5"]
    assert shown("ema:2", steps) == [None, None, "16.5"]
    assert shown("vwap:2", steps) == [None, None, "16.5"]
    assert shown("vwap", steps) == ["10", "16", "16.5"]
    assert shown("returns", steps) == [None, None, "0.0625"]
    assert shown("volatility:2", steps) == [None] * 3


def test_a_minute_with_missing_ids_is_in_no_window() -> None:
    """The id 9 of minute 1 is missing."""
    steps = steps_of(
        (0, 7, "10"), (1, 8, "11"), (1, 10, "12"), (2, 11, "16"), (3, 12, "17"), (4, 13, "34")
    )
    assert shown("sma:1", steps) == ["10", None, "16", "17", "34"]
    assert shown("sma:2", steps) == [None, None, None, "16.5", "25.5"]
    assert shown("ema:2", steps) == [None, None, None, "16.5", "28.1666666667"]
    assert shown("vwap:2", steps) == [None, None, None, "16.5", "25.5"]
    assert shown("vwap", steps) == ["10", None, "16", "16.5", "22.3333333333"]
    assert shown("returns", steps) == [None, None, None, "0.0625", "1"]
    assert shown("volatility:2", steps)[:4] == [None] * 4
    assert shown("volatility:2", steps)[4] is not None


def test_a_quiet_week_is_no_hole() -> None:
    minutes = 7 * 1440
    steps = steps_of((0, 7, "10"), (minutes, 8, "11"))
    assert len(steps) == minutes + 1
    assert shown("sma:2", steps)[-2:] == ["10", "10.5"]


def test_a_session_ends_at_midnight() -> None:
    bars = [bar(n, str(10 + n)) for n in range(8)]
    assert bars[5].start % DAY == 0
    assert values("vwap", bars)[4:] == ["12", "15", "15.5", "16"]
    assert values("sma:2", bars)[5] == "14.5"


def test_without_volume_there_is_no_vwap() -> None:
    assert values("vwap", [bar(0, "10", "0"), bar(1, "12", "0")]) == [None, None]
    assert values("vwap:1", [bar(0, "10", "0"), bar(1, "12", "2")]) == [None, "12"]


def test_no_bars_no_values() -> None:
    for text in ("sma:2", "ema:2", "vwap", "vwap:2", "volatility:2", "returns"):
        assert values(text, []) == []


def test_parses_a_list_once_each() -> None:
    assert parse("sma:20, vwap,vwap:60,sma:20,returns") == [
        Indicator("sma", 20),
        Indicator("vwap"),
        Indicator("vwap", 60),
        Indicator("returns"),
    ]
    assert [str(each) for each in parse("vwap:60,vwap")] == ["vwap:60", "vwap"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("smaa:20", "unknown indicator 'smaa'; choose from sma, ema, vwap, volatility, returns"),
        ("", "unknown indicator ''"),
        ("sma:20,", "unknown indicator ''"),
        ("sma", "sma needs a length, such as sma:20"),
        ("volatility", "volatility needs a length"),
        ("returns:3", "returns takes no length, but 'returns:3' gives one"),
        ("sma:0", "the length of sma is a whole number from 1 to 1000, not '0'"),
        ("sma:1001", "not '1001'"),
        ("sma:", "not ''"),
        ("sma:2.5", "not '2.5'"),
        ("sma:-3", "not '-3'"),
        ("sma:٣", "not '٣'"),
        ("sma:9999999999", "not '9999999999'"),
        ("volatility:1", "from 2 to 1000, not '1'"),
    ],
)
def test_invalid_indicators_are_refused(text: str, message: str) -> None:
    with pytest.raises(BadIndicator) as caught:
        parse(text)
    assert message in str(caught.value)


# An oracle that computes every interval from scratch, without moving windows

closes = st.integers(1, 10**14).map(lambda units: Decimal(units).scaleb(-8))


@st.composite
def series(draw: st.DrawFn) -> list[TimelineStep]:
    """Draw steps near midnight, with holes inside and between them."""
    steps: list[TimelineStep] = []
    minute = 0
    for _ in range(draw(st.integers(0, 20))):
        close, high = draw(closes), draw(closes)
        count = draw(st.sampled_from([0, 1, 3]))
        volume = draw(st.integers(0, 10**12).map(lambda units: Decimal(units).scaleb(-8)))
        volume *= bool(count)
        quote = volume * (close + high) / 2
        follows = draw(st.sampled_from([True, True, True, True, False]))
        complete = draw(st.sampled_from([True, True, True, True, False]))
        minute += 1 if follows else draw(st.sampled_from([1, 3]))
        prices = high, max(close, high), min(close, high), close
        bar = Bar("X", START + minute * MINUTE, *prices, volume, quote, count, 0, 0)
        steps.append(TimelineStep(bar, follows, complete))
    return steps


Minutes = list[tuple[Fraction, Fraction, Fraction]]  # close, quote volume, volume


def behind(steps: list[TimelineStep], index: int) -> Minutes:
    """Return the minutes from the last hole to a step, oldest first; none if the step lacks ids."""
    minutes: Minutes = []
    for bar, follows, complete in reversed(steps[: index + 1]):
        if not complete:
            break
        minutes.insert(0, (Fraction(bar.close), Fraction(bar.quote_volume), Fraction(bar.volume)))
        if not follows:
            break
    return minutes


def rounded(value: Fraction) -> Decimal:
    return Context(prec=12).divide(Decimal(value.numerator), Decimal(value.denominator))


def vwap(minutes: Minutes) -> Decimal | None:
    quote, base = sum(each[1] for each in minutes), sum(each[2] for each in minutes)
    return rounded(Fraction(quote) / base) if base else None


@given(series(), st.integers(1, 8))
def test_averages_equal_the_judge(steps: list[TimelineStep], length: int) -> None:
    sma = compute(steps, MINUTE, Indicator("sma", length))
    rolling = compute(steps, MINUTE, Indicator("vwap", length))
    session = compute(steps, MINUTE, Indicator("vwap"))
    ema = compute(steps, MINUTE, Indicator("ema", length))
    assert {len(each) for each in (sma, rolling, session, ema)} == {len(steps)}
    for index, step in enumerate(steps):
        minutes = behind(steps, index)
        today = minutes[-((step.bar.start % DAY) // MINUTE + 1) :]
        assert session[index] == vwap(today)
        if len(minutes) < length:
            assert sma[index] is rolling[index] is ema[index] is None
            continue
        window = minutes[-length:]
        assert sma[index] == rounded(Fraction(sum(each[0] for each in window)) / length)
        assert rolling[index] == vwap(window)
        mean = Fraction(sum(each[0] for each in minutes[:length])) / length
        for close, _, _ in minutes[length:]:
            mean += Fraction(2, length + 1) * (close - mean)
        assert ema[index] == rounded(mean)


@given(series(), st.integers(2, 6))
def test_returns_and_volatility_equal_the_judge(steps: list[TimelineStep], length: int) -> None:
    returns = compute(steps, MINUTE, Indicator("returns"))
    volatility = compute(steps, MINUTE, Indicator("volatility", length))
    for index in range(len(steps)):
        prices = [each[0] for each in behind(steps, index)]
        changes = [after / before for before, after in pairwise(prices)]
        assert returns[index] == (rounded(changes[-1] - 1) if changes else None)
        found = volatility[index]
        if len(changes) < length:
            assert found is None
            continue
        logs = [math.log(each.numerator) - math.log(each.denominator) for each in changes[-length:]]
        expected = statistics.stdev(logs) * math.sqrt(YEAR / MINUTE)
        assert found is not None
        assert float(found) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(series(), st.integers(1, 8), st.data())
def test_values_depend_only_on_bars_within_reach(
    steps: list[TimelineStep], length: int, data: st.DataObject
) -> None:
    """Reading only as far back as ``reach`` gives the same value in the first row shown."""
    if not steps:
        return
    index = data.draw(st.integers(0, len(steps) - 1))
    names = ("sma", "vwap", "volatility")
    chosen = [Indicator(name, max(2, length)) for name in names]
    for indicator in (*chosen, Indicator("returns"), Indicator("vwap")):
        begin = reach(indicator, steps[index].bar.start, MINUTE)
        first = sum(each.bar.start < begin for each in steps)
        assert (
            compute(steps[first:], MINUTE, indicator)[index - first]
            == compute(steps, MINUTE, indicator)[index]
        )


def test_an_exponential_mean_does_not_depend_on_its_start() -> None:
    bars = [bar(n, str(60_000 + 997 * n % 613)) for n in range(1500)]
    indicator = Indicator("ema", 12)
    begin = reach(indicator, bars[1000].start, MINUTE)
    later = [each for each in bars if each.start >= begin]
    assert len(later) == 500 + 260
    found = compute(whole(later), MINUTE, indicator)
    assert found[260:] == compute(whole(bars), MINUTE, indicator)[1000:]


def test_reach_does_not_begin_before_1970() -> None:
    assert reach(Indicator("ema", 1000), 5 * MINUTE, MINUTE) == 0
    assert reach(Indicator("vwap"), MIDNIGHT + 5, MINUTE) == MIDNIGHT
