"""Compares the newest candles of a site with those of the primary, at the moment of the question.

The lag that a replicator has reported says nothing once the replicator has stopped.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from mcloud.clouds.ports import Heartbeat, Site
from mcloud.documents import sound
from mcloud.market.candle import MINUTE
from mcloud.market.ids import Ids
from mcloud.workers import Workers

SYMBOLS = 20  # maximum number of symbols that are compared: those that traded last
THREADS = 8
DAY = 24 * 60 * MINUTE


@dataclass(frozen=True)
class NewestCandles:
    """The newest minutes of a site, compared with those of the primary."""

    symbols: int
    """Number of compared symbols."""
    missing: int
    """Number of trades that only the primary has."""
    behind_s: float
    """Seconds from the oldest of the missing trades to the newest trade of its symbol, rounded up
    to whole minutes of candles.
    """


def compare_newest(primary: Site, site: Site, seconds: float) -> NewestCandles:
    """Compare the last ``seconds`` of each symbol, before the symbol's newest trade.

    Raises:
        Unavailable, Refused: a site cannot be read.
    """
    beats = sorted(sound(primary.control.heartbeats()), key=lambda beat: beat.last_trade_time)
    with closing(Workers(THREADS)) as workers:
        found = workers.map(partial(_compare, primary, site, int(seconds * 1000)), beats[-SYMBOLS:])
    return _sum(found)


def _compare(primary: Site, site: Site, span: int, beat: Heartbeat) -> NewestCandles:
    start = (beat.last_trade_time - span) // MINUTE * MINUTE
    # The other site is read last, because more trades may arrive meanwhile.
    newest = list(primary.candles.range(beat.symbol, start, start + DAY))
    there = {c.start: Ids(c.runs) for c in site.candles.range(beat.symbol, start, start + DAY)}
    missing = {c.start: Ids(c.runs).minus(there.get(c.start, Ids())).count for c in newest}
    lacking = [minute for minute, count in missing.items() if count]
    behind = max(missing) + MINUTE - min(lacking) if lacking else 0
    return NewestCandles(1, sum(missing.values()), behind / 1000)


def _sum(found: Sequence[NewestCandles]) -> NewestCandles:
    return NewestCandles(
        sum(each.symbols for each in found),
        sum(each.missing for each in found),
        max((each.behind_s for each in found), default=0.0),
    )
