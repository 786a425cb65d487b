"""The message that travels through a queue, with many trades of one symbol or of several.

One message for each trade would cost hundreds of times more on both clouds. The body is ASCII text,
so that the same bytes pass through SQS (text only) and Pub/Sub. It is JSON with one column for each
field, or the base64 of its zlib form if that is shorter. Ids and times are stored as differences.

    {"v":1,"symbol":"BTCUSDT","id":[3735683259,1],"p":["61837.63","61837.6"],"q":["0.02","1"],
     "T":[1723161255342,275],"m":"10"}

Version 2 has such columns for each of several symbols. It also supports symbols of futures, symbols
in other scripts, and voids, whose price and quantity are "0".

    {"v":2,"streams":[{"symbol":"BTCUSDT.um","id":[6587981239,1],"p":["61837.6","0"],…},…]}

Whatever version 1 can express is written in it, so that functions of an older release can read it.
"""

import base64
import binascii
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import accumulate, groupby, pairwise
from operator import attrgetter
from typing import Any

from mcloud.market import trace
from mcloud.market.candle import MINUTE
from mcloud.market.trade import MAX_ID, MAX_TIME, BadTrade, Trade, check_symbol, to_text

VERSION = 2
"""Newest version. This code reads it and all earlier ones."""
SQS_CHUNK = 64 * 1024
"""Bytes that SQS bills as one request, and the default maximum size of a message."""
MAX_BODY = 1024 * 1024  # bytes; the limit of an SQS message, attributes included
MAX_INFLATED = 4 * 1024 * 1024  # bytes
MAX_TRADES = 20_000

# Canonical numbers only (see `trade.canonical`), so that one trade has one encoding.
_NUMBERS = re.compile(r"(?:(?:0|[1-9][0-9]{0,15})(?:\.[0-9]{0,11}[1-9])?\n)*")
_FLAGS = re.compile(r"[01]*")


