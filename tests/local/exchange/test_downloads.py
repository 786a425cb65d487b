"""The daily and monthly files of the local exchange, read as those of Binance are."""

import hashlib
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from mcloud import http
from mcloud.feed.replay import open_replay
from mcloud.http import HttpAnswer, HttpLimit
from mcloud.local.exchange.thread import LocalExchange
from mcloud.market.trade import Trade, aggregates_of

LARGE = HttpLimit(64 * 1024**2, 30.0)
DAY = 86_400_000


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def days(symbol: str, first: str, count: int) -> list[Trade]:
    """Return trades of some whole days, 200 a day, in groups of two that share a price."""
    return [
        Trade(
            symbol,
            100 + number,
            Decimal(61_837 + number // 2) / 100,
            Decimal(1 + number % 7) / 1000,
            ms(first) + number // 2 * (DAY // 100),
            number // 2 % 2 == 0,
        )
        for number in range(count * 200)
    ]


def get(exchange: LocalExchange, path: str, **headers: str) -> HttpAnswer:
    return http.ask("GET", f"{exchange.rest_url}/data/{path}", LARGE, headers=headers)


def read(answer: HttpAnswer, path: Path) -> list[Trade]:
    assert answer.status == 200, answer
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(answer.body)
    return list(open_replay(path))


@pytest.mark.parametrize(
    ("symbol", "folder", "first"),
    [
        ("BTCUSDT", "spot", "2024-08-08"),
        ("BTCUSDT", "spot", "2025-01-01"),  # times in microseconds
        ("BTCUSDT.um", "futures/um", "2024-08-08"),
        ("BTCUSD_PERP.cm", "futures/cm", "2024-08-08"),
    ],
)
def test_a_file_has_the_trades_of_its_day(
    tmp_path: Path, symbol: str, folder: str, first: str
) -> None:
    trades = days(symbol, first, 2)
    name = symbol.partition(".")[0]
    with LocalExchange(trades, history=3 * 86_400.0, wait_for=0) as exchange:
        exchange.wait_finished(30)
        path = f"{folder}/daily/trades/{name}/{name}-trades-{first}.zip"
        found = read(get(exchange, path), tmp_path / folder / path.rpartition("/")[2])
        assert found == [each for each in trades if each.time < ms(first) + DAY]


def test_a_monthly_file_and_aggregates(tmp_path: Path) -> None:
    trades = days("BTCUSDT", "2024-02-01", 29)
    with LocalExchange(trades, history=40 * 86_400.0, wait_for=0) as exchange:
        exchange.wait_finished(30)
        whole = get(exchange, "spot/monthly/trades/BTCUSDT/BTCUSDT-trades-2024-02.zip")
        assert read(whole, tmp_path / "BTCUSDT-trades-2024-02.zip") == trades
        path = "spot/monthly/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2024-02.zip"
        found = read(get(exchange, path), tmp_path / path.rpartition("/")[2])
    assert {each.symbol for each in found} == {aggregates_of("BTCUSDT")}
    assert sum(each.quantity for each in found) == sum(
        (each.quantity for each in trades), Decimal()
    )


def test_the_checksum_is_that_of_the_file(tmp_path: Path) -> None:
    path = "spot/daily/trades/BTCUSDT/BTCUSDT-trades-2024-08-08.zip"
    with LocalExchange(days("BTCUSDT", "2024-08-08", 1), history=DAY, wait_for=0) as exchange:
        exchange.wait_finished(30)
        content = get(exchange, path).body
        digest, name = get(exchange, f"{path}.CHECKSUM").text.split()
        assert (digest, name) == (hashlib.sha256(content).hexdigest(), path.rpartition("/")[2])
        part = get(exchange, path, Range="bytes=100-199")
        assert (part.status, part.body) == (206, content[100:200])
        assert part.headers["Content-Range"] == f"bytes 100-199/{len(content)}"
        assert get(exchange, path, Range=f"bytes={len(content)}-").status == 416


def test_a_day_that_has_not_passed_has_no_file() -> None:
    trades = days("BTCUSDT", "2024-08-08", 2)
    path = "spot/daily/trades/BTCUSDT/BTCUSDT-trades-{}.zip"
    with LocalExchange(trades, speed=1.0, history=1.5 * 86_400.0) as exchange:
        assert get(exchange, path.format("2024-08-08")).status == 200
        for other in ("2024-08-09", "2024-08-07", "2024-08-32", "2024-08"):
            assert get(exchange, path.format(other)).status == 404
        month = "spot/monthly/trades/BTCUSDT/BTCUSDT-trades-2024-08.zip"
        assert get(exchange, month).status == 404
        assert (
            get(exchange, "spot/daily/trades/ETHUSDT/ETHUSDT-trades-2024-08-08.zip").status == 404
        )


def test_the_faults_of_rest_apply_to_files() -> None:
    path = "spot/daily/trades/BTCUSDT/BTCUSDT-trades-2024-08-08.zip"
    with LocalExchange(days("BTCUSDT", "2024-08-08", 1), history=DAY, wait_for=0) as exchange:
        exchange.wait_finished(30)
        exchange.fault("rest_429", count=1, seconds=7)
        answer = get(exchange, path)
        assert (answer.status, answer.retry_after) == (429, 7.0)
        assert get(exchange, path).status == 200
