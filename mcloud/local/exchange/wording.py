"""How Binance writes a trade, in its streams and its REST answers."""

from decimal import Decimal
from typing import Any

from mcloud.market.trade import EXACT, Trade

# What symbols are priced in. Only so that exchangeInfo can name the two assets of a symbol.
_QUOTES = (
    *("USDT", "USDC", "FDUSD", "TUSD", "BUSD", "USD1", "DAI"),
    *("BTC", "ETH", "BNB", "EUR", "GBP", "TRY", "BRL", "JPY", "USD"),
)


def stream_event(trade: Trade, *, microseconds: bool = False) -> str:
    """The payload of a ``@trade`` stream; its event time is the trade's."""
    time = trade.time * 1000 if microseconds else trade.time
    maker = "true" if trade.buyer_is_maker else "false"
    return (
        f'{{"e":"trade","E":{time},"s":"{trade.symbol}","t":{trade.id},"p":"{decimal(trade.price)}"'
        f',"q":"{decimal(trade.quantity)}","T":{time},"m":{maker},"M":true}}'
    )


def rest_trade(trade: Trade, *, microseconds: bool = False) -> dict[str, Any]:
    """An element of ``/api/v3/trades`` and ``/api/v3/historicalTrades``."""
    return {
        "id": trade.id,
        "price": decimal(trade.price),
        "qty": decimal(trade.quantity),
        "quoteQty": decimal(EXACT.multiply(trade.price, trade.quantity)),
        "time": trade.time * 1000 if microseconds else trade.time,
        "isBuyerMaker": trade.buyer_is_maker,
        "isBestMatch": True,
    }


def symbol_info(symbol: str) -> dict[str, Any]:
    """A symbol in ``/api/v3/exchangeInfo``; its assets are guessed from its name."""
    base, quote = _assets(symbol)
    return {
        "symbol": symbol,
        "status": "TRADING",
        "baseAsset": base,
        "baseAssetPrecision": 8,
        "quoteAsset": quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
        "icebergAllowed": True,
        "ocoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": "0.00000001",
                "maxPrice": "1000000.00000000",
                "tickSize": "0.00000001",
            },
            {
                "filterType": "LOT_SIZE",
                "minQty": "0.00000001",
                "maxQty": "1000000.00000000",
                "stepSize": "0.00000001",
            },
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
    }


def decimal(number: Decimal) -> str:
    """Eight decimals, as Binance prints them; more where the number has more, never rounded."""
    whole, _, part = f"{number:f}".partition(".")
    return f"{whole}.{part:0<8}"


def _assets(symbol: str) -> tuple[str, str]:
    for quote in _QUOTES:
        if symbol.endswith(quote) and symbol != quote:
            return symbol.removesuffix(quote), quote
    return symbol[:-3], symbol[-3:]
