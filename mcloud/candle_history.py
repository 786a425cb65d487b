"""Candles of a site over a time range, with indicators, and with what their trade ids prove."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import NamedTuple

from mcloud.clouds.ports import Site
from mcloud.config import unknown
from mcloud.documents import sound
from mcloud.market.candle import MINUTE, Candle
from mcloud.market.indicators import Indicator, compute, reach, signed_text
from mcloud.market.interval import INTERVALS
from mcloud.market.quiet import CandleHole, Timeline, TimelineStep, timeline
from mcloud.market.trade import MAX_TIME, to_text

COLUMNS = (
    "symbol",
    "timestamp",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_volume",
    "trade_count",
    "first_id",
    "last_id",
)

FILLED = "filled"
"""Column that marks the candles of intervals without trades."""

LOOK_BACK = 3_600_000  # ms that the first query for an earlier candle reaches back


class TimeRange(NamedTuple):
    """A range of time, in ms. Without a begin, it reaches back by ``length`` from its end."""

    begin: int | None
    """Inclusive, in ms since 1970."""
    end: int | None
    """Exclusive, in ms since 1970; None for the newest candle."""
    length: int


class CandleRow(NamedTuple):
    """An interval with the values of indicators."""

    step: TimelineStep
    values: Mapping[str, Decimal | None]
    """Value of each indicator, by its text; None if unknown."""

    def record(self, marked: bool) -> dict[str, str | int | bool | None]:
        """Return the columns. Decimals are texts, because most readers parse a JSON number as a
        float.

        Args:
            marked: whether ``filled`` is one of the columns.
        """
        bar, filled = self.step.bar, self.step.filled
        return {
            "symbol": bar.symbol,
            "timestamp": bar.timestamp,
            **({FILLED: filled} if marked else {}),
            **{name: to_text(getattr(bar, name)) for name in COLUMNS[2:8]},
            "trade_count": bar.trade_count,
            "first_id": None if filled else bar.first_id,
            "last_id": None if filled else bar.last_id,
            **{
                name: None if value is None else signed_text(value)
                for name, value in self.values.items()
            },
        }


def columns(marked: bool, indicators: Iterable[Indicator]) -> list[str]:
    """Return the names of the columns of a record; see ``CandleRow.record``."""
    names = [*COLUMNS, *map(str, indicators)]
    if marked:
        names.insert(2, FILLED)
    return names


def read_rows(
    site: Site,
    symbol: str,
    span: TimeRange,
    interval: str,
    indicators: Sequence[Indicator],
    *,
    fill: bool,
) -> tuple[list[CandleRow], list[CandleHole]]:
    """Read candles of a symbol. Return a row for each interval, and the holes in the trade ids.

    Args:
        fill: also return intervals in which nothing was traded.
    """
    width = INTERVALS[interval]
    bounds = _bounds(site, symbol, span, width)
    if bounds is None:
        return [], []
    steps, holes = _read(site, symbol, bounds, interval, indicators, fill)
    values = {str(each): compute(steps, width, each) for each in indicators}
    rows = [
        CandleRow(step, {name: each[index] for name, each in values.items()})
        for index, step in enumerate(steps)
        if step.bar.start >= bounds[0] and (fill or not step.filled)
    ]
    return rows, holes


def describe(holes: Sequence[CandleHole], symbol: str, site: str) -> str:
    """Return a sentence about missing trades; there is at least one hole."""
    count = sum(hole.missing for hole in holes)
    trades = "1 trade is" if count == 1 else f"{count:,} trades are"
    text = f"{trades} missing from the candles of {symbol} at {site}: {holes[0]}"
    if len(holes) > 1:
        others = len(holes) - 1
        text += f", and {others:,} more {'hole' if others == 1 else 'holes'}"
    return text


def check_known(site: Site, symbol: str) -> None:
    """Raise UsageError for a symbol that the site has never had, if it has others."""
    known = [beat.symbol for beat in sound(site.control.heartbeats())]
    if known and symbol not in known and site.candles.last(symbol) is None:
        raise unknown("symbol", symbol, known, where=f"at {site.name}")


def _bounds(site: Site, symbol: str, span: TimeRange, width: int) -> tuple[int, int] | None:
    """Return start and end in ms. Without a start, they reach back from the end or the newest
    candle.

    They are multiples of ``width`` ms, because a bar without its start or end would be wrong.
    """
    begin, until = span.begin, span.end
    if begin is None:
        if until is None:
            newest = site.candles.last(symbol)
            if newest is None:
                return None
            until = newest.start + MINUTE
        begin = until - span.length
    elif until is None:
        until = MAX_TIME
    return max(0, begin // width * width), min(MAX_TIME, -(-until // width) * width)


def _read(
    site: Site,
    symbol: str,
    bounds: tuple[int, int],
    interval: str,
    indicators: Sequence[Indicator],
    fill: bool,
) -> Timeline:
    """Read the intervals of the bounds, after as many earlier ones as the indicators need.

    The holes are those of the bounds. The adjacent candles show whether the first and the last
    intervals were quiet.
    """
    width = INTERVALS[interval]
    begin = min((reach(each, bounds[0], width) for each in indicators), default=bounds[0])
    begin = begin // width * width
    candles = list(site.candles.range(symbol, begin, bounds[1]))
    if fill or indicators:
        candles[:0] = _last_before(site, symbol, begin)
    if fill:
        candles += islice(site.candles.range(symbol, bounds[1], MAX_TIME), 1)
    read = timeline(candles, interval, begin, bounds[1])
    # Holes before the bounds belong to rows that are not shown.
    return read._replace(holes=[each for each in read.holes if each.end >= bounds[0]])


def _last_before(site: Site, symbol: str, end: int) -> list[Candle]:
    """Return the last candle with trades before ``end``, if there is one, and those after it.

    Each query reaches back twice as far as the one before it, so that little more than the silence
    is read.
    """
    found: list[Candle] = []
    span = LOOK_BACK
    while end > 0:
        start = max(0, end - span)
        found[:0] = site.candles.range(symbol, start, end)
        traded = [index for index, candle in enumerate(found) if candle.has_trades]
        if traded:
            return found[traded[-1] :]
        end, span = start, 2 * span
    return found
