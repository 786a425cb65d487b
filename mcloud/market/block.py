"""Blocks, the lasting form of the raw archive: one object for each symbol and 100,000 trade ids.

A block holds the trades of one symbol whose ids begin at a multiple of ``BLOCK``, as gzip JSON
lines in the order of their ids. Its key names the symbol and the first id that it may hold:

    raw/symbol=BTCUSDT.um/block=0000000003735600000.jsonl.gz

The key says neither when the trades happened nor what they are. A trade that arrives late therefore
changes one object, in place, and two sites that have the same trades have blocks of equal keys and
equal lines. (The compressed bytes may differ, since builds of zlib do.)

Beside the blocks lie indexes. An index names the ids that each of 1,000 blocks holds, hour by hour,
so that a site can be verified without reading its blocks:

    raw/symbol=BTCUSDT.um/block-index=0000000003700000000.json.gz

An index is a cache. Each of its entries applies to one content of a block, which a tag names. If a
block has another content, it has to be read.
"""

import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import NamedTuple

from mcloud.market.archive import HOUR, ArchiveObject, BadArchive, inflate, line, order, prefix
from mcloud.market.trade import Trade, without_filled_voids

BLOCK = 100_000
"""Trade ids in a block."""

SYMBOLS_PREFIX = prefix("").rstrip("/")
"""Beginning of the keys of all objects of the archive, before the symbol."""

IN_BLOCK_KEYS = "k"
"""A character that follows the symbol in the keys of blocks and indexes, and in no other key of the
archive. As the delimiter of a listing, it takes the blocks of a symbol together."""

INDEXED = 1_000
"""Blocks in an index."""

Run = tuple[int, int]
"""First and last of consecutive trade ids."""

_GZIP = 31  # zlib's number for the gzip container; it writes no time into the header
_KEY = re.compile(r"raw/symbol=(?P<symbol>[^/]+)/block=(?P<first>\d{19})\.jsonl\.gz")
_INDEX_KEY = re.compile(r"raw/symbol=(?P<symbol>[^/]+)/block-index=(?P<first>\d{19})\.json\.gz")
_LINE = re.compile(
    rb'\{"s":"(?P<symbol>[^"]+)","t":(?P<id>\d{1,19}),"p":"[\d.]+","q":"[\d.]+",'
    rb'"T":(?P<time>\d{1,15}),"m":(?:true|false)(?:,"X":"NA")?\}\n'
)
# A line of a trade that is no void, as ``archive.line`` writes it. It is much faster to compare
# such lines than to parse them.
_NUMBER = rb"(?:0|[1-9]\d{0,15})(?:\.\d{0,11}[1-9])?"
_PLAIN = (
    rb'(\{"s":"%%b","t":(0|[1-9]\d{0,18}),"p":"(?!0")%b","q":"%b",'
    rb'"T":(0|[1-9]\d{0,14}),"m":(?:true|false)\}\n)'
) % (_NUMBER, _NUMBER)

_TIME = re.compile(rb'"T":(\d+)')

PlainLines = dict[int, bytes]
"""Lines of trades that are no voids, by id, each with its line break."""


class BlockKey(NamedTuple):
    """The symbol of a block, and the first id that it may hold."""

    symbol: str
    first_id: int

    @property
    def last_id(self) -> int:
        """The last id that the block may hold."""
        return self.first_id + BLOCK - 1

    def __str__(self) -> str:
        return f"{block_prefix(self.symbol)}={self.first_id:019d}.jsonl.gz"


class HourOfBlock(NamedTuple):
    """The part of a block that belongs to one hour."""

    runs: tuple[Run, ...]
    """Trade ids, ascending and not adjacent."""
    lines: int
    """Number of lines. It is above the number of ids if one id has two different trades."""
    digest: str
    """The first 16 hexadecimal digits of the SHA-256 of the lines."""


class BlockEntry(NamedTuple):
    """One entry of an index."""

    tag: str
    """The content that the entry describes: its MD5, or the store's name for this version of the
    object if a listing does not include the MD5."""
    hours: Mapping[int, HourOfBlock]
    """Parts of the block by start of the hour, in ms since 1970."""


