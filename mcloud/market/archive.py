"""The objects of an hour in the raw archive: trades of one symbol and hour, unchanged.

Replicators and repairs write them, and so did the functions of earlier releases. The trades of a
staged object are shown in this form until compaction moves them; see ``clouds.staged``.

An object holds gzip JSON lines, one trade a line with Binance's own field names, ordered by id. Its
key has the symbol, the hour (by trade time), the first and the last id, and a digest of the lines.
The same trades give the same key, so that a retry overwrites itself and a copy is checked by name.
``block`` describes the larger objects that compaction makes.

    raw/symbol=BTCUSDT/date=2024-08-08/hour=23/3735683259-3735683758-0f6d3c2a9b1e4d57.jsonl.gz

If ids between the first and the last are missing, the number of ids stands before the digest, so
that a listing shows what a site holds:

    raw/symbol=BTCUSDT/date=2024-08-08/hour=23/3735683259-3735683758-490-5c1e9d0a7b3f2e64.jsonl.gz
"""

import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from operator import attrgetter
from typing import NamedTuple

from mcloud.market.trade import Trade, id_count, to_text, without_filled_voids

HOUR = 3_600_000  # ms
MAX_INFLATED = 64 * 1024 * 1024  # bytes
# maximum number in an object; this many of the longest possible lines inflate to 44 MB
MAX_TRADES = 250_000

_SUFFIX = ".jsonl.gz"
_DIGITS = 16  # number of digits of the digest in a key
_GZIP = 31  # zlib's name for the gzip container; it writes no time into the header


_KEY = re.compile(
    r"raw/symbol=(?P<symbol>[^/]+)/date=(?P<date>\d{4}-\d\d-\d\d)/hour=(?P<hour>\d\d)/"
    r"(?P<first>\d{1,19})-(?P<last>\d{1,19})-(?:(?P<count>\d{1,19})-)?[0-9a-f]{16}\.jsonl\.gz"
)


class ArchiveObject(NamedTuple):
    key: str
    body: bytes


class Holding(NamedTuple):
    """The content of an object, according to its key."""

    symbol: str
    hour: int
    """Start of the hour, ms since 1970."""
    first_id: int
    last_id: int
    ids: int
    """Number of distinct ids: fewer than in the range if some in between are missing."""

    @property
    def is_dense(self) -> bool:
        return self.ids == id_count(self.first_id, self.last_id)


class BadArchive(ValueError):
    """Raised for an object that ``pack`` cannot have written. The text has the reason."""


