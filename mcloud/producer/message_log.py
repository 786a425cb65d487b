"""Where messages were, and when: a producer's own record, for ``mcloud trace``.

JSON lines beside the spool, one when a message is on the disk and one when a site's queue has it,
in two files: when the newer is half the limit, the older one goes. The record helps to find things
and nothing depends on it: it is not waited for on the disk, and where it cannot be written the
trades go on all the same.

    {"symbol":"BTCUSDT","first_id":1,"last_id":9,"trades":9,"times":[1723161255342,1723161255617],
     "received":1795639235101,"spooled":1795639235835,"traceparent":"00-…"}
    {"symbol":"BTCUSDT","first_id":1,"last_id":9,"site":"aws","sent":1795639235902}
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
from mcloud.documents import Between, Count, Damaged, read_text
from mcloud.market.envelope import Message
from mcloud.market.trade import MAX_TIME, Trade
from mcloud.producer.spool_message import SpoolEntry

ONE_IN = 100  # of the messages are sampled: X-Ray takes $5 a million traces
LIMIT = 64 * 1024**2  # bytes, of both files; about 180,000 messages to two sites

_CLOSED = -1

Moment = Annotated[int, Between(0, MAX_TIME)]
"""Milliseconds since 1970."""

_FILE, _OLDER = "trail.jsonl", "trail.1.jsonl"


@dataclass
class Journey:
    """What a producer knows of a message. Times are ms since 1970, by its machine's clock."""

    first_id: int
    last_id: int
    trades: int | None = None
    times: tuple[int, int] | None = None
    """Trade times of the first and the last trade in it, or in what was packed with it."""
    received: int | None = None
    """When the first of its trades came."""
    spooled: int | None = None
    traceparent: str = ""
    sent: dict[str, int] = field(default_factory=dict)
    """When it was handed to a site's queue that accepted it, the first time, by site.

    Not when the queue's answer came: a function may begin before that."""


class _Spooled(NamedTuple):
    trades: Count
    times: tuple[Moment, Moment]
    received: Moment
    spooled: Moment
    traceparent: str


class _Sent(NamedTuple):
    site: str
    sent: Moment


class MessageLog:
    """Written by any thread of one producer."""

    def __init__(self, folder: Path, *, one_in: int = ONE_IN, limit: int = LIMIT) -> None:
        self.one_in = one_in
        """How many messages share a sampled one; 0: none is."""
        self.problem = ""
        """Why lines are missing, or empty."""
        self._folder = folder
        self._half = limit // 2
        self._lock = threading.Lock()
        self._file = _CLOSED
        self._size = 0

    def spooled(self, packed: Iterable[tuple[Sequence[Trade], SpoolEntry]], at: int) -> None:
        """Note that messages, each made of these trades or some of them, are in the spool."""
        self._write("".join(_spooled(trades, entry, at) for trades, entry in packed))

    def sent(self, site: str, messages: Sequence[Message], at: int) -> None:
        """Note that a site's queue has accepted messages, which were handed to it at ``at``."""
        self._write(
            "".join(
                f'{_head(m.attributes)}"site":{json.dumps(site)},"sent":{at}}}\n' for m in messages
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
    """The messages with a trade that a producer's record still knows, in the order of writing."""
    found: dict[tuple[int, int], Journey] = {}
    for first, last, line in _lines(folder, symbol):
        if not first <= trade_id <= last:
            continue
        entry = _entry(line, folder)
        if isinstance(entry, Damaged):
            continue  # cut short by a full disk or a loss of power, or edited
        journey = found.setdefault((first, last), Journey(first, last))
        if isinstance(entry, _Sent):
            journey.sent.setdefault(entry.site, entry.sent)
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
    # Written by hand, as all lines are: json.dumps takes several times as long.
    attributes = entry.message.attributes
    return (
        f"{_head(attributes)}"
        f'"trades":{entry.count},"times":[{trades[0].time},{trades[-1].time}],'
        f'"received":{entry.received_at},"spooled":{at},'
        f'"traceparent":"{attributes.get("traceparent", "")}"}}\n'
    )


def _head(attributes: dict[str, str]) -> str:
    return (
        f'{{"symbol":"{attributes["symbol"]}","first_id":{attributes["first_id"]},'
        f'"last_id":{attributes["last_id"]},'
    )


def _lines(folder: Path, symbol: str) -> Iterator[tuple[int, int, bytes]]:
    """The lines about a symbol, each after the ids that it names."""
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
