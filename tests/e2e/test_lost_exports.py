"""Data Firehose cannot write for 25 hours, and then has lost what is older than 24 hours."""

import json
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import recording
from cli.conftest import Terminal
from patience import eventually

from mcloud.clouds.aws.client import make_client
from mcloud.clouds.factory import open_site
from mcloud.clouds.ports import Site
from mcloud.clouds.resources import AwsResources
from mcloud.feed.simulate import Simulate
from mcloud.local import control
from mcloud.local.exchange.thread import LocalExchange
from mcloud.local.state import Home
from mcloud.rehearsal.demo import archived_ids, stored_rows
from mcloud.rehearsal.oracle import expected_rows

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

START = 1_723_161_600_000  # 2024-08-09T00:00:00Z
BOTH, ONE = "BTCUSDT", "ETHUSDT"
"""Symbols whose trades are sent to both sites, and to AWS only."""
TRADES = {
    symbol: list(Simulate([symbol], seed=seed, start_time=START, count=600, rate=1))
    for seed, symbol in enumerate((BOTH, ONE))
}
LATER = 25 * 3600.0  # seconds


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    yield Terminal(tmp_path, tmp_path / "state")
    control.down(tmp_path / "state" / "local")


def test_every_trade_that_firehose_lost_is_named_and_restored(terminal: Terminal) -> None:
    run(terminal, 0, "local", "up", "--ports", "auto")
    aws = sites(terminal)["aws"]
    delete_staging(terminal)
    for symbol, to in ((BOTH, "aws,gcp"), (ONE, "aws")):
        path = recording.write(terminal.folder / f"{symbol}.jsonl", TRADES[symbol])
        source = ("--source", f"replay:{path}", "--market", "spot", "--name", symbol)
        run(terminal, 0, "produce", *source, "--to", to)
        eventually(lambda s=symbol: stored_rows(aws, [s]) == expected_rows(TRADES[s]))  # type: ignore[misc]
    run(terminal, 0, "local", "down", "--keep")
    assert pass_time(terminal) > 0
    run(terminal, 0, "local", "up", "--ports", "auto")

    found = json.loads(run(terminal, 3, "verify", "--wait", "-o", "json").stdout)["findings"]
    assert ids_of(found, "unarchived", BOTH) == {trade.id for trade in TRADES[BOTH]}
    assert ids_of(found, "unarchived", ONE) == {trade.id for trade in TRADES[ONE]}
    with LocalExchange([*TRADES[BOTH], *TRADES[ONE]], wait_for=0) as exchange:
        (terminal.folder / "mcloud.toml").write_text(
            f'[exchange]\nrest_url = "{exchange.rest_url}"\n'
        )
        exchange.wait_finished()
        run(terminal, 0, "verify", "--repair", "--yes", "--wait")
    run(terminal, 0, "verify", "--deep", "--wait")
    for site in sites(terminal).values():
        for symbol, trades in TRADES.items():
            assert stored_rows(site, [symbol]) == expected_rows(trades)
            assert archived_ids(site, [symbol]) == {(symbol, trade.id) for trade in trades}


def run(terminal: Terminal, code: int, *arguments: str) -> CompletedProcess[str]:
    done = terminal.run(*arguments)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def sites(terminal: Terminal) -> dict[str, Site]:
    state = Home(Path(terminal.environment["MCLOUD_STATE"]) / "local").require_ready()
    return {name: open_site(name, each) for name, each in state.resources().items()}


def delete_staging(terminal: Terminal) -> None:
    """Delete the bucket, so that Firehose accepts records and cannot write them."""
    state = Home(Path(terminal.environment["MCLOUD_STATE"]) / "local").require_ready()
    to = state.resources()["aws"]
    assert isinstance(to, AwsResources)
    make_client("s3", to.region, to.endpoint_url).delete_bucket(Bucket=to.staging_bucket)


def pass_time(terminal: Terminal) -> int:
    """Make the records that Firehose has older, and return their number."""
    state = Path(terminal.environment["MCLOUD_STATE"])
    path = state / "local" / "data" / "aws" / "firehose.json"
    document = json.loads(path.read_text())
    records = list(records_in(document))
    for record in records:
        record["ts"] -= LATER
    path.write_text(json.dumps(document))
    return len(records)


def records_in(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the records in ministack's saved state of Firehose."""
    if isinstance(value, dict):
        yield from value.get("records", ())
        for each in value.values():
            yield from records_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from records_in(each)


def ids_of(findings: list[dict[str, Any]], kind: str, symbol: str) -> set[int]:
    """Return the ids in the findings of a kind about AWS."""
    return {
        id_
        for each in findings
        if (each["kind"], each["symbol"], each["site"]) == (kind, symbol, "aws")
        for first, last in each["ids"]
        for id_ in range(first, last + 1)
    }
