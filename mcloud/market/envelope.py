"""The message that travels through a queue: many trades of one symbol.

One trade a message costs hundreds of times more, on both clouds. The body is ASCII text, so that
the same bytes pass through SQS (text only) and Pub/Sub: JSON with one column a field, or the
base64 of its zlib form where that is shorter. Ids and times are kept as differences.

    {"v":1,"symbol":"BTCUSDT","id":[3735683259,1],"p":["61837.63","61837.6"],"q":["0.02","1"],
     "T":[1723161255342,275],"m":"10"}
"""

import base64
import binascii
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import accumulate, pairwise
from typing import Any

from mcloud.market import trace
from mcloud.market.trade import MAX_ID, MAX_TIME, BadTrade, Trade, check_symbol, to_text

VERSION = 1
CHUNK = 64 * 1024  # bytes; what SQS bills as one request, and the default bound of a message
MAX_BODY = 1024 * 1024  # bytes; the limit of an SQS message, attributes included
MAX_INFLATED = 4 * 1024 * 1024  # bytes
MAX_TRADES = 20_000

# Canonical numbers only (see `trade.canonical`), so that one trade has one encoding.
_NUMBERS = re.compile(r"(?:(?:0|[1-9][0-9]{0,15})(?:\.[0-9]{0,11}[1-9])?\n)*")
_FLAGS = re.compile(r"[01]*")


class Malformed(ValueError):
    """A message that can never be processed; the text says why."""


@dataclass(frozen=True, slots=True)
class Message:
    """What a queue carries: an ASCII body and a few short attributes."""

    body: str
    attributes: dict[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes, as SQS counts them: body, and the attributes' names, types and values."""
        attributes = sum(
            len(k) + len(v.encode()) + len("String") for k, v in self.attributes.items()
        )
        return len(self.body.encode()) + attributes


@dataclass(frozen=True, slots=True)
class Envelope:
    """Trades of one symbol with ascending ids; holes are allowed."""

    symbol: str
    trades: tuple[Trade, ...]


def encode(trades: Sequence[Trade], *, one_in: int | None = None) -> Message:
    """Pack trades of one symbol, ids ascending, into one message.

    Attributes: ``symbol``, ``first_id``, ``last_id``, ``count``, ``encoding`` (``json`` or
    ``zlib+base64``) and, where ``one_in`` says how many messages share a sampled one (0: none is),
    W3C ``traceparent``; see ``trace.derive``.

    Raises:
        ValueError: no trades, too many, several symbols, or ids that do not ascend.
    """
    if not 1 <= len(trades) <= MAX_TRADES:
        raise ValueError(f"an envelope holds 1 to {MAX_TRADES} trades, not {len(trades)}")
    symbols, ids, prices, quantities, times, makers = zip(*trades, strict=True)
    if symbols.count(symbols[0]) != len(symbols):
        raise ValueError("an envelope holds one symbol")
    if any(a >= b for a, b in pairwise(ids)):
        raise ValueError("the ids of an envelope ascend")
    text = json.dumps(
        {
            "v": VERSION,
            "symbol": symbols[0],
            "id": _differences(ids),
            "p": [to_text(price) for price in prices],
            "q": [to_text(quantity) for quantity in quantities],
            "T": _differences(times),
            "m": "".join("1" if maker else "0" for maker in makers),
        },
        separators=(",", ":"),
    )
    packed = base64.b64encode(zlib.compress(text.encode("ascii"))).decode("ascii")
    body, encoding = (packed, "zlib+base64") if len(packed) < len(text) else (text, "json")
    attributes = {
        "symbol": symbols[0],
        "first_id": str(ids[0]),
        "last_id": str(ids[-1]),
        "count": str(len(ids)),
        "encoding": encoding,
    }
    if one_in is not None:
        # Of the body, which is a fifth of the text; another build of zlib makes another trace.
        parent = trace.derive(body.encode("ascii"), times[-1] // 1000, one_in)
        attributes["traceparent"] = str(parent)
    return Message(body, attributes)


def encode_all(
    trades: Sequence[Trade], *, limit: int = CHUNK, one_in: int | None = None
) -> list[Message]:
    """Pack trades as ``encode`` does, into as many messages of at most ``limit`` bytes as needed.

    A single trade always fits: ``limit`` below 1 KiB is refused with ValueError.
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
    """Read a message; the body says all, attributes are only checked against it.

    Raises:
        Malformed: it is not an envelope, or one that this version cannot read.
    """
    fields = _parse(_inflate(_text(body)))
    version = fields.get("v")
    if version != VERSION or type(version) is not int:
        raise Malformed(f"unknown envelope version {version!r:.20}")
    try:
        symbol = check_symbol(fields.get("symbol"))
    except BadTrade as error:
        raise Malformed(str(error)) from None
    if attributes and attributes.get("symbol", symbol) != symbol:
        raise Malformed(f"the body holds {symbol}, the attribute says {attributes['symbol']:.40}")
    ids = _accumulate(fields, "id", MAX_ID)
    if any(a >= b for a, b in pairwise(ids)):
        raise Malformed("ids out of order")
    times = _accumulate(fields, "T", MAX_TIME)
    prices, quantities = _numbers(fields, "p"), _numbers(fields, "q")
    if not all(prices):
        raise Malformed("a price is zero")
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
    return Envelope(symbol, tuple(map(Trade._make, rows)))


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
    # RecursionError: a JSON text of nothing but brackets.
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
    # Counted as well: a text may itself hold a line break.
    if not _NUMBERS.fullmatch(joined) or joined.count("\n") != len(column):
        raise Malformed(f"{name} holds something that is not a plain canonical number")
    return [Decimal(text) for text in column]
