"""Binance's three markets as the exchange serves them, all from the trades of one feed.

A symbol's form says where it is listed: ``BTCUSD_PERP`` and ``BTCUSD_250926`` on COIN-M,
``BTCUSDT_250926`` on USDⓈ-M, and any other, such as ``BTCUSDT``, on spot and USDⓈ-M alike.
"""

import re
from decimal import Context, Decimal
from enum import Enum

from mcloud.market.trade import Trade

WIDE = Context(prec=60)
"""Holds the product of any two numbers of a trade, and sums of such products, without rounding."""

EIGHT = Decimal("0.00000001")
_COIN = re.compile(r"(.+USD)_(?:PERP|[0-9]{6})")
_DELIVERY = re.compile(r".+_[0-9]{6}")


class Market(Enum):
    """A market; the value is where its REST API begins."""

    SPOT = "/api/v3"
    USD_M = "/fapi/v1"
    COIN_M = "/dapi/v1"

    def lists(self, symbol: str) -> bool:
        """Return whether a symbol of this form is listed here."""
        if _COIN.fullmatch(symbol):
            return self is Market.COIN_M
        if _DELIVERY.fullmatch(symbol):
            return self is Market.USD_M
        return self is not Market.COIN_M


class Route(Enum):
    """Where a WebSocket connects; the value is in front of ``/ws`` and ``/stream``.

    Futures spread their streams over two routes. A stream that is asked for on the other one is
    accepted, and nothing is sent. https://developers.binance.com/docs/derivatives, "Important
    WebSocket Change Notice"; that ``@trade`` is on /public is measured, and documented nowhere.
    """

    ROOT = ""
    PUBLIC = "public"
    MARKET = "market"

    def carries(self, kind: str) -> bool:
        """Return whether streams of this kind, such as ``aggTrade``, are sent here."""
        if self is Route.ROOT:
            return True
        return (self is Route.PUBLIC) == (kind in ("trade", "bookTicker"))

    def market(self, symbol: str) -> Market:
        """Return the market whose events are sent here for a symbol."""
        if self is Route.ROOT and Market.SPOT.lists(symbol):
            return Market.SPOT
        return Market.COIN_M if Market.COIN_M.lists(symbol) else Market.USD_M


def pair(symbol: str) -> str:
    """The underlying pair of a contract: ``BTCUSD`` of ``BTCUSD_PERP``."""
    return symbol.partition("_")[0]


def contract_size(symbol: str) -> int:
    """USD in a COIN-M contract: 100 for Bitcoin, 10 for anything else."""
    return 100 if symbol.startswith("BTCUSD_") else 10


def turnover(trade: Trade) -> Decimal:
    """The quote asset that changed hands; of a COIN-M contract the base asset, to 8 decimals."""
    if Market.COIN_M.lists(trade.symbol):
        usd = WIDE.multiply(trade.quantity, contract_size(trade.symbol))
        return WIDE.divide(usd, trade.price).quantize(EIGHT, context=WIDE)
    return WIDE.multiply(trade.price, trade.quantity)
