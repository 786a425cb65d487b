"""Binance's stream messages, and our own archive lines, one JSON object a line."""

import json
import re
from typing import Any

from mcloud.market.trade import COIN_M, MAX_TIME, USD_M, BadTrade, Trade, in_market

MIN_TIME = 1_230_768_000_000
"""2009-01-01 in ms. Nobody traded before; a time below it is in seconds, or is none."""

# What recorders write in front of a message: when they received it, in whatever notation.
_STAMP = re.compile(r"""[\[("']?[0-9][0-9TZ:.,;|+\-\])"' \t]*""")
_LONGEST_STAMP = 64

# COIN-M futures are quoted in US dollars and always say when they are delivered.
_COIN_M_NAME = re.compile(r".+USD_(?:PERP|[0-9]{6})")

# The messages without an event name "e" that are no trades: the answer to a subscription, the
# partial book depth and the book ticker.
# https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
_ANSWERS_AND_BOOKS = frozenset({"result", "error", "id", "lastUpdateId", "u"})


def parse_message(line: str) -> Trade | None:
    """Return the trade in a combined-stream, single-stream or archive line; None for other events.

    Raises:
        BadTrade: the line is no JSON object, or a trade with a wrong field.
    """
    message = _load(line)
    data = message.get("data") if "stream" in message else message
    if isinstance(data, list):
        return None  # the "@arr" streams: many tickers in one message
    if not isinstance(data, dict):
        raise BadTrade("no data in the stream message")
    event = data.get("e")
    if event != "trade" and (event is not None or _ANSWERS_AND_BOOKS & data.keys()):
        return None
    trade = parse_event(data)
    if "X" in data and event == "trade":  # which events of futures alone have
        market = COIN_M if _COIN_M_NAME.fullmatch(trade.symbol) else USD_M
        trade = trade._replace(symbol=in_market(trade.symbol, market))
    return trade


def parse_event(event: dict[str, Any]) -> Trade:
    """Return the trade, or the void, in a trade event or an archive line.

    Every source decodes trades here.

    Raises:
        BadTrade: a field is wrong.
    """
    time = event.get("T")
    if type(time) is int:
        event["T"] = to_milliseconds(time)
    return Trade.from_binance(event)


def is_recording(line: str) -> bool:
    """Whether this line alone shows that the file is a recording of Binance streams."""
    try:
        message = _load(line)
        named = "stream" in message or isinstance(message.get("e"), str)
        return named or parse_message(line) is not None
    except BadTrade:
        return False


def to_milliseconds(time: int) -> int:
    """Bring a time in milliseconds or microseconds to milliseconds.

    The two cannot be confused: the last millisecond of the year 9999 is, read as microseconds,
    in January 1978.

    Raises:
        BadTrade: the time is before 2009, as times in seconds are when read as milliseconds.
    """
    milliseconds = time // 1000 if time > MAX_TIME else time
    if 0 <= milliseconds < MIN_TIME:
        raise BadTrade(f"the time is before 2009: {time}; it must be in ms or in microseconds")
    return milliseconds


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
