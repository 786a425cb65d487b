"""Binance's CSV files of trades and aggregate trades, in columns.

The trades of a file, and the report about its other lines, are those of ``feed.open_replay``. A
file is read in chunks. Arrow parses a chunk if a look at its bytes shows that Arrow and
``feed.csv_dump`` cannot understand it differently. (Arrow also accepts `` 1``, ``+1``, ``0x1``,
``.5``, ``12E3`` and any number of zeros.) Otherwise Arrow gets the lines of the chunk that match a
pattern, and ``csv_dump`` the others.
"""

import re
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.csv

from mcloud.bulk import digits
from mcloud.bulk.columns import (
    NUMBER,
    SCHEMA,
    Integers,
    from_arrays,
    from_trades,
    from_units,
    has_zero,
    integers,
)
from mcloud.bulk.digits import usual_rows
from mcloud.bulk.plain import count_line_feeds, numbers_are_plain
from mcloud.feed.csv_dump import Table
from mcloud.feed.feed import EXAMPLES, BadLine, FeedReport
from mcloud.feed.json_lines import MIN_TIME
from mcloud.feed.lines import Chunk, Lines
from mcloud.feed.replay import CsvContent, csv_content, decode
from mcloud.market.trade import MAX_TIME, BadTrade, Trade

CHUNK = 4 << 20
"""Bytes of text in a batch: about 50,000 trades."""

Item = TypeVar("Item")
Result = TypeVar("Result")

_TRUE, _FALSE = ["true", "True", "TRUE"], ["false", "False", "FALSE"]


class _Parsed(NamedTuple):
    batch: pa.RecordBatch
    bad: int
    examples: list[BadLine]


class CsvFile:
    """The trades of a CSV file, as batches in the order of the file.

    Each iteration starts from the beginning; ``report`` describes the newest one.

    Example:
        file = CsvFile(Path("BTCUSDT-trades-2024-08-08.zip"))
        for batch in file: ...
        print(file.symbol, file.report)
    """

    def __init__(
        self,
        path: Path,
        symbols: Collection[str] | None = None,
        market: str | None = None,
        *,
        chunk: int | None = None,
    ) -> None:
        """Look at the first lines of a file: plain, gzip (of any number of members) or zip.

        Args:
            path: the file.
            symbols: as in ``feed.open_replay``: one of them must be that of the file.
            market: the market of the file, one of ``trade.MARKETS``; None for any.
            chunk: bytes of text in a batch, more than 1 MiB; None for ``CHUNK``.

        Raises:
            UsageError: as ``feed.open_replay``, or the file is not CSV.
        """
        self.path = path
        self._content = csv_content(path, symbols, market)
        self.symbol = self._content.symbol
        self._chunk = chunk or CHUNK
        self._start()

    @property
    def report(self) -> FeedReport:
        """Description of the lines that were read so far; see ``Replay.report``."""
        return FeedReport(
            trades=self._trades,
            bad=self._bad,
            bad_examples=tuple(self._examples),
            truncated=self._lines.truncated,
            absent=tuple(
                each
                for each in self._content.wanted or ()
                if not (self._trades and each == self.symbol)
            ),
            done=1.0 if self._ended else self._lines.share,
        )

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self.map(lambda batch: batch)

    def map(
        self, function: Callable[[pa.RecordBatch], Result], threads: int = 1
    ) -> Iterator[Result]:
        """Yield ``function(batch)`` for each batch, in the order of the file.

        Parsing and the function run in ``threads`` threads. A part of the parsing keeps the lock of
        the interpreter, so threads pay off where the function compresses or waits. To parse and
        fold on several cores, give each process a file.
        """
        self._start()
        work = partial(self._work, function)
        chunks = self._lines.chunks(self._chunk, count_line_feeds)
        for parsed, results in _mapped(work, chunks, threads):
            self._trades += parsed.batch.num_rows
            self._bad += parsed.bad
            self._examples += parsed.examples[: EXAMPLES - len(self._examples)]
            yield from results
        self._ended = True

    def _start(self) -> None:
        self._lines = Lines(self.path)
        self._trades: int = 0
        self._bad: int = 0
        self._examples: list[BadLine] = []
        self._ended = False

    def _work(
        self, function: Callable[[pa.RecordBatch], Result], chunk: Chunk
    ) -> tuple[_Parsed, list[Result]]:
        parsed = _parse(self._content, chunk)
        return parsed, [function(parsed.batch)] if parsed.batch.num_rows else []


