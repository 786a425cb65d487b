"""Trades in columns, compared with DuckDB, with one trade at a time, and with themselves.

``MCLOUD_BULK_TRADES`` is the number of trades of the month whose memory is measured. The default
is 10 million; 100 million take a few minutes and 2 GB of disk.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple, TypeVar

import duckdb
import pytest

from benchmarks import months
from mcloud.bulk.columns import to_trades
from mcloud.bulk.fold import fold, join
from mcloud.bulk.read_csv import CsvFile
from mcloud.bulk.read_lines import read_lines
from mcloud.bulk.write_lines import by_block, pack_blocks, write_lines
from mcloud.feed.replay import open_replay
from mcloud.market.archive import inflate, line, parse
from mcloud.market.block import pack_block
from mcloud.market.candle import Candle, by_minute
from mcloud.market.candle import fold as fold_minute

Key = TypeVar("Key")

TRADES = 4_000_000
DAY = 24 * 3_600_000  # ms
MONTH_OF_TRADES = int(os.environ.get("MCLOUD_BULK_TRADES", 10_000_000))

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3_000)]

# The product has 16 places, and needs more than DuckDB's DECIMAL(18).
OHLCV = """
    SELECT time // 60000 AS minute, arg_min(price, id), max(price), min(price), arg_max(price, id),
        sum(quantity), sum(price::DECIMAL(38, 8) * quantity), count(*), min(id), max(id)
    FROM read_csv([{files}], header = false, columns = {{'id': 'BIGINT',
        'price': 'DECIMAL(18, 8)', 'quantity': 'DECIMAL(18, 8)', 'quote': 'VARCHAR',
        'time': 'BIGINT', 'maker': 'BOOLEAN', 'best': 'BOOLEAN'}})
    GROUP BY 1 ORDER BY 1
"""


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("days")
    names = [folder / f"BTCUSDT-trades-2024-08-0{n}.csv" for n in (1, 2)]
    return [months.write(name, TRADES, span=DAY) for name in names]


def candles(path: Path) -> list[Candle]:
    file = CsvFile(path)
    return [each.candle for each in join(file.map(partial(fold, file.symbol)))]


class Stored(NamedTuple):
    candles: list[tuple[str, str]]
    """Texts that a store keeps, because it is slow to send candles to another process."""
    seconds: float
    """Processor time."""


def stored(path: Path) -> Stored:
    begun = time.process_time()
    texts = [(each.timestamp, each.encode_fragments()) for each in candles(path)]
    return Stored(texts, time.process_time() - begun)


def of_duckdb(paths: list[Path], threads: int) -> list[tuple]:
    files = ", ".join(f"'{path}'" for path in paths)
    with duckdb.connect(config={"threads": threads}) as connection:
        return connection.execute(OHLCV.format(files=files)).fetchall()


def test_candles_of_a_file_beside_duckdb(days: list[Path]) -> None:
    path = days[0]
    ours, theirs = candles(path), of_duckdb([path], 1)
    assert [
        (
            *(each.start // 60_000, each.open, each.high, each.low, each.close),
            *(each.volume, each.quote_volume, each.trade_count, each.first_id, each.last_id),
        )
        for each in ours
    ] == theirs
    times = alternating({"columns": lambda: candles(path), "duckdb": lambda: of_duckdb([path], 1)})
    ratio = times["duckdb"] / times["columns"]
    print(
        f"\nCSV to candles with fragments, one core: {million(times['columns'])} trades/s,"
        f" {ratio:.2f} of DuckDB's plain OHLCV ({million(times['duckdb'])} trades/s)"
    )
    assert ratio >= 0.3


def test_two_files_beside_duckdb_and_beside_one_core(days: list[Path]) -> None:
    """Each core folds a file of its own. DuckDB reads both files with two threads.

    On a machine that does other work, two processes get less than two cores. The gain is therefore
    also given by the processor time of both, which only rises if they hinder each other.
    """
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:

        def two() -> list[Stored]:
            return list(pool.map(stored, days))

        def one() -> list[Stored]:
            return list(map(stored, days))

        assert [each.candles for each in two()] == [each.candles for each in one()]
        apart = min(sum(each.seconds for each in one()) for _ in range(3))
        together = min(sum(each.seconds for each in two()) for _ in range(3))
        times = alternating({"two": two, "one": one, "duckdb": lambda: of_duckdb(days, 2)})
    ratio, gain = times["duckdb"] / times["two"], times["one"] / times["two"]
    print(
        f"\ntwo files, two cores: {million(times['two'], 2 * TRADES)} trades/s, {ratio:.2f} of "
        f"DuckDB's plain OHLCV ({million(times['duckdb'], 2 * TRADES)} trades/s), "
        f"{gain:.2f} times one core, {2 * apart / together:.2f} by processor time"
    )
    assert ratio >= 0.3
    assert max(gain, 2 * apart / together) >= 1.7


def test_beside_one_trade_at_a_time(tmp_path: Path) -> None:
    path = months.write(tmp_path / "BTCUSDT-trades-2024-08-01.csv", 400_000, span=DAY // 10)

    def one_by_one() -> list[Candle]:
        groups: dict[tuple[str, int], Candle] = {}
        batch = []
        for trade in open_replay(path):
            batch.append(trade)
            if len(batch) == 20_000:
                put(groups, batch)
                batch = []
        put(groups, batch)
        return list(groups.values())

    def put(groups: dict[tuple[str, int], Candle], batch: list) -> None:
        for key, group in by_minute(batch).items():
            groups[key] = fold_minute(groups.get(key) or Candle(*key), group).candle

    assert one_by_one() == candles(path)
    times = alternating({"one by one": one_by_one, "columns": lambda: candles(path)}, rounds=3)
    ratio = times["one by one"] / times["columns"]
    print(f"\nCSV to candles, one thread: {ratio:.1f} times one trade at a time")
    assert ratio >= 10


def test_lines_and_blocks_beside_one_trade_at_a_time(days: list[Path]) -> None:
    file = CsvFile(days[0])
    (_, (_, batch), *_) = by_block(file.symbol, zip_first(file, 8))
    trades = to_trades(file.symbol, batch)
    text = write_lines(file.symbol, batch)
    packed = pack_block(trades)
    assert [each.item for each in pack_blocks(file.symbol, batch)] == [packed]
    assert inflate(packed.body) == text
    assert read_lines(file.symbol, text) == batch
    times = alternating(
        {
            "read": lambda: read_lines(file.symbol, text),
            "parse": lambda: parse(text),
            "write": lambda: write_lines(file.symbol, batch),
            "line": lambda: "".join(map(line, trades)).encode(),
            "pack": lambda: pack_blocks(file.symbol, batch),
            "pack_block": lambda: pack_block(trades),
            "pack, level 1": lambda: pack_blocks(file.symbol, batch, level=1),
        },
        rounds=3,
    )
    rows = batch.num_rows
    print(
        f"\nlines to columns: {times['parse'] / times['read']:.1f} times market.archive.parse, "
        f"{million(times['read'], rows)} trades/s"
        f"\ncolumns to lines: {times['line'] / times['write']:.1f} times market.archive.line, "
        f"{million(times['write'], rows)} trades/s"
        f"\na block: {times['pack_block'] / times['pack']:.1f} times market.block.pack_block, "
        f"{million(times['pack'], rows)} trades/s with zlib's level 6, "
        f"{million(times['pack, level 1'], rows)} with level 1"
    )
    assert times["parse"] / times["read"] >= 5
    assert times["line"] / times["write"] >= 1.5
    assert times["pack_block"] / times["pack"] >= 1


FOLD = """
import re, sys
from functools import partial
from pathlib import Path
from mcloud.bulk.fold import fold, join
from mcloud.bulk.read_csv import CsvFile

