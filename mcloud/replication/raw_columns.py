"""The raw trades of an hour in columns; see ``raw_trades``. It needs the extra ``bulk``."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from mcloud.archive import raw
from mcloud.archive.raw import Piece
from mcloud.bulk.columns import SCHEMA, Integers, integers, to_trades
from mcloud.bulk.fold import fold
from mcloud.bulk.read_lines import read_lines
from mcloud.bulk.write_lines import canonical
from mcloud.clouds.ports import Archive
from mcloud.market.archive import BadArchive
from mcloud.market.candle import MINUTE, Candle
from mcloud.market.ids import Ids
from mcloud.market.trade import Trade


class InColumns:
    """Reads the trades of a piece as a batch."""

    def read(self, archive: Archive, piece: Piece, symbol: str) -> pa.RecordBatch | None:
        text = raw.text(archive, piece)
        try:
            return None if text is None else read_lines(symbol, text)
        except BadArchive:
            return None

    def ids(self, trades: pa.RecordBatch) -> Ids:
        return _ids(np.sort(integers(trades.column(0))))

    def hour(self, symbol: str, parts: Sequence[pa.RecordBatch]) -> "ColumnsOfHour":
        return ColumnsOfHour(symbol, pa.concat_batches(parts) if parts else _NONE)


_NONE = pa.RecordBatch.from_pylist([], SCHEMA)


class ColumnsOfHour:
    """A `RawHour` whose trades are a batch."""

    def __init__(self, symbol: str, archived: pa.RecordBatch) -> None:
        self._symbol = symbol
        self._trades = canonical(archived)
        ids, times = integers(self._trades.column(0)), integers(self._trades.column(3))
        self._minutes = times // MINUTE * MINUTE
        self.everything = _ids(ids)
        repeated = ids[1:][ids[1:] == ids[:-1]]
        self.disputed = _ids(repeated)
        sound = self._trades
        if len(repeated):
            sound = sound.filter(pa.array(~np.isin(ids, repeated)))
        self.candles: Mapping[int, Candle] = {
            each.candle.start: each.candle for each in fold(symbol, sound)
        }

    def minute(self, start: int) -> list[Trade]:
        return to_trades(self._symbol, self._trades.filter(pa.array(self._minutes == start)))


def _ids(ids: Integers) -> Ids:
    """Return ascending ids, which may repeat."""
    if not len(ids):
        return Ids()
    breaks = np.flatnonzero(ids[1:] - ids[:-1] > 1)
    firsts = ids[np.append(0, breaks + 1)].tolist()
    lasts = ids[np.append(breaks, len(ids) - 1)].tolist()
    return Ids(zip(firsts, lasts, strict=True))
