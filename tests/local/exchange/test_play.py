"""Start, speed and end of a play, and the command."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import IO, Any

import pytest
from feed import files
from patience import PATIENCE, eventually

from mcloud.errors import LocalError
from mcloud.local.exchange.feeds import SideBySide, repeat
from mcloud.local.exchange.limits import Limits
from mcloud.local.exchange.server import LOOK_AHEAD, ExchangeServer
from mcloud.local.exchange.thread import LocalExchange
from mcloud.market.trade import Trade

from .clients import connect, get, make_trades, receive_ids

TRADES = make_trades(30)
IDS = [trade.id for trade in TRADES]


def test_a_play_can_begin_without_a_wait() -> None:
    with LocalExchange(TRADES, wait_for=0) as exchange:
        assert exchange.wait_finished(PATIENCE)
        assert exchange.played("BTCUSDT") == TRADES


def test_a_play_waits_for_the_requested_number_of_streams() -> None:
    with (
        LocalExchange(TRADES, wait_for=2) as exchange,
        connect(exchange.ws_url + "/ws/btcusdt@trade") as one,
    ):
        eventually(lambda: exchange.state()["connections"] == [["btcusdt@trade"]])
        assert not exchange.state()["begun"]
        with connect(exchange.ws_url + "/ws/ethusdt@trade"):
            assert receive_ids(one, 30) == IDS


def test_a_play_can_be_started_explicitly() -> None:
    with LocalExchange(TRADES) as exchange:
        assert not exchange.wait_finished(0)
        exchange.begin()
        assert exchange.wait_finished(PATIENCE)


def test_a_play_is_not_faster_than_requested() -> None:
    begun = time.monotonic()
    with LocalExchange(TRADES, speed=2.0, wait_for=0) as exchange:
        assert exchange.wait_finished(PATIENCE)
        assert time.monotonic() - begun >= 0.145  # 290 ms of trading


def test_played_trades_can_be_read_after_the_end() -> None:
    with LocalExchange(TRADES, wait_for=0) as exchange:
        assert exchange.wait_finished(PATIENCE)
    exchange.stop()
    assert exchange.played("BTCUSDT") == TRADES


def test_symbols_are_listed_before_they_trade() -> None:
    with LocalExchange(TRADES, symbols=["ETHUSDT"]) as exchange:
        assert exchange.symbols == ("ETHUSDT", "BTCUSDT")
        url = exchange.rest_url + "/api/v3/trades?symbol=ETHUSDT"
        assert get(url).json() == []


def test_a_symbol_is_listed_halted_and_delisted_while_it_runs() -> None:
    def statuses() -> dict[str, str]:
        info = get(exchange.rest_url + "/api/v3/exchangeInfo").json()
        return {each["symbol"]: each["status"] for each in info["symbols"]}

    with LocalExchange([], symbols=["BTCUSDT", "ETHUSDT"]) as exchange:
        exchange.set_status("BTCUSDT", "BREAK")
        exchange.set_status("NEWUSDT", "TRADING")
        trading = {"ETHUSDT": "TRADING", "NEWUSDT": "TRADING"}
        assert statuses() == {"BTCUSDT": "BREAK", **trading}
        url = exchange.rest_url + "/api/v3/trades?symbol=BTCUSDT"
        assert get(url).status == 200
        query = "status?symbol=BTCUSDT&status="
        assert get(f"{exchange.rest_url}/_mcloud/{query}").status == 200
        assert statuses() == trading
        assert get(url).json()["msg"] == "Invalid symbol."
        assert get(f"{exchange.rest_url}/_mcloud/status?symbol=BTCUSDT").status == 400


def test_a_halted_symbol_makes_no_trades_and_leaves_no_gap_in_the_ids() -> None:
    def market() -> Iterator[Trade]:
        for number, trade in enumerate(TRADES):
            if number in (10, 20):
                server.set_status("BTCUSDT", "BREAK" if number == 10 else "TRADING")
            yield trade

    # As many trades are read before the play begins.
    others = make_trades(LOOK_AHEAD, "ETHUSDT")
    server = ExchangeServer(
        chain(others, market()),
        speed=None,
        wait_for=0,
        endless=False,
        history=0.0,
        limits=Limits(),
        seed=1,
        symbols=["BTCUSDT"],
        tls=None,
    )

    async def play() -> None:
        stop = asyncio.Event()
        await server.run(0, on_start=lambda port: None, on_finish=stop.set, stop=stop)

    asyncio.run(play())
    made = server.ledger.tape.since("BTCUSDT", 0)
    assert [trade.id for trade in made] == IDS[:20]
    assert [trade.time for trade in made] == [each.time for each in TRADES[:10] + TRADES[20:]]


def test_a_feed_that_fails_is_reported() -> None:
    def feed() -> Iterator[Trade]:
        yield from make_trades(2_000)
        raise OSError("the disk is gone")

    with (
        LocalExchange(feed(), wait_for=0) as exchange,
        pytest.raises(OSError, match="the disk is gone"),
    ):
        exchange.wait_finished(PATIENCE)


def test_a_taken_port_is_reported() -> None:
    with LocalExchange(TRADES) as exchange:
        port = int(exchange.ws_url.rpartition(":")[2])
        with pytest.raises(LocalError, match=f"port {port}.*--port"):
            LocalExchange(TRADES, port=port).start()


def test_an_endless_play_continues_ids_and_times() -> None:
    both = [*TRADES, *make_trades(5, "ETHUSDT", first_id=7)]
    played = list(islice(repeat(both), 3 * len(both)))
    btc = [trade for trade in played if trade.symbol == "BTCUSDT"]
    eth = [trade for trade in played if trade.symbol == "ETHUSDT"]
    assert [trade.id for trade in btc] == list(range(100, 190))
    assert [trade.id for trade in eth] == list(range(7, 22))
    assert all(a.time < b.time for a, b in pairwise(btc))
    assert [trade.price for trade in btc[30:60]] == [trade.price for trade in TRADES]


def test_nothing_can_be_repeated_endlessly() -> None:
    assert list(repeat([])) == []


def test_an_endless_exchange_starts_again() -> None:
    with (
        LocalExchange(TRADES, endless=True) as exchange,
        connect(exchange.ws_url + "/ws/btcusdt@trade") as client,
    ):
        assert receive_ids(client, 100) == list(range(100, 200))
        assert not exchange.state()["finished"]


def test_feeds_are_traded_side_by_side() -> None:
    ethereum = make_trades(30, "ETHUSDT")
    trades = list(SideBySide([TRADES, ethereum]))
    assert sorted(trades) == sorted([*TRADES, *ethereum])
    assert all(a.time <= b.time for a, b in pairwise(trades))


def test_the_command_runs_until_it_is_interrupted(tmp_path: Path) -> None:
    recording = files.write(tmp_path / "trades.jsonl", map(files.combined, TRADES))
    command = ["local", "exchange", "--source", f"replay:{recording}", "--port", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mcloud", *command, "--wait-for-client", "--speed", "max"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stdout
        assert process.stderr
        streams = process.stdout.readline().split()
        rest = process.stdout.readline().split()
        assert process.stderr.readline() == "trading BTCUSDT; press Ctrl-C to stop\n"
        with connect(streams[-1] + "/ws/btcusdt@trade") as client:
            assert receive_ids(client, 30) == IDS
        assert "all trades have been played" in process.stderr.readline()
        state = get(rest[-1] + "/_mcloud/state").json()
        assert (state["symbols"], state["finished"]) == ({"BTCUSDT": 30}, True)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("loop", [False, True])
def test_the_command_reports_what_it_could_not_read(tmp_path: Path, loop: bool) -> None:
    lines = [files.combined(trade) for trade in TRADES]
    sound = files.write(tmp_path / "sound.jsonl", lines[:10])
    damaged = files.write(tmp_path / "damaged.jsonl", [*lines[10:20], "no trade", *lines[20:]])
    sources = ("--source", f"replay:{sound}", "--source", f"replay:{damaged}")
    options = ("--port", "0", "--speed", "max", "-o", "json", *(["--loop"] if loop else []))
    process = subprocess.Popen(
        [sys.executable, "-m", "mcloud", "local", "exchange", *sources, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        addresses = _document(process.stdout)
        eventually(lambda: get(addresses["rest_url"] + "/_mcloud/state").json()["symbols"])
        if loop:
            state = addresses["rest_url"] + "/_mcloud/state"
            eventually(lambda: get(state).json()["symbols"]["BTCUSDT"] > 3 * len(TRADES))
            process.send_signal(signal.SIGINT)
        report = _document(process.stdout)
        if not loop:
            process.send_signal(signal.SIGINT)
        assert report["trades"] == len(TRADES)
        assert (report["complete"], report["bad"], report["truncated"]) == (False, 1, None)
        assert process.wait(PATIENCE) == 3
        _, said = process.communicate()
        assert "warning: 1 bad lines were skipped" in said
        assert f"replay:{damaged} line 11: not JSON" in said
        assert "error: the input is incomplete: 1 lines of replay:" in said
    finally:
        process.kill()
        process.communicate()


def _document(stream: IO[str]) -> dict[str, Any]:
    lines = [stream.readline()]
    while lines[-1] not in ("}\n", ""):
        lines.append(stream.readline())
    document: dict[str, Any] = json.loads("".join(lines))
    return document


def test_the_command_gives_its_addresses_as_json(tmp_path: Path) -> None:
    recording = files.write(tmp_path / "trades.jsonl", map(files.combined, TRADES))
    command = ["local", "exchange", "--source", f"replay:{recording}", "--port", "0", "-o", "json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mcloud", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        addresses = _document(process.stdout)
        assert addresses["symbols"] == ["BTCUSDT"]
        assert get(addresses["rest_url"] + "/api/v3/ping").json() == {}
        process.terminate()
        assert process.wait(PATIENCE) == 130
    finally:
        process.kill()
        process.communicate()
