"""Producers and functions of the previous and of this release work together.

The previous release is taken from the history of the repository, if there is one.
"""

import io
import json
import subprocess
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import ROOT, Terminal
from patience import eventually

from mcloud.clouds.factory import open_site
from mcloud.clouds.ports import Site
from mcloud.feed.simulate import Simulate
from mcloud.local import control
from mcloud.local.state import Home
from mcloud.market.trade import Trade, to_text
from mcloud.rehearsal.demo import archived_ids, stored_rows
from mcloud.rehearsal.oracle import expected_rows

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(900)]

BEFORE = "0f5402d"
"""The last commit whose functions only read version 1 of the message format."""

START = 1_735_776_000_000  # ms
PLAIN, NEWER = "OLDUSDT", "NEWUSDT.um"


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """The package of the previous release."""
    packed = subprocess.run(
        ["git", "archive", BEFORE, "mcloud", "functions", "terraform"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if packed.returncode:
        pytest.skip(f"the history of this checkout does not reach back to {BEFORE}")
    folder = tmp_path / "before"
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


@pytest.fixture
def mcloud(tmp_path: Path) -> Iterator[Terminal]:
    yield Terminal(tmp_path, tmp_path / "state")
    control.down(tmp_path / "state" / "local")


def of_release(mcloud: Terminal, package: Path) -> Terminal:
    """Return a terminal with the same folder and state for another release."""
    other = Terminal(mcloud.folder, Path(mcloud.environment["MCLOUD_STATE"]))
    other.environment["PYTHONPATH"] = str(package)
    return other


def recording(path: Path, trades: Iterable[Trade]) -> Path:
    """Write a recording of a futures stream. A trade without a price is a void."""
    path.write_text("".join(json.dumps(event(trade)) + "\n" for trade in trades))
    return path


def event(trade: Trade) -> dict[str, Any]:
    return {
        "s": trade.symbol,
        "t": trade.id,
        "p": to_text(trade.price),
        "q": to_text(trade.quantity),
        "T": trade.time,
        "m": trade.buyer_is_maker,
        "X": "NA" if trade.is_void else "MARKET",
    }


def futures() -> list[Trade]:
    """Return the trades of two hours, in which every ninth id is a void."""
    trades = Simulate([NEWER], seed=3, start_time=START, count=7_200, rate=1)
    return [Trade.void(*t[:2], t.time) if t.id % 9 == 4 else t for t in trades]


def sites_of(mcloud: Terminal) -> dict[str, Site]:
    state = Home(Path(mcloud.environment["MCLOUD_STATE"]) / "local").require_ready()
    return {name: open_site(name, each) for name, each in state.resources().items()}


def assert_exact(sites: dict[str, Site], trades: list[Trade], symbol: str) -> None:
    expected = expected_rows(trades)
    for site in sites.values():
        eventually(lambda site=site: stored_rows(site, [symbol]) == expected, pause=0.5)  # type: ignore[misc]
        ids = {(trade.symbol, trade.id) for trade in trades}
        eventually(lambda site=site, ids=ids: archived_ids(site, [symbol]) == ids, pause=0.5)  # type: ignore[misc]
        assert site.queue.take_dead_letters(10) == []


def test_a_stack_is_upgraded_while_a_producer_runs(mcloud: Terminal, before: Path) -> None:
    """No message that the functions cannot read is sent, and nothing is missing afterwards."""
    assert of_release(mcloud, before).run("local", "up", "--ports", "auto").returncode == 0
    sites = sites_of(mcloud)
    plain = list(Simulate([PLAIN], seed=2, start_time=START, count=6_000, rate=10))
    newer = futures()
    mixed = sorted([*plain, *newer], key=lambda trade: (trade.time, trade.symbol, trade.id))
    path = recording(mcloud.folder / "mixed.jsonl", mixed)
    producer = mcloud.start(
        *("produce", "--source", f"replay:{path}", "--speed", "60x"),
        *("--name", "live", "-o", "json"),
    )
    try:
        # Messages that the functions can read keep arriving. The others wait, and this is reported.
        expected = expected_rows(plain)
        for site in sites.values():
            eventually(lambda site=site: stored_rows(site, [PLAIN]) == expected, pause=0.5)  # type: ignore[misc]
            assert stored_rows(site, [NEWER]) == []
        shown = json.loads(mcloud.run("ps", "-o", "json").stdout)
        assert "cannot read version 2 of the message format: run `mcloud deploy" in json.dumps(
            shown
        )
        for name in sites:
            deployed = mcloud.run("deploy", name, "--yes")
            assert deployed.returncode == 0, deployed.stderr
        out, err = producer.communicate(timeout=300)
        assert producer.returncode == 0, out + err
    finally:
        producer.kill()
    assert_exact(sites, plain, PLAIN)
    assert_exact(sites, newer, NEWER)


def test_messages_in_the_queues_of_the_release_before_are_archived(
    mcloud: Terminal, before: Path
) -> None:
    """They came before the export subscription, which does not have them."""
    earlier = of_release(mcloud, before)
    assert earlier.run("local", "up", "--ports", "auto").returncode == 0
    trades = list(Simulate([PLAIN], seed=2, start_time=START, count=6_000, rate=10))
    path = recording(mcloud.folder / "plain.jsonl", trades[:4_000])
    for site in ("aws", "gcp"):
        assert earlier.run("local", "outage", site, "--service", "function").returncode == 0
    assert earlier.run("produce", "--source", f"replay:{path}").returncode == 0
    assert earlier.run("local", "down", "--keep").returncode == 0
    assert mcloud.run("local", "up", "--ports", "auto").returncode == 0
    path = recording(mcloud.folder / "rest.jsonl", trades[4_000:])
    assert mcloud.run("produce", "--source", f"replay:{path}").returncode == 0
    assert_exact(sites_of(mcloud), trades, PLAIN)
    compacted = mcloud.run("compact", "-o", "json")
    assert compacted.returncode == 0, compacted.stderr
    assert_exact(sites_of(mcloud), trades, PLAIN)


def test_a_producer_of_the_release_before(mcloud: Terminal, before: Path) -> None:
    assert mcloud.run("local", "up", "--ports", "auto").returncode == 0
    trades = list(Simulate([PLAIN], seed=2, start_time=START, count=6_000, rate=10))
    path = recording(mcloud.folder / "plain.jsonl", trades)
    done = of_release(mcloud, before).run("produce", "--source", f"replay:{path}")
    assert done.returncode == 0, done.stderr
    assert_exact(sites_of(mcloud), trades, PLAIN)


def test_a_producer_ends_beside_functions_that_stay_old_and_loses_nothing(
    mcloud: Terminal, before: Path
) -> None:
    assert of_release(mcloud, before).run("local", "up", "--ports", "auto").returncode == 0
    sites, trades = sites_of(mcloud), futures()
    path = recording(mcloud.folder / "futures.jsonl", trades)
    done = mcloud.run("produce", "--source", f"replay:{path}")
    assert done.returncode == 1
    assert "run `mcloud deploy aws`" in done.stderr
    for site in sites.values():
        assert stored_rows(site, [NEWER]) == []
        assert site.queue.take_dead_letters(10) == []
    for name in sites:
        assert mcloud.run("deploy", name, "--yes").returncode == 0
    sent = mcloud.run("produce", "--source", "spool")
    assert sent.returncode == 0, sent.stderr
    assert_exact(sites, trades, NEWER)
