"""Replication between embedded clouds, several pairs at once."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from mcloud.clouds.factory import open_site
from mcloud.clouds.ports import Site
from mcloud.clouds.resources import AwsResources
from mcloud.errors import McloudError, UsageError
from mcloud.feed.simulate import Simulate
from mcloud.local.state import State
from mcloud.market.trade import Trade
from mcloud.processor.ingest import ingest
from mcloud.rehearsal.demo import archived_ids, stored_rows
from mcloud.rehearsal.oracle import expected_rows
from mcloud.replication import replicate as module
from mcloud.replication.change_follower import Pauses
from mcloud.replication.pair import Pair
from mcloud.replication.progress import PairProgress
from mcloud.replication.replicate import AT_ONCE, open_pairs, replicate
from mcloud.replication.scope import Scope

from .stores import fresh

PATIENCE = 60.0  # seconds after which a test has failed
START = 1_723_161_180_000
TRADES = list(Simulate(["BTCUSDT", "ETHUSDT"], seed=7, start_time=START, count=600, rate=2))
EVERYTHING = Scope()
QUICK = Pauses(busy=0.05, idle=0.2, raw=0.2)

Opener = Callable[..., AbstractContextManager[list[Pair]]]


@pytest.fixture
def opened(tmp_path: Path) -> Opener:
    """Return a function that opens all pairs of some sites. The states persist between calls."""

    @contextmanager
    def open_(
        sites: dict[str, Site], scope: Scope = EVERYTHING, pauses: Pauses = AT_ONCE
    ) -> Iterator[list[Pair]]:
        names = list(sites)
        with open_pairs(
            sites, names, names, tmp_path, scope, identities=dict.fromkeys(names, ""), pauses=pauses
        ) as pairs:
            yield pairs

    return open_


def open_all(clouds: State, *names: str) -> dict[str, Site]:
    return {name: open_site(name, each) for name, each in fresh(clouds, *names).items()}


def feed(site: Site, trades: Sequence[Trade], size: int = 50) -> None:
    """Process messages of a few trades each as the site's function does."""
    for begin in range(0, len(trades), size):
        ingest(trades[begin : begin + size], site.archive, site.candles)


def check_equal(sites: dict[str, Site], trades: Sequence[Trade]) -> None:
    symbols = sorted({trade.symbol for trade in trades})
    for site in sites.values():
        assert stored_rows(site, symbols) == expected_rows(trades), site.name
        assert archived_ids(site, symbols) == {(t.symbol, t.id) for t in trades}, site.name


def moved(progress: list[PairProgress]) -> int:
    assert [each.error for each in progress] == [""] * len(progress)
    return sum(each.moved for each in progress)


@pytest.mark.slow
@pytest.mark.parametrize(
    "parts",
    [
        pytest.param((slice(0, 300), slice(300, 600)), id="disjoint"),
        pytest.param((slice(0, 400), slice(200, 600)), id="overlapping"),
        pytest.param((slice(0, 600), slice(100, 180)), id="contained"),
        pytest.param((slice(0, 600, 2), slice(100, 350), slice(1, 600, 2)), id="three sites"),
    ],
)
def test_sites_that_were_apart_become_equal(
    embedded: State, opened: Opener, parts: tuple[slice, ...]
) -> None:
    sites = open_all(embedded, *("aws", "gcp", "aws-west")[: len(parts)])
    for site, part in zip(sites.values(), parts, strict=True):
        feed(site, TRADES[part])
    with opened(sites) as pairs:
        assert moved(replicate(pairs, once=True)) > 0
    check_equal(sites, TRADES)
    with opened(sites) as pairs:
        assert moved(replicate(pairs, once=True)) == 0
    for site in sites.values():
        lags = [lag for lag in site.control.lags() if lag.target == site.name]
        assert {lag.source for lag in lags} == sites.keys() - {site.name}
        assert all(lag.candles_s is not None and lag.raw == 0 for lag in lags)


