"""Every trade arrives and candles are exact, despite cuts, kills and a site that hangs."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from operator import attrgetter
from pathlib import Path
from random import Random

import pytest
from patience import PATIENCE, eventually
from states import stored

from mcloud.clouds.factory import open_site
from mcloud.clouds.ports import Site
from mcloud.feed.replay import open_replay
from mcloud.local.exchange.thread import LocalExchange
from mcloud.local.state import State
from mcloud.market.trade import Trade
from mcloud.rehearsal.demo import archived_ids, stored_rows
from mcloud.rehearsal.oracle import Row, expected_rows
from mcloud.runs import Run


@pytest.mark.parametrize(
    ("cuts", "kills", "hang", "speed"),
    [
        pytest.param(5, 3, 4.0, 20.0, id="a handful", marks=pytest.mark.slow),
        pytest.param(
            50, 20, 60.0, 1.0, id="all", marks=[pytest.mark.nightly, pytest.mark.timeout(900)]
        ),
    ],
)
def test_recorded_trades_arrive_despite_all_faults(
    tmp_path: Path,
    embedded: State,
    recordings: Path,
    cuts: int,
    kills: int,
    hang: float,
    speed: float,
) -> None:
    # The test has its own symbols, since all tests share the sites.
    names = {"BTCUSDT": f"E{cuts}BTCUSDT", "ETHUSDT": f"E{cuts}ETHUSDT"}
    market = Market(recorded(recordings, names), step=int(100 * speed))
    symbols = sorted(names.values())
    random = Random(cuts)
    # A kill after every few cuts resets the backoff, which would otherwise grow to a minute.
    faults: list[str] = []
    for kill in range(kills):
        faults += ["cut"] * (cuts * (kill + 1) // kills - cuts * kill // kills) + ["kill"]
    faults.insert(len(faults) // 2, "hang")
    # Not before both symbols have begun: a producer does not fetch trades from before its start.
    moments = sorted(random.randrange(500, len(market.recorded)) for _ in faults)
    with LocalExchange(market, speed=speed, wait_for=2) as exchange:
        producer = Producer(tmp_path, embedded, exchange, symbols)
        with producer.running():
            for what, moment in zip(faults, moments, strict=True):
                eventually(partial(has_played, exchange, moment))
                if what == "cut":
                    eventually(lambda: exchange.state()["connections"] != [])
                    exchange.fault("cut")
                elif what == "kill":
                    producer.kill()
                    producer.start()
                else:
                    hang_aws(embedded, hang)
            # Later trades reveal a gap when they arrive live.
            newest = max(trade.time for trade in played(exchange, symbols))
            eventually(lambda: producer.last_trade_time() > newest)
            eventually(lambda: streams(exchange) == [f"{name.lower()}@trade" for name in symbols])
            market.close()
            eventually(lambda: exchange.wait_finished(1.0))
            trades = played(exchange, symbols)
            eventually(lambda: producer.has_all(trades))
            assert producer.stop() == 130
    assert len(trades) > len(market.recorded)
    expected = expected_rows(trades)
    ids = {(trade.symbol, trade.id) for trade in trades}
    for site in open_sites(embedded).values():
        eventually(partial(has_rows, site, symbols, expected))
        eventually(lambda site=site: archived_ids(site, symbols) == ids, pause=0.5)  # type: ignore[misc]


class Market:
    """A recording, followed by a trade every ``step`` milliseconds until the market closes.

    Faults therefore happen while there are trades, even on a slow machine.
    """

    def __init__(self, recorded: list[Trade], step: int) -> None:
        self.recorded = recorded
        self._step = step
        self._closed = threading.Event()

    def close(self) -> None:
        """End, after one more trade of each symbol."""
        self._closed.set()

    def __iter__(self) -> Iterator[Trade]:
        last = {}
        for trade in self.recorded:
            last[trade.symbol] = trade
            yield trade
        time_ = trade.time
        is_last = False
        while not is_last:
            is_last = self._closed.is_set()
            for symbol, trade in last.items():
                time_ += self._step
                last[symbol] = trade._replace(id=trade.id + 1, time=time_)
                yield last[symbol]


class Producer:
    """``mcloud produce`` as a process that is restarted repeatedly with the same spool."""

    def __init__(
        self, folder: Path, clouds: State, exchange: LocalExchange, symbols: list[str]
    ) -> None:
        sites = "".join(
            f"[profiles.test.sites.{name}]\n"
            + "".join(f'{key} = "{value}"\n' for key, value in {"cloud": name, **outputs}.items())
            for name, outputs in clouds.outputs.items()
        )
        (folder / "mcloud.toml").write_text(f'profile = "test"\n{sites}')
        self._folder = folder
        self._run = Run(folder / ".mcloud" / "producers" / "default")
        self._command = [
            *(sys.executable, "-m", "mcloud", "-q", "produce", "--freshness", "1"),
            *("--symbols", ",".join(symbols)),
            *("--ws-url", exchange.ws_url, "--rest-url", exchange.rest_url),
        ]

    @contextmanager
    def running(self) -> Iterator[None]:
        self.start()
        try:
            yield
        finally:
            self.kill()

    def start(self) -> None:
        root = str(Path(__file__).resolve().parents[2])
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MCLOUD_")}
        with (self._folder / "words").open("ab") as words:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env={**environment, "PYTHONPATH": root},
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
            )

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        self._process.terminate()
        return self._process.wait(PATIENCE)

    def last_trade_time(self) -> int:
        """Return the time of the newest trade that this process has read; 0 if there is none."""
        state = stored(self._run)
        return (state["last_trade_time"] or 0) if state.get("pid") == self._process.pid else 0

    def has_all(self, market: list[Trade]) -> bool:
        """Return whether it has read everything, has no holes, and both sites have all trades."""
        words = (self._folder / "words").read_text()
        assert self._process.poll() is None, words
        state = stored(self._run)
        return (
            state.get("pid") == self._process.pid
            and state["last_trade_time"] == max(trade.time for trade in market)
            and not state["holes"]
            and not any(site["waiting"] for site in state["sites"].values())
        )


def recorded(folder: Path, names: dict[str, str]) -> list[Trade]:
    """Return all recorded trades, ordered by time."""
    files = [folder / f"spot-{name.lower()}-trades-20240808.jsonl.gz" for name in names]
    found = [trade for file in files for trade in open_replay(file)]
    return sorted((t._replace(symbol=names[t.symbol]) for t in found), key=attrgetter("time"))


def hang_aws(clouds: State, seconds: float) -> None:
    """Make the embedded AWS accept connections without answering, for some time."""
    pid = clouds.services["aws"].pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    threading.Timer(seconds, os.kill, (pid, signal.SIGCONT)).start()


def has_played(exchange: LocalExchange, count: int) -> bool:
    made: dict[str, int] = exchange.state()["symbols"]
    return sum(made.values()) >= count


def played(exchange: LocalExchange, symbols: list[str]) -> list[Trade]:
    return [trade for symbol in symbols for trade in exchange.played(symbol)]


def streams(exchange: LocalExchange) -> list[str]:
    """Return the streams with a subscription."""
    return sorted(chain.from_iterable(exchange.state()["connections"]))


def has_rows(site: Site, symbols: list[str], rows: list[Row]) -> bool:
    return stored_rows(site, symbols) == rows


def open_sites(state: State) -> dict[str, Site]:
    return {name: open_site(name, each) for name, each in state.resources().items()}
