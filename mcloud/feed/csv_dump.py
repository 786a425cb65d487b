"""Binance's daily and monthly CSV files of trades and of aggregate trades.

See https://github.com/binance/binance-public-data. Some files have a header row. Files of the spot
market have times in microseconds since 2025. The symbol is in the name of a file, and not in the
file.
"""

import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal

from mcloud.feed.json_lines import to_milliseconds
from mcloud.market.trade import (
    MAX_ID,
    MAX_TIME,
    NAME,
    SPOT,
    BadTrade,
    Trade,
    aggregates_of,
    check_int,
    in_market,
    market_of_future,
    parse_number,
    positive,
    to_text,
)

_NAME = re.compile(rf"({NAME})-(?:AGG)?TRADES-\d{{4}}-\d\d")
_TRUTH = {"true": True, "false": False}
# Some files have small numbers such as 1e-05, in the notation of a float. The text is exact.
_SCIENTIFIC = re.compile(r"[0-9](?:\.[0-9]{1,20})?[eE][+-]?[0-9]{1,2}")


@dataclass(frozen=True, slots=True)
class Table:
    """A kind of CSV file. The columns of a file show its kind."""

    columns: int
    is_aggregated: bool
    """Whether the rows are aggregate trades. Their ids are dense as well."""
    is_future: bool

    @property
    def time_column(self) -> int:
        """Index of the column with the time; the next one has is_buyer_maker.

        In the columns before it, an aggregate has its first and last id, and a trade the product of
        price and quantity.
        """
        return 5 if self.is_aggregated else 4

    def market(self, name: str) -> str:
        """Return the market of the symbol with this name, one of ``trade.MARKETS``."""
        return market_of_future(name) if self.is_future else SPOT

    def symbol(self, name: str) -> str:
        """Return the symbol of the rows, such as ``BTCUSDT.um.agg`` for the name ``BTCUSDT``."""
        symbol = in_market(name, self.market(name))
        return aggregates_of(symbol) if self.is_aggregated else symbol

    def parse(self, symbol: str, line: str) -> Trade:
        """Read a row.

        Raises:
            BadTrade: another number of columns, or a wrong field.
        """
        columns = line.split(",")
        if len(columns) != self.columns:
            raise BadTrade(f"{self.columns} columns expected, not {len(columns)}")
        id_, price, quantity = columns[:3]
        time, maker = columns[self.time_column : self.time_column + 2]
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


# The columns of trades are id, price, qty, quote_qty (base_qty), time and is_buyer_maker, and
# is_best_match on the spot market. Those of aggregates are agg_trade_id, price, quantity,
# first_trade_id, last_trade_id, transact_time and is_buyer_maker.
SPOT_TRADES = Table(7, is_aggregated=False, is_future=False)
SPOT_AGGREGATES = Table(8, is_aggregated=True, is_future=False)
FUTURE_TRADES = Table(6, is_aggregated=False, is_future=True)
FUTURE_AGGREGATES = Table(7, is_aggregated=True, is_future=True)
TABLES = (SPOT_TRADES, SPOT_AGGREGATES, FUTURE_TRADES, FUTURE_AGGREGATES)


def table_of(line: str) -> Table | None:
    """Return the kind of file that this row is from, or None if it is not a row of a file."""
    for table in TABLES:
        try:
            table.parse("", line)
        except BadTrade:
            continue
        return table
    return None


def is_header(line: str) -> bool:
    """Return whether this line names the columns of a file."""
    names = line.lower().split(",")
    return len(names) in {table.columns for table in TABLES} and names[1].strip() == "price"


def name_in(file: str) -> str | None:
    """Return the exchange's name for the symbol, from a file name such as
    ``BTCUSDT-trades-2024-08-08.csv``; None if there is none."""
    match = _NAME.match(unicodedata.normalize("NFC", file).upper())
    return match[1] if match else None


def _plain(number: str) -> str:
    """Return a number without an exponent: ``0.000012`` for ``1.2E-5``."""
    return to_text(Decimal(number)) if _SCIENTIFIC.fullmatch(number) else number


def _whole(field: str, text: str) -> int:
    # int() alone would accept "1_000", " 1" and Arabic digits. MAX_ID has 19 digits.
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise BadTrade(f"{field} is not a whole number: {text!r:.60}")
    return int(text)
