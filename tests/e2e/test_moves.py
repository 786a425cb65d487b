"""Moves of the traffic on embedded clouds: one that is killed, and one that is reverted."""

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli.conftest import Terminal
from patience import PATIENCE, eventually

from mcloud.clouds.factory import open_site
from mcloud.clouds.observation import UP
from mcloud.clouds.ports import ControlRecord, Site
from mcloud.failover import debts, record
from mcloud.failover.audit import Audit
from mcloud.failover.decide import CATCH_UP, FAIL_BACK, FAIL_OVER
from mcloud.failover.execution import Tools, pay
from mcloud.failover.guard import Guard
from mcloud.failover.health import HealthWatch
from mcloud.failover.journal import Journal
from mcloud.failover.settings import GuardSettings
from mcloud.feed.simulate import Simulate
from mcloud.local import outage
from mcloud.local.state import State
from mcloud.market.envelope import encode
from mcloud.market.trade import Trade
from mcloud.rehearsal.demo import archived_ids
from mcloud.replication.scope import Scope

DEADLINE = 5.0  # seconds for the sites to answer
START = 1_735_776_000_000  # ms

# The command line, which kills itself at a point of the move.
KILLED = """
import os, signal, sys
from dataclasses import replace
from mcloud.failover import execution

mark, usual = sys.argv.pop(1), execution.tools

def reach(point):
    if point == mark:
        os.kill(os.getpid(), signal.SIGKILL)

execution.tools = lambda *args, **named: replace(usual(*args, **named), reach=reach)
from mcloud.__main__ import main

main()
"""


@pytest.fixture
def sites(embedded: State) -> Iterator[dict[str, Site]]:
    """The sites of all tests. Before and after, aws leads and no site has a debt."""
    opened = {name: open_site(name, each) for name, each in embedded.resources().items()}
    _lead(opened, "aws")
    yield opened
    outage.end(Path(embedded.options["home"]))
    _lead(opened, "aws")


def _lead(sites: dict[str, Site], name: str) -> None:
    for debt in debts.read(sites, DEADLINE).values():
        debts.forget(sites, debt, at=time.time(), seconds=DEADLINE)

    def make(before: ControlRecord | None) -> ControlRecord | None:
        if before and (before.primary, before.mode) == (name, "manual"):
            return None
        return ControlRecord(0, name, "manual", "a test", "a test", time.time())

    record.advance(sites, make)


def _send(site: Site, trades: list[Trade]) -> None:
    """Store trades at one site only."""
    site.queue.send([encode(trades)])
    symbol = trades[0].symbol
    eventually(lambda: (symbol, trades[-1].id) in archived_ids(site, [symbol]), pause=0.1)


def _tools(sites: dict[str, Site], folder: Path, symbol: str) -> Tools:
    """Return tools for this symbol only, since these clouds have symbols of other tests."""
    scope = Scope(symbols=frozenset({symbol}))
    journal, audit = Journal(folder / "move.json"), Audit(folder / "audit.jsonl", sites)
    return Tools(journal, audit, scope=scope, pause=0.1)


