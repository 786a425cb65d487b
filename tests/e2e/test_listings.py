"""``mcloud produce --symbols all:USDT`` while symbols are listed, halted and delisted."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE, eventually
from states import stored

from mcloud.clouds.factory import open_site
from mcloud.clouds.ports import Site
from mcloud.feed.simulate import Simulate
from mcloud.local.exchange.thread import LocalExchange
from mcloud.local.state import State
from mcloud.market.trade import Trade
from mcloud.rehearsal.demo import stored_rows
from mcloud.rehearsal.oracle import expected_rows
from mcloud.runs import Run

ROOT = Path(__file__).resolve().parents[2]
STEADY, HALTED, GONE, NEW = SYMBOLS = ("E9AUSDT", "E9HUSDT", "E9BUSDT", "E9CUSDT")
"""Symbols. The second belongs to the first of two shards, and the others to the second one."""
START = 1_723_161_255_342


class Market:
    """A market that trades until it is stopped."""

    closed = False

    def __iter__(self) -> Iterator[Trade]:
        for trade in Simulate(SYMBOLS, seed=3, start_time=START, rate=30):
            if self.closed:
                return
            yield trade


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_shards_follow_the_exchange(tmp_path: Path, embedded: State) -> None:
    home = Path(embedded.options["home"]).parent
    market = Market()
    sites = {name: open_site(name, each) for name, each in embedded.resources().items()}
    with LocalExchange(market, speed=1.0, wait_for=3) as exchange, ExitStack() as stack:
        exchange.set_status(NEW, "")
        producers = [
            stack.enter_context(producing(tmp_path, home, exchange, f"{number}/2"))
            for number in (1, 2)
        ]
        states = [Run(home / "producers" / f"shard{number}") for number in (1, 2)]

        def source_states() -> list[dict[str, Any]]:
            return [stored(state).get("source_state") or {} for state in states]

        eventually(lambda: all(each.runs for each in producers) and exchange.state()["begun"])
        eventually(lambda: all(exchange.played(each) for each in (STEADY, HALTED, GONE)))

        exchange.set_status(NEW, "TRADING")
        eventually(lambda: any(NEW in each.get("listed", ()) for each in source_states()))
        eventually(
            lambda: streams(exchange) == [f"{each.lower()}@trade" for each in sorted(SYMBOLS)]
        )

        # Its last trades only come from REST.
        before = len(exchange.played(HALTED))
        exchange.fault("stall", symbol=HALTED)
        eventually(lambda: len(exchange.played(HALTED)) > before)
        exchange.set_status(HALTED, "BREAK")
        exchange.lift()
        exchange.set_status(GONE, "")
        eventually(lambda: f"{GONE.lower()}@trade" not in streams(exchange))
        eventually(lambda: not_trading(source_states()) == {HALTED: "BREAK", GONE: "delisted"})

        listing = run(tmp_path, home, "ps").stdout
        assert f"{HALTED} is halted (BREAK)" in listing
        assert f"{GONE} is no longer listed" in listing
        assert "1 newly listed" in listing
        listed = json.loads(run(tmp_path, home, "ps", "-o", "json").stdout)
        followed = [
            symbol
            for state in listed
            if state["name"].startswith("shard")
            for symbol in state["symbols"]
        ]
        assert sorted(followed) == sorted({STEADY, HALTED, NEW})

        halted = exchange.played(HALTED)
        exchange.set_status(HALTED, "TRADING")
        eventually(lambda: len(exchange.played(HALTED)) > len(halted))
        eventually(lambda: not_trading(source_states()) == {GONE: "delisted"})
        market.closed = True
        eventually(lambda: exchange.wait_finished(1.0))
        # No trades of halted, delisted and relisted symbols are missing at any site.
        expected = [t for symbol in (STEADY, HALTED, GONE) for t in exchange.played(symbol)]
        rows = expected_rows(expected)
        for site in sites.values():
            eventually(
                lambda site=site: has_rows(site, sorted([STEADY, HALTED, GONE]), rows), pause=0.2
            )
            eventually(lambda site=site: is_whole(site, exchange.played(NEW)), pause=0.2)

        answers = [producer.finish() for producer in producers]
    assert [symbol for answer in answers for symbol in answer["listed"]] == [NEW]
    assert [answer["holes"] for answer in answers] == [[], []]
    assert not_trading(answers) == {GONE: "delisted"}
    for state in source_states():
        assert (state["reconnects"], state["stalls"]) == (0, 0)
    logs = [run(tmp_path, home, "logs", f"shard{number}").stdout for number in (1, 2)]
    for sentence in (
        f"{NEW} is newly listed: its trades are read from now on",
        f"{HALTED} is halted (BREAK); its last trades are fetched",
        f"{HALTED} trades again",
        f"{GONE} is no longer listed; its last trades are fetched",
        f"{GONE} is still not listed: its stream is closed",
    ):
        assert sum(log.count(sentence) for log in logs) == 1, sentence


class Producer:
    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    @property
    def runs(self) -> bool:
        """Return True while it runs. Raise its output if it has ended."""
        if self._process.poll() is not None:
            raise AssertionError(self._process.communicate())
        return True

    def finish(self) -> dict[str, Any]:
        """Stop it, and return its result."""
        self._process.send_signal(signal.SIGINT)
        out, words = self._process.communicate(timeout=PATIENCE)
        assert self._process.returncode == 130, words
        answer: dict[str, Any] = json.loads(out)
        return answer


@contextmanager
def producing(folder: Path, home: Path, exchange: LocalExchange, shard: str) -> Iterator[Producer]:
    arguments = (
        *("produce", "-o", "json", "--symbols", "all:USDT", "--shard", shard),
        *("--name", f"shard{shard[0]}", "--list-every", "1", "--freshness", "1"),
        *("--ws-url", exchange.ws_url, "--rest-url", exchange.rest_url),
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "mcloud", *arguments],
        cwd=folder,
        env=environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield Producer(process)
    finally:
        process.kill()
        process.wait()


def run(folder: Path, home: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "mcloud", *arguments],
        cwd=folder,
        env={**environment(home), "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )


def environment(home: Path) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("MCLOUD_")}
    return {**inherited, "PYTHONPATH": str(ROOT), "MCLOUD_STATE": str(home)}


def streams(exchange: LocalExchange) -> list[str]:
    return sorted(stream for each in exchange.state()["connections"] for stream in each)


def not_trading(states: list[dict[str, Any]]) -> dict[str, str]:
    return {
        name: status for state in states for name, status in state.get("not_trading", {}).items()
    }


def has_rows(site: Site, symbols: list[str], rows: list[Any]) -> bool:
    return stored_rows(site, symbols) == rows


def is_whole(site: Site, played: list[Trade]) -> bool:
    """Return whether the site has all trades from the first one that was read to the last one."""
    candles = list(site.candles.range(played[0].symbol, 0, START + 10**9))
    if not candles:
        return False
    count = sum(candle.trade_count for candle in candles)
    first, last = candles[0].first_id, candles[-1].last_id
    return last == played[-1].id and count == last - first + 1
