"""Names of Binance's streams, and which of them the exchange can derive from trades."""

import re
from dataclasses import dataclass
from functools import lru_cache

from mcloud.local.exchange.bars import INTERVALS, Interval
from mcloud.local.exchange.markets import MarketRoute

SERVED = (
    "<symbol>@trade, @aggTrade, @kline_<interval>, @bookTicker, @ticker, @miniTicker; "
    "!bookTicker, !ticker@arr, !miniTicker@arr"
)
Topic = tuple[str, str]
"""Kind of event and symbol."""

_KLINE = re.compile(r"kline_(\w+)")


class BadRequest(ValueError):
    """Raised for a client's request that cannot be served. The message has the reason."""

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class ExchangeStream:
    name: str
    """Name of the stream, as the client wrote it."""
    kind: str
    """``trade``, ``aggTrade``, ``kline``, ``bookTicker``, ``ticker`` or ``miniTicker``."""
    symbol: str = ""
    """Symbol with its market; empty for all symbols of the route."""
    interval: Interval | None = None
    """Interval of a kline; None for other kinds."""

    @property
    def topic(self) -> Topic:
        """Kind and symbol; the same for streams whose names differ only in case."""
        kind = f"kline_{self.interval.name}" if self.interval else self.kind
        return kind, self.symbol


@lru_cache(8192)
def parse_stream(name: str, route: MarketRoute) -> ExchangeStream:
    """Parse the name of a stream, such as ``btcusdt@kline_1m``.

    Raises:
        BadRequest: the name is not valid, or the stream cannot be derived from trades.
    """
    if name in ("!ticker@arr", "!miniTicker@arr", "!bookTicker"):
        return ExchangeStream(name, name[1:].removesuffix("@arr"))
    symbol, at, kind = name.partition("@")
    if not symbol or not at:
        raise BadRequest("Invalid request: invalid stream")
    symbol = route.symbol(symbol)
    if kind in ("trade", "aggTrade", "bookTicker", "ticker", "miniTicker"):
        return ExchangeStream(name, kind, symbol)
    if (kline := _KLINE.fullmatch(kind)) and kline[1] in INTERVALS:
        return ExchangeStream(name, "kline", symbol, INTERVALS[kline[1]])
    raise BadRequest(
        f"Invalid request: the local exchange plays trades and cannot derive the stream "
        f"{name:.60} from them; it serves {SERVED}"
    )