path, threads, rounds = sys.argv[1:]
for _ in range(int(rounds)):
    file = CsvFile(Path(path))
    candles = sum(1 for _ in join(file.map(partial(fold, file.symbol), int(threads))))
    assert file.report.complete
# ru_maxrss may be that of the parent.
(peak,) = re.findall(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print(candles, file.report.trades, peak)
"""


def test_memory_of_a_month(tmp_path: Path) -> None:
    path = months.write(tmp_path / "BTCUSDT-trades-2024-08.csv.gz", MONTH_OF_TRADES)
    begun = time.perf_counter()
    printed = subprocess.check_output([sys.executable, "-c", FOLD, str(path), "2", "1"], text=True)
    taken = time.perf_counter() - begun
    minutes, trades, kibibytes = map(int, printed.split())
    print(
        f"\n{trades:,} trades of a month, gzip, two threads: {kibibytes / 1024:,.0f} MiB at most, "
        f"{million(taken, trades)} trades/s"
    )
    assert (minutes, trades) == (31 * 24 * 60, MONTH_OF_TRADES)
    assert kibibytes <= 512 * 1024


def zip_first(file: CsvFile, count: int) -> list:
    return [batch for batch, _ in zip(file, range(count), strict=False)]


def million(seconds: float, trades: int = TRADES) -> str:
    return f"{trades / seconds / 1e6:.2f} M"


def alternating(runs: Mapping[Key, Callable[[], object]], rounds: int = 5) -> dict[Key, float]:
    """Return the seconds of the fastest round of each. They alternate, so that load affects all."""
    times: dict[Key, list[float]] = {key: [] for key in runs}
    for _ in range(rounds):
        for key, run in runs.items():
            begun = time.perf_counter()
            run()
            times[key].append(time.perf_counter() - begun)
    return {key: min(each) for key, each in times.items()}
