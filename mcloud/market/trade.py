"""One trade of one symbol, as the exchange reports it, and the exact numbers in it.

A symbol carries its market, since exchanges use one name in several: ``BTCUSDT`` is traded on the
spot market, ``BTCUSDT.um`` is the USDⓈ-M and ``BTCUSD_PERP.cm`` the COIN-M future. The names of the
markets are those of Binance's public data.

Aggregate trades have their own ids, which have no relation to those of the trades. They are also a
symbol of their own: ``BTCUSDT.agg``, ``BTCUSDT.um.agg``.
"""

import re
import unicodedata
from collections.abc import Collection, Mapping
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from operator import attrgetter
from typing import Any, NamedTuple

# Sums and products that do not fit are refused, never rounded. A DynamoDB number has up to 38
# digits. Binance's own limit of 8 decimals leaves 22 integer digits for the quote volume of a
# minute.
ZERO = Decimal()

EXACT = Context(prec=38, traps=[Inexact, InvalidOperation, Overflow, DivisionByZero])

MAX_ID = 2**63 - 1
# After the year 9999 a timestamp no longer fits the candle's key, `2024-08-08T23:54:00Z`.
MAX_TIME = 253_402_300_799_999

# Only ASCII digits are allowed: Decimal() itself would accept "NaN", "1_000", " 1 " and Arabic
# digits.
NUMBER = r"[0-9]{1,16}(?:\.[0-9]{1,12})?"

SPOT, USD_M, COIN_M = "spot", "um", "cm"
MARKETS = (SPOT, USD_M, COIN_M)

_LETTERS = r"[^\x00-/:-@\[-\x7f\s]{1,20}"  # of the ASCII characters, only capitals and digits
NAME = rf"{_LETTERS}(?:_{_LETTERS})?"
"""A symbol as the exchange writes it, also in other scripts than Latin, such as 币安人生USDT."""
AGGREGATE_SUFFIX = "agg"
SYMBOL = rf"{NAME}(?:\.(?:{USD_M}|{COIN_M}))?(?:\.{AGGREGATE_SUFFIX})?"
_NUMBER = re.compile(NUMBER)
_SYMBOL = re.compile(SYMBOL)
# COIN-M futures are quoted in US dollars, and their names always include the delivery date.
_COIN_M_NAME = re.compile(r".+USD_(?:PERP|[0-9]{6})")


MARKET, VOID_MARKS = "MARKET", ("NA", "INSURANCE_FUND", "ADL")
"""Values of ``X`` in futures streams: the mark of trades, and the marks of voids."""

CANARY = "MCLOUDCANARY"
"""Symbol of trades that only test whether a site works. No exchange and no user has this symbol.
See ``mcloud.canary``.
"""


class BadTrade(ValueError):
    """Raised for an invalid trade. The message names the field and the reason."""


class Trade(NamedTuple):
    """A trade. ``price`` and ``quantity`` are canonical: without trailing zeros or an exponent."""

    symbol: str
    id: int
    """Trade id of the exchange, dense per symbol: a missing number is a missing trade."""
    price: Decimal
    """Price in the quote asset, above zero; zero for a void."""
    quantity: Decimal
    """Quantity in the base asset, not negative; zero for a void."""
    time: int
    """Trade time ``T`` of the exchange, in ms since 1970, UTC."""
    buyer_is_maker: bool

    @classmethod
    def void(cls, symbol: str, id: int, time: int) -> "Trade":
        """Return the *void* of an id: the exchange has used it up, and no market made a trade.

        A void counts for nothing in a candle. It only shows that the id is not missing.
        """
        return cls(symbol, id, ZERO, ZERO, time, False)

    @property
    def is_void(self) -> bool:
        return not self.price

    @classmethod
    def from_binance(cls, data: Mapping[str, Any]) -> "Trade":
        """Read Binance's own field names (``s t p q T m``), as in streams and archives.

        Futures streams use ``X`` to mark an id without a trade (``NA``), and trades of the
        insurance fund and of auto-deleveraging, whose prices no market made. REST omits all of
        them; they are voids.

        Raises:
            BadTrade: a field is missing, of another type, or not a number that a trade can have.
        """
        try:
            symbol, id_, price, quantity = data["s"], data["t"], data["p"], data["q"]
            time, maker = data["T"], data["m"]
            mark = data.get("X", MARKET)
        except (KeyError, TypeError, AttributeError) as error:
            raise BadTrade(f"no field {error} in the trade") from None
        if mark != MARKET:
            # An unknown mark may mean a trade: its id stays missing, and REST decides.
            if mark not in VOID_MARKS:
                raise BadTrade(f"X is neither {MARKET} nor the mark of a void: {mark!r:.60}")
            id_, time = check_int("t", id_, MAX_ID), check_int("T", time, MAX_TIME)
            return cls.void(check_symbol(symbol), id_, time)
        return cls(
            check_symbol(symbol),
            check_int("t", id_, MAX_ID),
            positive(parse_number("p", price)),
            parse_number("q", quantity),
            check_int("T", time, MAX_TIME),
            check_bool("m", maker),
        )


