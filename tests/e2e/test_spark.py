"""``mcloud backfill --engine spark`` on a real cluster of this machine, with two executors."""

import json
import subprocess
import time
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path

import psutil
import pytest
from backfill.files import publish, trades_of_day
from cli.conftest import Terminal

from mcloud.clouds.factory import open_site
from mcloud.clouds.ports import Site
from mcloud.local.state import State
from mcloud.market.archive import inflate, prefix
from mcloud.market.block import is_index_key
from mcloud.market.trade import Trade
from mcloud.rehearsal.demo import archived_ids, stored_rows
from mcloud.rehearsal.oracle import expected_rows

pytest.importorskip("pyspark", reason="PySpark is not installed: pip install '.[spark]'")
pytestmark = [pytest.mark.nightly, pytest.mark.timeout(900)]

CLUSTER = "local-cluster[2,1,1024]"
DAYS = [date(2024, 8, 1) + timedelta(n) for n in range(8)]
PATIENCE = 300.0


@pytest.fixture
def terminal(tmp_path: Path, embedded: State) -> Terminal:
    return Terminal(tmp_path, Path(embedded.options["home"]).parent)


def days(folder: Path, symbol: str) -> list[Trade]:
    """Publish some days, and return their trades."""
    trades = []
    for n, day in enumerate(DAYS):
        trades += trades_of_day(day, 98_000 + 1_440 * n, 1_440, symbol)
        publish(folder, f"{symbol}-trades-{day}", trades[-1_440:])
    return trades


def command(symbol: str, folder: Path, *more: object) -> tuple[object, ...]:
    return (
        *("backfill", symbol, "--start", DAYS[0], "--end", DAYS[-1]),
        *("--files", folder, "--yes", "-o", "json", *more),
    )


def content(site: Site, symbol: str) -> dict[str, object]:
    """Return everything that a site has of a symbol, without its name."""
    found: dict[str, object] = {
        each.timestamp: each.encode_fragments() for each in site.candles.range(symbol, 0, 2**45)
    }
    for item in site.archive.list(prefix(symbol)):
        if not is_index_key(item.key):
            text = inflate(site.archive.get(item.key))
            found[item.key.partition(symbol)[2]] = text.replace(symbol.encode(), b"")
    return found


def executors(parent: int) -> list[psutil.Process]:
    """Return the executors among the descendants of a process."""
    found = []
    for each in psutil.Process(parent).children(recursive=True):
        with suppress(psutil.Error):
            if "CoarseGrainedExecutorBackend" in " ".join(each.cmdline()):
                found.append(each)
    return found


def kill_one(running: "subprocess.Popen[str]") -> None:
    """Kill an executor that is loading a file."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and running.poll() is None:
        for each in executors(running.pid):
            if each.children():  # its Python worker: a task has begun
                each.kill()
                return
        time.sleep(0.05)
    raise AssertionError("no executor has begun a task")


def test_spark_makes_what_the_local_engine_makes_even_if_an_executor_is_killed(
    embedded: State, terminal: Terminal, tmp_path: Path
) -> None:
    days(tmp_path / "a", "SPAUSDT")
    trades = days(tmp_path / "b", "SPBUSDT")
    done = terminal.run(*command("SPAUSDT", tmp_path / "a"))
    assert done.returncode == 0, done.stderr
    running = terminal.start(
        *command("SPBUSDT", tmp_path / "b", "--engine", "spark", "--master", CLUSTER)
    )
    kill_one(running)
    said, errors = running.communicate(timeout=PATIENCE)
    assert running.returncode == 0, errors
    report = json.loads(said)
    assert (report["files_loaded"], report["trades"], report["verified"]) == (8, len(trades), True)
    for name, resources in embedded.resources().items():
        site = open_site(name, resources)
        assert stored_rows(site, ["SPBUSDT"]) == expected_rows(trades)
        assert archived_ids(site, ["SPBUSDT"]) == {(each.symbol, each.id) for each in trades}
        assert content(site, "SPBUSDT") == content(site, "SPAUSDT")


def test_what_is_wrong_is_one_line(terminal: Terminal, tmp_path: Path) -> None:
    days(tmp_path / "c", "SPCUSDT")
    wrong = tmp_path / "c" / f"SPCUSDT-trades-{DAYS[0]}.zip.CHECKSUM"
    wrong.write_text(f"{'0' * 64}  {wrong.stem}\n")
    done = terminal.run(*command("SPCUSDT", tmp_path / "c", "--engine", "spark"))
    assert done.returncode == 3
    assert "does not have its published checksum" in done.stderr
    assert "Traceback" not in done.stderr
    done = terminal.run(
        *command("SPCUSDT", tmp_path / "c", "--engine", "spark", "--master", "nonsense")
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "Spark does not start" in done.stderr
