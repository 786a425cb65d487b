"""The real commands during an outage with a full disk: traffic moves, and people are notified."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.conftest import Terminal
from patience import eventually
from small_disk import EMPTY, FULL, READ_ONLY, on_disk

from mcloud.clouds.factory import open_site
from mcloud.clouds.ports import ControlRecord, Site
from mcloud.failover import record
from mcloud.local import outage
from mcloud.local.state import State
from mcloud.market.trade import CANARY

pytestmark = pytest.mark.slow


@pytest.fixture
def mcloud(tmp_path: Path) -> Terminal:
    """A terminal with ``disk`` in its folder as MCLOUD_STATE."""
    terminal = Terminal(tmp_path, tmp_path / "disk")
    terminal.environment["TMPDIR"] = "/tmp"
    return terminal


@pytest.fixture
def sites(embedded: State) -> Iterator[dict[str, Site]]:
    """The sites of all tests. Before and after, aws leads."""
    opened = {name: open_site(name, each) for name, each in embedded.resources().items()}
    _lead(opened)
    yield opened
    outage.end(Path(embedded.options["home"]))
    _lead(opened)


def _lead(sites: dict[str, Site]) -> None:
    def make(before: ControlRecord | None) -> ControlRecord | None:
        if before and (before.primary, before.mode) == ("aws", "manual"):
            return None
        return ControlRecord(0, "aws", "manual", "a test", "a test", 1.0)

    record.advance(sites, make, seconds=30.0)  # a loaded machine also has to make the clients


def primary(sites: dict[str, Site]) -> str:
    found = record.read(sites).record
    return found.primary if found else ""


def start(terminal: Terminal, embedded: State, how: str, *words: str) -> "subprocess.Popen[str]":
    """Start a command whose state folder is such a disk, with the embedded clouds on it."""
    disk, home = terminal.folder / "disk", Path(embedded.options["home"])
    terminal.program = on_disk(disk, [sys.executable, "-m", "mcloud"], how, mebibytes=4, bind=home)
    return terminal.start(*words)


def run(terminal: Terminal, embedded: State, how: str, *words: str) -> tuple[int, str, str]:
    process = start(terminal, embedded, how, *words)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def test_an_operator_moves_the_traffic(
    embedded: State, sites: dict[str, Site], mcloud: Terminal
) -> None:
    words = ("failover", "gcp", "--yes", "--force", "lag", "-o", "json")
    code, out, err = run(mcloud, embedded, FULL, *words)
    assert code == 0, err
    assert json.loads(out)["moved"]
    assert primary(sites) == "gcp"
    warnings = [line for line in err.splitlines() if line.startswith("warning: ")]
    assert sorted(Path(line.split()[1]).name for line in warnings) == ["audit.jsonl", "manual.json"]
    assert all("the work continues without it" in line for line in warnings)


@pytest.mark.parametrize("how", [FULL, READ_ONLY])
def test_a_guard_moves_the_traffic(
    embedded: State, sites: dict[str, Site], mcloud: Terminal, how: str
) -> None:
    (mcloud.folder / "mcloud.toml").write_text(
        'profile = "local"\n[guard]\ninterval = 0.5\nsuspect_interval = 0.2\ntimeout = 1.0\n'
        "lease = 8\ndwell = 0.0\nmax_lag = 1e9\n"
    )
    process = start(mcloud, embedded, how, "guard", "run")
    try:
        _await_canary(sites["gcp"])
        outage.begin(Path(embedded.options["home"]), "aws", None, "refuse", None)
        eventually(lambda: primary({"gcp": sites["gcp"]}) == "gcp", pause=0.2)
    finally:
        process.terminate()
        _, err = process.communicate(timeout=60)
    assert "audit.jsonl cannot be written" in err
    assert "Traceback" not in err


def test_status_says_that_notes_are_not_written(
    embedded: State, sites: dict[str, Site], mcloud: Terminal
) -> None:
    code, out, _ = run(mcloud, embedded, READ_ONLY, "status", "-o", "json")
    document = json.loads(out)
    assert code == 3
    assert not document["disk"]["writable"]
    said = [line for line in document["wrong"] if "cannot be written to: Read-only file" in line]
    assert len(said) == 1
    assert "MCLOUD_STATE" in said[0]
    document = json.loads(run(mcloud, embedded, EMPTY, "status", "-o", "json")[1])
    assert document["disk"] == {"writable": True, "reason": ""}


def _await_canary(site: Site) -> None:
    """Wait for a canary, which a guard sends with its first check."""
    before = site.candles.last(CANARY)
    eventually(lambda: site.candles.last(CANARY) != before, pause=0.2)
