"""Candles out of a store, whatever is in the way, and into it, whatever is there."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from mcloud.clouds.ports import Candles
from mcloud.errors import Refused
from mcloud.market.archive import HOUR
from mcloud.market.candle import MINUTE, Candle, Disagreement, Folded, drop, fold, merge
from mcloud.market.trade import MAX_TIME, Trade
from mcloud.replication.ids import Ids
from mcloud.replication.raw import undisputed

END = MAX_TIME // HOUR * HOUR  # ms; later than any candle


class Merged(NamedTuple):
    changed: bool
    """True where the target got trades that it did not have."""
    disagreements: tuple[Disagreement, ...]


def merge_into(target: Candles, candle: Candle) -> Merged:
    """Have the target hold what the candle holds; where it does already, nothing is written.

    Raises:
        Contention: other writers were first at every attempt; nothing was written.
    """
    before = candle

    def change(stored: Candle) -> Folded:
        nonlocal before
        before = stored  # of the attempt that counts, which is the last
        return merge(stored, candle)

    after = target.update(candle.symbol, candle.start, change)
    return Merged(after.candle != before, after.disagreements)


def without(candle: Candle, disputed: Ids, archived: Callable[[Ids], Iterable[Trade]]) -> Candle:
    """A candle without disputed ids; it may be empty.

    What else is in the fragments with these is made again from ``archived``, the raw trades of some
    ids, as far as there are any.
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
    """The candles of a range (ms, whole minutes) by time, to the end of it.

    Of a candle that cannot be read the minute and the reason go to ``damaged``, and the others
    follow. For ``unmarked`` see ``ports.Candles.range``.
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
    """The minute of the candle that cannot be read, which is the first one from ``start`` on."""
    # No candle is here. Where this is refused too, it is not about a candle.
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
