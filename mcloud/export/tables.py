"""Candles and trades as Arrow tables. Numbers are decimals, never floats."""

from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mcloud.bulk.columns import NUMBER
from mcloud.errors import McloudError
from mcloud.market.interval import Bar

SUM = pa.decimal128(38, 16)
"""Type of volumes. Binance's prices and quantities have up to 8 decimals, so that their products
have 16. This leaves 22 digits before the point."""
TIME = pa.timestamp("ms", "UTC")

CANDLES = pa.schema(
    [
        ("timestamp", TIME),
        *((name, NUMBER) for name in ("open", "high", "low", "close")),
        ("volume", SUM),
        ("quote_volume", SUM),
        *((name, pa.int64()) for name in ("trade_count", "first_id", "last_id")),
    ]
)
TRADES = pa.schema(
    [
        ("id", pa.int64()),
        ("timestamp", TIME),
        ("price", NUMBER),
        ("quantity", NUMBER),
        ("buyer_is_maker", pa.bool_()),
    ]
)


def candle_table(bars: Sequence[Bar]) -> pa.Table:
    """Return candles of one symbol, in the columns of ``CANDLES``.

    Raises:
        McloudError: a volume has more digits than ``SUM``.
    """
    values: dict[str, list[int] | list[Decimal]] = {
        "timestamp": [bar.start for bar in bars],
        **{name: [getattr(bar, name) for bar in bars] for name in CANDLES.names[1:]},
    }
    try:
        return pa.table(values, schema=CANDLES)
    except pa.ArrowInvalid as error:
        raise McloudError(
            f"{bars[0].symbol} from {bars[0].timestamp} on: a number has too many digits for"
            f" Parquet and CSV files ({error})",
            remedy="use `mcloud candles -o csv`",
        ) from None


def trade_table(batch: pa.RecordBatch) -> pa.Table:
    """Return trades in the columns of ``TRADES``, without voids."""
    traded = pc.greater(batch.column(1), 0)
    kept = batch if pc.all(traded).as_py() else batch.filter(traded)
    return pa.table(
        [
            kept.column(0),
            kept.column(3).cast(TIME),
            kept.column(1),
            kept.column(2),
            kept.column(4),
        ],
        schema=TRADES,
    )


def with_texts(table: pa.Table) -> pa.Table:
    """Return a table with its decimals as texts, without trailing zeros, and its times in ms."""
    columns = []
    for column in table.columns:
        if pa.types.is_decimal(column.type):
            columns.append(pc.ascii_rtrim(pc.ascii_rtrim(column.cast(pa.string()), "0"), "."))
        elif pa.types.is_timestamp(column.type):
            columns.append(pc.strftime(column, "%Y-%m-%dT%H:%M:%SZ"))
        else:
            columns.append(column)
    return pa.table(columns, names=table.column_names)


def ids_with_two_contents(batch: pa.RecordBatch) -> int:
    """Return the number of ids in an ordered batch that have several different trades."""
    ids = batch.column(0).to_numpy()
    return len(np.unique(ids[1:][ids[1:] == ids[:-1]]))