class Block:
    """The lines of a block, by hour."""

    def __init__(self, key: BlockKey, body: bytes) -> None:
        """Read the body of an object.

        Raises:
            BadArchive: the body is damaged, or holds something other than the trades of the block
                in the order of their ids.
        """
        self._hours: dict[int, list[bytes]] = {}
        self._ids: dict[int, list[int]] = {}
        text = inflate(body)
        if not self._read_plain(key, text):
            self._read(key, text)

    def _read_plain(self, key: BlockKey, text: bytes) -> bool:
        """Read the usual lines, or return False and read nothing."""
        rows = _find_plain(key.symbol, text)
        if not rows:
            return False
        ids = [int(id_) for _, id_, _ in rows]
        is_sorted = all(id_ <= after for id_, after in pairwise(ids))
        if not (is_sorted and key.first_id <= ids[0] and ids[-1] <= key.last_id):
            return False
        for id_, (line_, _, time) in zip(ids, rows, strict=True):
            hour = int(time) // HOUR * HOUR
            if hour not in self._hours:
                self._hours[hour], self._ids[hour] = [], []
            self._hours[hour].append(line_)
            self._ids[hour].append(id_)
        return True

    def _read(self, key: BlockKey, text: bytes) -> None:
        symbol, latest, number, end = key.symbol.encode(), key.first_id, 1, 0
        while end < len(text) or number == 1:
            match = _LINE.match(text, end)
            if match is None:
                raise BadArchive(f"line {number} is not a trade")
            id_ = int(match["id"])
            if match["symbol"] != symbol or not latest <= id_ <= key.last_id:
                raise BadArchive(f"line {number} does not belong here: {match[0].decode()[:80]}")
            hour = int(match["time"]) // HOUR * HOUR
            self._hours.setdefault(hour, []).append(match[0])
            self._ids.setdefault(hour, []).append(id_)
            number, latest, end = number + 1, id_, match.end()

    @property
    def hours(self) -> dict[int, HourOfBlock]:
        """Parts of the block by start of the hour, in ms since 1970."""
        return {
            hour: HourOfBlock(runs_of(self._ids[hour]), len(lines), _digest(lines))
            for hour, lines in sorted(self._hours.items())
        }

    def text(self, hour: int) -> bytes:
        """Return the lines of an hour (its start in ms)."""
        return b"".join(self._hours.get(hour, ()))

    def trades(self, hour: int | None = None) -> list[Trade]:
        """Return the trades, by id; only those of one hour if its start is given (ms)."""
        if hour is not None:
            return [Trade.from_binance(json.loads(each)) for each in self._hours.get(hour, ())]
        found = [trade for each in sorted(self._hours) for trade in self.trades(each)]
        return sorted(found, key=order)


def block_prefix(symbol: str) -> str:
    """Return the beginning of the keys of a symbol's blocks and of their indexes."""
    return f"{prefix(symbol)}block"


