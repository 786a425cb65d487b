"""What every candle store shares: reading a record, and writing if nobody else did."""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from mcloud.clouds.ports import StoredCandle
from mcloud.errors import Contention, Damaged
from mcloud.market.candle import Candle, Folded

Version = TypeVar("Version")

ATTEMPTS = 25
FIRST_PAUSE, LONGEST_PAUSE = 0.01, 1.0  # seconds


class Read(NamedTuple, Generic[Version]):
    candle: Candle
    version: Version
    """What a write has to find unchanged; the store's own value for "there is none"."""


def update(
    read: Callable[[], Read[Version]],
    write: Callable[[Candle, Version], bool],
    change: Callable[[Candle], Folded],
    *,
    sleep: Callable[[float], None] = time.sleep,
    jitter: Callable[[float, float], float] = random.uniform,
) -> Folded:
    """See ``ports.Candles.update``; ``write`` answers False where the version had changed."""
    for _ in _attempts(sleep, jitter):
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
    """See ``ports.Candles.rewrite``; ``write`` deletes the record for an empty candle."""
    for _ in _attempts(sleep, jitter):
        stored, version = read()
        candle = change(stored)
        if (candle == stored.candle and stored.has_mark) or write(candle, version):
            return
    raise _contention(candle)


def stored(symbol: str, start: int, record: Mapping[str, Any], has_mark: bool) -> StoredCandle:
    """Return the stored candle in a record; an empty record means that there is none."""
    if not record:
        return StoredCandle(Candle(symbol, start), record)
    try:
        candle = read_record(record)
    except Damaged:
        return StoredCandle(None, record, has_mark)
    is_its_own = (candle.symbol, candle.start) == (symbol, start)
    return StoredCandle(candle if is_its_own else None, record, has_mark)


def _attempts(
    sleep: Callable[[float], None], jitter: Callable[[float, float], float]
) -> Iterator[None]:
    pause = FIRST_PAUSE
    for _ in range(ATTEMPTS):
        yield
        # Full jitter: several writers of one hot candle must not meet again and again.
        sleep(jitter(0, pause))
        pause = min(pause * 2, LONGEST_PAUSE)


def _contention(candle: Candle) -> Contention:
    return Contention(
        f"the candle {candle.symbol} {candle.timestamp} changed under every one of "
        f"{ATTEMPTS} attempts to write it"
    )


def read_record(record: Mapping[str, Any]) -> Candle:
    """A stored candle; Damaged where somebody else changed it into nonsense."""
    try:
        return Candle.from_record(record)
    except ValueError as error:
        where = f"{record.get('symbol')} {record.get('timestamp')}"
        raise Damaged(f"the stored candle {where} is damaged: {error}") from None