@pytest.mark.slow
def test_the_next_run_completes_a_killed_move_without_loss(
    embedded: State, sites: dict[str, Site], tmp_path: Path
) -> None:
    trades = list(Simulate(["KILLUSDT"], seed=1, start_time=START, count=100, rate=10))
    _send(sites["aws"], trades)
    epoch = _record(sites).epoch

    terminal = Terminal(tmp_path, Path(embedded.options["home"]).parent)

    def move(*program: str) -> tuple[int, str, str]:
        terminal.program = [sys.executable, *program]
        # The lag of symbols of other tests does not matter here.
        done = terminal.run("failover", "gcp", "--yes", "--force", "lag", "-o", "json")
        return done.returncode, done.stdout, done.stderr

    assert move("-c", KILLED, "before record")[0] == -signal.SIGKILL
    assert (_record(sites).primary, _record(sites).epoch) == ("aws", epoch)

    # Nothing was changed, so the next run does not continue it, however soon it starts.
    code, _, words = move("-c", KILLED, "after record")
    assert code == -signal.SIGKILL
    assert "an earlier move to gcp has changed nothing" in words
    written = _record(sites)
    assert (written.primary, written.epoch) == ("gcp", epoch + 1)
    assert "aws" not in debts.read(sites, DEADLINE)

    code, out, words = move("-m", "mcloud")
    assert code == 0, words
    assert "resuming the move that " in words
    came = json.loads(out)
    assert (came["moved"], came["epoch"], list(came["owed"])) == (True, epoch + 1, ["aws"])
    assert _record(sites) == written
    debt = debts.read(sites, DEADLINE)["aws"]
    assert debt.since < written.at

    paid = pay(sites, debt, _tools(sites, tmp_path, "KILLUSDT"))
    assert (paid.ok, paid.ids_missing) == (True, 0)
    ids = {(trade.symbol, trade.id) for trade in trades}
    for site in sites.values():
        eventually(lambda site=site: archived_ids(site, ["KILLUSDT"]) == ids, pause=0.1)
    assert "aws" not in debts.read(sites, DEADLINE)


class Clock:
    """The clock of the machine, plus the time that a test adds."""

    def __init__(self) -> None:
        self.more = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.more

    def wall(self) -> float:
        return time.time() + self.more


@pytest.mark.slow
def test_a_guard_fails_back_after_the_catch_up_and_the_dwell(
    embedded: State, sites: dict[str, Site], tmp_path: Path
) -> None:
    trades = list(Simulate(["BACKUSDT"], seed=2, start_time=START, count=100, rate=10))
    # A probe may take longer on a loaded machine. All other settings are the defaults.
    rules = GuardSettings(timeout=2, lease=10, look_every=1, services_every=1, failback=True)
    clock = Clock()
    watch = HealthWatch(sites, rules, clock=clock, wall=clock.wall)
    use = _tools(sites, tmp_path, "BACKUSDT")
    guard = Guard(sites, rules, use, by="a guard", watch=watch, clock=clock, wall=clock.wall)

    def until(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, guard.state().decision
            guard.step()
            time.sleep(0.05)

    def stored(site: str) -> int:
        return len(archived_ids(sites[site], ["BACKUSDT"]))

    home = Path(embedded.options["home"])
    _send(sites["aws"], trades[:50])
    try:
        until(lambda: all(guard.verdict(name) == UP for name in sites))
        clock.more += rules.dwell
        outage.begin(home, "aws", None, "refuse", None)
        until(lambda: guard.moves and not guard.is_working)
        assert guard.moves[-1].record.primary == "gcp"
        _send(sites["gcp"], trades[50:])

        outage.end(home, "aws")
        until(lambda: debts.read(sites, DEADLINE)["aws"].paid and not guard.is_working)
        assert (stored("aws"), stored("gcp")) == (100, 100)
        until(lambda: "the last move is within the cooldown" in guard.history[-1].reason)
        assert _record(sites).primary == "gcp"

        clock.more += rules.cooldown
        until(lambda: len(guard.moves) == 2 and not guard.is_working)
        assert (_record(sites).primary, _record(sites).mode) == ("aws", "automatic")
        # Trades that only gcp received until then are copied as well, without another move.
        until(lambda: not debts.read(sites, DEADLINE) and not guard.is_working)
        done = [each.action for each in guard.history if each.action != "nothing"]
        assert done[:3] == [FAIL_OVER, CATCH_UP, FAIL_BACK]
        assert len(guard.moves) == 2
        assert (stored("aws"), stored("gcp")) == (100, 100)
    finally:
        watch.close()


def _record(sites: dict[str, Site]) -> ControlRecord:
    found = record.read(sites).record
    assert found is not None
    return found
