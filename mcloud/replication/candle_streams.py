"""Read candles from a store past damaged ones, and merge candles into a store."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from mcloud.archive.raw import undisputed
from mcloud.clouds.ports import Candles
from mcloud.errors import Refused
from mcloud.market.archive import HOUR
from mcloud.market.candle import MINUTE, Candle, Disagreement, Folded, drop, fold, merge
from mcloud.market.ids import Ids
from mcloud.market.trade import MAX_TIME, Trade

END = MAX_TIME // HOUR * HOUR  # ms; later than any candle


class Merged(NamedTuple):
    changed: bool
    """Whether the target received trades that it did not have."""
    disagreements: tuple[Disagreement, ...]


def merge_into(target: Candles, candle: Candle) -> Merged:
    """Merge a candle into the target's candle. If the target has it already, nothing is written.

    Raises:
        Contention: other writers were first at every attempt; nothing was written.
    """
    before = candle

    def change(stored: Candle) -> Folded:
        nonlocal before
        before = stored  # the value of the last attempt is used
        return merge(stored, candle)

    after = target.update(candle.symbol, candle.start, change)
    return Merged(after.candle != before, after.disagreements)


def without(candle: Candle, disputed: Ids, archived: Callable[[Ids], Iterable[Trade]]) -> Candle:
    """Return a candle without disputed ids. The result may be empty.

    A fragment with a disputed id is dropped. Its other ids are folded again from their raw trades,
    as far as ``archived`` (which returns the raw trades of the given ids) has them.
    """
    kept = drop(candle, disputed.runs)
    lost = Ids(candle.runs).minus(Ids(kept.runs)).minus(disputed)
    if not lost:
        return kept
    end = candle.start + MINUTE
    trades = undisputed(
        each for each in archived(lost) if candle.start <= each.time < end and each.id in lost
    )
    return fold(kept, trades).candle


def stream(
    candles: Candles,
    symbol: str,
    start: int,
    end: int,
    damaged: Callable[[int, str], None],
    unmarked: Callable[[int, str], None] = lambda start, why: None,
) -> Iterator[Candle]:
    """Yield the candles of a range (whole minutes, in ms) ordered by time, up to its end.

    If a candle cannot be read, ``damaged`` is called with its minute and the reason, and the other
    candles follow. For ``unmarked`` see ``ports.Candles.range``.
    """
    while start < end:
        try:
            for candle in candles.range(symbol, start, end, unmarked):
                start = candle.start + MINUTE
                yield candle
        except Refused as error:
            minute = _first_damaged(candles, symbol, start, end)
            damaged(minute, str(error))
            start = minute + MINUTE
        else:
            return


def _first_damaged(candles: Candles, symbol: str, start: int, end: int) -> int:
    """Return the minute of the first candle from ``start`` on that cannot be read."""
    # This range has no candle. If reading it is refused too, the cause is not a damaged candle.
    deque(candles.range(symbol, END - MINUTE, END), maxlen=0)
    while end - start > MINUTE:
        middle = start + (end - start) // MINUTE // 2 * MINUTE
        try:
            next(iter(candles.range(symbol, start, middle)), None)
        except Refused:
            end = middle
        else:
            start = middle
    return start
