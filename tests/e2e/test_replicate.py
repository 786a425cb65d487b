"""``mcloud replicate`` as a process: killed again and again, detached, stopped, refused."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import Terminal
from replication.stores import fresh
from states import stored

from mcloud.clouds.factory import open_site
from mcloud.clouds.ports import Site
from mcloud.feed.simulate import Simulate
from mcloud.local.state import State
from mcloud.market.trade import Trade
from mcloud.processor.ingest import ingest
from mcloud.rehearsal.demo import archived_ids, stored_rows
from mcloud.rehearsal.oracle import expected_rows
from mcloud.runs import Run, all_runs

PATIENCE = 60.0  # seconds after which a test has failed
START = 1_723_161_180_000
SYMBOLS = ["BTCUSDT", "ETHUSDT"]
TRADES = list(Simulate(SYMBOLS, seed=5, start_time=START, count=600, rate=2))


class Sites:
    """Two sites with their own profile."""

    def __init__(self, clouds: State, folder: Path) -> None:
        resources = fresh(clouds, "aws", "gcp")
        self.sites: dict[str, Site] = {n: open_site(n, each) for n, each in resources.items()}
        text = 'profile = "test"\n'
        for name, each in resources.items():
            values = {"cloud": name, **each.to_outputs()}
            text += f"[profiles.test.sites.{name}]\n"
            text += "".join(f'{key} = "{value}"\n' for key, value in values.items())
        (folder / "mcloud.toml").write_text(text)

    def feed(self, name: str, trades: list[Trade]) -> None:
        """Process a message as the site's function does."""
        ingest(trades, self.sites[name].archive, self.sites[name].candles)

    def check_equal(self, trades: list[Trade]) -> None:
        for site in self.sites.values():
            assert stored_rows(site, SYMBOLS) == expected_rows(trades), site.name
            assert archived_ids(site, SYMBOLS) == {(t.symbol, t.id) for t in trades}, site.name


@pytest.fixture
def sites(tmp_path: Path, embedded: State) -> Sites:
    return Sites(embedded, tmp_path)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    made = Terminal(tmp_path, tmp_path / "state")
    yield made
    for run in all_runs(tmp_path / "state" / "replicators"):
        holder = run.lock.holder()
        if holder is not None:
            holder.kill()


@pytest.mark.slow
def test_a_replicator_that_is_killed_repeatedly_skips_nothing(
    terminal: Terminal, sites: Sites
) -> None:
    run = Run(terminal.folder / "state" / "replicators" / "replicator")
    parts = [TRADES[begin : begin + 100] for begin in range(0, len(TRADES), 100)]
    for kill, part in enumerate(parts[:-1]):
        process = terminal.start("replicate")
        for begin in range(0, len(part), 20):
            sites.feed("aws" if kill % 2 else "gcp", part[begin : begin + 20])
        # At another moment each time: right after the start, or after some progress.
        eventually(partial(has_moved, run, process.pid, kill))
        process.kill()
        process.communicate()
    sites.feed("aws", parts[-1])
    assert moved(once(terminal)) > 0
    sites.check_equal(TRADES)
    assert moved(once(terminal)) == 0


@pytest.mark.slow
def test_a_detached_one_from_start_to_end(terminal: Terminal, sites: Sites) -> None:
    def pairs() -> list[dict[str, Any]]:
        (state,) = json.loads(terminal.run("ps", "-o", "json").stdout)
        assert (state["kind"], state["running"], state["pid"]) == ("replicator", True, pid)
        found: list[dict[str, Any]] = state["pairs"]
        return found

    started = terminal.run("replicate", "--detach", "-o", "json")
    assert started.returncode == 0, started.stderr
    pid = json.loads(started.stdout)["pid"]
    sites.feed("aws", TRADES)
    eventually(lambda: stored_rows(sites.sites["gcp"], SYMBOLS) == expected_rows(TRADES))
    eventually(lambda: all(pair["raw"] == 0 and pair["raw_s"] is not None for pair in pairs()))
    sites.check_equal(TRADES)
    assert terminal.run("ps", "replicator", "--check").returncode == 0
    shown = terminal.run("ps").stdout.splitlines()
    assert shown[1].split()[:3] == ["replicator", "running", str(pid)]

    # A second replicator with the same name or pair is refused, and the first one continues.
    second = terminal.run("replicate", "--detach")
    assert (second.returncode, second.stderr) == (
        1,
        f"error: a replicator called 'replicator' is already running (pid {pid}); "
        "stop it with `mcloud stop replicator`, or use another --name\n",
    )
    other = terminal.run("replicate", "--name", "other", "--from", "aws")
    assert (other.returncode, other.stderr) == (
        1,
        f"error: aws to gcp is already being replicated (pid {pid}); "
        "stop that replicator (see `mcloud ps`), or exclude this pair with --from and --to\n",
    )
    status = json.loads(terminal.run("status", "-o", "json").stdout)
    assert [each["name"] for each in status["replicators"] if each["running"]] == ["replicator"]
    assert [each["source"] for each in status["sites"]["gcp"]["replication"]] == ["aws"]
    assert terminal.run("stop", "replicator").stderr == "replicator has ended\n"
    assert terminal.run("ps", "replicator", "--check").returncode == 3
    log = terminal.run("logs", "replicator").stdout
    assert "INFO    aws to gcp: all earlier data is compared" in log


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_stops_it_without_loss(
    terminal: Terminal, sites: Sites, number: signal.Signals
) -> None:
    run = Run(terminal.folder / "state" / "replicators" / "replicator")
    sites.feed("aws", TRADES[:50])
    process = terminal.start("replicate", "-o", "json")
    eventually(lambda: moved(stored(run)) > 0)
    process.send_signal(number)
    printed, words = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, words
    assert moved(json.loads(printed)) > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("--what", "candle"),
            "error: unknown kind of data 'candle'; choose from candles, raw, or use candles,raw for"
            " both\n",
        ),
        (
            ("--shard", "3/2"),
            "error: invalid shard '3/2'; use one such as 2/4, the second of four\n",
        ),
        (
            ("--from", "aws", "--to", "aws"),
            "error: nothing to replicate from aws to aws; choose two different sites\n",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_invalid_arguments_are_refused(
    terminal: Terminal, sites: Sites, arguments: tuple[str, ...], words: str
) -> None:
    done = terminal.run("replicate", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", words)


def once(terminal: Terminal) -> dict[str, Any]:
    done = terminal.run("replicate", "--once", "-o", "json")
    assert (done.returncode, done.stderr) == (0, "")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def has_moved(run: Run, pid: int, count: int) -> bool:
    state = stored(run)
    return state.get("pid") == pid and moved(state) >= count


def moved(state: dict[str, Any]) -> int:
    return sum(pair["written"] + pair["objects"] for pair in state.get("pairs", []))


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
