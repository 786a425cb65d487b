"""Trades and the data derived from them, in the format of Binance's REST API.

https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints
https://developers.binance.com/docs/derivatives
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from mcloud.local.exchange.aggregates import Aggregate
from mcloud.local.exchange.bars import Interval, MinuteBar
from mcloud.local.exchange.book import Book, Level
from mcloud.local.exchange.ledger import Day
from mcloud.local.exchange.markets import (
    EIGHT,
    WIDE,
    Market,
    contract_size,
    name_of,
    pair_of,
    turnover,
)
from mcloud.market.trade import Trade, to_text

# Quote assets. They only serve to split a symbol into its two assets for exchangeInfo.
_QUOTES = (
    *("USDT", "USDC", "FDUSD", "TUSD", "BUSD", "USD1", "DAI"),
    *("BTC", "ETH", "BNB", "EUR", "GBP", "TRY", "BRL", "JPY", "USD"),
)


def rest_trade(trade: Trade, *, microseconds: bool = False) -> dict[str, Any]:
    """Return an element of ``trades`` and ``historicalTrades``."""
    market = Market.of(trade.symbol)
    value = "baseQty" if market is Market.COIN_M else "quoteQty"
    return {
        "id": trade.id,
        "price": number(trade.price, market),
        "qty": number(trade.quantity, market),
        value: number(turnover(trade), market),
        "time": trade.time * 1000 if microseconds else trade.time,
        "isBuyerMaker": trade.buyer_is_maker,
        **({"isBestMatch": True} if market is Market.SPOT else {}),
    }


def rest_aggregate(aggregate: Aggregate, *, microseconds: bool = False) -> dict[str, Any]:
    """Return an element of ``aggTrades``."""
    market = Market.of(aggregate.symbol)
    return {
        "a": aggregate.id,
        "p": number(aggregate.price, market),
        "q": number(aggregate.quantity, market),
        "f": aggregate.first,
        "l": aggregate.last,
        "T": aggregate.time * 1000 if microseconds else aggregate.time,
        "m": aggregate.buyer_is_maker,
        **({"M": True} if market is Market.SPOT else {}),
    }


def rest_kline(
    symbol: str, interval: Interval, start: int, bar: MinuteBar, *, microseconds: bool = False
) -> list[Any]:
    """Return an element of ``klines``."""
    factor, market = 1000 if microseconds else 1, Market.of(symbol)
    return [
        start * factor,
        number(bar.open, market),
        number(bar.high, market),
        number(bar.low, market),
        number(bar.close, market),
        number(bar.volume, market),
        interval.next(start) * factor - 1,
        number(bar.turnover, market),
        bar.trades,
        number(bar.bought, market),
        number(bar.bought_turnover, market),
        "0",
    ]


def rest_depth(symbol: str, book: Book, limit: int) -> dict[str, Any]:
    """Return the answer of ``depth``."""
    market = Market.of(symbol)

    def rows(levels: list[Level]) -> list[list[str]]:
        return [[number(each, market) for each in level] for level in levels]

    said: dict[str, Any] = {"lastUpdateId": book.newest_id}
    if market is not Market.SPOT:
        said |= {"E": book.time, "T": book.time}
    if market is Market.COIN_M:
        said |= {"symbol": name_of(symbol), "pair": pair_of(symbol)}
    return {**said, "bids": rows(book.bids(limit)), "asks": rows(book.asks(limit))}


def describe_day(day: Day, *, microseconds: bool = False) -> dict[str, Any]:
    """Return an element of ``ticker/24hr``."""
    bar, factor, market = day.bar, 1000 if microseconds else 1, Market.of(day.symbol)
    change = bar.close - bar.open
    percent = change / bar.open * 100 if bar.open else Decimal(0)
    if market is Market.COIN_M:
        traded, value = bar.turnover, bar.volume * contract_size(day.symbol)
    else:
        traded, value = bar.volume, bar.turnover
    average = WIDE.divide(value, traded).quantize(EIGHT, context=WIDE) if traded else Decimal(0)
    said: dict[str, Any] = {
        "symbol": name_of(day.symbol),
        "priceChange": number(change, market),
        "priceChangePercent": f"{percent:.3f}",
        "weightedAvgPrice": number(average, market),
        "lastPrice": number(bar.close, market),
        "lastQty": number(day.last_quantity, market),
        "openPrice": number(bar.open, market),
        "highPrice": number(bar.high, market),
        "lowPrice": number(bar.low, market),
        "volume": number(bar.volume, market),
        "baseVolume" if market is Market.COIN_M else "quoteVolume": number(bar.turnover, market),
        "openTime": day.start * factor,
        "closeTime": day.end * factor,
        "firstId": bar.first_id,
        "lastId": bar.last_id,
        "count": bar.trades,
    }
    if market is Market.SPOT:
        said |= {
            "prevClosePrice": decimal(day.close_before),
            **_best(day.book, market),
        }
    elif market is Market.COIN_M:
        said["pair"] = pair_of(day.symbol)
    return said


def rest_price(symbol: str, newest: Trade | None) -> dict[str, Any]:
    """Return an element of ``ticker/price``. The price is 0 if there was no trade."""
    market = Market.of(symbol)
    price = newest.price if newest else Decimal(0)
    said: dict[str, Any] = {"symbol": name_of(symbol), "price": number(price, market)}
    if market is not Market.SPOT:
        said["time"] = newest.time if newest else 0
    if market is Market.COIN_M:
        said["ps"] = pair_of(symbol)
    return said


def rest_book_ticker(symbol: str, book: Book) -> dict[str, Any]:
    """Return an element of ``ticker/bookTicker``."""
    market = Market.of(symbol)
    said: dict[str, Any] = {"symbol": name_of(symbol), **_best(book, market)}
    if market is not Market.SPOT:
        said |= {"lastUpdateId": book.newest_id, "time": book.time}
    if market is Market.COIN_M:
        said["pair"] = pair_of(symbol)
    return said


def _best(book: Book, market: Market) -> dict[str, str]:
    return {
        "bidPrice": number(book.bid.price, market),
        "bidQty": number(book.bid.quantity, market),
        "askPrice": number(book.ask.price, market),
        "askQty": number(book.ask.quantity, market),
    }


def symbol_info(symbol: str, status: str) -> dict[str, Any]:
    """Return a symbol of ``exchangeInfo``. Its assets are guessed from its name."""
    if Market.of(symbol) is not Market.SPOT:
        return _futures_info(symbol, status)
    base, quote = _assets(symbol)
    return {
        "symbol": symbol,
        "status": status,
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
        "filters": _filters("1000000.00000000"),
        "permissions": [],
        "permissionSets": [["SPOT"]],
    }


def _futures_info(symbol: str, status: str) -> dict[str, Any]:
    base, quote = _assets(pair_of(symbol))
    delivery = name_of(symbol).partition("_")[2]
    is_coin = Market.of(symbol) is Market.COIN_M
    is_perpetual = delivery in ("", "PERP")
    said: dict[str, Any] = {
        "symbol": name_of(symbol),
        "pair": pair_of(symbol),
        "contractType": "PERPETUAL" if is_perpetual else "CURRENT_QUARTER",
        "deliveryDate": 4_133_404_800_000 if is_perpetual else _delivery(delivery),
        "onboardDate": 1_567_965_300_000,
        "baseAsset": base,
        "quoteAsset": quote,
        "marginAsset": base if is_coin else quote,
        "pricePrecision": 8,
        "quantityPrecision": 8,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "triggerProtect": "0.0500",
        "filters": _filters("1000000"),
        "orderTypes": ["LIMIT", "MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK"],
    }
    if is_coin:
        return {**said, "contractStatus": status, "contractSize": contract_size(symbol)}
    return {**said, "status": status}


def decimal(number: Decimal) -> str:
    """Return a number with eight decimals, like Binance, or more if it has more. It is never
    rounded.
    """
    whole, _, part = f"{number:f}".partition(".")
    return f"{whole}.{part:0<8}"


def number(value: Decimal, market: Market) -> str:
    """Return a number in the format of a market: spot pads it to eight decimals, futures do not."""
    return decimal(value) if market is Market.SPOT else to_text(value)


def _filters(highest: str) -> list[dict[str, str]]:
    finest = "0.00000001"
    return [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": finest,
            "maxPrice": highest,
            "tickSize": finest,
        },
        {"filterType": "LOT_SIZE", "minQty": finest, "maxQty": highest, "stepSize": finest},
    ]


def _delivery(date: str) -> int:
    """Return the time of delivery, in ms since 1970: 08:00 UTC on a day such as ``250926``."""
    day = datetime.strptime(date, "%y%m%d").replace(hour=8, tzinfo=UTC)
    return int(day.timestamp()) * 1000


def _assets(symbol: str) -> tuple[str, str]:
    for quote in _QUOTES:
        if symbol.endswith(quote) and symbol != quote:
            return symbol.removesuffix(quote), quote
    return symbol[:-3], symbol[-3:]
