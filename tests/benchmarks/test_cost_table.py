"""The cost of a month, by service, from runs of the whole pipeline on the embedded clouds.

Run with ``pytest -m benchmark -s tests/benchmarks/test_cost_table.py``. A producer sends simulated
trades in real time through the real functions, ``MCLOUD_COST_MINUTES`` (30) minutes for each row.
``MCLOUD_COST_RATE`` (3000) is the number of trades per second of the 400 symbols; a machine that is
too slow for it loses nothing, but falls behind. The meters of the run are scaled to 30 days and
priced; fixed charges are not scaled, and the compaction of the trades is repeated every hour. Then
the oracle compares every candle and every trade.
"""

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from cli.conftest import Terminal
from replication.memory import Faults, MemoryArchive

from mcloud.clouds.aws.client import make_client
from mcloud.clouds.factory import open_site
from mcloud.clouds.ports import Site
from mcloud.clouds.resources import AwsResources, GcpResources, Resources
from mcloud.cost.archiving import CompactionWork
from mcloud.cost.estimate import Load, stored_size, trades_of
from mcloud.cost.measured import MeasuredRun, bill, by_service
from mcloud.cost.unmetered import FunctionWork
from mcloud.local import children, control, meter
from mcloud.local.children import MARK
from mcloud.local.exchange.thread import LocalExchange
from mcloud.local.scheduled_functions import SCHEDULED
from mcloud.local.state import State
from mcloud.local.supervisor import Options
from mcloud.market.staged import WINDOW
from mcloud.market.trade import Trade
from mcloud.processor.compaction import compact_scheduled
from mcloud.rehearsal.demo import archived_ids, stored_rows
from mcloud.rehearsal.oracle import expected_rows

MINUTES = float(os.environ.get("MCLOUD_COST_MINUTES", "30"))
RATE = float(os.environ.get("MCLOUD_COST_RATE", "3000"))
LEAD = 180.0  # seconds until the first trade, while the trades are made and the producer starts
CATCH_UP = 600.0  # seconds after the last trade
QUIET = 10.0  # seconds without a write of a candle after which all are written

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(60 * MINUTES + 4 * CATCH_UP)]

WORKERS = {"aws": "ministack-lambda", "gcp": "local/functions.py"}
"""Part of the command line of a function's processes."""
EVENT, ENTRY = 26, 400
"""Bytes that CloudWatch Logs and Cloud Logging bill for an entry in addition to its text. The
second is an estimate of the resource, the labels and the times of an entry."""


class Counters(NamedTuple):
    """What has been counted until some time."""

    meters: Mapping[str, Mapping[str, Mapping[str, meter.Count]]]
    """By site, meter and resource."""
    cpu: Mapping[str, float]
    """Seconds of the functions, by site."""
    logs: Mapping[str, int]
    """Bytes, by site."""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[State]:
    monkeypatch.setenv("HEARTBEAT_SECONDS", "60")  # as on real clouds
    home = tmp_path / "state" / "local"
    # Objects are exported as seldom as on real clouds.
    options = Options(str(home), *children.free_ports(4), owner=os.getpid(), export_seconds=None)
    yield control.up(options)
    control.down(home)


@pytest.mark.parametrize("freshness", [5, 60])
@pytest.mark.parametrize("load", [(1, 30.0), (400, RATE)], ids=["1 symbol", "400 symbols"])
def test_the_cost_of_a_month_is_measured(
    state: State, tmp_path: Path, load: tuple[int, float], freshness: int
) -> None:
    sites = {name: open_site(name, each) for name, each in state.resources().items()}
    terminal = Terminal(tmp_path, tmp_path / "state")
    # The functions note which messages they read, as those of a site that is in use have.
    warm = ("produce", "--source", "simulate", "--symbols", "WARMUSDT", "--count", 10)
    assert terminal.run(*warm).returncode == 0
    time.sleep(QUIET)
    begun = counters(state)
    # The trades are made at their times: a minute of theirs is one of the producer's.
    start = time.time() + LEAD
    trades = trades_of(Load(*load, freshness), MINUTES, int(start * 1000))
    symbols = sorted({trade.symbol for trade in trades})
    produce(terminal, trades, symbols, freshness, start=start)
    time.sleep(WINDOW + QUIET)  # until everything is exported
    ended = settled(state)
    compactions = {name: compacted(site, state) for name, site in sites.items()}
    expected = expected_rows(trades)
    ids = {(trade.symbol, trade.id) for trade in trades}
    for site in sites.values():
        assert stored_rows(site, symbols) == expected
        assert archived_ids(site, symbols) == ids
    print(f"\n{len(symbols)} symbols, {len(trades):,} trades, a freshness of {freshness} s")
    for name, to in state.resources().items():
        run = measured(sites[name], to, symbols, begun, ended)
        units, work = compactions[name]
        show(name, replace(run, compacted=units, compacting=work))


