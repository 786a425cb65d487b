"""Aggregate trades, derived from single trades.

At Binance, an aggregate combines the trades that one taker order filled at one price. Trades do not
name their order, so here an aggregate combines consecutive trades (IDs without a gap) with the same
price, maker side and millisecond. The IDs of aggregates count from 1 for each symbol.
"""

from array import array
from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from mcloud.local.exchange.markets import WIDE
from mcloud.local.exchange.tape import Tape
from mcloud.market.trade import Trade


class Aggregate(NamedTuple):
    symbol: str
    id: int
    price: Decimal
    quantity: Decimal
    first: int
    """ID of the first trade."""
    last: int
    time: int
    buyer_is_maker: bool

    def goes_on_with(self, trade: Trade) -> bool:
        return (trade.id, trade.price, trade.time, trade.buyer_is_maker) == (
            self.last + 1,
            self.price,
            self.time,
            self.buyer_is_maker,
        )


class Aggregates:
    """The aggregates of all symbols. The newest one of a symbol is open until the next begins."""

    def __init__(self) -> None:
        self._open: dict[str, Aggregate] = {}
        # An aggregate is stored as a trade, with the IDs of its first and last trades beside it.
        self._closed = Tape()
        self._firsts: dict[str, array[int]] = {}
        self._lasts: dict[str, array[int]] = {}

    def add(self, trade: Trade) -> Aggregate | None:
        """Add a trade, and return the aggregate that it closes, if any."""
        current = self._open.get(trade.symbol)
        if current and current.goes_on_with(trade):
            quantity = WIDE.add(current.quantity, trade.quantity)
            self._open[trade.symbol] = current._replace(quantity=quantity, last=trade.id)
            return None
        closed = self._close(trade.symbol)
        id_ = self._closed.count(trade.symbol) + 1
        self._open[trade.symbol] = Aggregate(
            trade.symbol,
            id_,
            trade.price,
            trade.quantity,
            trade.id,
            trade.id,
            trade.time,
            trade.buyer_is_maker,
        )
        return closed

    def settle(self) -> list[Aggregate]:
        """Close all open aggregates after time has passed, and return them."""
        return [closed for symbol in list(self._open) if (closed := self._close(symbol))]

    def since(self, symbol: str, first_id: int, limit: int | None = None) -> list[Aggregate]:
        """Return up to ``limit`` closed aggregates from this aggregate ID on."""
        return self._read(self._closed.since(symbol, first_id, limit))

    def newest(self, symbol: str, limit: int) -> list[Aggregate]:
        """Return up to ``limit`` of the newest closed aggregates."""
        return self._read(self._closed.newest(symbol, limit))

    def between(
        self, symbol: str, start: int | None, end: int | None, limit: int
    ) -> list[Aggregate]:
        """Return up to ``limit`` closed aggregates with a time from ``start`` to ``end``, in ms."""
        return self._read(self._closed.between(symbol, start, end, limit))

    def _close(self, symbol: str) -> Aggregate | None:
        closed = self._open.pop(symbol, None)
        if closed:
            self._firsts.setdefault(symbol, array("q")).append(closed.first)
            self._lasts.setdefault(symbol, array("q")).append(closed.last)
            _, id_, price, quantity, _, _, time, maker = closed
            self._closed.add(Trade(symbol, id_, price, quantity, time, maker))
        return closed

    def _read(self, kept: Iterable[Trade]) -> list[Aggregate]:
        return [
            Aggregate(
                symbol,
                id_,
                price,
                quantity,
                self._firsts[symbol][id_ - 1],
                self._lasts[symbol][id_ - 1],
                time,
                maker,
            )
            for symbol, id_, price, quantity, time, maker in kept
        ]
