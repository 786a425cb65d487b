"""Entries for a spool, and functions that inspect a spool."""

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from mcloud.market.envelope import Message
from mcloud.producer.cursor import Position
from mcloud.producer.spool import Spool
from mcloud.producer.spool_message import SpoolEntry

SITES = ("aws", "gcp")


def entry(
    first: int,
    last: int | None = None,
    *,
    symbol: str = "BTCUSDT",
    sites: Iterable[str] = SITES,
    size: int = 0,
) -> SpoolEntry:
    """Return an entry with the trades from ``first`` to ``last``, and ``size`` bytes of filling."""
    last = first if last is None else last
    message = Message(f"{symbol} {first} {last} " + "x" * size, {"symbol": symbol})
    return SpoolEntry(message, symbol, first, last, last - first + 1, first, frozenset(sites))


def position(next_id: int, symbol: str = "BTCUSDT") -> Position:
    return Position(symbol, 0, next_id)


def fill(spool: Spool, ids: Sequence[int], *, size: int = 0) -> None:
    for id_ in ids:
        spool.append([entry(id_, size=size)], [position(id_ + 1)])


def drain(spool: Spool, site: str) -> list[str]:
    """Take all messages of a site, and return their bodies without the filling."""
    bodies = []
    while taken := spool.take(site, 7):
        bodies += [each.message.body.rstrip(" x") for each in taken]
        spool.settle(site, [each.id for each in taken])
    return bodies


def bodies(ids: Iterable[int]) -> list[str]:
    return [f"BTCUSDT {id_} {id_}" for id_ in ids]


def as_left_by_a_crash(path: Path, folder: Path) -> Path:
    """Copy an open spool as ``kill -9`` would leave it now."""
    folder.mkdir()
    for each in path.parent.iterdir():
        # SQLite makes the index of the log again, as it does after a crash of the machine.
        if not each.name.endswith("-shm"):
            shutil.copy(each, folder / each.name)
    return folder / path.name


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x55]))


def environment() -> dict[str, str]:
    """Return environment variables for a Python process with the same import path."""
    root = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": root}
