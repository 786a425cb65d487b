"""Events in the format of Binance's streams, each as one JSON text.

Spot: https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams Futures:
https://developers.binance.com/docs/derivatives The time of an event, ``E``, is that of its trade.
"""

import json
from typing import Any

from mcloud.local.exchange.aggregates import Aggregate
from mcloud.local.exchange.bars import Interval, MinuteBar
from mcloud.local.exchange.book import Book
from mcloud.local.exchange.ledger import Day
from mcloud.local.exchange.markets import Market, name_of, pair_of
from mcloud.local.exchange.wording import decimal, describe_day, number
from mcloud.market.trade import Trade


def trade_event(trade: Trade, *, kind: str = "MARKET", microseconds: bool = False) -> str:
    """Return the payload of a ``@trade`` stream.

    Args:
        kind: futures only, ``X``: MARKET, INSURANCE_FUND, ADL, or NA for an id without a trade.
    """
    name = name_of(trade.symbol)
    time = trade.time * 1000 if microseconds else trade.time
    maker = "true" if trade.buyer_is_maker else "false"
    if Market.of(trade.symbol) is Market.SPOT:
        return (
            f'{{"e":"trade","E":{time},"s":"{name}","t":{trade.id},'
            f'"p":"{decimal(trade.price)}","q":"{decimal(trade.quantity)}","T":{time},'
            f'"m":{maker},"M":true}}'
        )
    price, quantity = ("0", "0") if kind == "NA" else (f"{trade.price:f}", f"{trade.quantity:f}")
    return (
        f'{{"e":"trade","E":{time},"T":{time},"s":"{name}","t":{trade.id},'
        f'"p":"{price}","q":"{quantity}","X":"{kind}","m":{maker}}}'
    )


def aggregate_event(aggregate: Aggregate, *, microseconds: bool = False) -> str:
    """Return the payload of an ``@aggTrade`` stream."""
    market = Market.of(aggregate.symbol)
    time = aggregate.time * 1000 if microseconds else aggregate.time
    return dump(
        {
            "e": "aggTrade",
            "E": time,
            "s": name_of(aggregate.symbol),
            "a": aggregate.id,
            "p": number(aggregate.price, market),
            "q": number(aggregate.quantity, market),
            "f": aggregate.first,
            "l": aggregate.last,
            "T": time,
            "m": aggregate.buyer_is_maker,
            **({"M": True} if market is Market.SPOT else {}),
        }
    )


def kline_event(
    symbol: str,
    interval: Interval,
    start: int,
    bar: MinuteBar,
    *,
    closed: bool,
    now: int,
    microseconds: bool = False,
) -> str:
    """Return the payload of a ``@kline_<interval>`` stream. Times are in ms since 1970."""
    factor, name, market = 1000 if microseconds else 1, name_of(symbol), Market.of(symbol)
    return dump(
        {
            "e": "kline",
            "E": now * factor,
            "s": name,
            "k": {
                "t": start * factor,
                "T": interval.next(start) * factor - 1,
                "s": name,
                "i": interval.name,
                "f": bar.first_id,
                "L": bar.last_id,
                "o": number(bar.open, market),
                "c": number(bar.close, market),
                "h": number(bar.high, market),
                "l": number(bar.low, market),
                "v": number(bar.volume, market),
                "n": bar.trades,
                "x": closed,
                "q": number(bar.turnover, market),
                "V": number(bar.bought, market),
                "Q": number(bar.bought_turnover, market),
                "B": "0",
            },
        }
    )


def ticker(day: Day, *, microseconds: bool = False) -> dict[str, Any]:
    """Return the payload of a ``@ticker`` stream, which is also an element of ``!ticker@arr``."""
    factor, market, book = 1000 if microseconds else 1, Market.of(day.symbol), day.book
    said = describe_day(day)
    event = {
        "e": "24hrTicker",
        "E": day.end * factor,
        "s": name_of(day.symbol),
        "p": said["priceChange"],
        "P": said["priceChangePercent"],
        "w": said["weightedAvgPrice"],
        "c": said["lastPrice"],
        "Q": said["lastQty"],
        "o": said["openPrice"],
        "h": said["highPrice"],
        "l": said["lowPrice"],
        "v": said["volume"],
        "q": number(day.bar.turnover, market),
        "O": day.start * factor,
        "C": day.end * factor,
        "F": day.bar.first_id,
        "L": day.bar.last_id,
        "n": day.bar.trades,
    }
    if market is Market.SPOT:
        event |= {
            "x": said["prevClosePrice"],
            "b": decimal(book.bid.price),
            "B": decimal(book.bid.quantity),
            "a": decimal(book.ask.price),
            "A": decimal(book.ask.quantity),
        }
    elif market is Market.COIN_M:
        event["ps"] = pair_of(day.symbol)
    return event


def mini_ticker(day: Day, *, microseconds: bool = False) -> dict[str, Any]:
    """Return the payload of a ``@miniTicker`` stream, which is also an element of
    ``!miniTicker@arr``.
    """
    bar, market = day.bar, Market.of(day.symbol)
    return {
        "e": "24hrMiniTicker",
        "E": day.end * (1000 if microseconds else 1),
        "s": name_of(day.symbol),
        **({"ps": pair_of(day.symbol)} if market is Market.COIN_M else {}),
        "c": number(bar.close, market),
        "o": number(bar.open, market),
        "h": number(bar.high, market),
        "l": number(bar.low, market),
        "v": number(bar.volume, market),
        "q": number(bar.turnover, market),
    }


def book_event(symbol: str, book: Book, *, microseconds: bool = False) -> str:
    """Return the payload of a ``@bookTicker`` stream. On spot, which has microseconds, it has no
    time.
    """
    market = Market.of(symbol)
    event: dict[str, Any] = {
        "u": book.newest_id,
        "s": name_of(symbol),
        "b": number(book.bid.price, market),
        "B": number(book.bid.quantity, market),
        "a": number(book.ask.price, market),
        "A": number(book.ask.quantity, market),
    }
    if market is not Market.SPOT:
        event = {"e": "bookTicker", **event, "T": book.time, "E": book.time}
    if market is Market.COIN_M:
        event["ps"] = pair_of(symbol)
    return dump(event)


def dump(event: Any) -> str:
    """Return the JSON text of an event."""
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False)