def block_of(symbol: str, trade_id: int) -> BlockKey:
    return BlockKey(symbol, trade_id // BLOCK * BLOCK)


def parse_block_key(key: str) -> BlockKey | None:
    """Return the block that a key names, or None if it is the key of something else."""
    match = _KEY.fullmatch(key)
    if match is None or int(match["first"]) % BLOCK:
        return None
    return BlockKey(match["symbol"], int(match["first"]))


def is_index_key(key: str) -> bool:
    return _INDEX_KEY.fullmatch(key) is not None


def pack_block(trades: Iterable[Trade]) -> ArchiveObject:
    """Make a block of trades that all belong to it.

    Repeats are written once, and a void is omitted if there is a trade with its id. Different
    trades with one id are all written.
    """
    ordered = without_filled_voids(sorted(set(trades), key=order))
    key = block_of(ordered[0].symbol, ordered[0].id)
    if {block_of(trade.symbol, trade.id) for trade in ordered} != {key}:
        raise ValueError(f"trades of several blocks, one of them {key}")
    text = "".join(map(line, ordered)).encode()
    return ArchiveObject(str(key), zlib.compress(text, wbits=_GZIP))


def plain_lines(symbol: str, text: bytes) -> PlainLines | None:
    """Return the lines of an object or a block, in any order.

    Return None if one of them is not as ``pack_block`` writes it, is a void or belongs to another
    symbol, or if an id has two lines. The trades have to be parsed then.
    """
    rows = _find_plain(symbol, text)
    if rows is None:
        return None
    lines = {int(id_): line_ for line_, id_, _ in rows}
    return lines if len(lines) == len(rows) else None


def pack_lines(key: BlockKey, lines: PlainLines) -> ArchiveObject:
    """Make the block that ``pack_block`` would make of the trades in these lines."""
    text = b"".join(lines[id_] for id_ in sorted(lines))
    return ArchiveObject(str(key), zlib.compress(text, wbits=_GZIP))


def hours_of(lines: PlainLines) -> dict[int, HourOfBlock]:
    """Return the ``Block.hours`` of the block that ``pack_lines`` makes."""
    ids = sorted(lines)
    times = _TIME.findall(b"".join([lines[id_] for id_ in ids]))
    hours: dict[int, list[int]] = {}
    for id_, time in zip(ids, times, strict=True):
        hours.setdefault(int(time) // HOUR * HOUR, []).append(id_)
    return {
        hour: HourOfBlock(runs_of(held), len(held), _digest(lines[id_] for id_ in held))
        for hour, held in sorted(hours.items())
    }


def index_key(block: BlockKey) -> str:
    """Return the key of the index that describes a block."""
    first_id = block.first_id // (BLOCK * INDEXED) * BLOCK * INDEXED
    return f"{block_prefix(block.symbol)}-index={first_id:019d}.json.gz"


def pack_index(entries: Mapping[BlockKey, BlockEntry]) -> ArchiveObject:
    """Make an index of blocks that all belong to it."""
    (key,) = {index_key(block) for block in entries}
    document = {
        "version": 1,
        "blocks": [
            {
                "first_id": block.first_id,
                "tag": entry.tag,
                "hours": [
                    [hour, _runs_text(held.runs), held.lines, held.digest]
                    for hour, held in sorted(entry.hours.items())
                ],
            }
            for block, entry in sorted(entries.items())
        ],
    }
    text = json.dumps(document, separators=(",", ":")).encode()
    return ArchiveObject(key, zlib.compress(text, wbits=_GZIP))


def unpack_index(key: str, body: bytes) -> dict[BlockKey, BlockEntry]:
    """Read an index. Return nothing if it cannot be read: it is only a cache."""
    match = _INDEX_KEY.fullmatch(key)
    if match is None:
        return {}
    try:
        document = json.loads(inflate(body))
        if document["version"] != 1:
            return {}
        return {
            BlockKey(match["symbol"], int(each["first_id"])): BlockEntry(
                str(each["tag"]),
                {
                    int(hour): HourOfBlock(_runs(runs), int(lines), str(digest))
                    for hour, runs, lines, digest in each["hours"]
                },
            )
            for each in document["blocks"]
        }
    except (BadArchive, ValueError, KeyError, TypeError, RecursionError):
        return {}


def runs_of(ids: Iterable[int]) -> tuple[Run, ...]:
    """Return ascending ids, which may include repeats, as runs."""
    runs: list[Run] = []
    for id_ in ids:
        if runs and id_ <= runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], id_)
        else:
            runs.append((id_, id_))
    return tuple(runs)


def _find_plain(symbol: str, text: bytes) -> list[tuple[bytes, bytes, bytes]] | None:
    """Return each line with its id and its time, or None if a line is not plain."""
    rows: list[tuple[bytes, bytes, bytes]] = re.findall(_PLAIN % re.escape(symbol.encode()), text)
    return rows if sum(len(row[0]) for row in rows) == len(text) else None


def _digest(lines: Iterable[bytes]) -> str:
    return hashlib.sha256(b"".join(lines)).hexdigest()[:16]


def _runs_text(runs: Iterable[Run]) -> str:
    return " ".join(f"{first}-{last}" for first, last in runs)


def _runs(text: str) -> tuple[Run, ...]:
    pairs = (each.split("-") for each in text.split(" "))
    return tuple((int(first), int(last)) for first, last in pairs)