def produce(
    terminal: Terminal,
    trades: list[Trade],
    symbols: list[str],
    freshness: int,
    minutes: float = MINUTES,
    *,
    start: float,
) -> None:
    """Let a producer send all trades in real time, from ``start`` on (in seconds since 1970)."""
    never = len(symbols) + 1
    with LocalExchange(trades, speed=1.0, wait_for=never, symbols=symbols) as exchange:
        producer = terminal.start(
            *("produce", "--symbols", ",".join(symbols), "--freshness", freshness),
            *("--ws-url", exchange.ws_url, "--rest-url", exchange.rest_url),
        )
        deadline = time.monotonic() + 60 * minutes + CATCH_UP
        try:
            while len({each for of in exchange.state()["connections"] for each in of}) < never - 1:
                assert producer.poll() is None, producer.communicate()[1]
                time.sleep(0.5)
            assert time.time() < start, "a longer LEAD is needed"
            time.sleep(start - time.time())
            exchange.begin()
            while not exchange.wait_finished(1.0):
                assert producer.poll() is None, producer.communicate()[1]
                assert time.monotonic() < deadline, "the exchange does not come to an end"
            time.sleep(freshness + 5)
        finally:
            producer.terminate()
            _, said = producer.communicate(timeout=CATCH_UP)
        assert producer.returncode in (0, 130), said


def settled(state: State) -> Counters:
    """Return the counters once no candle has been written for a while. Reads would be counted."""
    deadline = time.monotonic() + CATCH_UP
    now = counters(state)
    while True:
        time.sleep(QUIET)
        before, now = now, counters(state)
        if all(written(before, each) == written(now, each) for each in state.resources().values()):
            return now
        assert time.monotonic() < deadline, "the functions do not come to an end"


def compacted(site: Site, state: State) -> tuple[dict[str, Decimal], CompactionWork]:
    """Compact a site as its function does three hours later. Return the units by meter, and the
    work, for the trades of a whole hour."""
    staging = site.archive._staging
    archive = site.archive._archive
    later = time.time() + 3 * 3600

    def clock() -> float:
        return later

    # This first run finds nothing, and lists the raw bucket.
    compact_scheduled(archive, MemoryArchive(Faults()), site.control, 900, clock)
    staged = sum(1 for _ in staging.list(""))
    before, used = counters(state).meters[site.name], time.process_time()
    done = compact_scheduled(archive, staging, site.control, 900, clock)
    cpu = time.process_time() - used
    after = counters(state).meters[site.name]
    assert (done.next_symbol, done.problems, done.staged) == ("", 0, 0)
    more = Decimal(60) / Decimal(MINUTES) - 1
    # An hour has as many symbols, each with a block that is not full and an index, and more staged
    # objects and full blocks.
    full = Decimal(max(0, done.blocks - done.symbols))
    writes, reads = (
        ("s3_puts", "s3_gets") if site.cloud == "aws" else ("gcs_class_a", "gcs_class_b")
    )
    units = {
        each: Decimal(sum(after[each].values()) - sum(before.get(each, {}).values()))
        for each in after
    }
    units[writes] = units.get(writes, Decimal(0)) + more * full
    units[reads] = units.get(reads, Decimal(0)) + more * (2 * full + staged)
    work = CompactionWork(
        writes=float(units[writes]), reads=float(units[reads]), cpu=cpu * float(1 + more)
    )
    return units, work


