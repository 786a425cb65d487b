"""The record of a producer about its messages, for ``mcloud trace``.

It consists of JSON lines in files beside the spool. A line is written when a message is on the
disk, and another when the queue of a site has accepted it. There are two files: when the newer one
reaches half the limit, the older one is deleted. Nothing depends on the record: writes are not
synced, and the producer continues if they fail.

    {"symbol":"BTCUSDT","first_id":1,"last_id":9,"trades":9,"times":[1723161255342,1723161255617],
     "received":1795639235101,"spooled":1795639235835,"traceparent":"00-…"}
    {"symbol":"BTCUSDT","first_id":1,"last_id":9,"site":"aws","sent":1795639235902}

If the message was sent in a parcel with others, the second line has the ``traceparent`` of the
parcel.
"""

import json
import os
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, NamedTuple, Self

from mcloud import best_effort
from mcloud.config import setting
from mcloud.documents import Between, Count, Damaged, read_text
from mcloud.market.trade import MAX_TIME, Trade
from mcloud.producer.parcels import Parcel
from mcloud.producer.spool_message import SpoolEntry

ONE_IN = 100  # sampling rate: one in this many messages; X-Ray costs $5 per million traces
LIMIT = 64 * 1024**2  # bytes of both files together; about 180,000 messages to two sites

_CLOSED = -1


@dataclass(frozen=True)
class TraceSettings:
    """The table ``[trace]`` of mcloud.toml."""

    one_in: int = setting(ONE_IN, least=0)
    """Sampling rate: the spans of one message in this many are recorded. 0 records none."""
    keep_mib: int = setting(64, least=1)
    """Maximum size in MiB of a producer's record of its messages on the disk."""


Moment = Annotated[int, Between(0, MAX_TIME)]
"""Milliseconds since 1970."""

_FILE, _OLDER = "trail.jsonl", "trail.1.jsonl"


@dataclass
class Journey:
    """Record of a message in a producer. Times are in ms since 1970, by the clock of its
    machine.
    """

    first_id: int
    last_id: int
    trades: int | None = None
    times: tuple[int, int] | None = None
    """Trade times of its first and last trade, or of the trades that were packed with it."""
    received: int | None = None
    """Time when the first of its trades was received."""
    spooled: int | None = None
    traceparent: str = ""
    sent: dict[str, int] = field(default_factory=dict)
    """Time when it was first passed to the queue of a site that accepted it, by site.

    The time of the queue's answer would be too late: a function may start before that."""


class _Spooled(NamedTuple):
    trades: Count
    times: tuple[Moment, Moment]
    received: Moment
    spooled: Moment
    traceparent: str


class _Sent(NamedTuple):
    site: str
    sent: Moment
    traceparent: str = ""
    """Trace context of the parcel; empty if the message was sent on its own."""


class MessageLog:
    """The record of one producer. It is thread-safe."""

    def __init__(self, folder: Path, *, one_in: int = ONE_IN, limit: int = LIMIT) -> None:
        self.one_in = one_in
        """One message in this many is sampled; 0 for none."""
        self.problem = ""
        """Why lines are missing, or an empty text."""
        self._folder = folder
        self._half = limit // 2
        self._lock = threading.Lock()
        self._file = _CLOSED
        self._size = 0

    def spooled(self, packed: Iterable[tuple[Sequence[Trade], SpoolEntry]], at: int) -> None:
        """Record that messages, each made of some or all of these trades, are in the spool."""
        self._write("".join(_spooled(trades, entry, at) for trades, entry in packed))

    def sent(self, site: str, parcels: Sequence[Parcel], at: int) -> None:
        """Record that the queue of a site has accepted parcels, which were sent at ``at``."""
        said = f'"site":{json.dumps(site)},"sent":{at}'
        self._write(
            "".join(
                f"{_head(part.message.attributes)}{said}{_context(parcel)}}}\n"
                for parcel in parcels
                for part in parcel.parts
            )
        )

    def close(self) -> None:
        with self._lock:
            if self._file != _CLOSED:
                os.close(self._file)
                self._file = _CLOSED

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._file = os.open(self._folder / _FILE, flags, 0o600)
        self._size = os.fstat(self._file).st_size

    def _write(self, lines: str) -> None:
        content = lines.encode()
        with self._lock:
            try:
                if self._file == _CLOSED:
                    self._open()
                if self._size + len(content) > self._half:
                    os.close(self._file)
                    self._file = _CLOSED
                    os.replace(self._folder / _FILE, self._folder / _OLDER)
                    self._open()
                self._size += os.write(self._file, content)
            except OSError as error:
                self.problem = f"{self._folder / _FILE} cannot be written: {error.strerror}"
                best_effort.note_refusal(self._folder / _FILE, error)
            else:
                self.problem = ""
                best_effort.note_success(self._folder / _FILE)


def find(folder: Path, symbol: str, trade_id: int) -> list[Journey]:
    """Return the recorded messages with a trade, in the order of writing."""
    found: dict[tuple[int, int], Journey] = {}
    for first, last, line in _lines(folder, symbol):
        if not first <= trade_id <= last:
            continue
        entry = _entry(line, folder)
        if isinstance(entry, Damaged):
            continue  # truncated by a full disk or a power failure, or edited
        journey = found.setdefault((first, last), Journey(first, last))
        if isinstance(entry, _Sent):
            journey.sent.setdefault(entry.site, entry.sent)
            journey.traceparent = entry.traceparent or journey.traceparent
        elif journey.spooled is None:
            journey.trades, journey.times = entry.trades, entry.times
            journey.received, journey.spooled = entry.received, entry.spooled
            journey.traceparent = entry.traceparent
    return list(found.values())


def _entry(line: bytes, folder: Path) -> _Sent | _Spooled | Damaged:
    if b'"site":' in line:
        return read_text(_Sent, line, str(folder))
    return read_text(_Spooled, line, str(folder))


def _spooled(trades: Sequence[Trade], entry: SpoolEntry, at: int) -> str:
    # All lines are formatted by hand, because json.dumps takes several times as long.
    attributes = entry.message.attributes
    return (
        f"{_head(attributes)}"
        f'"trades":{entry.count},"times":[{trades[0].time},{trades[-1].time}],'
        f'"received":{entry.received_at},"spooled":{at},'
        f'"traceparent":"{attributes.get("traceparent", "")}"}}\n'
    )


def _context(parcel: Parcel) -> str:
    if len(parcel.parts) == 1:
        return ""
    return f',"traceparent":"{parcel.message.attributes.get("traceparent", "")}"'


def _head(attributes: dict[str, str]) -> str:
    return (
        f'{{"symbol":"{attributes["symbol"]}","first_id":{attributes["first_id"]},'
        f'"last_id":{attributes["last_id"]},'
    )


def _lines(folder: Path, symbol: str) -> Iterator[tuple[int, int, bytes]]:
    """Return the lines about a symbol, each with its range of ids."""
    named = re.escape(symbol.encode())
    head = re.compile(rb'\{"symbol":"%b","first_id":(\d+),"last_id":(\d+),' % named)
    for name in (_OLDER, _FILE):
        try:
            with (folder / name).open("rb") as file:
                for line in file:
                    if match := head.match(line):
                        yield int(match[1]), int(match[2]), line
        except FileNotFoundError:
            continue
