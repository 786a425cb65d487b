"""Files of candles and trades, read by DuckDB and compared with the oracle."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import duckdb
import pyarrow.parquet
import pytest
from backfill.files import trades_of_day
from buckets import bucket_url
from docs.pages import Block, blocks
from pyarrow.fs import FileSystem
from replication.memory import MemorySite

from mcloud.archive.compact import compact
from mcloud.clouds.ports import Site
from mcloud.errors import McloudError, UsageError
from mcloud.export import partitions
from mcloud.export.destinations import Destination, FileFormat
from mcloud.local.state import State
from mcloud.market.archive import HOUR, pack
from mcloud.market.candle import by_minute, fold
from mcloud.market.trade import Trade
from mcloud.rehearsal import oracle
from mcloud.replication.hour_digest import ALL_TIME, HourWindow

SYMBOL = "BTCUSDT"
FIRST = date(2024, 7, 30)
TRADES = [
    trade for n in range(4) for trade in trades_of_day(FIRST + timedelta(n), 99_000 + 700 * n, 700)
]


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def made(trades: list[Trade]) -> MemorySite:
    site = MemorySite("aws")
    for item in pack(trades):
        site.archive.put(item)
    for (symbol, start), group in by_minute(trades).items():
        site.candles.update(symbol, start, lambda held, new=tuple(group): fold(held, new))
    return site


def exported(
    site: MemorySite, folder: Path, what: str, format_: FileFormat, window: HourWindow = ALL_TIME
) -> list[str]:
    """Export to a folder, and return what was reported."""
    problems: list[str] = []
    destination = Destination(str(folder), format_)
    it = cast(Site, site)
    if what == "trades":
        found = partitions.trades(it, SYMBOL, window, problems.append)
    else:
        found = partitions.candles(it, SYMBOL, what, window, problems.append)
    for each in found:
        destination.write(each)
    return problems


def rows(folder: Path, format_: FileFormat, order: str) -> list[dict[str, Any]]:
    """Return what DuckDB reads from all files."""
    table = (
        f"read_parquet('{folder}/**/*.parquet')"
        if format_ == "parquet"
        else f"read_csv('{folder}/**/*.csv', all_varchar=true)"
    )
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone='UTC'")
        answer = connection.execute(f"SELECT * FROM {table} ORDER BY {order}")
        names = [each[0] for each in answer.description or ()]
        return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]


@pytest.mark.parametrize("interval", ["1m", "1h", "1d"])
def test_candles_are_those_of_the_oracle(tmp_path: Path, interval: str) -> None:
    assert exported(made(TRADES), tmp_path, interval, "parquet") == []
    width = {"1m": 60_000, "1h": HOUR, "1d": 24 * HOUR}[interval]
    expected = oracle.candles(TRADES, width)
    found = rows(tmp_path, "parquet", "timestamp")
    assert len(found) == len(expected)
    for row, candle in zip(found, expected.values(), strict=True):
        assert (row["symbol"], row["interval"]) == (SYMBOL, interval)
        assert row["timestamp"].timestamp() * 1000 == candle.start
        assert row["month"] == f"{row['timestamp']:%Y-%m}"
        for name in ("open", "high", "low", "close", "volume", "quote_volume"):
            assert isinstance(row[name], Decimal)
            assert row[name] == getattr(candle, name)
        for name in ("trade_count", "first_id", "last_id"):
            assert row[name] == getattr(candle, name)


@pytest.mark.parametrize("format_", ["parquet", "csv"])
@pytest.mark.parametrize("is_compacted", [False, True])
def test_trades_are_those_of_the_archive(
    tmp_path: Path, format_: FileFormat, is_compacted: bool
) -> None:
    site = made([*TRADES, Trade.void(SYMBOL, TRADES[-1].id + 1, TRADES[-1].time)])
    if is_compacted:
        compact(cast(Any, site.archive))
        assert all("/block" in key for key in site.archive.objects)
    assert exported(site, tmp_path, "trades", format_) == []
    days = sorted(path.name for path in (tmp_path / "trades" / f"symbol={SYMBOL}").iterdir())
    assert days == [f"date={FIRST + timedelta(n)}" for n in range(4)]
    found = rows(tmp_path, format_, "id::BIGINT")
    assert [(int(row["id"]), Decimal(row["price"]), Decimal(row["quantity"])) for row in found] == [
        (each.id, each.price, each.quantity) for each in TRADES
    ]
    if format_ == "parquet":
        times = [(row["timestamp"].timestamp() * 1000, row["buyer_is_maker"]) for row in found]
        assert times == [(each.time, each.buyer_is_maker) for each in TRADES]
    else:
        assert {row["timestamp"][-5:] for row in found} <= {f".{n:03}Z" for n in range(1000)}


def test_a_range_is_extended_to_whole_months_or_days(tmp_path: Path) -> None:
    site = made(TRADES)
    window = HourWindow(ms("2024-07-31T05:00"), ms("2024-07-31T06:00"))
    exported(site, tmp_path / "candles", "1m", "parquet", window)
    assert {row["month"] for row in rows(tmp_path / "candles", "parquet", "timestamp")} == {
        "2024-07"
    }
    exported(site, tmp_path / "trades", "trades", "parquet", window)
    found = rows(tmp_path / "trades", "parquet", "id")
    assert len(found) == 700
    assert {str(row["date"]) for row in found} == {"2024-07-31"}


def test_trades_that_compaction_moves_meanwhile_are_found(tmp_path: Path) -> None:
    site = made(TRADES)
    read = site.archive.get
    calls = 0

    def get(key: str) -> bytes:
        nonlocal calls
        calls += 1
        if calls == 5:
            compact(cast(Any, site.archive))
        return read(key)

    site.archive.get = get  # type: ignore[method-assign]
    assert exported(site, tmp_path, "trades", "parquet") == []
    assert [row["id"] for row in rows(tmp_path, "parquet", "id")] == [each.id for each in TRADES]


def test_damage_and_contradictions_are_named(tmp_path: Path) -> None:
    site = made([*TRADES, TRADES[0]._replace(price=Decimal(1))])
    key = sorted(site.archive.objects)[-1]
    site.archive.objects[key] = b"damaged"
    problems = exported(site, tmp_path, "trades", "parquet")
    assert problems == [
        f"{SYMBOL} {FIRST}: 1 ids have two contents, and both are exported",
        f"{key} is damaged, and is left out",
    ]


def test_a_file_that_exists_is_replaced_whole(tmp_path: Path) -> None:
    exported(made(TRADES[:100]), tmp_path, "1m", "parquet")
    (path,) = tmp_path.rglob("*.parquet")
    before = path.read_bytes()
    exported(made(TRADES), tmp_path, "1m", "parquet")
    assert path.read_bytes() != before
    assert len(rows(tmp_path, "parquet", "timestamp")) == len(oracle.candles(TRADES))
    assert not list(tmp_path.rglob(".data*"))


def test_a_number_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    small = Decimal("0.000000000001")
    wide = [TRADES[0]._replace(price=small, quantity=small)]
    with pytest.raises(McloudError, match="too many digits"):
        exported(made(wide), tmp_path, "1m", "parquet")


@pytest.mark.parametrize("block", blocks("sql"), ids=lambda block: block.where)
def test_the_queries_of_the_guide_work(
    tmp_path: Path, block: Block, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = made(TRADES)
    exported(site, tmp_path / "lake", "1m", "parquet")
    exported(site, tmp_path / "lake", "trades", "parquet")
    monkeypatch.chdir(tmp_path)
    with duckdb.connect() as connection:
        found = connection.execute(block.text).fetchall()
    assert found
    assert all(None not in row for row in found)


@pytest.mark.parametrize("where", ["ftp://example.com/x", "https://example.com/x", ""])
def test_another_place_is_a_usage_error(where: str) -> None:
    with pytest.raises(UsageError, match="--out"):
        Destination(where, "csv")


def test_a_folder_that_cannot_be_made_is_named() -> None:
    site = made(TRADES[:1])
    with pytest.raises(McloudError, match=r"/proc/none.* cannot be written") as caught:
        exported(site, Path("/proc/none"), "trades", "csv")
    assert caught.value.remedy


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_files_are_written_to_a_bucket(
    embedded: State, cloud: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = bucket_url(embedded, cloud, "exported", monkeypatch)
    files, _ = FileSystem.from_uri(url)
    destination = Destination(url, "parquet")
    for each in partitions.candles(cast(Site, made(TRADES)), SYMBOL, "1h", ALL_TIME, pytest.fail):
        path = destination.write(each)
        with files.open_input_file(path) as file:
            assert pyarrow.parquet.read_table(file).equals(each.table)
