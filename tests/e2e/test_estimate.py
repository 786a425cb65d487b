"""The estimate of a pipeline's cost, held to the meters of the embedded clouds."""

import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from cli.conftest import Terminal
from patience import eventually

from mcloud.cost.estimate import Load, monthly, simulated
from mcloud.cost.unmetered import MINUTES
from mcloud.feed.simulate import Simulate
from mcloud.local import control, meter
from mcloud.local.exchange.thread import LocalExchange

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(600)]

MEASURED = 2.0  # minutes
METERS = {
    "aws": ("dynamodb_writes", "s3_puts", "lambda_requests"),
    "gcp": ("firestore_writes", "gcs_class_a", "function_requests", "pubsub_bytes"),
}


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
            eventually(lambda: meter.read(home)["gcp"].get("firestore_writes", 0) > 20)
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
    for cloud, meters in METERS.items():
        expected = monthly(cloud, flow, load, 1)
        if cloud == "aws":
            expected["lambda_requests"] -= MINUTES
        else:
            expected["function_requests"] -= MINUTES
        for name in meters:
            counted = Decimal(after[cloud][name] - before[cloud].get(name, 0))
            monthly_count = counted / Decimal(minutes) * MINUTES
            assert float(monthly_count) == pytest.approx(float(expected[name]), rel=0.1), name