def _mapped(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Iterator[Result]:
    """Yield ``function(item)`` for each item, in order, with few items at once in memory."""
    if threads == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(threads, "columns") as pool:
        pending: deque[Future[Result]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _parse(content: CsvContent, chunk: Chunk) -> _Parsed:
    text = chunk.text
    if content.header and text.startswith(content.header):
        line, _, others = text.partition(b"\n")
        text = others if line.rstrip(b"\r") == content.header else text
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n")
    batch = _usual(content.table, text)
    if batch is not None:
        return _Parsed(batch, 0, [])
    if _is_unambiguous(text):
        batch = _read(content.table, text)
        if batch is not None:
            return _Parsed(batch, 0, [])
    return _parse_lines(content, chunk)


def _usual(table: Table, text: bytes) -> pa.RecordBatch | None:
    """Return the rows of a text if it is as Binance writes it."""
    if not text.isascii():
        return None
    rows = usual_rows(text, table.columns, table.time_column)
    if rows is None or not rows.price.all():
        return None
    milliseconds = _milliseconds(rows.times)
    if milliseconds is None:
        return None
    price, quantity = (from_units(each, digits.PLACES) for each in (rows.price, rows.quantity))
    return from_arrays(rows.ids, price, quantity, milliseconds, pa.array(rows.makers))


def _is_unambiguous(text: bytes) -> bool:
    """Return whether Arrow reads the fields of a text as ``csv_dump`` does, or not at all."""
    # Arrow ignores spaces and tabs around a number, and a lone carriage return ends a line.
    refused = b" ", b"\t", b"\r", b"+", b"-", b"E", b"x", b"X", b"\0"
    if not text.isascii() or any(sign in text for sign in refused):
        return False
    return numbers_are_plain(text)


def _read(table: Table, text: bytes) -> pa.RecordBatch | None:
    """Return the rows of a text, or None if Arrow cannot read one of them, or one is no trade."""
    names, types = _columns(table)
    try:
        read = pyarrow.csv.read_csv(
            pa.BufferReader(text),
            pyarrow.csv.ReadOptions(
                use_threads=False, block_size=len(text) + 1, column_names=names
            ),
            pyarrow.csv.ParseOptions(quote_char=False, double_quote=False, escape_char=False),
            pyarrow.csv.ConvertOptions(
                column_types=types,
                include_columns=SCHEMA.names,
                null_values=[],
                true_values=_TRUE,
                false_values=_FALSE,
            ),
        )
    except pa.ArrowInvalid:
        return None
    ids, price, quantity, times, makers = (each.combine_chunks() for each in read.columns)
    try:
        # Arrow reads numbers twice as fast from strings as from a file.
        prices, quantities = price.cast(NUMBER), quantity.cast(NUMBER)
    except pa.ArrowInvalid:
        return None
    milliseconds = _milliseconds(integers(times))
    if milliseconds is None or has_zero(prices):
        return None
    return from_arrays(integers(ids), prices, quantities, milliseconds, makers)


def _columns(table: Table) -> tuple[list[str], dict[str, pa.DataType]]:
    """Return the names of the columns, those that are needed as in the schema, and their types."""
    names = ["id", "price", "quantity", *(f"unused {n}" for n in range(3, table.columns))]
    names[table.time_column : table.time_column + 2] = "time", "maker"
    types = {field.name: field.type for field in SCHEMA}
    return names, types | {"price": pa.string(), "quantity": pa.string()}


def _milliseconds(times: Integers) -> Integers | None:
    """Return times in ms, or None if one is not of a trade."""
    if len(times) and times.max() > MAX_TIME:
        times = np.where(times > MAX_TIME, times // 1000, times)
    if len(times) and (times.min() < MIN_TIME or times.max() > MAX_TIME):
        return None
    return times


def _parse_lines(content: CsvContent, chunk: Chunk) -> _Parsed:
    """Parse the lines that Arrow cannot be given one by one, and the others together."""
    pattern = _pattern(content.table)
    plain: list[bytes] = []
    order: list[int] = []
    trades: list[Trade] = []
    places: list[int] = []
    bad: list[BadLine] = []
    for number, line in enumerate(chunk.text.split(b"\n")):
        line = line.rstrip(b"\r")
        if not line or line == content.header:
            continue
        if pattern.fullmatch(line):
            plain.append(line)
            order.append(number)
            continue
        try:
            trades.append(content.table.parse(content.symbol, decode(line)))
            places.append(number)
        except BadTrade as error:
            bad.append(BadLine(chunk.number + number, str(error)))
    if chunk.is_cut:
        bad = []  # the part of a line before the damage, which is reported as damage
    batch = from_trades(trades)
    if plain:
        read = _read(content.table, b"\n".join(plain))
        if read is None:
            raise AssertionError("Arrow refuses a line that matches the pattern")
        both = pa.Table.from_batches([read, batch]).combine_chunks().to_batches()[0]
        batch = both.take(pa.array(np.argsort([*order, *places])))
    return _Parsed(batch, len(bad), bad[:EXAMPLES])


@cache
def _pattern(table: Table) -> re.Pattern[bytes]:
    """Return a pattern of lines that Arrow reads as ``csv_dump`` does."""
    number = rb"[0-9]{1,16}(?:\.[0-9]{1,12})?"
    unused = rb"[!-+\--~]*"
    columns = [unused] * table.columns
    columns[:3] = rb"[0-9]{1,18}", rb"(?=[0-9.]*[1-9])" + number, number
    # from the year 2011 on, in ms or microseconds
    time = table.time_column
    columns[time] = rb"(?:1[3-9]|[2-9][0-9])[0-9]{11}(?:[0-9]{3})?"
    columns[time + 1] = b"|".join(each.encode() for each in (*_TRUE, *_FALSE))
    columns[time + 1] = rb"(?:" + columns[time + 1] + rb")"
    return re.compile(b",".join(columns))
