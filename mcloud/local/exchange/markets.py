"""Binance's three markets, and the paths of their APIs and streams.

A symbol carries its market (see ``mcloud.market.trade``); clients know only its name.
"""

import re
from decimal import Context, Decimal
from enum import Enum
from functools import lru_cache

from mcloud.market.trade import COIN_M, SPOT, USD_M, Trade, capitals, in_market, split_market

WIDE = Context(prec=60)
"""Context in which the product of any two numbers of a trade, and sums of such products, need no
rounding.
"""

EIGHT = Decimal("0.00000001")
_COIN_M = re.compile(r".+USD_(?:PERP|[0-9]{6})")


class Market(Enum):
    """A market. The value is its suffix in a symbol."""

    SPOT = SPOT
    USD_M = USD_M
    COIN_M = COIN_M

    @classmethod
    @lru_cache(8192)
    def of(cls, symbol: str) -> "Market":
        """Return the market of a symbol."""
        return cls(split_market(symbol)[1])

    @property
    def api(self) -> str:
        """Path prefix of the market's REST API."""
        return {Market.SPOT: "/api/v3", Market.USD_M: "/fapi/v1", Market.COIN_M: "/dapi/v1"}[self]

    def symbol(self, name: str) -> str:
        """Return the symbol that has this name in the market."""
        return in_market(name, self.value)


class MarketRoute(Enum):
    """A WebSocket path; the value precedes ``/ws`` and ``/stream``.

    The futures streams are spread over two routes. A subscription on the wrong route is accepted,
    but nothing is sent. Source: https://developers.binance.com/docs/derivatives, "Important
    WebSocket Change Notice"; that ``@trade`` is on /public is measured and not documented.
    """

    ROOT = ""
    PUBLIC = "public"
    MARKET = "market"

    def carries(self, kind: str) -> bool:
        """Return whether streams of this kind, such as ``aggTrade``, are sent here."""
        if self is MarketRoute.ROOT:
            return True
        return (self is MarketRoute.PUBLIC) == (kind in ("trade", "bookTicker"))

    @property
    def markets(self) -> tuple[Market, ...]:
        """The markets whose symbols are in the streams of all symbols, such as ``!ticker@arr``."""
        return (Market.SPOT,) if self is MarketRoute.ROOT else (Market.USD_M, Market.COIN_M)

    def symbol(self, name: str) -> str:
        """Return the symbol of a name in upper or lower case on this route.

        A name such as ``BTCUSD_PERP`` exists only on COIN-M, whose hosts also serve it without a
        route.
        """
        name = capitals(name)
        if _COIN_M.fullmatch(name):
            return Market.COIN_M.symbol(name)
        return self.markets[0].symbol(name)


def name_of(symbol: str) -> str:
    """Return the name of a symbol as the exchange writes it: ``BTCUSDT`` for ``BTCUSDT.um``."""
    return split_market(symbol)[0]


def pair_of(symbol: str) -> str:
    """Return the underlying pair of a contract: ``BTCUSD`` for ``BTCUSD_PERP.cm``."""
    return name_of(symbol).partition("_")[0]


def contract_size(symbol: str) -> int:
    """Return the size of a COIN-M contract in USD: 100 for Bitcoin, 10 for any other asset."""
    return 100 if symbol.startswith("BTCUSD_") else 10


def turnover(trade: Trade) -> Decimal:
    """Return the traded amount of the quote asset. For a COIN-M contract it is that of the base
    asset, to 8 decimals.
    """
    if Market.of(trade.symbol) is Market.COIN_M:
        usd = WIDE.multiply(trade.quantity, contract_size(trade.symbol))
        return WIDE.divide(usd, trade.price).quantize(EIGHT, context=WIDE)
    return WIDE.multiply(trade.price, trade.quantity)
