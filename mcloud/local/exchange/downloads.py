"""Daily and monthly files of trades, as Binance publishes them, each with its checksum.

A file is served once its time has passed: the exchange has a trade of a later day or month, or all
trades have been made. See https://github.com/binance/binance-public-data.
"""

import hashlib
import io
import re
import zipfile
from calendar import monthrange
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from mcloud.local.exchange.ledger import TradeLedger
from mcloud.local.exchange.markets import Market, turnover
from mcloud.local.exchange.wording import number

PATH = "/data/"
DAY = 86_400_000  # ms
KEPT = 8  # number of files in memory
MICROSECONDS_SINCE = datetime(2025, 1, 1, tzinfo=UTC).timestamp() * 1000
"""First time, in ms, of the files of the spot market that have their times in microseconds."""

_FILE = re.compile(
    r"/data/(?P<market>spot|futures/um|futures/cm)/(?P<span>daily|monthly)/"
    r"(?P<kind>trades|aggTrades)/(?P<name>[^/]{1,50})/"
    r"(?P=name)-(?P=kind)-(?P<date>[0-9]{4}-[0-9]{2}(?:-[0-9]{2})?)\.zip(?P<checksum>\.CHECKSUM)?"
)
_RANGE = re.compile(r"bytes=([0-9]{1,15})-([0-9]{1,15})?")


@dataclass(frozen=True)
class FileAnswer:
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Span:
    """The time that a file covers, in ms: from ``start`` up to but not including ``end``."""

    start: int
    end: int


class Downloads:
    """Makes the files from the trades so far.

    Args:
        has_ended: returns whether all trades have been made.
    """

    def __init__(self, ledger: TradeLedger, has_ended: Callable[[], bool]) -> None:
        self._ledger = ledger
        self._has_ended = has_ended
        self._zipped = lru_cache(KEPT)(self._zip)

    def answer(self, path: str, range_: str = "") -> FileAnswer:
        """Answer a request for a file.

        Args:
            range_: the header ``Range``, such as ``bytes=0-1023``. Other forms are ignored, as the
                HTTP standard allows.
        """
        match = _FILE.fullmatch(path)
        span = match and _span(match["span"], match["date"])
        if match is None or span is None:
            return FileAnswer(404)
        market = Market(match["market"].rpartition("/")[2])
        symbol = market.symbol(match["name"])
        if not self._has_ended() and self._ledger.now < span.end:
            return FileAnswer(404)
        name = path.removesuffix(".CHECKSUM").rpartition("/")[2]
        content = self._zipped(symbol, match["kind"], span, name, self._ledger.tape.count(symbol))
        if not content:
            return FileAnswer(404)
        digest = hashlib.sha256(content).hexdigest()
        if match["checksum"]:
            return FileAnswer(200, f"{digest}  {name}\n".encode())
        headers = {"ETag": f'"{digest[:32]}"', "Accept-Ranges": "bytes"}
        return _part(content, range_, headers)

    def _zip(self, symbol: str, kind: str, span: _Span, name: str, count: int) -> bytes:
        """Return a file, or nothing if there was no trade.

        ``count``, the number of trades so far, makes sure that a late trade is in the file.
        """
        rows = self._trades(symbol, span) if kind == "trades" else self._aggregates(symbol, span)
        text = "".join(f"{row}\n" for row in rows)
        if not text:
            return b""
        if Market.of(symbol) is not Market.SPOT:
            text = f"{_HEADERS[kind]}\n{text}"
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            # The same trades make the same file.
            member = zipfile.ZipInfo(name.replace(".zip", ".csv"), (1980, 1, 1, 0, 0, 0))
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, text)
        return target.getvalue()

    def _trades(self, symbol: str, span: _Span) -> Iterator[str]:
        market = Market.of(symbol)
        for trade in self._ledger.tape.between(symbol, span.start, span.end - 1, None):
            yield ",".join(
                [
                    str(trade.id),
                    number(trade.price, market),
                    number(trade.quantity, market),
                    number(turnover(trade), market),
                    str(_time(trade.time, market)),
                    *_flags(trade.buyer_is_maker, market),
                ]
            )

    def _aggregates(self, symbol: str, span: _Span) -> Iterator[str]:
        market = Market.of(symbol)
        for each in self._ledger.aggregates.since(symbol, 0):
            if span.start <= each.time < span.end:
                yield ",".join(
                    [
                        str(each.id),
                        number(each.price, market),
                        number(each.quantity, market),
                        str(each.first),
                        str(each.last),
                        str(_time(each.time, market)),
                        *_flags(each.buyer_is_maker, market),
                    ]
                )


_HEADERS = {
    "trades": "id,price,qty,quote_qty,time,is_buyer_maker",
    "aggTrades": "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,"
    "is_buyer_maker",
}
"""First row of the files of futures. Those of the spot market have none."""


def _flags(is_maker: bool, market: Market) -> list[str]:
    if market is Market.SPOT:
        return [str(is_maker), "True"]  # the second column tells whether it was the best match
    return [str(is_maker).lower()]


def _time(time: int, market: Market) -> int:
    return time * 1000 if market is Market.SPOT and time >= MICROSECONDS_SINCE else time


def _span(kind: str, text: str) -> _Span | None:
    """Return the time of a file, or None if its date is invalid."""
    try:
        first = date.fromisoformat(text if kind == "daily" else f"{text}-01")
    except ValueError:
        return None
    days = 1 if kind == "daily" else monthrange(first.year, first.month)[1]
    start = (first - date(1970, 1, 1)) // timedelta(1) * DAY
    return _Span(start, start + days * DAY) if start >= 0 else None


def _part(content: bytes, range_: str, headers: Mapping[str, str]) -> FileAnswer:
    match = _RANGE.fullmatch(range_)
    if match is None:
        return FileAnswer(200, content, headers)
    size, first = len(content), int(match[1])
    last = min(int(match[2] or size), size - 1)
    if first > last:
        return FileAnswer(416, headers={**headers, "Content-Range": f"bytes */{size}"})
    described = {**headers, "Content-Range": f"bytes {first}-{last}/{size}"}
    return FileAnswer(206, content[first : last + 1], described)
