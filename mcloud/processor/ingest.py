"""Archive, then fold; the caller acknowledges last. A crash in between repeats work, no more."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from mcloud.clouds.ports import Archive, Candles
from mcloud.market.archive import pack
from mcloud.market.candle import Candle, Disagreement, Folded, by_minute, fold
from mcloud.market.trade import Trade


class Ingested(NamedTuple):
    """What came of it, and when; seconds since 1970."""

    disagreements: list[Disagreement]
    began: float
    archived: float
    """The raw trades were in the archive."""
    stored: float
    """The candles were written."""


def ingest(
    trades: Sequence[Trade],
    archive: Archive,
    candles: Candles,
    *,
    clock: Callable[[], float] = time.time,
) -> Ingested:
    """Store trades of any symbols and times, raw and as candles; twice is as good as once.

    Raises:
        Unavailable, Contention: try again, all of it.
        Refused: a store is not there or may not be written.
        decimal.Inexact: volumes that no candle can hold; only dropping those trades helps.
    """
    began = clock()
    for item in pack(trades):
        archive.put(item)
    archived = clock()
    disagreements: list[Disagreement] = []
    for (symbol, start), group in by_minute(trades).items():
        folded = candles.update(symbol, start, partial(_fold, group))
        disagreements += folded.disagreements
    return Ingested(disagreements, began, archived, clock())


def _fold(trades: list[Trade], candle: Candle) -> Folded:
    return fold(candle, trades)
