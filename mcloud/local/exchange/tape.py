"""All trades so far, for the REST API of the exchange.

The newest trades of each symbol are kept as objects, and the older ones in envelopes of ``BLOCK``
trades. An envelope needs 5 or 6 bytes per trade instead of 430, so a day of one symbol at 30 trades
per second takes 16 MB. Reading a page opens one or two envelopes.
"""

from bisect import bisect_left, bisect_right, insort
from operator import attrgetter
from typing import NamedTuple

from mcloud.market.envelope import decode, encode
from mcloud.market.trade import MAX_TIME, Trade

BLOCK = 1_000  # number of trades in an envelope
_by_id = attrgetter("id")


class Tape:
    """The trades of all symbols, by id. A trade whose id is known changes nothing."""

    def __init__(self) -> None:
        self._rolls: dict[str, _Roll] = {}

    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbols that have traded, in the order of their first trades."""
        return tuple(self._rolls)

    def add(self, trade: Trade) -> bool:
        """Add a trade, and return whether it is new."""
        roll = self._rolls.get(trade.symbol)
        if roll is None:
            roll = self._rolls[trade.symbol] = _Roll()
        before = roll.count
        roll.add(trade)
        return roll.count > before

    def count(self, symbol: str) -> int:
        roll = self._rolls.get(symbol)
        return roll.count if roll else 0

    def since(self, symbol: str, first_id: int, limit: int | None = None) -> list[Trade]:
        """Return up to ``limit`` trades from this ID on, by ID."""
        roll = self._rolls.get(symbol)
        return roll.since(first_id, limit) if roll else []

    def newest(self, symbol: str, limit: int) -> list[Trade]:
        """Return up to ``limit`` of the newest trades, by ID."""
        roll = self._rolls.get(symbol)
        return roll.newest(limit) if roll else []

    def between(
        self, symbol: str, start: int | None, end: int | None, limit: int | None
    ) -> list[Trade]:
        """Return up to ``limit`` trades whose time is from ``start`` to ``end``, in ms, by ID.

        Without ``start``, they are the last trades up to ``end``.
        """
        roll = self._rolls.get(symbol)
        if roll is None or (start is not None and end is not None and end < start):
            return []
        return roll.between(start, MAX_TIME if end is None else end, limit)

    def before(self, symbol: str, time: int) -> list[Trade]:
        """Return the last trade before a time in ms, or None."""
        return self.between(symbol, None, time - 1, 1)


class _Block(NamedTuple):
    last_id: int
    body: str
    first_time: int
    last_time: int

    def may_hold(self, start: int, end: int) -> bool:
        return self.first_time <= end and start <= self.last_time


class _Roll:
    """The trades of one symbol: blocks of ascending ids, then the newest trades."""

    def __init__(self) -> None:
        self._blocks: list[_Block] = []
        self._tail: list[Trade] = []
        self.count = 0

    def add(self, trade: Trade) -> None:
        if self._tail and trade.id <= self._tail[-1].id:
            self._insert(trade)
            return
        self._tail.append(trade)
        self.count += 1
        # Keep two blocks as objects, so that a trade out of order rarely has to open an envelope.
        if len(self._tail) >= 2 * BLOCK:
            self._blocks.append(_pack(self._tail[:BLOCK]))
            del self._tail[:BLOCK]

    def since(self, first_id: int, limit: int | None) -> list[Trade]:
        wanted: list[Trade] = []
        for at in range(bisect_left(self._blocks, (first_id,)), len(self._blocks)):
            if limit is not None and len(wanted) >= limit:
                break
            block = self._unpack(at)
            wanted += block[bisect_left(block, first_id, key=_by_id) :]
        wanted += self._tail[bisect_left(self._tail, first_id, key=_by_id) :]
        return wanted[:limit]

    def newest(self, limit: int) -> list[Trade]:
        wanted = self._tail
        for at in reversed(range(len(self._blocks))):
            if len(wanted) >= limit:
                break
            wanted = self._unpack(at) + wanted
        return wanted[max(0, len(wanted) - limit) :]

    def between(self, start: int | None, end: int, limit: int | None) -> list[Trade]:
        earliest, backwards = start or 0, start is None
        found: list[Trade] = []
        places = range(len(self._blocks) + 1)
        for at in reversed(places) if backwards else places:
            if limit is not None and len(found) >= limit:
                break
            is_tail = at == len(self._blocks)
            if is_tail or self._blocks[at].may_hold(earliest, end):
                trades = self._tail if is_tail else self._unpack(at)
                fits = [trade for trade in trades if earliest <= trade.time <= end]
                found = fits + found if backwards else found + fits
        if limit is None:
            return found
        return found[max(0, len(found) - limit) :] if backwards else found[:limit]

    def _insert(self, trade: Trade) -> None:
        """Insert a trade that arrives late in the order of ids."""
        at = bisect_left(self._blocks, (trade.id,))
        if at == len(self._blocks):
            self.count += _insert_new(self._tail, trade)
            return
        block = self._unpack(at)
        self.count += _insert_new(block, trade)
        self._blocks[at] = _pack(block)

    def _unpack(self, at: int) -> list[Trade]:
        return list(decode(self._blocks[at].body).trades)


def _pack(trades: list[Trade]) -> _Block:
    times = [trade.time for trade in trades]
    return _Block(trades[-1].id, encode(trades).body, min(times), max(times))


def _insert_new(trades: list[Trade], trade: Trade) -> bool:
    at = bisect_right(trades, trade.id, key=_by_id)
    if at and trades[at - 1].id == trade.id:
        return False
    insort(trades, trade, key=_by_id)
    return True
