"""The lines of the raw archive, in columns: the trades of ``market.archive.parse``.

The lines that ``archive.line`` writes of trades have the same keys in the same order. A quote is
therefore a delimiter of columns, and Arrow splits the lines. What is no number has to be the same
in each line; all other texts are parsed line by line.
"""

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from mcloud.bulk.columns import NUMBER, SCHEMA, from_trades, has_zero
from mcloud.bulk.plain import numbers_are_plain
from mcloud.market.archive import BadArchive, parse
from mcloud.market.trade import MAX_TIME

_SYMBOL, _ID, _PRICE, _QUANTITY, _TIME, _MAKER = 3, 6, 9, 13, 16, 18
_COLUMNS = [str(n) for n in range(19)]
_NEEDED = [str(n) for n in (_SYMBOL, _ID, _PRICE, _QUANTITY, _TIME, _MAKER)]
_TYPES = {name: pa.string() for name in _NEEDED[:-1]} | {_NEEDED[-1]: pa.bool_()}
_DIGITS = b"0123456789."


def read_lines(symbol: str, text: bytes) -> pa.RecordBatch:
    """Read the lines of an object, all of which are trades or voids of one symbol.

    Raises:
        BadArchive: one of them is not a trade of this symbol.
    """
    batch = _read(symbol, text)
    if batch is not None:
        return batch
    trades = parse(text)
    for number, trade in enumerate(trades, start=1):
        if trade.symbol != symbol:
            raise BadArchive(f"line {number}: a trade of {trade.symbol}, not of {symbol}")
    return from_trades(trades)


def _read(symbol: str, text: bytes) -> pa.RecordBatch | None:
    """Return the trades in lines as ``archive.line`` writes them, or None if one is different."""
    bare = text.translate(None, _DIGITS)
    digits = len(text) - len(bare)
    for maker in ("true", "false"):
        line = f'{{"s":"{symbol}","t":,"p":"","q":"","T":,"m":{maker}}}\n'.encode()
        bare = bare.replace(line.translate(None, _DIGITS), b"")
    if bare or not numbers_are_plain(text):
        return None
    try:
        symbols, ids, price, quantity, times, makers = _columns(text)
        # Each id and each time has a colon and a comma around it.
        in_numbers = sum(map(_size, (ids, price, quantity, times))) - 4 * len(ids)
        name = symbol.encode()
        in_symbols = (len(name) - len(name.translate(None, _DIGITS))) * len(ids)
        if digits != in_numbers + in_symbols or not pc.all(pc.equal(symbols, symbol)).as_py():
            return None  # a digit in a key, or another symbol
        numbers = price.cast(NUMBER), quantity.cast(NUMBER)
        whole = _whole(ids), _whole(times)
    except pa.ArrowInvalid:
        return None
    if pc.max(whole[1]).as_py() > MAX_TIME or has_zero(numbers[0]):
        return None
    return pa.RecordBatch.from_arrays([whole[0], *numbers, whole[1], makers], schema=SCHEMA)


def _columns(text: bytes) -> list[pa.Array]:
    read = pyarrow.csv.read_csv(
        pa.BufferReader(text),
        pyarrow.csv.ReadOptions(use_threads=False, block_size=len(text) + 1, column_names=_COLUMNS),
        pyarrow.csv.ParseOptions(
            delimiter='"', quote_char=False, double_quote=False, escape_char=False
        ),
        pyarrow.csv.ConvertOptions(
            column_types=_TYPES,
            include_columns=_NEEDED,
            null_values=[],
            true_values=[":true}"],
            false_values=[":false}"],
        ),
    )
    return [each.combine_chunks() for each in read.columns]


def _whole(column: pa.Array) -> pa.Array:
    """Return the numbers in fields such as ``:123,``.

    Raises:
        pyarrow.ArrowInvalid: one of them is not a whole number as JSON has it.
    """
    if pc.any(pc.match_substring_regex(column, "^:0[0-9]")).as_py():
        raise pa.ArrowInvalid("a whole number with a leading zero")
    return pc.ascii_trim(column, ":,").cast(pa.int64())


def _size(column: pa.Array) -> int:
    """Return the length of all texts of a column, in bytes."""
    return int(pc.sum(pc.binary_length(column)).as_py())
