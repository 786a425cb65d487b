"""Binance's stream messages and mcloud's own archive lines, with one JSON object per line."""

import json
import re
from collections.abc import Mapping
from typing import Any

from mcloud.market.trade import (
    MAX_TIME,
    SPOT,
    BadTrade,
    Trade,
    aggregates_of,
    in_market,
    market_of_future,
    split_market,
)

MIN_TIME = 1_230_768_000_000
"""2009-01-01 in ms. There were no trades before. A lower time is in seconds, or invalid."""

# Recorders may write the time of receipt before a message, in any notation.
_STAMP = re.compile(r"""[\[("']?[0-9][0-9TZ:.,;|+\-\])"' \t]*""")
_LONGEST_STAMP = 64

# Messages without an event name "e" that are not trades: the answer to a subscription, the partial
# book depth and the book ticker.
# https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
_ANSWERS_AND_BOOKS = frozenset({"result", "error", "id", "lastUpdateId", "u"})


class WrongMarket(ValueError):
    """Raised for a trade that does not show its market, or belongs to an unexpected market."""


def parse_message(line: str, market: str | None = None) -> Trade | None:
    """Return the trade in a combined-stream, single-stream or archive line; None for other events.

    An aggregate trade is a trade of ``BTCUSDT.agg``; see ``mcloud.market.trade``.

    Args:
        line: the line.
        market: the market of the streams; None if the line itself shows it.

    Raises:
        BadTrade: the line is not a JSON object, or is a trade with a wrong field.
        WrongMarket: the trade belongs to another market, or does not show its market.
    """
    message = _load(line)
    data = message.get("data") if "stream" in message else message
    if isinstance(data, list):
        return None  # the "@arr" streams have many tickers in one message
    if not isinstance(data, dict):
        raise BadTrade("no data in the stream message")
    event = data.get("e")
    if event == "trade":
        return _in_its_market(parse_event(data), data, market)
    if event == "aggTrade":
        trade = parse_event({**data, "t": data.get("a")})
        trade = _in_its_market(trade, data, market)
        return trade._replace(symbol=aggregates_of(trade.symbol))
    if event is not None or _ANSWERS_AND_BOOKS & data.keys():
        return None
    trade = parse_event(data)
    if market and market != split_market(trade.symbol)[1]:
        raise WrongMarket(f"the symbol {trade.symbol} is not of the market {market}")
    return trade


def parse_event(event: Mapping[str, Any]) -> Trade:
    """Return the trade, or the void, in a trade event or an archive line.

    Every source decodes trades here.

    Raises:
        BadTrade: a field is wrong.
    """
    time = event.get("T")
    if type(time) is int and (milliseconds := to_milliseconds(time)) != time:
        event = {**event, "T": milliseconds}
    return Trade.from_binance(event)


def is_recording(line: str) -> bool:
    """Return whether this line alone proves that the file is a recording of Binance streams."""
    try:
        message = _load(line)
        named = "stream" in message or isinstance(message.get("e"), str)
        return named or parse_message(line) is not None
    except ValueError:
        return False


def to_milliseconds(time: int) -> int:
    """Convert a time in milliseconds or microseconds to milliseconds.

    The two cannot be confused: the last millisecond of the year 9999 is, read as microseconds,
    in January 1978.

    Raises:
        BadTrade: the time is before 2009, as times in seconds are when read as milliseconds.
    """
    milliseconds = time // 1000 if time > MAX_TIME else time
    if 0 <= milliseconds < MIN_TIME:
        raise BadTrade(f"the time is before 2009: {time}; it must be in ms or in microseconds")
    return milliseconds


def _in_its_market(trade: Trade, event: dict[str, Any], market: str | None) -> Trade:
    """Return the trade of an event, under the symbol of its market.

    Each event of the spot market has ``M``, and none of futures has it. Trades of futures have
    ``X`` and aggregate trades of USDⓈ-M futures ``nq``; names with ``_`` are those of futures. Some
    recorders omit fields, and the rest looks the same for every market.
    https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
    https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams
    """
    name = trade.symbol
    if "." in name:
        raise BadTrade(f"not a symbol: {name!r:.60}")
    if "X" in event or "nq" in event:
        is_future = True
    elif "M" in event:
        is_future = False
    elif market is None and "_" not in name:
        kind = "a trade" if event["e"] == "trade" else "an aggregate trade"
        raise WrongMarket(f"{kind} of {name} does not show which market it is of")
    else:
        is_future = market not in (None, SPOT) or "_" in name
    shown = market_of_future(name) if is_future else SPOT
    if market not in (None, shown):
        raise WrongMarket(f"the trade of {name} is of the market {shown}, not of {market}")
    return trade._replace(symbol=in_market(name, shown)) if is_future else trade


def _load(line: str) -> dict[str, Any]:
    begin = line.find("{", 0, _LONGEST_STAMP)
    if begin > 0 and _STAMP.fullmatch(line, 0, begin):
        line = line[begin:]
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        raise BadTrade("not JSON") from None
    if not isinstance(message, dict):
        raise BadTrade("not a JSON object")
    return message
