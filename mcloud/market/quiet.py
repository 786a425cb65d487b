"""Timelines: the trade ids prove which intervals without trades were quiet, and which lack trades.

An exchange numbers the trades of a symbol without a gap. If no id is missing between two candles,
nothing was traded in the intervals between them. If ids are missing, their trades may belong to any
interval from that of the id below to that of the id above.
"""

from bisect import bisect_right
from collections.abc import Sequence
from decimal import Decimal
from itertools import accumulate
from typing import NamedTuple

from mcloud.market.candle import Candle, to_timestamp
from mcloud.market.interval import INTERVALS, Bar, derive
from mcloud.market.trade import MAX_TIME, id_count


class CandleHole(NamedTuple):
    """A run of missing trade ids between two ids that exist."""

    first_id: int
    last_id: int
    start: int
    """Start of the first minute that its trades may belong to, in ms since 1970."""
    end: int
    """Start of the last minute that its trades may belong to, in ms since 1970."""

    @property
    def missing(self) -> int:
        return id_count(self.first_id, self.last_id)

    def __str__(self) -> str:
        ids = f"{self.first_id} to {self.last_id}" if self.missing > 1 else str(self.first_id)
        if self.start == self.end:
            return f"{ids} in the minute {to_timestamp(self.start)}"
        return f"{ids} between the minutes {to_timestamp(self.start)} and {to_timestamp(self.end)}"


class TimelineStep(NamedTuple):
    """One interval of a timeline."""

    bar: Bar
    follows: bool
    """Whether no id is missing between this interval and the previous step."""
    complete: bool
    """Whether no id is missing inside the interval."""

    @property
    def filled(self) -> bool:
        """Whether nothing was traded. The bar then repeats the previous close, without volume."""
        return not self.bar.trade_count


class Timeline(NamedTuple):
    """Intervals with trades and quiet ones, and the holes among them."""

    steps: list[TimelineStep]
    """Steps, sorted by time. An interval has no step if all of its trades may be missing."""
    holes: list[CandleHole]
    """Holes whose trades may belong to the intervals of the timeline, by id."""


def timeline(
    candles: Sequence[Candle], interval: str, start: int = 0, end: int = MAX_TIME + 1
) -> Timeline:
    """Return all intervals from ``start`` to before ``end`` that had trades or were quiet.

    Args:
        candles: candles of one symbol, by time. One before ``start`` and one from ``end`` on show
            whether the first and the last intervals were quiet, and have no step themselves.
        interval: a key of ``INTERVALS``.
        start, end: multiples of the interval, in ms since 1970.
    """
    width = INTERVALS[interval]
    holes = find_holes(candles)
    # By interval: intervals with missing ids, and the spans of holes across intervals.
    torn = {hole.start // width for hole in holes if hole.start // width == hole.end // width}
    spans = sorted((hole.start // width, hole.end // width) for hole in holes)
    bars = {bar.start: bar for bar in derive(candles, interval)}
    edges = {number for span in spans for number in span}
    # By interval, the highest id that may be the close. A hole above it hides the close.
    priced: dict[int, int] = {}
    for candle in candles:
        if candle.has_trades:
            id_ = max(each.last_id for each in candle.fragments if each.open)
            number = candle.start // width
            priced[number] = max(id_, priced.get(number, id_))
    first_ids = [hole.first_id for hole in holes]
    earliest = [*accumulate((hole.start // width for hole in reversed(holes)), min)][::-1]
    steps: list[TimelineStep] = []
    last: Bar | None = None
    follows = True
    at, reach, after, doubt = 0, -1, start, MAX_TIME
    # An interval with only voids has ids and no bar. It was quiet, unless a hole reaches into it,
    # or it is the newest interval, which may still get trades.
    with_ids = sorted({each.start // width * width for each in candles if each.fragments})
    for known in with_ids:
        number = known // width
        while at < len(spans) and spans[at][0] < number:
            reach = max(reach, spans[at][1])
            at += 1
        # No candle lies between two of these intervals, so a hole spans all of the silence or none
        # of it.
        silence = range(max(after, start), min(known, end), width)
        if number <= reach or (silence and doubt < after // width):
            follows = False
        elif last is not None:
            for each in silence:
                steps.append(TimelineStep(_flat(last, each), follows, True))
                follows = True
        after, bar = known + width, bars.get(known)
        if known < start:
            follows = True
        elif known < end and bar is not None:
            steps.append(TimelineStep(bar, follows, number not in torn))
            follows = True
        elif number in edges or doubt < number:
            follows = False
        elif known < min(end, with_ids[-1]) and last is not None and number > reach:
            steps.append(TimelineStep(_flat(last, known), follows, True))
            follows = True
        if bar is not None:
            last = bar
            above = bisect_right(first_ids, priced[number])
            # The previous close is unknown from the next interval on.
            doubt = earliest[above] if above < len(earliest) else MAX_TIME
    return Timeline(steps, [each for each in holes if each.start < end and each.end >= start])


def find_holes(candles: Sequence[Candle]) -> list[CandleHole]:
    """Return the ids that are missing between the lowest and the highest of the candles' ids.

    All candles count together: an id that one of them lacks may be in another, because trades do
    not always have times in the order of their ids.
    """
    runs = sorted((*run, candle.start) for candle in candles for run in candle.runs)
    holes: list[CandleHole] = []
    highest, minute = (runs[0][0] - 1, runs[0][2]) if runs else (-1, 0)
    for first, last, start in runs:
        if first > highest + 1:
            holes.append(CandleHole(highest + 1, first - 1, min(minute, start), max(minute, start)))
        if last > highest:
            highest, minute = last, start
    return holes


def _flat(last: Bar, start: int) -> Bar:
    """Return the bar of an interval without trades after ``last``."""
    price, zero = last.close, Decimal()
    return Bar(
        last.symbol,
        start,
        price,
        price,
        price,
        price,
        zero,
        zero,
        0,
        last.last_id + 1,
        last.last_id,
    )
