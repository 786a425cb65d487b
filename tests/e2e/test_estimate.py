"""The estimate of a pipeline's cost, held to the meters of the embedded clouds."""

import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from cli.conftest import Terminal
from patience import eventually

from mcloud.cost.estimate import Load, monthly, simulated
from mcloud.cost.unmetered import HOURS, MINUTES
from mcloud.feed.simulate import Simulate
from mcloud.local import control, meter
from mcloud.local.exchange.thread import LocalExchange

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(600)]

MEASURED = 2.0  # minutes
METERS = {
    "aws": ("dynamodb_writes", "firehose_bytes", "lambda_requests"),
    "gcp": ("firestore_writes", "function_requests", "pubsub_bytes", "pubsub_export_bytes"),
}

WRITES = {"aws": "dynamodb_writes", "gcp": "firestore_writes"}


@pytest.fixture
def mcloud(tmp_path: Path) -> Iterator[Terminal]:
    yield Terminal(tmp_path, tmp_path / "state")
    control.down(tmp_path / "state" / "local")


def test_the_meters_agree(mcloud: Terminal, tmp_path: Path) -> None:
    """Producer, queues, functions and stores run for two minutes, with a freshness of 5 s."""
    assert mcloud.run("local", "up", "--ports", "auto").returncode == 0
    home = tmp_path / "state" / "local"
    symbols = ["BTCUSDT", "ETHUSDT"]
    trades = Simulate(symbols, seed=5, start_time=int(time.time() * 1000), rate=20)
    with LocalExchange(trades, speed=1.0, wait_for=2) as exchange:
        producer = mcloud.start(
            *("produce", "--symbols", ",".join(symbols), "--freshness", "5"),
            *("--ws-url", exchange.ws_url, "--rest-url", exchange.rest_url),
        )
        try:
            # The first calls also create the functions and their notes.
            eventually(lambda: all(meter.read(home)[c].get(w, 0) > 20 for c, w in WRITES.items()))
            before, began = meter.read(home), time.monotonic()
            time.sleep(60 * MEASURED)
            after, minutes = meter.read(home), (time.monotonic() - began) / 60
        finally:
            producer.terminate()
            producer.wait(60)
    load = Load(2, 40, 5)
    flow = simulated(load)
    # The embedded functions write heartbeats with each message, and no schedule calls them. The two
    # symbols are in different documents.
    flow.heartbeats = flow.heartbeat_units = flow.rows
    found, estimated = {}, {}
    for cloud, meters in METERS.items():
        expected = monthly(cloud, flow, load, 1)
        calls = "lambda_requests" if cloud == "aws" else "function_requests"
        expected[calls] -= MINUTES + HOURS
        for name in meters:
            counted = Decimal(after[cloud][name] - before[cloud].get(name, 0))
            found[name] = float(counted / Decimal(minutes) * MINUTES)
            estimated[name] = float(expected[name])
    assert found == pytest.approx(estimated, rel=0.1)