def pack(trades: Iterable[Trade], level: int = zlib.Z_DEFAULT_COMPRESSION) -> list[ArchiveObject]:
    """Make one object for each symbol and hour in ``trades``, or more if there are very many
    trades.

    Repeats are written once, and a void is omitted if there is a trade with its id. Different
    trades with one id are all written: the archive keeps all received trades, so that such
    disagreements can be investigated.

    Args:
        level: level of the compression, of zlib.
    """
    groups: dict[tuple[str, int], list[Trade]] = {}
    for trade in trades:
        groups.setdefault((trade.symbol, trade.time // HOUR), []).append(trade)
    objects = []
    for (symbol, hour), group in sorted(groups.items()):
        ordered = _ordered(group)
        for begin in range(0, len(ordered), MAX_TRADES):
            objects.append(_object(symbol, hour, ordered[begin : begin + MAX_TRADES], level))
    return objects


def unpack(body: bytes) -> list[Trade]:
    """Read an object back.

    Raises:
        BadArchive: it is damaged, too large, or has a line that is not a trade.
    """
    return parse(inflate(body))


def parse(text: bytes) -> list[Trade]:
    """Read the lines of an object.

    Raises:
        BadArchive: one of them is not a trade.
    """
    return [_trade(line, n) for n, line in enumerate(text.splitlines(), start=1)]


def parse_key(key: str) -> Holding | None:
    """Return the content of an object, or None for a key that ``pack`` did not make."""
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    first, last = int(match["first"]), int(match["last"])
    try:
        moment = datetime.strptime(f"{match['date']} {match['hour']} +0000", "%Y-%m-%d %H %z")
    except ValueError:
        return None
    most = id_count(first, last)
    count = int(match["count"] or most)
    if not 0 < count <= most:
        return None
    return Holding(match["symbol"], int(moment.timestamp()) * 1000, first, last, count)


def is_intact(key: str, body: bytes) -> bool:
    """Return whether an object holds exactly the trades that its key promises.

    Its bytes may still differ from those of ``pack``: builds of zlib compress differently.
    """
    try:
        text = inflate(body)
        # Comparing the digest is twenty times as fast as parsing each line. The digest does not
        # cover the rest of the key, so the first and the last line are compared with it.
        if hashlib.sha256(text).hexdigest()[:_DIGITS] == key.removesuffix(_SUFFIX)[-_DIGITS:]:
            return _describes(key, text.splitlines())
        return [item.key for item in pack(unpack(body))] == [key]
    except BadArchive:
        return False


def has_repeats(key: str, body: bytes) -> bool:
    """Return whether an intact object holds several trades under one id."""
    holding = parse_key(key)
    return holding is not None and inflate(body).count(b"\n") > holding.ids


def strays(key: str, body: bytes) -> list[Trade] | None:
    """Return the trades of an intact object that lies in the folder of another hour or symbol.

    Return None if the object is in its place or damaged. The name of the object has the digest of
    its lines, so these were archived under it; only the folder is wrong.
    """
    if parse_key(key) is None:
        return None
    try:
        items = pack(unpack(body))
    except BadArchive:
        return None
    name = key.rpartition("/")[2]
    if len(items) != 1 or items[0].key == key or items[0].key.rpartition("/")[2] != name:
        return None
    return unpack(body)


def fingerprint(trade: Trade) -> str:
    """Return eight hex digits that identify one of several contents under a trade id."""
    return hashlib.sha256(line(trade).encode()).hexdigest()[:8]


def prefix(symbol: str, hour_start: int | None = None) -> str:
    """Return the prefix of the keys of a symbol, or of one hour of it (``hour_start`` in ms)."""
    if hour_start is None:
        return f"raw/symbol={symbol}/"
    moment = datetime.fromtimestamp(hour_start // 1000, UTC)
    return f"raw/symbol={symbol}/date={moment:%Y-%m-%d}/hour={moment:%H}/"


def hours_prefix(symbol: str) -> str:
    """Return the prefix of the keys of a symbol's objects of hours, which no block has."""
    return f"{prefix(symbol)}date="


def inflate(body: bytes) -> bytes:
    """Return the text of an object.

    Raises:
        BadArchive: the object is damaged or too large.
    """
    inflater = zlib.decompressobj(_GZIP)
    try:
        text = inflater.decompress(body, MAX_INFLATED)
    except zlib.error as error:
        raise BadArchive(f"not gzip: {error}") from None
    if not inflater.eof:
        raise BadArchive("cut short, or inflates to more than 64 MiB")
    if inflater.unused_data:
        raise BadArchive("something follows the end of the gzip data")
    return text


def _trade(line: bytes, number: int) -> Trade:
    try:
        return Trade.from_binance(json.loads(line))
    except (ValueError, RecursionError) as error:
        raise BadArchive(f"line {number}: {error}") from None


def _describes(key: str, lines: Sequence[bytes]) -> bool:
    """Return whether a key has the symbol, the hour and the ids of an object's lines."""
    holding = parse_key(key)
    if holding is None or not lines:
        return False
    first, last = _trade(lines[0], 1), _trade(lines[-1], len(lines))
    return (
        (first.id, last.id) == (holding.first_id, holding.last_id)
        and first.symbol == last.symbol == holding.symbol
        and first.time // HOUR == last.time // HOUR == holding.hour // HOUR
        # Several lines may have one id if different trades were received with that id.
        and len(lines) >= holding.ids
    )


def _ordered(trades: Iterable[Trade]) -> list[Trade]:
    """Return the trades to write, by id."""
    by_id = sorted(trades, key=attrgetter("id"))
    # Usually each id is there once. It takes several times as long to compare whole trades.
    if all(one.id < after.id for one, after in pairwise(by_id)):
        return by_id
    return without_filled_voids(sorted(set(by_id), key=order))


def _object(symbol: str, hour: int, trades: Sequence[Trade], level: int) -> ArchiveObject:
    lines = "".join(line(trade) for trade in trades).encode()
    digest = hashlib.sha256(lines).hexdigest()[:_DIGITS]
    first, last = trades[0].id, trades[-1].id
    count = len({trade.id for trade in trades})
    missing = "" if count == id_count(first, last) else f"{count}-"
    name = f"{first}-{last}-{missing}{digest}{_SUFFIX}"
    packed = zlib.compress(lines, level, wbits=_GZIP)
    return ArchiveObject(prefix(symbol, hour * HOUR) + name, packed)


def line(trade: Trade) -> str:
    """Return a trade as a line of the archive."""
    # The line is formatted by hand: json.dumps takes four times as long, and none of the values can
    # need escaping.
    if trade.is_void:
        fields = f'"s":"{trade.symbol}","t":{trade.id},"p":"0","q":"0","T":{trade.time}'
        return f'{{{fields},"m":false,"X":"NA"}}\n'
    return (
        f'{{"s":"{trade.symbol}","t":{trade.id},"p":"{to_text(trade.price)}",'
        f'"q":"{to_text(trade.quantity)}","T":{trade.time},'
        f'"m":{"true" if trade.buyer_is_maker else "false"}}}\n'
    )


def order(trade: Trade) -> tuple[int, Trade]:
    """Sort key of the trades in an object."""
    return trade.id, trade