class Malformed(ValueError):
    """Raised for a message that can never be processed, with the reason."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a queue: an ASCII body and a few short attributes."""

    body: str
    attributes: dict[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Size in bytes as SQS counts it: the body and the names, types and values of
        attributes.
        """
        attributes = sum(
            len(k) + len(v.encode()) + len("String") for k, v in self.attributes.items()
        )
        return len(self.body.encode()) + attributes


@dataclass(frozen=True, slots=True)
class Envelope:
    """Trades grouped by symbol, each symbol with ascending ids. Holes are allowed."""

    trades: tuple[Trade, ...]

    @property
    def by_symbol(self) -> Iterator[tuple[str, tuple[Trade, ...]]]:
        return ((key, tuple(group)) for key, group in groupby(self.trades, attrgetter("symbol")))


def encode(trades: Sequence[Trade], *, one_in: int | None = None) -> Message:
    """Pack trades, grouped by symbol and with ascending ids, into one message.

    Attributes: ``count`` and ``encoding`` (``json`` or ``zlib+base64``); for a single symbol also
    ``symbol``, ``first_id`` and ``last_id``; from version 2 on ``version``; and the W3C
    ``traceparent`` if ``one_in`` is given. One message in ``one_in`` is sampled, or none if it is
    0; see ``trace.derive``.

    Raises:
        ValueError: no trades, too many, a symbol that comes twice, or ids that do not ascend.
    """
    if not 1 <= len(trades) <= MAX_TRADES:
        raise ValueError(f"an envelope holds 1 to {MAX_TRADES} trades, not {len(trades)}")
    streams = [_columns(list(group)) for _, group in groupby(trades, attrgetter("symbol"))]
    symbols = [stream["symbol"] for stream in streams]
    if len({*symbols}) != len(symbols):
        raise ValueError("an envelope holds the trades of a symbol together")
    first = streams[0]
    is_simple = len(streams) == 1 and "." not in symbols[0] and symbols[0].isascii()
    if is_simple and "0" not in first["p"]:
        version, fields = 1, {"v": 1, **first}
    else:
        version, fields = 2, {"v": 2, "streams": streams}
    text = json.dumps(fields, separators=(",", ":"))
    packed = base64.b64encode(zlib.compress(text.encode("ascii"))).decode("ascii")
    body, encoding = (packed, "zlib+base64") if len(packed) < len(text) else (text, "json")
    attributes = {"count": str(len(trades)), "encoding": encoding}
    if len(streams) == 1:
        ids = {"first_id": str(trades[0].id), "last_id": str(trades[-1].id)}
        attributes = {"symbol": symbols[0], **ids, **attributes}
    if version > 1:
        attributes["version"] = str(version)
    if one_in is not None:
        # The trace is derived from the body, which is a fifth of the size of the text. Another
        # build of zlib therefore gives another trace.
        parent = trace.derive(body.encode("ascii"), trades[-1].time // 1000, one_in)
        attributes["traceparent"] = str(parent)
    return Message(body, attributes)


def window_end(now: int, freshness: float) -> int:
    """Return the end of the last window that is over. Both times are in ms since 1970.

    A window has ``freshness`` seconds, and never reaches beyond the end of a minute, or of several
    minutes if it is longer: a candle whose trades come in one window is written once.
    """
    length = int(freshness * 1000)
    if length >= MINUTE:
        length -= length % MINUTE
        return now - now % length
    minute = now - now % MINUTE
    return minute + (now - minute) // length * length


def version_of(message: Message) -> int:
    """Return the version of a message of ``encode``, from its attributes."""
    return int(message.attributes.get("version", 1))


def encode_all(
    trades: Sequence[Trade], *, limit: int = SQS_CHUNK, one_in: int | None = None
) -> list[Message]:
    """Pack trades as ``encode`` does, into as many messages of at most ``limit`` bytes as needed.

    A single trade always fits, because a ``limit`` below 1 KiB raises ValueError.
    """
    if limit < 1024:
        raise ValueError("a message needs at least 1 KiB")
    if len(trades) <= MAX_TRADES:
        message = encode(trades, one_in=one_in)
        if message.size <= limit:
            return [message]
    half = len(trades) // 2
    parts = trades[:half], trades[half:]
    return [each for part in parts for each in encode_all(part, limit=limit, one_in=one_in)]


def decode(body: str | bytes, attributes: Mapping[str, str] | None = None) -> Envelope:
    """Read a message. The body has all the data, and the attributes are only checked against it.

    Raises:
        Malformed: it is not an envelope, or this version cannot read it.
    """
    fields = _parse(_inflate(_text(body)))
    version = fields.get("v")
    if type(version) is not int or not 1 <= version <= VERSION:
        raise Malformed(f"unknown envelope version {version!r:.20}")
    streams = [fields] if version == 1 else fields.get("streams")
    if not isinstance(streams, list) or not streams:
        raise Malformed("an envelope without streams")
    parts = [_trades(stream, has_voids=version > 1) for stream in streams]
    symbols = [part[0].symbol for part in parts]
    if len({*symbols}) != len(symbols):
        raise Malformed("a symbol comes twice")
    if attributes and [said := attributes.get("symbol", symbols[0])] != symbols[:1]:
        raise Malformed(f"the body holds {', '.join(symbols):.80}, the attribute says {said:.40}")
    trades = tuple(trade for part in parts for trade in part)
    if len(trades) > MAX_TRADES:
        raise Malformed(f"an envelope holds 1 to {MAX_TRADES} trades, not {len(trades)}")
    return Envelope(trades)


def _columns(trades: Sequence[Trade]) -> dict[str, Any]:
    symbols, ids, prices, quantities, times, makers = zip(*trades, strict=True)
    if any(a >= b for a, b in pairwise(ids)):
        raise ValueError("the ids of an envelope ascend")
    return {
        "symbol": symbols[0],
        "id": _differences(ids),
        "p": [to_text(price) for price in prices],
        "q": [to_text(quantity) for quantity in quantities],
        "T": _differences(times),
        "m": "".join("1" if maker else "0" for maker in makers),
    }


def _trades(fields: object, *, has_voids: bool) -> list[Trade]:
    """Return the trades of one symbol."""
    if not isinstance(fields, dict):
        raise Malformed("a stream is not a JSON object")
    try:
        symbol = check_symbol(fields.get("symbol"))
    except BadTrade as error:
        raise Malformed(str(error)) from None
    ids = _accumulate(fields, "id", MAX_ID)
    if any(a >= b for a, b in pairwise(ids)):
        raise Malformed("ids out of order")
    times = _accumulate(fields, "T", MAX_TIME)
    prices, quantities = _numbers(fields, "p"), _numbers(fields, "q")
    flags = fields.get("m")
    if not isinstance(flags, str) or not _FLAGS.fullmatch(flags):
        raise Malformed("m is not a row of 0 and 1")
    count = len(ids)
    if not len(prices) == len(quantities) == len(times) == len(flags) == count:
        raise Malformed("the columns differ in length")
    if not 1 <= count <= MAX_TRADES:
        raise Malformed(f"an envelope holds 1 to {MAX_TRADES} trades, not {count}")
    makers = [flag == "1" for flag in flags]
    rows = zip([symbol] * count, ids, prices, quantities, times, makers, strict=True)
    trades = list(map(Trade._make, rows))
    if not all(prices):
        if not has_voids:
            raise Malformed("a price is zero")
        voids = [trade for trade in trades if trade.is_void]
        if any(trade != Trade.void(symbol, trade.id, trade.time) for trade in voids):
            raise Malformed("the price of a trade that is not a void is zero")
    return trades


def _differences(values: Sequence[int]) -> list[int]:
    return [values[0], *(b - a for a, b in pairwise(values))]


def _text(body: str | bytes) -> str:
    if len(body) > MAX_BODY:
        raise Malformed(f"{len(body)} bytes, more than {MAX_BODY}")
    if isinstance(body, str):
        return body
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"not UTF-8: {error.reason} at byte {error.start}") from None


def _inflate(text: str) -> str:
    if text.startswith("{"):
        return text
    try:
        packed = base64.b64decode(text, validate=True)
        inflater = zlib.decompressobj()
        inflated = inflater.decompress(packed, MAX_INFLATED)
    except (ValueError, binascii.Error, zlib.error):
        raise Malformed("neither JSON nor base64 of zlib") from None
    if inflater.unconsumed_tail:
        raise Malformed(f"inflates to more than {MAX_INFLATED} bytes")
    if not inflater.eof or inflater.unused_data:
        raise Malformed("the zlib stream is cut short or followed by something else")
    try:
        return inflated.decode("ascii")
    except UnicodeDecodeError:
        raise Malformed("not ASCII inside the zlib stream") from None


def _parse(text: str) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    # A JSON text that consists of brackets raises RecursionError.
    except (ValueError, RecursionError):
        raise Malformed("not JSON") from None
    if not isinstance(fields, dict) or "v" not in fields:
        raise Malformed("not an mcloud envelope: no version")
    return fields


def _accumulate(fields: dict[str, Any], name: str, highest: int) -> list[int]:
    column = fields.get(name)
    if not isinstance(column, list) or not set(map(type, column)) <= {int}:
        raise Malformed(f"{name} is not a list of whole numbers")
    values = list(accumulate(column))
    if values and not (min(values) >= 0 and max(values) <= highest):
        raise Malformed(f"{name} leaves the range 0 to {highest}")
    return values


def _numbers(fields: dict[str, Any], name: str) -> list[Decimal]:
    column = fields.get(name)
    if not isinstance(column, list) or not set(map(type, column)) <= {str}:
        raise Malformed(f"{name} is not a list of texts")
    joined = "".join(f"{text}\n" for text in column)
    # The numbers are counted too, because a text may contain a line break.
    if not _NUMBERS.fullmatch(joined) or joined.count("\n") != len(column):
        raise Malformed(f"{name} holds something that is not a plain canonical number")
    return [Decimal(text) for text in column]
