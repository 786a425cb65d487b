"""No trade is lost on either site when everything is killed, damaged and starved at random.

Each seed trades its own symbol on a local exchange. A producer, a replicator and a guard run
as users run them, and faults in a seeded random order hit them and the embedded services: `kill
-9`, documents that somebody edited on the sites and on the disk, a full disk, and outages.
Afterwards `mcloud verify --repair` runs once, and the oracle of the demo judges both sites.

Run it with ``pytest -m nightly tests/chaos``. MCLOUD_CHAOS_SEEDS=3:5 selects the seeds 3 and 4.
"""

import json
import os
import random
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cli.conftest import Terminal
from clouds.test_control_contract import put_raw
from patience import eventually

from mcloud.clouds.factory import open_site
from mcloud.clouds.ports import Site
from mcloud.feed.simulate import Simulate
from mcloud.local import children, control, outage
from mcloud.local.exchange.thread import LocalExchange
from mcloud.local.state import READY, Home, State
from mcloud.local.supervisor import Options
from mcloud.rehearsal.demo import archived_ids, await_archived, stored_rows
from mcloud.rehearsal.oracle import expected_rows

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(600)]

START = 1_735_776_000_000  # ms; the first trade of every symbol
TRADES, RATE, SPEED = 2_400, 12.0, 20.0  # 200 s of market time, in four candles, in 10 s
DISK = "48m"  # size of the disk that gets full
DOCUMENTS = (
    ("control", ("record",)),
    ("debt", ("aws", "gcp", "gone")),
    ("guard", ("pause",)),
    ("lag", ("aws gcp all", "gcp aws all")),
    ("heartbeat", ("CHAOSUSDT",)),
    ("heartbeats", ("1 of 4", "4 of 4")),
    ("silence", ("abcdef",)),
    ("audit", ("2025-01-01",)),
)
"""Kinds of documents on the sites, with keys of each."""
VOLATILE = ("aws", "gcp")
"""Services that, unlike a real cloud, lose their data when they are killed. At most one of them
is killed per seed, so that the other site still has everything."""

GUARD = """
[guard]
dwell = 0
cooldown = 1
look_every = 2
services_every = 2
timeout = 1
goods = 4
failback = true
"""


def seeds() -> range:
    first, _, last = os.environ.get("MCLOUD_CHAOS_SEEDS", "0:50").partition(":")
    return range(int(first), int(last or int(first) + 1))


@pytest.fixture(scope="module")
def clouds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    """Embedded clouds that the test may damage."""
    aws, gcp, storage, function = children.free_ports(4)
    home = tmp_path_factory.mktemp("chaos") / "local"
    options = Options(*(str(home), aws, gcp, storage, function), owner=os.getpid(), scheduled=False)
    state = control.up(options)
    try:
        yield state
    finally:
        control.down(home)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a small disk if this user may mount one, otherwise an ordinary folder."""
    folder = tmp_path / "state"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=700", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, check=False).returncode == 0
    yield folder
    if mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@dataclass
class Worker:
    """A command that runs until it is stopped, and is restarted whenever it has ended."""

    terminal: Terminal
    arguments: tuple[str, ...]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.terminal.command(*self.arguments),
                cwd=self.terminal.folder,
                env=self.terminal.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def tend(self) -> None:
        if self.process is None or self.process.poll() is not None:
            self.kill()
            self.start()

    def kill(self) -> None:
        """End the process and its children as `kill -9` does."""
        if self.process is not None:
            with suppress(ProcessLookupError):  # it may have ended by itself
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def stop(self) -> int:
        """End it as Ctrl-C does, and return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(60)
        finally:
            self.kill()