@pytest.mark.slow
def test_functions_and_replicator_write_the_same_candles_at_once(
    embedded: State, opened: Opener
) -> None:
    sites = open_all(embedded, "aws", "gcp")
    stop = threading.Event()
    with opened(sites, pauses=QUICK) as pairs:
        running = threading.Thread(target=replicate, args=(pairs,), kwargs={"stop": stop})
        running.start()
        # Each site gets most of the trades in its own messages, possibly the last ones first.
        functions = [
            threading.Thread(target=feed, args=(sites["aws"], TRADES[:450], 7)),
            threading.Thread(target=feed, args=(sites["gcp"], TRADES[:150:-1], 11)),
        ]
        for each in functions:
            each.start()
        for each in functions:
            each.join()
        symbols = ["BTCUSDT", "ETHUSDT"]
        expected = expected_rows(TRADES)
        eventually(lambda: all(stored_rows(site, symbols) == expected for site in sites.values()))
        stop.set()
        running.join(PATIENCE)
    with opened(sites) as pairs:
        replicate(pairs, once=True)
    check_equal(sites, TRADES)


@pytest.mark.slow
def test_a_site_that_refuses_connections_does_not_delay_the_other_sites(
    embedded: State, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ATTEMPTS", 1)
    sites = open_all(embedded, "aws", "gcp")
    feed(sites["aws"], TRADES)
    away = fresh(embedded, "aws-away")["aws-away"]
    assert isinstance(away, AwsResources)
    sites["aws-away"] = open_site("aws-away", replace(away, endpoint_url="http://127.0.0.1:9"))
    with opened(sites) as pairs:
        ended = replicate(pairs, once=True)
    errors = {(each.source, each.target): each.error for each in ended}
    assert (errors["aws", "gcp"], errors["gcp", "aws"]) == ("", "")
    assert "Could not connect" in errors["aws", "aws-away"]
    del sites["aws-away"]
    check_equal(sites, TRADES)


def test_a_site_that_hangs_holds_up_neither_the_others_nor_the_end(
    embedded: State, opened: Opener
) -> None:
    sites = open_all(embedded, "aws", "gcp")
    feed(sites["aws"], TRADES)
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        away = fresh(embedded, "aws-away")["aws-away"]
        assert isinstance(away, AwsResources)
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        sites["aws-away"] = open_site("aws-away", replace(away, endpoint_url=endpoint))
        with opened(sites, pauses=QUICK) as pairs:
            running = threading.Thread(target=replicate, args=(pairs,), kwargs={"stop": stop})
            running.start()
            expected = expected_rows(TRADES)
            eventually(lambda: stored_rows(sites["gcp"], ["BTCUSDT", "ETHUSDT"]) == expected)
            stop.set()
            # The calls have their own timeouts, together more than a minute.
            running.join(20)
            assert not running.is_alive()


@pytest.mark.slow
def test_symbols_kinds_and_shards_select_the_data(embedded: State, opened: Opener) -> None:
    """A pass over a part of the data is not a checkpoint for the rest."""
    sites = open_all(embedded, "aws", "gcp")
    feed(sites["aws"], TRADES)
    with opened(sites, Scope.parse("candles", "btcusdt", None)) as pairs:
        replicate(pairs, once=True)
    bitcoin = [trade for trade in TRADES if trade.symbol == "BTCUSDT"]
    assert stored_rows(sites["gcp"], ["BTCUSDT", "ETHUSDT"]) == expected_rows(bitcoin)
    assert archived_ids(sites["gcp"], ["BTCUSDT", "ETHUSDT"]) == set()
    for shard in ("1/3", "2/3", "3/3"):
        with opened(sites, Scope.parse("candles,raw", None, shard)) as pairs:
            replicate(pairs, once=True)
    check_equal(sites, TRADES)


def test_a_pair_has_at_most_one_replicator_on_a_machine(embedded: State, opened: Opener) -> None:
    sites = open_all(embedded, "aws", "gcp")
    with (
        opened(sites),
        pytest.raises(McloudError, match="aws to gcp is already being replicated \\(pid "),
        opened(sites),
    ):
        pass
    # Another shard of the symbols is not locked.
    with (
        opened(sites, Scope.parse("raw", None, "1/2")),
        opened(sites, Scope.parse("raw", None, "2/2")),
    ):
        pass


def test_one_site_is_not_a_pair(embedded: State, opened: Opener) -> None:
    with (
        pytest.raises(UsageError, match="nothing to replicate from aws to aws"),
        opened(open_all(embedded, "aws")),
    ):
        pass


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