def id_count(first: int, last: int) -> int:
    """Return the number of ids from ``first`` to ``last``, both inclusive."""
    return last - first + 1


def without_filled_voids(trades: Collection[Trade]) -> list[Trade]:
    """Return trades of one symbol, in their order, without the voids that do not count.

    An id that has a trade has no void. If an id has several voids, the earliest counts: an inferred
    void has the time of the trade before it, while an announced void has its own time.
    """
    if all(trade.price for trade in trades):
        return list(trades)
    filled = {trade.id for trade in trades if not trade.is_void}
    voids: dict[int, Trade] = {}
    for trade in trades:
        if trade.is_void and trade.id not in filled:
            voids[trade.id] = min(trade, voids.get(trade.id, trade), key=attrgetter("time"))
    return [trade for trade in trades if not trade.is_void or voids.get(trade.id) == trade]


def check_symbol(symbol: object) -> str:
    """Return a symbol such as ``BTCUSDT`` or ``BTCUSDT_250926.um``, or raise BadTrade."""
    if not isinstance(symbol, str) or not _SYMBOL.fullmatch(symbol):
        raise BadTrade(f"not a symbol: {symbol!r:.60}")
    # Different spellings of one name would create symbols that look alike.
    if not symbol.isascii() and not (symbol.isprintable() and symbol == capitals(symbol)):
        raise BadTrade(f"not a symbol: {symbol!r:.60}")
    return symbol


def capitals(text: str) -> str:
    """Return the written form of a typed symbol: BTCUSDT.um for ``btcusdt.UM``."""
    name, dot, market = unicodedata.normalize("NFC", text.strip()).partition(".")
    return name.upper() + dot + market.lower()


def in_market(name: str, market: str) -> str:
    """Return the symbol of a name in one of ``MARKETS``: BTCUSDT.um for ``BTCUSDT`` and ``um``."""
    return name if market == SPOT else f"{name}.{market}"


def split_market(symbol: str) -> tuple[str, str]:
    """Return the name that the exchange uses, and the market; the inverse of ``in_market``.

    The market of aggregate trades is that of their trades.
    """
    name, _, market = trades_of(symbol).partition(".")
    return name, market or SPOT


def market_of_future(name: str) -> str:
    """Return the market of a future, USD_M or COIN_M, by its name at the exchange."""
    return COIN_M if _COIN_M_NAME.fullmatch(name) else USD_M


def aggregates_of(symbol: str) -> str:
    """Return the symbol of the aggregate trades of a symbol: BTCUSDT.agg for ``BTCUSDT``."""
    return f"{symbol}.{AGGREGATE_SUFFIX}"


def trades_of(symbol: str) -> str:
    """Return the symbol of the trades; the inverse of ``aggregates_of``."""
    return symbol.removesuffix(f".{AGGREGATE_SUFFIX}")


def is_reserved(symbol: str) -> bool:
    """Return whether a symbol is not a market. Such a symbol is not listed, compared, copied or
    counted.
    """
    return symbol == CANARY


def check_int(field: str, value: object, highest: int) -> int:
    """Return a whole number from 0 to ``highest``, not a bool, or raise BadTrade."""
    if type(value) is not int or not 0 <= value <= highest:
        raise BadTrade(f"{field} is not a whole number from 0 to {highest}: {value!r:.60}")
    return value


def check_bool(field: str, value: object) -> bool:
    """Return a bool, or raise BadTrade."""
    if not isinstance(value, bool):
        raise BadTrade(f"{field} is not true or false: {value!r:.60}")
    return value


def parse_number(field: str, text: object) -> Decimal:
    """Read a plain decimal text, up to 16 digits before and 12 after the point, or raise BadTrade.

    Floats are refused because they are not exact.
    """
    if not isinstance(text, str) or not _NUMBER.fullmatch(text):
        raise BadTrade(f"{field} is not a plain decimal text: {text!r:.60}")
    return Decimal(canonical(text))


def positive(price: Decimal) -> Decimal:
    """Return a price above zero, or raise BadTrade."""
    if not price:
        raise BadTrade("p is zero")
    return price


def canonical(text: str) -> str:
    """Return the canonical text of a number: ``"61.5"`` for ``"0061.500"`` and for ``"61.5"``."""
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    if text[0] == "0" and len(text) > 1:
        text = text.lstrip("0")
        if not text or text[0] == ".":
            text = "0" + text
    return text


def to_text(number: Decimal) -> str:
    """Return the canonical text of a number, without an exponent or trailing zeros."""
    # str() is three times as fast as format(), and sufficient for nearly all numbers
    text = str(number)
    return canonical(format(number, "f")) if "E" in text or text[-1] == "0" else text
