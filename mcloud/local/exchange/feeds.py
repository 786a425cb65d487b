"""Combinations of feeds for the exchange: several in parallel, or one repeatedly."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from heapq import merge
from operator import attrgetter

from mcloud.market.trade import Trade


class SideBySide:
    """Several feeds combined into one, in the order of their times.

    Args:
        feeds: the feeds; each iteration reads them from the beginning.
        on_end: called after each iteration that has read all of them.
    """

    def __init__(
        self, feeds: Iterable[Iterable[Trade]], on_end: Callable[[], None] = lambda: None
    ) -> None:
        self._feeds = list(feeds)
        self._on_end = on_end

    def __iter__(self) -> Iterator[Trade]:
        yield from merge(*self._feeds, key=attrgetter("time"))
        self._on_end()


def repeat(trades: Iterable[Trade]) -> Iterator[Trade]:
    """Play a recording repeatedly, as a continuous market.

    The ids of each round continue those of the previous one, and its times start a second later.
    """
    id_shifts: dict[str, int] = defaultdict(int)
    time_shift = 0
    while True:
        spans: dict[str, tuple[int, int]] = {}
        first_time = last_time = None
        for trade in trades:
            low, high = spans.get(trade.symbol, (trade.id, trade.id))
            spans[trade.symbol] = min(low, trade.id), max(high, trade.id)
            first_time = trade.time if first_time is None else min(first_time, trade.time)
            last_time = trade.time if last_time is None else max(last_time, trade.time)
            yield trade._replace(
                id=trade.id + id_shifts[trade.symbol], time=trade.time + time_shift
            )
        if first_time is None or last_time is None:
            return
        for symbol, (low, high) in spans.items():
            id_shifts[symbol] += high - low + 1
        time_shift += last_time - first_time + 1000
