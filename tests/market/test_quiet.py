"""Quiet intervals and intervals that lack trades equal an oracle that checks each id."""

from bisect import bisect
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcloud.market.candle import Candle, by_minute, fold
from mcloud.market.interval import INTERVALS, Bar, derive
from mcloud.market.quiet import CandleHole, find_holes, timeline
from mcloud.market.trade import Trade

MINUTE = 60_000
START = 1_723_075_200_000  # 2024-08-08T00:00:00Z


def candles_of(trades: list[Trade]) -> list[Candle]:
    folded = (fold(Candle(*key), group).candle for key, group in by_minute(trades).items())
    return sorted(folded, key=lambda candle: candle.start)


def trade(minute: int, id_: int, price: str = "10", second: int = 0) -> Trade:
    time = START + minute * MINUTE + second * 1000
    return Trade("X", id_, Decimal(price), Decimal(2), time, False)


@st.composite
def markets(draw: st.DrawFn, backwards: bool = False) -> list[Trade]:
    """Draw all trades of a market with silences of up to some hours.

    With ``backwards``, times may jump back.
    """
    minute, id_ = 0, draw(st.sampled_from([0, 5, 3_735_683_259]))
    trades = []
    for _ in range(draw(st.integers(0, 30))):
        minute += draw(st.sampled_from([0, 0, 0, 1, 1, 2, 3, 7, 200]))
        late = draw(st.sampled_from([0, 0, 0, 1, 4])) if backwards else 0
        price = str(draw(st.integers(1, 99)))
        made = trade(max(0, minute - late), id_, price, draw(st.integers(0, 59)))
        is_void = draw(st.sampled_from([False, False, True]))
        trades.append(Trade.void("X", id_, made.time) if is_void else made)
        id_ += 1
    if not backwards:
        times = sorted(each.time for each in trades)
        trades = [each._replace(time=time) for each, time in zip(trades, times, strict=True)]
    return trades


@st.composite
def bounds(draw: st.DrawFn, width: int) -> tuple[int, int]:
    first = draw(st.integers(-2, 20))
    length = draw(st.integers(1, 40) | st.just(100_000))
    begin = START // width * width + first * width
    return begin, begin + length * width


