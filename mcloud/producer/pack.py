"""Packing of trades into batches of one symbol, by ascending id, limited in size and age."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import islice
from operator import attrgetter, lt
from typing import NamedTuple

from mcloud.market.candle import MINUTE
from mcloud.market.trade import Trade

BATCH = 1000  # number of trades; about 8 KB compressed, well below a billing chunk
LINGER = 1.0  # seconds
MINUTES = 1000
"""Maximum number of minutes in a batch. Each minute is a candle to read and to write, which takes
80 ms on Firestore. With 16 concurrent requests, this many minutes take 5 of the 60 seconds of a
function call.
"""


class Batch(NamedTuple):
    """Trades of one symbol that are sent together."""

    trades: list[Trade]
    opened: float
    """Time when the first of them was added, by the clock of the packer."""


class Packer:
    """Collects trades by symbol until a batch is full or old enough."""

    def __init__(self, clock: Callable[[], float], *, batch: int = BATCH, linger: float = LINGER):
        self._clock = clock
        self._batch = batch
        self._linger = linger
        self._open: dict[str, list[Trade]] = {}
        self._opened: dict[str, float] = {}

    def open(self, symbol: str) -> list[Trade]:
        """Return the trades of a symbol that are not in a batch yet."""
        return self._open.get(symbol, [])

    def add(self, trades: Iterable[Trade]) -> list[Batch]:
        """Add any number of trades, and return the batches that they complete."""
        came: dict[str, list[Trade]] = defaultdict(list)
        for trade in trades:
            came[trade.symbol].append(trade)
        now, size = self._clock(), self._batch
        closed: list[Batch] = []
        for symbol, fresh in came.items():
            batch = self._open.setdefault(symbol, [])
            opened = self._opened.setdefault(symbol, now)
            batch += fresh
            if len(batch) < size:
                continue
            whole = len(batch) // size * size
            for start in range(0, whole, size):
                closed += _batches(batch[start : start + size], opened)
                opened = now
            del batch[:whole]
            # The remaining trades were added just now.
            self._opened[symbol] = now
            if not batch:
                del self._open[symbol], self._opened[symbol]
        return closed

    def due(self) -> list[Batch]:
        """Return the batches that have waited for ``linger`` seconds."""
        oldest = self._clock() - self._linger
        late = [symbol for symbol, opened in self._opened.items() if opened <= oldest]
        return [batch for symbol in late for batch in self._close(symbol)]

    def flush(self) -> list[Batch]:
        """Return all remaining batches."""
        return [batch for symbol in list(self._open) for batch in self._close(symbol)]

    def _close(self, symbol: str) -> list[Batch]:
        return _batches(self._open.pop(symbol), self._opened.pop(symbol))


def in_order(trades: list[Trade]) -> list[list[Trade]]:
    """Order by id and drop repeats. Nearly all batches are already in order, and are returned
    unchanged.

    Different trades with one id are put into different lists. The fold decides which one is kept,
    and reports the other.
    """
    ids = [trade.id for trade in trades]
    if all(map(lt, ids, islice(ids, 1, None))):
        return [trades]
    batches: list[list[Trade]] = [[]]
    for trade in sorted(dict.fromkeys(trades), key=attrgetter("id")):
        for batch in batches:
            if not batch or batch[-1].id < trade.id:
                batch.append(trade)
                break
        else:
            batches.append([trade])
    return batches


def in_minutes(trades: list[Trade]) -> list[list[Trade]]:
    """Split trades of two minutes, and those that would make more than ``MINUTES`` candles.

    A live batch has trades of two minutes only where one of them ends. A sender that combines
    batches can then wait with the second part, see ``envelope.window_end``.
    """
    times = [trade.time for trade in trades]
    span = max(times) // MINUTE - min(times) // MINUTE
    if span != 1 and (len(trades) <= MINUTES or span < MINUTES):
        return [trades]
    most = 1 if span == 1 else MINUTES
    parts: list[list[Trade]] = []
    minutes: set[int] = set()
    for trade in trades:
        minute = trade.time // MINUTE
        if not parts or (minute not in minutes and len(minutes) == most):
            parts.append([])
            minutes.clear()
        minutes.add(minute)
        parts[-1].append(trade)
    return parts


def _batches(trades: list[Trade], opened: float) -> list[Batch]:
    return [Batch(part, opened) for each in in_order(trades) for part in in_minutes(each)]