def written(counted: Counters, to: Resources) -> meter.Count:
    """Return the units of writes of candles."""
    if isinstance(to, AwsResources):
        return counted.meters["aws"]["dynamodb_writes"].get(to.candles_table, 0)
    assert isinstance(to, GcpResources)
    return counted.meters["gcp"]["firestore_writes"].get(to.candles_collection, 0)


def counters(state: State) -> Counters:
    time.sleep(2 * meter.SAVE_SECONDS)
    home = Path(state.options["home"])
    to = state.resources()
    cpu = {name: cpu_of(home, worker) for name, worker in WORKERS.items()}
    return Counters(meter.read_split(home), cpu, {n: logged(to[n]) for n in to})


def cpu_of(home: Path, worker: str) -> float:
    """Return the CPU time of the processes of a function."""
    seconds = 0.0
    for process in psutil.process_iter():
        try:
            is_ours = process.environ().get(MARK) == str(home)
            if is_ours and worker in " ".join(process.cmdline()):
                used = process.cpu_times()
                seconds += used.user + used.system
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return seconds


def logged(to: Resources) -> int:
    """Return the bytes that the functions have logged."""
    if isinstance(to, GcpResources):
        lines = Path(to.function_log).read_bytes().splitlines()
        return sum(len(line) + ENTRY for line in lines if line.startswith(b"{"))
    assert isinstance(to, AwsResources)
    client = make_client("logs", to.region, to.endpoint_url)
    size = 0
    for name in (to.function, *(each.name for each in SCHEDULED)):
        try:
            pages = client.get_paginator("filter_log_events").paginate(
                logGroupName=f"/aws/lambda/{name}"
            )
            size += sum(len(each["message"]) + EVENT for page in pages for each in page["events"])
        except client.exceptions.ResourceNotFoundException:
            continue  # it has not been called yet
    return size


def measured(
    site: Site, to: Resources, symbols: list[str], begun: Counters, ended: Counters
) -> MeasuredRun:
    """Return what was counted between two times."""
    name = site.name
    before, after = begun.meters[name], ended.meters[name]
    counted: dict[str, Decimal] = {
        each: Decimal(sum(after[each].values())) - Decimal(sum(before.get(each, {}).values()))
        for each in after
    }

    def of(each: str, resource: str) -> Decimal:
        earlier = before.get(each, {}).get(resource, 0)
        return Decimal(after[each].get(resource, 0)) - Decimal(earlier)

    if isinstance(to, AwsResources):
        calls = of("lambda_requests", to.function)
        # A candle of the usual size takes two write units.
        writes = of("dynamodb_writes", to.candles_table) / 2
        exports = calls  # a call hands its messages over to Data Firehose
    else:
        calls, exports = counted["function_requests"], Decimal(0)
        writes = of("firestore_writes", to.candles_collection)
    candles = [each for symbol in symbols for each in site.candles.range(symbol, 0, 2**45)]
    cpu = Decimal(ended.cpu[name] - begun.cpu[name])
    return MeasuredRun(
        site.cloud,
        Decimal(MINUTES),
        counted,
        FunctionWork(calls, writes, exports, cpu),
        Decimal(ended.logs[name] - begun.logs[name]),
        Decimal(len(candles)),
        Decimal(sum(map(stored_size, candles))),
        Decimal(sum(item.size for item in site.archive.list("raw/"))),
    )


def show(site: str, run: MeasuredRun) -> None:
    """Print the cost of each service in dollars a month, and the units of each meter."""
    first, last = (by_service(run.cloud, bill(run, month)) for month in (1, 12))
    rows = [
        (cost.service, cost.measured, cost.added, cost.net, later.net)
        for cost, later in zip(first, last, strict=True)
    ]
    rows.append(("total", *(sum(column) for column in list(zip(*rows, strict=True))[1:])))
    print(f"\n{site:12} {'measured':>10} {'added':>10} {'net':>10} {'month 12':>10}")
    for service, *figures in rows:
        print(f"{service:12}", *(f"{each:10.2f}" for each in figures))
    for item in bill(run):
        print(f"    {item.meter:28} {item.measured:16,.1f} + {item.added:,.1f}")
