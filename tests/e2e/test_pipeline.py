"""Trades go in at one end, pass the real functions, and are checked at the other end.

The oracle checks the data, which is read directly with the SDKs.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import psutil
import pytest
from patience import eventually

from mcloud.clouds.aws.client import make_client
from mcloud.clouds.factory import open_site
from mcloud.clouds.gcp.client import make_firestore
from mcloud.clouds.ports import Site
from mcloud.feed.replay import open_replay
from mcloud.feed.simulate import Simulate
from mcloud.local import children, control
from mcloud.local.children import MARK
from mcloud.local.state import State
from mcloud.local.supervisor import Options
from mcloud.market.trade import Trade
from mcloud.rehearsal import demo as demo
from mcloud.rehearsal.oracle import Row, expected_rows, plain

Reading = Callable[[State, list[str]], list[Row]]
START = 1_735_775_880_000  # 2025-01-01T23:58:00Z


def test_recorded_trades_become_exact_candles(embedded: State, recordings: Path) -> None:
    # The test has its own symbols, since all tests share the sites.
    files = {
        "PIPEBTCUSDT": (recordings / "spot-btcusdt-trades-20240808.jsonl.gz", 9_757),
        "PIPEETHUSDT": (recordings / "spot-ethusdt-trades-20240808.jsonl.gz", 6_106),
    }
    trades: list[Trade] = []
    for symbol, (path, count) in files.items():
        recorded = [trade._replace(symbol=symbol) for trade in open_replay(path)]
        assert len(recorded) == count
        trades += recorded
    sites = open_sites(embedded)
    queues = {name: site.queue for name, site in sites.items()}
    # Two producers run at once, one later than the other, so everything arrives twice.
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(demo.deliver, trades, queues, batch=size) for size in (700, 300)]
        assert all(each.result().complete for each in runs)
    expected = expected_rows(trades)
    for read in (read_dynamodb, read_firestore):
        eventually(lambda read=read: read(embedded, list(files)) == expected)
    ids = {(trade.symbol, trade.id) for trade in trades}
    for site in sites.values():
        eventually(lambda site=site: demo.archived_ids(site, files) == ids, pause=0.5)


@pytest.mark.slow
def test_functions_killed_in_mid_stream_lose_nothing(tmp_path: Path) -> None:
    home = tmp_path / "local"
    state = control.up(Options(str(home), *children.free_ports(4), owner=os.getpid()))
    try:
        trades = list(Simulate(["BTCUSDT"], seed=5, start_time=START, count=20_000))
        sites = open_sites(state)
        queues = {name: site.queue for name, site in sites.items()}
        # In parts, since a message whose every delivery fails becomes a dead letter.
        for end in (10_000, 20_000):
            with ThreadPoolExecutor(3) as pool:
                killers = [
                    pool.submit(kill_in_mid_stream, home, worker, partial(read, state, ["BTCUSDT"]))
                    for worker, read in WORKERS.items()
                ]
                delivery = demo.deliver(trades[end - 10_000 : end], queues, batch=100)
                assert delivery.complete
                assert all(killer.result() for killer in killers)
            expected = expected_rows(trades[:end])
            for read in WORKERS.values():
                eventually(partial(has_rows, read, state, expected), pause=0.2)
        for site in sites.values():
            assert site.queue.dead_letter_depth().ready == 0
    finally:
        control.down(home)


@pytest.mark.slow
def test_the_pipeline_loses_no_trade_on_googles_emulators(official: State) -> None:
    trades = list(Simulate(["OFFBTCUSDT"], seed=3, start_time=START, count=3_000))
    proof = demo.run(trades, open_sites(official), seed=3)
    assert {site.digest for site in proof.sites.values()} == {proof.digest}
    assert proof.sites["aws"].ok
    # Google's emulator takes from ten seconds to minutes to dead-letter a poison message, which
    # the conformance tests cover.
    assert proof.sites["gcp"].exact
    assert proof.sites["gcp"].archive_complete


@pytest.mark.slow
def test_the_demo_proves_that_no_trade_is_lost(tmp_path: Path) -> None:
    import json

    command = [sys.executable, "-m", "mcloud", "demo", "--count", "3000", "-o", "json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    proof = json.loads(done.stdout)
    assert proof["ok"] is True
    for site in proof["sites"].values():
        assert site["exact"] is True
        assert site["digest"] == proof["expected"]["digest"]
        assert (site["archived"], site["dead_letters"]) == (3000, 3)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_demo_finds_a_fault(tmp_path: Path, embedded: State) -> None:
    """The proof must fail if a trade is missing or a candle has changed."""
    trades = list(Simulate(["FAULTUSDT"], seed=9, start_time=START, count=500))
    sites = open_sites(embedded)
    proof = demo.run(trades, sites, seed=9)
    # The shared queues may have dead letters of other tests. The candles are only ours.
    assert all(site.exact and site.archive_complete for site in proof.sites.values())
    other = [*trades[:-1], trades[-1]._replace(quantity=trades[-1].quantity + 1)]
    for site in sites.values():
        rows = demo.stored_rows(site, ["FAULTUSDT"])
        assert rows == expected_rows(trades)
        assert rows != expected_rows(trades[:-1])
        assert rows != expected_rows(other)


def read_dynamodb(state: State, symbols: list[str]) -> list[Row]:
    """Return stored candles as any other client reads them, in the oracle's format."""
    to = state.outputs["aws"]
    client = make_client("dynamodb", to["region"], to["endpoint_url"])
    rows = []
    for symbol in sorted(symbols):
        pages = client.get_paginator("query").paginate(
            TableName=to["candles_table"],
            KeyConditionExpression="symbol = :s",
            ExpressionAttributeValues={":s": {"S": symbol}},
        )
        for page in pages:
            for item in page["Items"]:
                rows.append({name: next(iter(item[name].values())) for name in fields()})
    return rows


def read_firestore(state: State, symbols: list[str]) -> list[Row]:
    to = state.outputs["gcp"]
    client = make_firestore(to["project"], to["database"], to["firestore_endpoint"])
    documents = [each.to_dict() for each in client.collection(to["candles_collection"]).stream()]
    mine = [each for each in documents if each["symbol"] in symbols]
    rows = [{name: str(each[name]) for name in fields()} for each in mine]
    return sorted(rows, key=lambda row: (row["symbol"], row["timestamp"]))


def fields() -> list[str]:
    trade = next(iter(Simulate(["X"], seed=1, start_time=0, count=1)))
    return list(expected_rows([trade])[0])


WORKERS = {"ministack-lambda": read_dynamodb, "local/functions.py": read_firestore}
"""Part of the command line of a function's processes, with a function that reads its candles."""


def kill_in_mid_stream(home: Path, worker: str, rows: Callable[[], list[Row]]) -> int:
    """Kill a function after some progress. Return the number of its processes."""
    before = rows()
    eventually(lambda: rows() != before, pause=0.1)
    killed = 0
    for process in psutil.process_iter():
        try:
            is_ours = process.environ().get(MARK) == str(home)
            if is_ours and worker in " ".join(process.cmdline()):
                process.send_signal(signal.SIGKILL)
                killed += 1
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return killed


def has_rows(read: Reading, state: State, rows: list[Row]) -> bool:
    return read(state, ["BTCUSDT"]) == rows


def open_sites(state: State) -> dict[str, Site]:
    return {name: open_site(name, each) for name, each in state.resources().items()}


def test_the_oracle_writes_numbers_plainly() -> None:
    from decimal import Decimal

    assert [plain(Decimal(t)) for t in ("10", "0.500", "1E+3", "0.0")] == ["10", "0.5", "1000", "0"]
