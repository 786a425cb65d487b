"""What every candle store shares: reading a record, and writing if nobody else did."""

import random
import time
from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

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
    pause = FIRST_PAUSE
    for _ in range(ATTEMPTS):
        current = read()
        changed = change(current.candle)
        if changed.candle == current.candle or write(changed.candle, current.version):
            return changed
        # Full jitter: several writers of one hot candle must not meet again and again.
        sleep(jitter(0, pause))
        pause = min(pause * 2, LONGEST_PAUSE)
    raise Contention(
        f"the candle {changed.candle.symbol} {changed.candle.timestamp} changed under every one of "
        f"{ATTEMPTS} attempts to write it"
    )


def read_record(record: Mapping[str, Any]) -> Candle:
    """A stored candle; Damaged where somebody else changed it into nonsense."""
    try:
        return Candle.from_record(record)
    except ValueError as error:
        where = f"{record.get('symbol')} {record.get('timestamp')}"
        raise Damaged(f"the stored candle {where} is damaged: {error}") from None
