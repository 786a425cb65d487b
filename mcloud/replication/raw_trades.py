"""The raw trades of an hour, for ``verify --deep``: in columns, or one by one without ``bulk``."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from mcloud.archive import raw
from mcloud.archive.raw import Piece
from mcloud.clouds.ports import Archive
from mcloud.market.candle import Candle, by_minute
from mcloud.market.ids import Ids
from mcloud.market.trade import Trade, without_filled_voids


class RawHour(Protocol):
    """The distinct raw trades of one symbol and hour. A void is omitted if its id has a trade."""

    everything: Ids
    """All ids."""
    disputed: Ids
    """Ids with several contents."""
    candles: Mapping[int, Candle]
    """Candles of the trades that are not disputed, by start of the minute. They are a shortcut, and
    may be missing."""

    def minute(self, start: int) -> list[Trade]:
        """Return the trades of a minute (its start in ms)."""


class RawReader(Protocol):
    def read(self, archive: Archive, piece: Piece, symbol: str) -> Any:
        """Return the trades of a piece, or None if its object is damaged."""

    def ids(self, trades: Any) -> Ids:
        """Return the ids of trades that ``read`` returned."""

    def hour(self, symbol: str, parts: Sequence[Any]) -> RawHour:
        """Combine the results of ``read`` for one hour."""


class OneByOne:
    """Reads each trade as an object of its own."""

    def read(self, archive: Archive, piece: Piece, symbol: str) -> list[Trade] | None:
        return raw.read(archive, piece)

    def ids(self, trades: list[Trade]) -> Ids:
        return raw.ids_of(trades)

    def hour(self, symbol: str, parts: Sequence[list[Trade]]) -> RawHour:
        return _Listed(symbol, {trade for part in parts for trade in part})


class _Listed:
    def __init__(self, symbol: str, archived: set[Trade]) -> None:
        trades = without_filled_voids(archived)
        counts = Counter(trade.id for trade in trades)
        self._symbol = symbol
        self._minutes = by_minute(trades)
        self.everything = raw.ids_of(trades)
        self.disputed = Ids((id_, id_) for id_, count in counts.items() if count > 1)
        self.candles: Mapping[int, Candle] = {}

    def minute(self, start: int) -> list[Trade]:
        return self._minutes.get((self._symbol, start), [])


def raw_reader() -> RawReader:
    """Return the fastest reader that is installed."""
    try:
        from mcloud.replication.raw_columns import InColumns
    except ImportError:
        return OneByOne()
    return InColumns()
