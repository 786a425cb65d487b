"""Finds the minute of a trade by its id: candles are stored by time, and ids ascend with time."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from mcloud.market.archive import HOUR
from mcloud.market.candle import MINUTE, Candle

Read = Callable[[int, int], Iterable[Candle]]
"""``Candles.range`` of a symbol: from the first up to the second time, exclusive, in ms since
1970.
"""

PROBE = 10 * MINUTE  # ms; time range of a read where candles are expected
WIDER = 8  # factor of the range after an empty read


class Place(NamedTuple):
    candle: Candle | None
    """The candle with the trade."""
    around: tuple[int, int | None] | None
    """Bounds of the trade's time in ms. The second bound is None if that may be now. The field is
    None if the candles do not show the time.
    """
    note: str = ""
    """Why there is no candle."""


def locate(read: Read, newest: Candle | None, trade_id: int) -> Place:
    """Find a trade by reading some dozens of candles, regardless of the total number."""
    if newest is None:
        return Place(None, None, "there are no candles of the symbol")
    if trade_id > newest.last_id:
        return Place(None, (newest.start, None), f"above the newest candle, {newest.timestamp}")
    high = newest.start + MINUTE
    low, step = high, HOUR
    while low > 0:
        low = max(0, high - step)
        first = _first(read, low, high)
        if first is not None and first.first_id <= trade_id:
            break
        if first is not None:
            high = first.start
        step *= 4
    else:
        return Place(None, None, "below the oldest candle")
    while high - low > HOUR:
        middle = (low + high) // 2 // MINUTE * MINUTE
        first = _first(read, middle, high)
        if first is None or first.first_id > trade_id:
            high = middle
        else:
            low = first.start if first.start > low else middle
    return search(read(low, high), trade_id)


def search(candles: Iterable[Candle], trade_id: int) -> Place:
    """Find the candle of a trade among a few, or the two candles between which it would be."""
    before: Candle | None = None
    for candle in candles:
        if holds(candle, trade_id):
            return Place(candle, (candle.start, candle.start))
        if candle.first_id > trade_id:
            note = f"in no candle up to {candle.timestamp}, where it would be"
            return Place(None, (before.start, candle.start) if before else None, note)
        before = candle
    if before is None:
        return Place(None, None, "there are no candles of its time")
    note = f"in no candle from {before.timestamp} on, where it would be"
    return Place(None, (before.start, before.start), note)


def holds(candle: Candle, trade_id: int) -> bool:
    return any(first <= trade_id <= last for first, last in candle.runs)


def _first(read: Read, low: int, high: int) -> Candle | None:
    """Return the first candle from ``low`` on, reading a few at a time."""
    width = PROBE
    while low < high:
        end = min(high, low + width)
        for candle in read(low, end):
            return candle
        low, width = end, width * WIDER
    return None
