"""What sites say of an hour of candles in a few bytes, so that equal ones need no second look."""

from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from heapq import merge as merged
from itertools import groupby, takewhile
from operator import attrgetter
from typing import NamedTuple

from mcloud.clouds.ports import Archive, Site
from mcloud.documents import sound
from mcloud.market.archive import HOUR, prefix
from mcloud.market.candle import MINUTE, Candle
from mcloud.replication import blocks, raw
from mcloud.replication.candle_streams import END
from mcloud.replication.ids import Ids
from mcloud.replication.raw import Piece
from mcloud.replication.scope import Scope


class HourWindow(NamedTuple):
    """A range of time: whole hours, as the raw archive has them; ms since 1970."""

    start: int = 0
    end: int = END
    """Not included."""

    @classmethod
    def around(cls, start: int | None, end: int | None) -> "HourWindow":
        """The hours that a range touches; None leaves a side open."""
        return cls(
            0 if start is None else start // HOUR * HOUR,
            END if end is None else min(END, -(-end // HOUR) * HOUR),
        )


class HourDigest(NamedTuple):
    """The candles of one symbol and hour; two stores with the same have the same."""

    state: bytes
    candles: int
    ids: Ids
    trades: int = 0
    voids: int = 0
    is_odd: bool = False
    """True where two of the candles hold one id, or a candle holds an id that comes before those
    of a minute at least two minutes earlier: neighbours may interleave, others may not."""


ALL_TIME = HourWindow()
NOTHING = HourDigest(b"", 0, Ids())


def digests(candles: Iterable[Candle]) -> dict[int, HourDigest]:
    """By start of the hour, from the candles of one symbol by time.

    It keeps a few hundred bytes an hour, however many candles there are.
    """
    return {hour: _digest(group) for hour, group in groupby(candles, _hour)}


def _hour(candle: Candle) -> int:
    return candle.start // HOUR * HOUR


def _digest(candles: Iterable[Candle]) -> HourDigest:
    # The ids alone will not do: a number may differ. They decide the fragments, which hold all.
    state, count, ids, is_odd = blake2b(digest_size=16), 0, Ids(), False
    trades = voids = 0
    before, highest, latest = -1, -1, 0
    # The highest id of all candles, and of those that end at least a minute before this one.
    for candle in candles:
        count += 1
        trades += candle.trade_count
        voids += candle.void_count
        state.update(f"{candle.start} {candle.encode_fragments()}\n".encode("ascii"))
        if candle.start > latest + MINUTE:
            before = highest
        is_odd = is_odd or candle.first_id <= before
        runs = candle.runs
        if runs[0][0] <= highest:
            is_odd = is_odd or bool(ids.common(Ids(runs)))
        for first, last in runs:
            ids.add(first, last)
        before, highest, latest = highest, max(highest, runs[-1][1]), candle.start
    return HourDigest(state.digest(), count, ids, trades, voids, is_odd)


def by_hour(
    archive: Archive,
    symbol: str,
    window: HourWindow = ALL_TIME,
    foreign: Callable[[str], None] = lambda key: None,
) -> Iterator[tuple[int, list[Piece]]]:
    """Yield what the raw archive has of a symbol, an hour at a time.

    What compaction puts into a block at this moment can be left out: look twice.

    Args:
        foreign: called with each key under the symbol's folder that is not part of the archive.
    """
    parts = sorted(raw.parts_of(blocks.listed(archive, symbol)), key=_hour_of_piece)
    objects = raw.objects(archive, _folder(symbol, window), foreign)
    for hour, group in groupby(merged(objects, parts, key=_hour_of_piece), key=_hour_of_piece):
        if window.start <= hour < window.end:
            yield hour, list(group)


_hour_of_piece = attrgetter("hour")


def symbols(site: Site, scope: Scope) -> set[str]:
    """What a site has anything of, as far as it is asked for, and what is asked for by name."""
    beats = sound(site.control.heartbeats())
    names = {*site.archive.symbols(), *(beat.symbol for beat in beats), *(scope.symbols or ())}
    return {name for name in names if scope.has(name)}


def _folder(symbol: str, window: HourWindow) -> str:
    """As much of the keys as all hours of a window share."""
    ends = zip(prefix(symbol, window.start), prefix(symbol, window.end - HOUR), strict=True)
    return "".join(one for one, other in takewhile(lambda pair: pair[0] == pair[1], ends))
