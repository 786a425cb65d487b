"""``verify --deep`` of a busy symbol's hours at two sites in memory: in columns, and one by one."""

import time
from functools import partial
from pathlib import Path

import pytest
from replication.memory import MemorySite

from benchmarks import months
from mcloud.archive import blocks
from mcloud.bulk.fold import fold, join
from mcloud.bulk.read_csv import CsvFile
from mcloud.bulk.write_lines import by_block, pack_blocks
from mcloud.clouds.cache import Cache
from mcloud.replication.raw_columns import InColumns
from mcloud.replication.raw_trades import OneByOne, RawReader
from mcloud.replication.scope import Scope
from mcloud.replication.verify import verify

TRADES = 400_000
SPAN = 4 * 3_600_000  # ms

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1_800)]


def test_verify_deep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = months.write(tmp_path / "BTCUSDT-trades-2024-08-01.csv", TRADES, span=SPAN)
    sites = {"aws": MemorySite("aws"), "gcp": MemorySite("gcp")}
    file = CsvFile(path)
    for _, batch in by_block(file.symbol, file):
        for block in pack_blocks(file.symbol, batch, level=1):
            for site in sites.values():
                site.archive.put(block.item)
    for folded in join(file.map(partial(fold, file.symbol))):
        for site in sites.values():
            site.candles.create([folded.candle])

    def seconds(reader: RawReader) -> float:
        monkeypatch.setattr("mcloud.replication.verify.raw_reader", lambda: reader)
        for cache in ("_blocks", "_entries", "_indexes"):  # no round finds what another has read
            monkeypatch.setattr(blocks, cache, Cache(blocks.REMEMBERED))
        begun = time.perf_counter()
        report = verify(sites, Scope(), deep=True)
        assert report.findings == ()
        assert {tally.trades for tally in report.sites.values()} == {TRADES}
        return time.perf_counter() - begun

    times = [(seconds(OneByOne()), seconds(InColumns())) for _ in range(3)]
    one, columns = (min(each) for each in zip(*times, strict=True))
    print(
        f"\nverify --deep of {TRADES:,} trades: {columns:.2f} s in columns, "
        f"{one:.2f} s one by one, {one / columns:.1f} times"
    )
    assert one / columns >= 5
