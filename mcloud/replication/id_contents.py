"""The contents of a trade id: the raw trades and the candles that have it, site by site.

An id belongs to one trade. If an id has two contents, the archive decides if it has only one of
them: a raw trade is written once and never changed, and candles are made from raw trades. Otherwise
a person has to choose; see ``mcloud resolve``.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from mcloud.archive import raw
from mcloud.clouds.ports import Site
from mcloud.market.archive import HOUR, fingerprint
from mcloud.market.candle import MINUTE, to_timestamp
from mcloud.market.ids import Ids, Run
from mcloud.market.trade import Trade, id_count, to_text, without_filled_voids
from mcloud.replication.candle_streams import stream

AT_ONCE = 20_000  # maximum number of ids whose contents are kept in memory


@dataclass
class IdContents:
    """All contents of one id."""

    id: int
    trades: dict[Trade, set[str]] = field(default_factory=dict)
    """Raw trades and voids, each with the sites that have it."""
    minutes: dict[int, set[str]] = field(default_factory=dict)
    """Starts of the candles that hold the id (in ms), each with the sites that have the candle."""

    @property
    def proven(self) -> Trade | None:
        """The trade of this id if the archives have exactly one, and otherwise None.

        A void beside a trade does not count, since the trade replaced it.
        """
        rightful = without_filled_voids(self.trades)
        return rightful[0] if len(rightful) == 1 else None

    @property
    def misplaced(self) -> dict[int, set[str]]:
        """The candles of ``minutes`` that the proven trade does not belong to."""
        if self.proven is None:
            return {}
        own = minute_of(self.proven)
        return {start: sites for start, sites in self.minutes.items() if start != own}

    @property
    def is_disputed(self) -> bool:
        """Whether there are two contents, and nothing proves which is right."""
        return self.proven is None and max(len(self.trades), len(self.minutes)) > 1

    @property
    def earliest(self) -> int:
        """Start of the first minute that has a content, in ms."""
        return min([*map(minute_of, self.trades), *self.minutes])

    @property
    def hours(self) -> set[int]:
        """Starts of the hours that have one of the contents, in ms."""
        return {time // HOUR * HOUR for time in (*self.minutes, *map(minute_of, self.trades))}

    def described(self) -> list[str]:
        """Return one line for each content: first the raw trades, then other candles, by time."""
        lines = []
        own = {minute_of(trade) for trade in self.trades}
        for trade, sites in sorted(self.trades.items(), key=lambda pair: pair[0].time):
            held = self.minutes.get(minute_of(trade), set())
            where = f"raw at {_names(sites)}" + (f", candle at {_names(held)}" if held else "")
            lines.append(f"{fingerprint(trade)}: {describe(trade)}, {where}")
        for start, sites in sorted(self.minutes.items()):
            if start not in own:
                lines.append(f"the candle of {to_timestamp(start)} at {_names(sites)}")
        return lines


def describe(trade: Trade) -> str:
    """Describe a trade: ``0.0004 at 61841.13, taken by the buyer, 2024-08-08T23:54:00.123Z``."""
    moment = f"{to_timestamp(trade.time)[:-1]}.{trade.time % 1000:03d}Z"
    side = "seller" if trade.buyer_is_maker else "buyer"
    return f"{to_text(trade.quantity)} at {to_text(trade.price)}, taken by the {side}, {moment}"


def minute_of(trade: Trade) -> int:
    return trade.time // MINUTE * MINUTE


def gather(
    sites: Mapping[str, Site],
    symbol: str,
    hours: Mapping[int, Ids],
    unreadable: Callable[[str, str, int], None] = lambda site, key, hour: None,
) -> Iterator[IdContents]:
    """Yield the contents of these ids in order; ``AT_ONCE`` ids are in memory at a time.

    Args:
        hours: ids to look for in each hour, by start of the hour (in ms).
        unreadable: called with site, key and hour of each damaged raw object. Damaged objects prove
            nothing.
    """
    everything = Ids(run for ids in hours.values() for run in ids.runs)
    for part in slices(everything, AT_ONCE):
        found: dict[int, IdContents] = {}
        for hour, ids in sorted(hours.items()):
            wanted = ids.common(part)
            if wanted:
                _gather_hour(sites, symbol, hour, wanted, found, unreadable)
        yield from (found[each] for each in sorted(found))


def slices(ids: Ids, size: int) -> Iterator[Ids]:
    """Yield the ids in order, in parts of ``size`` ids."""
    part, count = Ids(), 0
    for first, last in ids.runs:
        while first <= last:
            end = min(last, first + size - count - 1)
            part.add(first, end)
            count += id_count(first, end)
            first = end + 1
            if count == size:
                yield part
                part, count = Ids(), 0
    if part:
        yield part


def each_of(runs: Iterable[Run]) -> Iterator[int]:
    for first, last in runs:
        yield from range(first, last + 1)


def _gather_hour(
    sites: Mapping[str, Site],
    symbol: str,
    hour: int,
    wanted: Ids,
    found: dict[int, IdContents],
    unreadable: Callable[[str, str, int], None],
) -> None:
    for name, site in sites.items():
        for piece in raw.holdings(site.archive, symbol, hour):
            if not wanted.common(piece.range):
                continue
            trades = raw.read(site.archive, piece)
            if trades is None:
                unreadable(name, piece.key, hour)
                continue
            for trade in trades:
                if trade.id in wanted:
                    contents = found.setdefault(trade.id, IdContents(trade.id))
                    contents.trades.setdefault(trade, set()).add(name)
        candles = stream(site.candles, symbol, hour, hour + HOUR, lambda start, why: None)
        for candle in candles:
            for id_ in each_of(wanted.common(Ids(candle.runs)).runs):
                contents = found.setdefault(id_, IdContents(id_))
                contents.minutes.setdefault(candle.start, set()).add(name)


def _names(sites: Collection[str]) -> str:
    return ", ".join(sorted(sites))
