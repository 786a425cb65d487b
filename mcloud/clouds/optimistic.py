"""Code that all candle stores share: reading a record, and conditional writes with retries."""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from mcloud.clouds.ports import StoredCandle
from mcloud.errors import Contention, DamagedData
from mcloud.market.candle import Candle, Folded

Version = TypeVar("Version")

ATTEMPTS = 25
FIRST_PAUSE, LONGEST_PAUSE = 0.01, 1.0  # seconds


class Read(NamedTuple, Generic[Version]):
    candle: Candle
    version: Version
    """Version that must be unchanged for a write to succeed. The store has its own value for a
    missing record."""


def update(
    read: Callable[[], Read[Version]],
    write: Callable[[Candle, Version], bool],
    change: Callable[[Candle], Folded],
    *,
    sleep: Callable[[float], None] = time.sleep,
    jitter: Callable[[float, float], float] = random.uniform,
) -> Folded:
    """Implement ``ports.Candles.update``; ``write`` returns False if the version has changed."""
    for _ in attempts(sleep, jitter):
        current = read()
        changed = change(current.candle)
        if changed.candle == current.candle or write(changed.candle, current.version):
            return changed
    raise _contention(changed.candle)


def rewrite(
    read: Callable[[], tuple[StoredCandle, Version]],
    write: Callable[[Candle, Version], bool],
    change: Callable[[StoredCandle], Candle],
    *,
    sleep: Callable[[float], None] = time.sleep,
    jitter: Callable[[float, float], float] = random.uniform,
) -> None:
    """Implement ``ports.Candles.rewrite``; ``write`` deletes the record for an empty candle."""
    for _ in attempts(sleep, jitter):
        stored, version = read()
        candle = change(stored)
        if (candle == stored.candle and stored.has_mark) or write(candle, version):
            return
    raise _contention(candle)


def stored(symbol: str, start: int, record: Mapping[str, Any], has_mark: bool) -> StoredCandle:
    """Return the stored candle of a record; an empty record means that there is no candle."""
    if not record:
        return StoredCandle(Candle(symbol, start), record)
    try:
        candle = read_record(record)
    except DamagedData:
        return StoredCandle(None, record, has_mark)
    is_its_own = (candle.symbol, candle.start) == (symbol, start)
    return StoredCandle(candle if is_its_own else None, record, has_mark)


def attempts(
    sleep: Callable[[float], None] = time.sleep,
    jitter: Callable[[float, float], float] = random.uniform,
) -> Iterator[None]:
    """Yield once for each attempt at a conditional write, with pauses in between."""
    pause = FIRST_PAUSE
    for _ in range(ATTEMPTS):
        yield
        # Full jitter keeps several writers of one busy candle from colliding repeatedly.
        sleep(jitter(0, pause))
        pause = min(pause * 2, LONGEST_PAUSE)


def _contention(candle: Candle) -> Contention:
    return Contention(
        f"the candle {candle.symbol} {candle.timestamp} changed under every one of "
        f"{ATTEMPTS} attempts to write it"
    )


def read_record(record: Mapping[str, Any]) -> Candle:
    """Read a candle from its stored record.

    Raises:
        Damaged: the record is not a valid candle, because something else changed it.
    """
    try:
        return Candle.from_record(record)
    except ValueError as error:
        where = f"{record.get('symbol')} {record.get('timestamp')}"
        raise DamagedData(f"the stored candle {where} is damaged: {error}") from None