@pytest.mark.parametrize("interval", INTERVALS)
@given(data=st.data())
def test_a_timeline_equals_the_oracle(interval: str, data: st.DataObject) -> None:
    width = INTERVALS[interval]
    market = data.draw(markets(backwards=True))
    kept = [each for each in market if data.draw(st.integers(0, 5))]
    begin, end = data.draw(bounds(width))
    candles = candles_of(kept)
    found = timeline(candles, interval, begin, end)

    at = {each.id: each.time for each in kept}
    ids = sorted(at)
    missing = sorted(set(range(ids[0], ids[-1] + 1)) - set(ids)) if ids else []
    around = []  # the first and the last interval that each missing id may belong to
    for id_ in missing:
        place = bisect(ids, id_)
        between = sorted((at[ids[place - 1]] // width, at[ids[place]] // width))
        around.append((between[0], between[1]))
    void = {each.id for each in kept if each.is_void}

    def hidden(number: int) -> bool:
        """Return whether an id that may be the preceding close is missing after the last trade."""
        bar = max((each for each in bars if each < number), default=None)
        if bar is None:
            return False
        close = max(id_ for id_ in at if at[id_] // width == bar and id_ not in void)
        return any(
            id_ > close and first < number for id_, (first, _) in zip(missing, around, strict=True)
        )

    bars = {bar.start // width: bar for bar in derive(candles, interval)}
    numbers = sorted(bars)
    known = sorted({time // width for time in at.values()})
    expected = []
    skipped = False
    for number in range(max(known[0], begin // width), known[-1] + 1) if known else ():
        if number * width >= end:
            break
        doubtful = any(first < number <= last for first, last in around)
        lacks = any(first == number == last for first, last in around)
        touched = any(first <= number <= last for first, last in around)
        if number in bars:
            expected.append((bars[number], not doubtful and not skipped, not lacks))
            skipped = False
        elif touched or number == known[-1] or hidden(number):
            skipped = True
        elif numbers and numbers[0] < number:
            before = bars[numbers[bisect(numbers, number) - 1]]
            price, zero, last = before.close, Decimal(), before.last_id
            start = number * width
            flat = Bar("X", start, price, price, price, price, zero, zero, 0, last + 1, last)
            expected.append((flat, not skipped, True))
            skipped = False
    assert [tuple(step) for step in found.steps] == expected
    assert [step.filled for step in found.steps] == [not each[0].trade_count for each in expected]
    within = [
        id_
        for id_ in missing
        if (lower := sorted((at[ids[bisect(ids, id_) - 1]], at[ids[bisect(ids, id_)]])))
        and lower[0] // MINUTE * MINUTE < end
        and lower[1] // MINUTE * MINUTE >= begin
    ]
    assert [id_ for hole in found.holes for id_ in range(hole[0], hole[1] + 1)] == within


@given(market=markets(), data=st.data())
@pytest.mark.parametrize("interval", INTERVALS)
def test_filled_intervals_were_quiet_in_the_whole_market(
    interval: str, market: list[Trade], data: st.DataObject
) -> None:
    """No interval with trades is shown as one without, whichever trades are lost."""
    width = INTERVALS[interval]
    whole = timeline(candles_of(market), interval).steps
    quiet = {step.bar for step in whole if step.filled}
    traded = {each.time // width * width for each in market if not each.is_void}
    known = {each.time // width * width for each in market}
    assert not traded & {bar.start for bar in quiet}
    newest = max(known, default=0)  # if it has only voids, a trade may still follow
    span = range(min(traded), newest + (newest in traded), width) if traded else range(0)
    assert [step.bar.start for step in whole] == list(span)
    assert all(step.follows and step.complete for step in whole)
    first = data.draw(st.integers(0, len(market)))
    last = data.draw(st.integers(first, len(market)))
    rest = market[:first] + market[last:]
    left = timeline(candles_of(rest), interval)
    assert {step.bar for step in left.steps if step.filled} <= quiet
    if first and last < len(market):  # the ids at both ends are present
        assert sum(hole.missing for hole in left.holes) == last - first


def test_a_minute_beside_a_hole_is_not_filled() -> None:
    """The missing id 3 may belong to the minutes 4 to 7. The minutes 1 and 2 were quiet."""
    candles = candles_of([trade(0, 1, "10"), trade(3, 2, "11"), trade(8, 4, "12")])
    found = timeline(candles, "1m")
    minutes = [(step.bar.start - START) // MINUTE for step in found.steps]
    assert minutes == [0, 1, 2, 3, 8]
    assert [step.filled for step in found.steps] == [False, True, True, False, False]
    assert [step.follows for step in found.steps] == [True, True, True, True, False]
    assert found.holes == [CandleHole(3, 3, START + 3 * MINUTE, START + 8 * MINUTE)]


def test_an_id_in_the_neighbouring_candle_is_not_missing() -> None:
    """The ids 2 and 3 are in each other's minute, so neither minute lacks anything."""
    found = timeline(candles_of([trade(0, 1), trade(1, 2), trade(0, 3), trade(1, 4)]), "1m")
    assert [tuple(step[1:]) for step in found.steps] == [(True, True), (True, True)]
    assert found.holes == []


def test_a_minute_of_voids_without_missing_ids_was_quiet() -> None:
    """The minute 2 has only voids, and its missing id may be the trade with the last close."""
    void = [Trade.void("X", id_, START + 2 * MINUTE) for id_ in (2, 3, 4)]
    ends = [trade(0, 1), trade(4, 5)]
    found = timeline(candles_of(sorted([*ends, *void])), "1m")
    assert [step.filled for step in found.steps] == [False, True, True, True, False]
    found = timeline(candles_of([*ends, void[0], void[2]]), "1m")
    minutes = [(step.bar.start - START) // MINUTE for step in found.steps]
    assert minutes == [0, 1, 4]
    assert [step.follows for step in found.steps] == [True, True, False]


def test_the_candles_next_to_the_bounds_prove_their_edges() -> None:
    candles = candles_of([trade(0, 1), trade(5, 2), trade(9, 3)])
    begin, end = START + 2 * MINUTE, START + 8 * MINUTE
    assert [step.filled for step in timeline(candles, "1m", begin, end).steps] == [
        *(True, True, True, False, True, True)
    ]
    assert len(timeline(candles[1:2], "1m", begin, end).steps) == 1


@pytest.mark.parametrize(
    ("hole", "text"),
    [
        (CandleHole(7, 7, START, START), "7 in the minute 2024-08-08T00:00:00Z"),
        (
            CandleHole(7, 9, START, START + MINUTE),
            "7 to 9 between the minutes 2024-08-08T00:00:00Z and 2024-08-08T00:01:00Z",
        ),
    ],
)
def test_the_text_of_a_hole_has_its_position(hole: CandleHole, text: str) -> None:
    assert str(hole) == text


def test_no_candles_have_no_holes() -> None:
    assert find_holes([]) == find_holes([Candle("X", START)]) == []
    assert timeline([], "1m") == ([], [])
