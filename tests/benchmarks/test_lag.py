"""The age of trades when they are in a candle, also if many symbols are due at one minute's turn.

Run with ``pytest -m benchmark -s tests/benchmarks/test_lag.py``. A producer sends the trades of
``MCLOUD_LAG_SYMBOLS`` (400) symbols in real time for ``MCLOUD_LAG_MINUTES`` (4) minutes,
``MCLOUD_LAG_RATE`` (400) trades a second of all symbols together. The age of a message is the time
from the receipt of its first trade until its function has stored the candles.
"""

import json
import os
import time
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.conftest import Terminal

from mcloud.clouds.aws.client import make_client
from mcloud.clouds.resources import AwsResources, GcpResources, Resources
from mcloud.cost.estimate import Load, trades_of
from mcloud.local import children, control
from mcloud.local.state import State
from mcloud.local.supervisor import Options
from mcloud.market.trade import is_reserved

from .test_cost_table import LEAD, produce

SYMBOLS = int(os.environ.get("MCLOUD_LAG_SYMBOLS", "400"))
RATE = float(os.environ.get("MCLOUD_LAG_RATE", "400"))
LENGTH = float(os.environ.get("MCLOUD_LAG_MINUTES", "4"))
MORE = 2.0  # seconds above the freshness that 95 of 100 messages may need

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(60 * LENGTH + 900)]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    home = tmp_path / "state" / "local"
    yield control.up(Options(str(home), *children.free_ports(4), owner=os.getpid()))
    control.down(home)


@pytest.mark.parametrize("freshness", [5, 60])
def test_trades_are_in_a_candle_in_time(state: State, tmp_path: Path, freshness: int) -> None:
    start = time.time() + LEAD
    trades = trades_of(Load(SYMBOLS, RATE, freshness), LENGTH, int(start * 1000))
    symbols = sorted({trade.symbol for trade in trades})
    terminal = Terminal(tmp_path, tmp_path / "state")
    produce(terminal, trades, symbols, freshness, LENGTH, start=start)
    received = receipts(tmp_path / "state" / "producers" / "default")
    late = {}
    for name, to in state.resources().items():
        ages = sorted(
            (stored - received_at(received, symbol, first_id)) / 1000
            for symbol, first_id, stored in stored_messages(to)
        )
        p50, p95 = ages[len(ages) // 2], ages[int(0.95 * len(ages))]
        print(
            f"\n{name}, {len(symbols)} symbols, a freshness of {freshness} s:"
            f" {len(ages):,} messages, p50 {p50:.1f} s, p95 {p95:.1f} s, worst {ages[-1]:.1f} s"
        )
        assert len(ages) >= len(symbols)
        assert ages[0] >= 0
        if p95 >= freshness + MORE:
            late[name] = p95
    assert not late


def receipts(folder: Path) -> dict[str, list[tuple[int, int]]]:
    """Return the first id of each message of a producer, by symbol and in order, with the time in
    ms at which that trade was received."""
    found: dict[str, list[tuple[int, int]]] = {}
    lines = [line for file in folder.glob("trail*.jsonl") for line in file.read_text().splitlines()]
    for line in map(json.loads, lines):
        if "received" in line:
            found.setdefault(line["symbol"], []).append((line["first_id"], line["received"]))
    return {symbol: sorted(each) for symbol, each in found.items()}


def received_at(received: dict[str, list[tuple[int, int]]], symbol: str, first_id: int) -> int:
    of_symbol = received[symbol]
    place = bisect_right(of_symbol, (first_id, 2**62))
    assert place, f"the receipt of {symbol} {first_id} is not recorded"
    return of_symbol[place - 1][1]


def stored_messages(to: Resources) -> Iterator[tuple[str, int, int]]:
    """Yield the symbol and the first id of what the processor has stored, and when, in ms."""
    if isinstance(to, GcpResources):
        lines = Path(to.function_log).read_text().splitlines()
    else:
        assert isinstance(to, AwsResources)
        logs = make_client("logs", to.region, to.endpoint_url).get_paginator("filter_log_events")
        pages = logs.paginate(logGroupName=f"/aws/lambda/{to.function}")
        lines = [each["message"] for page in pages for each in page["events"]]
    for line in lines:
        entry = json.loads(line) if line.startswith("{") else {}
        if entry.get("message") == "stored" and not is_reserved(entry["symbol"]):
            yield entry["symbol"], entry["first_id"], entry["stored"]
