"""Staged objects: the messages of a few minutes, before compaction moves their trades.

The export service of each cloud (Data Firehose, or a Cloud Storage subscription of Pub/Sub) writes
them to the staging bucket. A staged object is text with one message body a line, of all symbols
together and in no particular order:

    staged/2024/08/08/23/mcloud-trades-1-2024-08-08-23-54-00-0b6e…

A body describes itself, and has no line breaks. A line that is not a message is *foreign*. It never
keeps the trades of other lines from being read.
"""

import gzip
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from mcloud.market.archive import ArchiveObject
from mcloud.market.envelope import Malformed, decode
from mcloud.market.trade import Trade

PREFIX = "staged/"
"""Beginning of the keys of staged objects."""

FOREIGN_PREFIX = "foreign/"
"""Beginning of the keys of the objects in the staging bucket that keep foreign lines."""

WINDOW = 300.0
"""Longest time in seconds for which an export service collects messages before it writes them."""

LARGEST = 32 * 1024 * 1024
"""Size of messages in bytes from which on it writes them earlier."""

RECORD = 5 * 1024
"""Size of a record in bytes that the export service of AWS bills as one unit.

https://aws.amazon.com/firehose/pricing/: records are rounded up to the next 5 KB.
"""

PART = 100_000
"""Number of trades of a staged object that are decoded together, plus up to one message: about
40 MB."""


@dataclass(frozen=True, slots=True)
class Part:
    """The trades of consecutive messages in a staged object."""

    trades: tuple[Trade, ...]
    foreign: tuple[bytes, ...] = ()
    """The lines between these messages that are not messages, without line breaks."""


@dataclass(frozen=True, slots=True)
class Record:
    """Message bodies that are handed to an export service together."""

    text: bytes
    """The bodies, each with a line break at its end."""
    positions: tuple[int, ...]
    """Positions of the bodies in the list that was combined."""


def parts(text: bytes, size: int = PART) -> Iterator[Part]:
    """Read a staged object, about ``size`` trades at a time."""
    trades: list[Trade] = []
    foreign: list[bytes] = []
    for line in _lines(text):
        try:
            trades += decode(line).trades
        except Malformed:
            foreign.append(line)
        if len(trades) >= size:
            yield Part(tuple(trades), tuple(foreign))
            trades, foreign = [], []
    if trades or foreign:
        yield Part(tuple(trades), tuple(foreign))


def combine(bodies: Sequence[str], limit: int = RECORD) -> list[Record]:
    """Put message bodies into records of at most ``limit`` bytes, in their order.

    A body that is larger than that is a record of its own.
    """
    records: list[Record] = []
    lines: list[bytes] = []
    positions: list[int] = []
    size = 0
    for position, body in enumerate(bodies):
        line = body.encode() + b"\n"
        if lines and size + len(line) > limit:
            records.append(Record(b"".join(lines), tuple(positions)))
            lines, positions, size = [], [], 0
        lines.append(line)
        positions.append(position)
        size += len(line)
    if lines:
        records.append(Record(b"".join(lines), tuple(positions)))
    return records


def pack_foreign(key: str, lines: Iterable[bytes]) -> ArchiveObject:
    """Make the object that keeps the foreign lines of the staged object ``key``."""
    body = gzip.compress(b"".join(line + b"\n" for line in lines), mtime=0)
    return ArchiveObject(f"{FOREIGN_PREFIX}{key.removeprefix(PREFIX)}.gz", body)


def _lines(text: bytes) -> Iterator[bytes]:
    begin = 0
    while begin < len(text):
        end = text.find(b"\n", begin)
        if end < 0:
            end = len(text)
        if line := text[begin:end].removesuffix(b"\r"):
            yield line
        begin = end + 1
