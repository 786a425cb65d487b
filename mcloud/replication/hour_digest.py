"""Digests of an hour of candles. Hours with equal digests need not be compared further."""

from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from heapq import merge as merged
from itertools import groupby, takewhile
from operator import attrgetter
from typing import NamedTuple

from mcloud.archive import blocks, raw
from mcloud.archive.raw import Piece
from mcloud.clouds.ports import Archive, Site
from mcloud.documents import sound
from mcloud.market.archive import HOUR, prefix
from mcloud.market.candle import MINUTE, Candle
from mcloud.market.ids import Ids
from mcloud.replication.candle_streams import END
from mcloud.replication.scope import Scope


class HourWindow(NamedTuple):
    """A range of whole hours, in ms since 1970. The raw archive is divided into hours."""

    start: int = 0
    end: int = END
    """End of the range, exclusive."""

    @classmethod
    def around(cls, start: int | None, end: int | None) -> "HourWindow":
        """Return the window of the hours that a range touches. None leaves a side open."""
        return cls(
            0 if start is None else start // HOUR * HOUR,
            END if end is None else min(END, -(-end // HOUR) * HOUR),
        )


class HourDigest(NamedTuple):
    """Digest of the candles of one symbol and hour. Equal candles have equal digests."""

    state: bytes
    candles: int
    ids: Ids
    trades: int = 0
    voids: int = 0
    is_odd: bool = False
    """Whether two of the candles hold the same id, or a candle holds an id that is lower than one
    of a candle at least two minutes earlier. The ids of neighbouring candles may interleave."""


ALL_TIME = HourWindow()
NOTHING = HourDigest(b"", 0, Ids())


def digests(candles: Iterable[Candle]) -> dict[int, HourDigest]:
    """Return the digests of one symbol's candles by start of the hour (in ms).

    The candles must be ordered by time. The result takes a few hundred bytes per hour.
    """
    return {hour: _digest(group) for hour, group in groupby(candles, _hour)}


def _hour(candle: Candle) -> int:
    return candle.start // HOUR * HOUR


def _digest(candles: Iterable[Candle]) -> HourDigest:
    # Ids alone are not enough, since the numbers may differ. The fragments contain both.
    state, count, ids, is_odd = blake2b(digest_size=16), 0, Ids(), False
    trades = voids = 0
    # ``highest`` is the highest id so far; ``before`` is the same without the preceding minute.
    before, highest, latest = -1, -1, 0
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
    """Yield the pieces of a symbol in the raw archive, by hour (its start in ms).

    Trades that compaction moves into a block at this moment may be missing, so check twice.

    Args:
        foreign: called with each key in the symbol's folder that is not part of the archive.
    """
    parts = sorted(raw.parts_of(blocks.listed(archive, symbol)), key=_hour_of_piece)
    objects = raw.objects(archive, _folder(symbol, window), foreign)
    for hour, group in groupby(merged(objects, parts, key=_hour_of_piece), key=_hour_of_piece):
        if window.start <= hour < window.end:
            yield hour, list(group)


_hour_of_piece = attrgetter("hour")


def symbols(site: Site, scope: Scope) -> set[str]:
    """Return the symbols in the scope that a site has data of or that the scope names."""
    beats = sound(site.control.heartbeats())
    names = {*site.archive.symbols(), *(beat.symbol for beat in beats), *(scope.symbols or ())}
    return {name for name in names if scope.has(name)}


def _folder(symbol: str, window: HourWindow) -> str:
    """Return the longest key prefix that all hours of a window share."""
    ends = zip(prefix(symbol, window.start), prefix(symbol, window.end - HOUR), strict=True)
    return "".join(one for one, other in takewhile(lambda pair: pair[0] == pair[1], ends))
