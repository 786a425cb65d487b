"""Binance's daily and monthly CSV files of spot trades.

https://github.com/binance/binance-public-data: no header row so far, times in microseconds since
2025. The files do not say their symbol; their names do.
"""

import re
import unicodedata
from decimal import Decimal

from mcloud.feed.json_lines import to_milliseconds
from mcloud.market.trade import (
    MAX_ID,
    MAX_TIME,
    NAME,
    BadTrade,
    Trade,
    check_int,
    parse_number,
    positive,
    to_text,
)

_NAME = re.compile(rf"({NAME})-(?:AGG)?TRADES-\d{{4}}-\d\d")
_TRUTH = {"true": True, "false": False}
# Some files have small numbers such as 1e-05: a float wrote them, but what is written is exact.
_SCIENTIFIC = re.compile(r"[0-9](?:\.[0-9]{1,20})?[eE][+-]?[0-9]{1,2}")


def parse_trade(symbol: str, line: str) -> Trade:
    """Read a row of a ``trades`` file.

    Columns: id, price, qty, quote_qty, time, is_buyer_maker, is_best_match.

    Raises:
        BadTrade: another number of columns, or a wrong field.
    """
    id_, price, quantity, _, time, maker, _ = _columns(line, 7)
    return _trade(symbol, id_, price, quantity, time, maker)


def parse_aggregate(symbol: str, line: str) -> Trade:
    """Read a row of an ``aggTrades`` file; the aggregate's id, dense as well, is the trade's.

    Columns: agg id, price, qty, first id, last id, time, is_buyer_maker, is_best_match.

    Raises:
        BadTrade: another number of columns, or a wrong field.
    """
    id_, price, quantity, _, _, time, maker, _ = _columns(line, 8)
    return _trade(symbol, id_, price, quantity, time, maker)


def is_header(line: str) -> bool:
    """Whether this line names the columns of a ``trades`` or ``aggTrades`` file."""
    names = line.lower().split(",")
    return len(names) in (7, 8) and names[1].strip() == "price"


def symbol_in_name(name: str) -> str | None:
    """The symbol in a file name such as ``BTCUSDT-trades-2024-08-08.csv``, or None."""
    match = _NAME.match(unicodedata.normalize("NFC", name).upper())
    return match[1] if match else None


def _columns(line: str, expected: int) -> list[str]:
    columns = line.split(",")
    if len(columns) != expected:
        raise BadTrade(f"{expected} columns expected, not {len(columns)}")
    return columns


def _trade(symbol: str, id_: str, price: str, quantity: str, time: str, maker: str) -> Trade:
    is_maker = _TRUTH.get(maker.lower())
    if is_maker is None:
        raise BadTrade(f"is_buyer_maker is not true or false: {maker!r:.60}")
    return Trade(
        symbol,
        check_int("id", _whole("id", id_), MAX_ID),
        positive(parse_number("price", _plain(price))),
        parse_number("qty", _plain(quantity)),
        check_int("time", to_milliseconds(_whole("time", time)), MAX_TIME),
        is_maker,
    )


def _plain(number: str) -> str:
    """A number without an exponent: ``1.2E-5`` is ``0.000012``."""
    return to_text(Decimal(number)) if _SCIENTIFIC.fullmatch(number) else number


def _whole(field: str, text: str) -> int:
    # int() alone would take "1_000", " 1" and Arabic digits; 19 digits are MAX_ID's.
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise BadTrade(f"{field} is not a whole number: {text!r:.60}")
    return int(text)
