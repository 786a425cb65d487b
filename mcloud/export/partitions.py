"""The candles and trades of a site, in the parts that become one file each.

A part is a whole month of candles, or a whole day of trades, so that exporting it again replaces
its file by one that has at least as much.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from mcloud.archive import blocks, raw
from mcloud.archive.raw import Piece
from mcloud.bulk.columns import from_trades, integers
from mcloud.bulk.read_lines import read_lines
from mcloud.bulk.write_lines import canonical
from mcloud.clouds.ports import Archive, Site
from mcloud.errors import Refused, Unavailable
from mcloud.export.tables import candle_table, ids_with_two_contents, trade_table
from mcloud.market.archive import HOUR, BadArchive, hours_prefix, inflate
from mcloud.market.candle import to_timestamp
from mcloud.market.interval import derive
from mcloud.market.trade import MAX_TIME
from mcloud.replication.candle_streams import stream
from mcloud.replication.hour_digest import HourWindow

DAY = 86_400_000  # ms
OBJECTS = 4
"""Number of raw objects whose trades are kept in memory, since a block may have several days."""
ATTEMPTS = 3  # listings of a day whose objects are moved while they are read
EMPTY = from_trades([])

Report = Callable[[str], None]
"""Reports something that cannot be read."""


class Partition(NamedTuple):
    """The content of one file."""

    folder: str
    """Path of its folder, with the values of its partition keys, such as
    ``candles/symbol=BTCUSDT/interval=1m/month=2024-08``."""
    table: pa.Table


def candles(
    site: Site, symbol: str, interval: str, window: HourWindow, report: Report
) -> Iterator[Partition]:
    """Yield the candles of each month that a window touches."""
    months = _months(window)
    found = stream(site.candles, symbol, *months, lambda minute, why: report(why))
    for month, group in groupby(found, lambda each: to_timestamp(each.start)[:7]):
        bars = derive(group, interval)
        if bars:
            folder = f"candles/symbol={symbol}/interval={interval}/month={month}"
            yield Partition(folder, candle_table(bars))


def trades(site: Site, symbol: str, window: HourWindow, report: Report) -> Iterator[Partition]:
    """Yield the trades of each day that a window touches."""
    days = HourWindow(window.start // DAY * DAY, min(MAX_TIME, -(-window.end // DAY) * DAY))
    reader = _Reader(site.archive, symbol, report)
    for day, pieces in _by_day(site.archive, symbol, days):
        batch = reader.read_day(day, pieces)
        if not batch.num_rows:
            continue
        date = to_timestamp(day * DAY)[:10]
        if twice := ids_with_two_contents(batch):
            report(f"{symbol} {date}: {twice:,} ids have two contents, and both are exported")
        yield Partition(f"trades/symbol={symbol}/date={date}", trade_table(batch))


def _by_day(archive: Archive, symbol: str, window: HourWindow) -> Iterator[tuple[int, list[Piece]]]:
    """Yield the pieces of each day, which is numbered from 1970 on."""
    # Objects of hours are listed first, so that trades which compaction moves in the meantime are
    # found in a block.
    found = list(raw.objects(archive, hours_prefix(symbol)))
    found += raw.parts_of(blocks.listed(archive, symbol))
    found.sort(key=lambda piece: piece.hour)
    for day, pieces in groupby(found, lambda piece: piece.hour // DAY):
        if window.start <= day * DAY < window.end:
            yield day, list(pieces)


class _Reader:
    """Reads the objects of an archive, and remembers the trades of the newest of them."""

    def __init__(self, archive: Archive, symbol: str, report: Report) -> None:
        self._archive = archive
        self._symbol = symbol
        self._report = report
        self._remembered = lru_cache(OBJECTS)(self._read)

    def read_day(self, day: int, pieces: list[Piece]) -> pa.RecordBatch:
        """Return the trades of a day by id, each once."""
        for _ in range(ATTEMPTS):
            try:
                # A block has a piece for each of its hours.
                keys = {piece.key: piece.block is not None for piece in pieces}
                batches = [self._remembered(*each) for each in keys.items()]
            except Refused:
                # Compaction has moved an object to a block since it was listed.
                hours = range(day * DAY, (day + 1) * DAY, HOUR)
                pieces = raw.pieces(self._archive, self._symbol, hours)
            else:
                of_day = [_of_day(batch, day) for batch in batches]
                return canonical(pa.concat_batches(of_day)) if of_day else EMPTY
        raise Unavailable(
            f"{self._symbol}: objects were removed while they were read", remedy="try again later"
        )

    def _read(self, key: str, is_block: bool) -> pa.RecordBatch:
        try:
            if is_block:
                return read_lines(self._symbol, inflate(self._archive.get(key)))
            text = raw.read_text(self._archive, key)
            if text is not None:
                return read_lines(self._symbol, text)
        except BadArchive:
            text = None
        self._report(f"{key} is damaged, and is left out")
        return EMPTY


def _of_day(batch: pa.RecordBatch, day: int) -> pa.RecordBatch:
    days = integers(batch.column(3)) // DAY
    if (days == day).all():
        return batch
    return batch.take(pa.array(np.flatnonzero(days == day)))


def _months(window: HourWindow) -> HourWindow:
    """Return the whole months that a window touches."""
    first = np.datetime64(window.start, "ms").astype("datetime64[M]")
    last = np.datetime64(min(window.end, MAX_TIME) - 1, "ms").astype("datetime64[M]")
    begin, end = (each.astype("datetime64[ms]").astype(int) for each in (first, last + 1))
    return HourWindow(int(begin), min(window.end if window.end >= MAX_TIME else int(end), int(end)))
