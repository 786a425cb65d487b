"""The time of each command that reads, while a site or one of its services is out.

The environment variable MCLOUD_READS limits the rows, such as ``aws:candles:hang`` or ``gcp``; the
parts may be empty. MCLOUD_READ_COMMANDS limits the columns, such as ``status,trace``.
"""

import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.conftest import Terminal

from mcloud.clouds.ports import SERVICES
from mcloud.local import children, control, outage
from mcloud.local.supervisor import Options

pytestmark = pytest.mark.benchmark

LIMIT = 2.0  # seconds that a failing site may add
TRADE = "3735683400"
HEALTHY = 5  # runs of each command while all is well
READS = {
    "status": ("status",),
    "alerts": ("alerts", "list"),
    "trace": ("trace", TRADE),
    "verify": ("verify",),
    "candles": ("candles", "BTCUSDT", "--last", "10m"),
    "anomalies": ("anomalies",),
    "dlq": ("dlq", "list", "{site}"),
    "documents": ("documents", "list"),
    "cost": ("cost", "report"),
    "metrics": ("metrics",),
}


@pytest.fixture(scope="module")
def mcloud(tmp_path_factory: pytest.TempPathFactory, recordings: Path) -> Iterator[Terminal]:
    """Embedded clouds with recorded trades on both sites."""
    state = tmp_path_factory.mktemp("reads")
    home = state / "local"
    aws, gcp, storage, function = children.free_ports(4)
    control.up(Options(str(home), aws, gcp, storage, function, owner=os.getpid()))
    terminal = Terminal(tmp_path_factory.mktemp("folder"), state)
    # Compiled once, like an installed program: to compile the SDKs takes longer than a command.
    terminal.environment["PYTHONPYCACHEPREFIX"] = str(tmp_path_factory.mktemp("compiled"))
    terminal.environment.pop("PYTHONDONTWRITEBYTECODE", None)
    try:
        trades = recordings / "spot-btcusdt-trades-20240808.jsonl.gz"
        made = terminal.run("produce", "--source", f"replay:{trades}", "--speed", "max")
        assert made.returncode == 0, made.stderr
        for _ in range(60):
            done = terminal.run("verify")
            if "9,757" in done.stdout and done.returncode == 0:
                break
            time.sleep(1)
        assert done.returncode == 0, done.stdout
        yield terminal
    finally:
        control.down(home)


@pytest.mark.timeout(7200)
def test_the_time_that_a_failing_site_adds_to_each_command(mcloud: Terminal) -> None:
    home = Path(mcloud.environment["MCLOUD_STATE"]) / "local"
    wanted = os.environ.get("MCLOUD_READ_COMMANDS")
    names = wanted.split(",") if wanted else list(READS)
    usual = {
        name: statistics.median(_seconds(mcloud, name, "aws")[0] for _ in range(HEALTHY))
        for name in names
    }
    _row("healthy", [f"{usual[name]:.1f}" for name in names], names)
    slow: list[str] = []
    for site, service, how in _cases():
        cells = []
        outage.begin(home, site, service, how, None)
        try:
            for name in names:
                seconds, said = _seconds(mcloud, name, site)
                added = seconds - usual[name]
                cells.append(f"{seconds:.1f} {added:+.1f}")
                if added > LIMIT:
                    slow.append(f"{name}, {site} {service or 'all'} {how}: {added:.1f} s: {said}")
        finally:
            outage.end(home)
        _row(f"{site} {service or 'all'} {how}", cells, names)
        time.sleep(1)  # gRPC connects again
    print(*slow, sep="\n")
    assert not slow


def _cases() -> Iterator[tuple[str, str | None, outage.OutageKind]]:
    wanted = os.environ.get("MCLOUD_READS", "").split(":")
    for how in outage.HOWS:
        for site in ("aws", "gcp"):
            for service in (None, *SERVICES):
                parts = (site, service or "all", how)
                if all(not want or want == part for want, part in zip(wanted, parts, strict=False)):
                    yield site, service, how


def _seconds(mcloud: Terminal, name: str, site: str) -> tuple[float, str]:
    command = [mcloud.program[0], "-m", "mcloud", *(each.format(site=site) for each in READS[name])]
    begun = time.perf_counter()
    run = subprocess.run(
        command,
        cwd=mcloud.folder,
        env=mcloud.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    seconds = time.perf_counter() - begun
    assert run.returncode in (0, 1, 3), run.stderr
    assert not re.search(r"Traceback|bug in mcloud|error: 503", run.stderr), run.stderr
    return seconds, run.stderr.strip().splitlines()[-1] if run.stderr.strip() else ""


def _row(label: str, cells: list[str], names: list[str]) -> None:
    if label == "healthy":
        print(f"\n{'':22}" + "".join(f"{name:>12}" for name in names), file=sys.stdout)
    print(f"{label:22}" + "".join(f"{cell:>12}" for cell in cells), flush=True)
