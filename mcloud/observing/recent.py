"""The newest candles of each symbol of a site, and the trade ids missing among them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from mcloud.clock import is_recent
from mcloud.clouds.ports import Heartbeat, Site
from mcloud.market.candle import MINUTE, Candle
from mcloud.market.ids import Ids, Run
from mcloud.processor.pulse import INTERVAL

MINUTES = 3  # minutes before the newest trade that are checked
SYMBOLS = 20  # maximum symbols that are checked: those that traded last
SETTLED = 2.5 * INTERVAL
"""Seconds without a heartbeat after which the newest candle counts as complete."""
DAY = 24 * 60 * MINUTE


@dataclass(frozen=True)
class Recent:
    symbol: str
    last: Candle | None
    """The newest candle with prices, or None."""
    holes: list[Run]
    """Trade ids that are missing in the last few minutes, as (first, last) of each run."""

    @property
    def missing(self) -> int:
        return Ids(self.holes).count


def recent(site: Site, beats: Sequence[Heartbeat]) -> list[Recent]:
    """Return the newest candles of each of the symbols that traded last, by name."""
    newest = sorted(beats, key=lambda beat: beat.last_trade_time)[-SYMBOLS:]
    return [_recent(site, beat) for beat in sorted(newest, key=lambda beat: beat.symbol)]


def _recent(site: Site, beat: Heartbeat) -> Recent:
    start = beat.last_trade_time // MINUTE * MINUTE - MINUTES * MINUTE
    # Open to the future: a heartbeat may be a minute behind the candles.
    candles = list(site.candles.range(beat.symbol, start, start + DAY))
    if not candles:
        last = site.candles.last(beat.symbol)
        return Recent(beat.symbol, last if last and last.has_trades else None, [])
    last = next((each for each in reversed(candles) if each.has_trades), None)
    settled = not is_recent(beat.at, time.time(), SETTLED)
    return Recent(beat.symbol, last, holes(candles if settled else candles[:-1]))


def holes(candles: Sequence[Candle]) -> list[Run]:
    """Return the runs of missing ids in and between candles of one symbol."""
    return Ids(run for candle in candles for run in candle.runs).holes()
