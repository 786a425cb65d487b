"""An order book derived from trades: the prices at which makers were matched, and the quantities.

A trade whose buyer was the maker matched the best bid, and one whose seller was the maker matched
the best ask. Its price is therefore a level of that side. No better price is left on that side, and
the other side has no order at that price or a better one. The quantity of a level is that of the
newest trade there, which is a lower bound. Orders that were never matched are not in the trades,
and therefore not in this book.
"""

from bisect import bisect_left, bisect_right, insort
from decimal import Decimal
from typing import NamedTuple

from mcloud.market.trade import Trade

DEEPEST = 5_000  # maximum number of levels of a side, as at Binance


class Level(NamedTuple):
    price: Decimal
    quantity: Decimal


NO_LEVEL = Level(Decimal(0), Decimal(0))
"""The best price of an empty side, as Binance writes it."""


class Book:
    """One symbol's book."""

    def __init__(self) -> None:
        self._bids: list[Decimal] = []
        self._asks: list[Decimal] = []
        self._quantities: dict[Decimal, Decimal] = {}
        self.newest_id = 0
        """Id of the trade that changed the book last."""
        self.time = 0
        """Time of that trade, in ms since 1970."""

    @property
    def bid(self) -> Level:
        return next(iter(self.bids(1)), NO_LEVEL)

    @property
    def ask(self) -> Level:
        return next(iter(self.asks(1)), NO_LEVEL)

    def bids(self, limit: int) -> list[Level]:
        """Return up to ``limit`` bids, the best first."""
        best = self._bids[max(0, len(self._bids) - limit) :]
        return [Level(price, self._quantities[price]) for price in reversed(best)]

    def asks(self, limit: int) -> list[Level]:
        """Return up to ``limit`` asks, the best first."""
        return [Level(price, self._quantities[price]) for price in self._asks[:limit]]

    def add(self, trade: Trade) -> None:
        """Add a trade. A trade that arrives late changes nothing."""
        if trade.id <= self.newest_id:
            return
        self.newest_id, self.time = trade.id, trade.time
        price = trade.price
        if trade.buyer_is_maker:
            self._remove(self._bids, bisect_right(self._bids, price), len(self._bids))
            self._remove(self._asks, 0, bisect_right(self._asks, price))
            self._put(self._bids, price, trade.quantity)
            self._remove(self._bids, 0, len(self._bids) - DEEPEST)
        else:
            self._remove(self._asks, 0, bisect_left(self._asks, price))
            self._remove(self._bids, bisect_left(self._bids, price), len(self._bids))
            self._put(self._asks, price, trade.quantity)
            self._remove(self._asks, DEEPEST, len(self._asks))

    def _put(self, side: list[Decimal], price: Decimal, quantity: Decimal) -> None:
        if price not in self._quantities:
            insort(side, price)
        self._quantities[price] = quantity

    def _remove(self, side: list[Decimal], start: int, stop: int) -> None:
        for price in side[start : max(start, stop)]:
            del self._quantities[price]
        del side[start : max(start, stop)]
