"""``mcloud backfill`` on the embedded clouds, beside a live producer, from the local exchange."""

import json
import signal
import time
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from backfill.files import midnight, publish, trades_of_day
from cli.conftest import Terminal

from mcloud.clouds.factory import open_site
from mcloud.clouds.ports import Site
from mcloud.local.exchange.thread import LocalExchange
from mcloud.local.state import State
from mcloud.market.trade import Trade
from mcloud.rehearsal.demo import archived_ids, stored_rows
from mcloud.rehearsal.oracle import expected_rows

pytestmark = pytest.mark.slow

PATIENCE = 120.0


@pytest.fixture
def terminal(tmp_path: Path, embedded: State) -> Terminal:
    return Terminal(tmp_path, Path(embedded.options["home"]).parent)


def sites(state: State) -> dict[str, Site]:
    return {name: open_site(name, each) for name, each in state.resources().items()}


def check(state: State, trades: list[Trade]) -> None:
    """Compare both sites with the trades."""
    symbols = sorted({trade.symbol for trade in trades})
    for site in sites(state).values():
        assert stored_rows(site, symbols) == expected_rows(trades)
        assert archived_ids(site, symbols) == {(trade.symbol, trade.id) for trade in trades}


def market(symbol: str) -> list[Trade]:
    """Return trades of yesterday and today: dense ids, up to a minute from now."""
    today = datetime.now(UTC).date()
    yesterday = trades_of_day(today - timedelta(1), 199_000, 3_000, symbol)
    now = int(time.time() * 1000)
    start = midnight(today)
    earlier = [
        Trade(symbol, 202_000 + n, Decimal(100 + n % 50), Decimal("0.5"), at, n % 2 == 0)
        for n, at in enumerate(range(start, now, max(1, (now - start) // 900)))
    ]
    first = earlier[-1].id + 1
    live = [
        Trade(symbol, first + n, Decimal(200 + n % 7), Decimal("0.25"), now + 50 * n, n % 2 == 1)
        for n in range(200)
    ]
    return [*yesterday, *earlier, *live]


def test_a_past_day_is_joined_to_the_live_trades(embedded: State, terminal: Terminal) -> None:
    symbol = "BFAUSDT"
    trades = market(symbol)
    past = (trades[-200].time - trades[0].time) / 1000
    with LocalExchange(trades, speed=1.0, history=past, symbols=[symbol]) as exchange:
        (terminal.folder / "mcloud.toml").write_text(
            f'[exchange]\nws_url = "{exchange.ws_url}"\nrest_url = "{exchange.rest_url}"\n'
        )
        producer = terminal.start("produce", "--symbols", symbol)
        try:
            assert exchange.wait_finished(PATIENCE)
            yesterday = str(date.fromtimestamp(trades[0].time / 1000))
            done = terminal.run(
                *("backfill", symbol, "--start", yesterday, "--files", exchange.rest_url),
                *("--yes", "-o", "json"),
            )
            report = json.loads(done.stdout)
            assert (done.returncode, report["problems"]) == (0, []), done.stderr
            assert report["verified"]
        finally:
            producer.send_signal(signal.SIGINT)
            _, errors = producer.communicate(timeout=PATIENCE)
        assert producer.returncode == 130, errors
        assert (report["files_loaded"], report["trades"]) == (1, 3_000)
        assert report["fetched"] >= len(trades) - 3_000 - 200
    done = terminal.run("verify", "--symbols", symbol)
    assert done.returncode == 0, done.stdout
    check(embedded, trades)


DAYS = [date(2024, 8, 1) + timedelta(n) for n in range(6)]


def six_days(folder: Path, symbol: str) -> list[Trade]:
    """Publish six days of files, and return their trades."""
    trades = []
    for n, day in enumerate(DAYS):
        trades += trades_of_day(day, 1_000 + 2_880 * n, 2_880, symbol)
        publish(folder, f"{symbol}-trades-{day}", trades[-2_880:])
    return trades


@pytest.mark.parametrize(
    ("how", "symbol"), [(signal.SIGKILL, "BFBUSDT"), (signal.SIGINT, "BFCUSDT")]
)
def test_an_interrupted_run_is_continued(
    embedded: State, terminal: Terminal, tmp_path: Path, how: signal.Signals, symbol: str
) -> None:
    trades = six_days(tmp_path / "public", symbol)
    arguments = ("backfill", symbol, "--start", DAYS[0], "--end", DAYS[-1])
    arguments += ("--files", tmp_path / "public", "--yes", "-o", "json")
    for delay in (1.5, 2.5, 3.5):
        running = terminal.start(*arguments)
        time.sleep(delay)
        running.send_signal(how)
        _, errors = running.communicate(timeout=PATIENCE)
        assert "Traceback" not in errors
        if how == signal.SIGINT and running.returncode:
            assert running.returncode == 130, errors
    done = terminal.run(*arguments)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["files"] + report["loaded_before"] == len(DAYS)
    check(embedded, trades)


def test_what_is_wrong_is_said_in_one_line_each(terminal: Terminal, tmp_path: Path) -> None:
    six_days(tmp_path / "public", "BFDUSDT")
    changed = tmp_path / "public" / f"BFDUSDT-trades-{DAYS[1]}.zip"
    changed.write_bytes(changed.read_bytes() + b"!")
    end = DAYS[-1] + timedelta(2)
    done = terminal.run(
        *("backfill", "BFDUSDT", "--start", DAYS[0], "--end", end),
        *("--files", tmp_path / "public", "--to", "aws", "--yes"),
    )
    assert done.returncode == 3
    lines = done.stderr.splitlines()
    assert sum("does not have its published checksum" in each for each in lines) == 1
    assert "warning: BFDUSDT: there is no file of 2024-08-07 to 2024-08-08 (2 days)" in lines, (
        done.stderr
    )


def test_nothing_is_verified_if_nothing_is_loaded(terminal: Terminal, tmp_path: Path) -> None:
    six_days(tmp_path / "public", "BFEUSDT")
    for path in (tmp_path / "public").glob("*.CHECKSUM"):
        path.write_text(f"{'0' * 64}\n")
    arguments = ("backfill", "BFEUSDT", "--start", DAYS[0], "--end", DAYS[1])
    arguments += ("--files", tmp_path / "public", "--yes", "-o", "json")
    done = terminal.run(*arguments)
    assert (done.returncode, json.loads(done.stdout)["verified"]) == (3, None)
    assert "no file was loaded, so there is nothing to verify" in done.stderr


def test_a_silent_server_is_reported_once(terminal: Terminal) -> None:
    done = terminal.run(
        *("backfill", "BFFUSDT", "--start", "2024-08-01", "--end", "2024-08-09"),
        *("--files", "http://127.0.0.1:1", "--yes"),
    )
    assert done.returncode == 3
    assert done.stderr.count("warning") == 1, done.stderr
    assert (
        "warning: BFFUSDT-trades-2024-08-01 and 8 more files: http://127.0.0.1:1 does not answer"
        in done.stderr
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--start", "yesterday"), "invalid day 'yesterday' for --start"),
        (("--start", "2024-08-02", "--end", "2024-08-01"), "--end must not be before --start"),
        (("--start", "2099-08-02"), "--start 2099-08-02 is in the future"),
        (("--start", "2024-08-02", "--end", "9999-12-31"), "--end 9999-12-31 is in the future"),
        (("--start", "0001-01-01"), "before the first trade of Binance; use 2017-07-14 or later"),
        (("--start", "2024-08-02", "--files", "ftp://x"), "--files cannot read ftp://"),
        (("--start", "2024-08-02", "--source", "book"), "unknown source 'book'"),
        (("--start", "2024-08-02", "--to", "azure"), "unknown site 'azure'"),
    ],
)
def test_bad_arguments(terminal: Terminal, arguments: tuple[str, ...], said: str) -> None:
    done = terminal.run("backfill", "BTCUSDT", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