@dataclass
class Chaos:
    """The faults, in an order that depends on the seed."""

    random: random.Random
    home: Home
    disk: Path
    sites: dict[str, Site]
    workers: dict[str, Worker]
    victim: str
    counts: Counter[str] = field(default_factory=Counter)

    def strike(self) -> None:
        faults: list[Callable[[], str]] = [
            *[self._kill_worker] * 3,
            *[self._kill_service] * 2,
            self._damage_site,
            self._damage_disk,
            self._outage,
        ]
        if os.path.ismount(self.disk):
            faults.append(self._fill_disk)
        self.counts[self.random.choice(faults)()] += 1

    def calm(self) -> None:
        """End all faults that would continue by themselves."""
        (self.disk / "filler").unlink(missing_ok=True)
        outage.end(self.home.folder)

    def _kill_worker(self) -> str:
        name = self.random.choice(sorted(self.workers))
        self.workers[name].kill()
        return f"kill {name}"

    def _kill_service(self) -> str:
        name = self.random.choice(("function", "storage", self.victim))
        state = self.home.read()
        assert state is not None
        pid = state.services[name].pid
        if pid is not None:
            try:
                os.killpg(pid, signal.SIGKILL)
            except ProcessLookupError:
                return f"{name} was gone"
        return f"kill {name}"

    def _damage_site(self) -> str:
        site = self.sites[self.random.choice(sorted(self.sites))]
        kind, keys = self.random.choice(DOCUMENTS)
        text = self.random.choice(("", "{", "[]", "null", json.dumps(self._garbage())))
        fields = self._garbage() if kind in ("control", "heartbeat") else {"document": text}
        try:
            put_raw(site, kind, self.random.choice(keys), fields)
        except Exception as error:  # noqa: BLE001 - an SDK's own, of a site that is away
            return f"no damage: {type(error).__name__}"
        return f"damage {kind}"

    def _damage_disk(self) -> str:
        paths = sorted(
            path
            for path in self.disk.rglob("*.json*")
            if path.is_file() and "local" not in path.parts[len(self.disk.parts) :]
        )
        if not paths:
            return "nothing to damage"
        path = self.random.choice(paths)
        try:
            path.write_text(
                self.random.choice(("", "{", "[]", "null", json.dumps(self._garbage())))
            )
        except OSError:
            return "no room to damage"
        return f"damage {path.name}"

    def _garbage(self) -> dict[str, object]:
        value = self.random.choice((None, "x", -1, 10**18, [], {}, True, 1.5))
        names = ("epoch", "site", "since", "at", "paid", "over", "paused", "primary", "v", "state")
        return dict.fromkeys(self.random.sample(names, self.random.randrange(6)), value)

    def _outage(self) -> str:
        site, how = self.random.choice(sorted(self.sites)), self.random.choice(outage.HOWS)
        outage.begin(self.home.folder, site, None, how, self.random.uniform(1, 3))
        return f"outage {how}"

    def _fill_disk(self) -> str:
        filler = self.disk / "filler"
        if filler.exists():
            filler.unlink()
            return "room again"
        # The disk is meant to be full. This may show with the first byte or when opening the file.
        with suppress(OSError), filler.open("wb", buffering=0) as output:
            while output.write(bytes(2**16)):
                continue
        return "full disk"


@pytest.mark.parametrize("seed", seeds())
def test_nothing_is_lost(
    seed: int, clouds: State, disk: Path, tmp_path: Path, record_property: Callable[..., None]
) -> None:
    home = Home(Path(clouds.options["home"]))
    chance = random.Random(seed)
    symbol = f"CHAOS{seed}USDT"
    sites = {name: open_site(name, each) for name, each in clouds.resources().items()}
    os.symlink(home.folder, disk / "local")
    (tmp_path / "mcloud.toml").write_text(GUARD)
    terminal = Terminal(tmp_path, disk)
    terminal.environment["TMPDIR"] = str(tmp_path)
    trades = Simulate([symbol], seed=seed, start_time=START, count=TRADES, rate=RATE)

    with LocalExchange(trades, speed=SPEED, symbols=[symbol]) as exchange:
        produce = (
            *("produce", "--symbols", symbol, "--freshness", str(chance.choice((0, 1, 5)))),
            *("--ws-url", exchange.ws_url, "--rest-url", exchange.rest_url),
        )
        commands = {
            "producer": produce,
            "replicator": ("replicate", "--symbols", symbol),
            "guard": ("guard", "run"),
        }
        workers = {
            name: Worker(terminal, words, tmp_path / f"{name}.log")
            for name, words in commands.items()
        }
        chaos = Chaos(chance, home, disk, sites, workers, chance.choice(VOLATILE))
        try:
            for worker in workers.values():
                worker.start()
            while not exchange.wait_finished(chance.uniform(0.2, 1.2)):
                chaos.strike()
                for worker in workers.values():
                    if chance.random() < 0.8:
                        worker.tend()
            chaos.calm()
            played = exchange.played(symbol)
            assert len(played) == TRADES
            _await_clouds(home)
            healthy = sites["gcp" if chaos.victim == "aws" else "aws"]
            ids = {(trade.symbol, trade.id) for trade in played}

            def arrived() -> bool:
                workers["producer"].tend()
                return archived_ids(healthy, [symbol]) == ids

            eventually(arrived, pause=0.5)
            looked = terminal.run("status")
            assert looked.returncode in (0, 3), looked.stderr
            assert workers["producer"].stop() in (0, 130), workers["producer"].log.read_text()
        finally:
            chaos.calm()
            for worker in workers.values():
                worker.kill()
            for name, worker in workers.items():
                print(f"{name}:\n{worker.log.read_text(errors='replace')[-4000:]}")
            record_property("faults", dict(chaos.counts))
            print(f"seed {seed}, victim {chaos.victim}: {dict(sorted(chaos.counts.items()))}")

        mended = terminal.run("documents", "repair", "--yes")
        assert mended.returncode == 0, mended.stdout + mended.stderr
        done = terminal.run(
            *("verify", "--repair", "--deep", "--yes", "--symbols", symbol, "-o", "json")
        )
        assert done.returncode == 0, done.stdout + done.stderr
    for worker in workers.values():
        log = worker.log.read_text(errors="replace")
        assert "Traceback" not in log, log
        assert "a fault in mcloud" not in log, log
    for name, site in sites.items():
        assert stored_rows(site, [symbol]) == expected_rows(played), name
        assert await_archived(site, [symbol], ids) == ids, name


def _await_clouds(home: Home) -> None:
    """Wait until every service is available again."""

    def ready() -> bool:
        state = home.read()
        return (
            state is not None
            and state.phase == READY
            and all(children.answers(each.address) for each in state.services.values())
        )

    eventually(ready, pause=0.2)
