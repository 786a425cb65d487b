"""The settings that a producer's run keeps for its lifetime."""

import threading
from pathlib import Path

import pytest

from mcloud.errors import UsageError
from mcloud.feed.binance.endpoints import KNOWN, endpoints
from mcloud.feed.open import FeedChoice
from mcloud.producer.cursor import Position
from mcloud.producer.reported_state import SourceAbout
from mcloud.producer.run_folder import (
    check_market,
    check_spool,
    check_venue,
    follow_exchange,
    spool_of,
)
from mcloud.producer.source import open_source, resume_command
from mcloud.producer.spool import Spool
from mcloud.runs import Run

from .spools import SITES, drain, entry


def test_a_run_follows_one_exchange(tmp_path: Path) -> None:
    run = Run(tmp_path / "producers" / "live")
    run.create()
    follow_exchange(run, "wss://one")
    follow_exchange(run, "wss://one")
    with pytest.raises(UsageError, match=r"follows wss://one.*--name"):
        follow_exchange(run, "wss://other")


def test_a_venue_note_lost_in_a_power_failure_is_written_again(tmp_path: Path) -> None:
    run = Run(tmp_path / "producers" / "live")
    run.create()
    (run.folder / "exchange").touch()
    follow_exchange(run, "wss://one")
    with pytest.raises(UsageError, match="follows wss://one"):
        follow_exchange(run, "wss://other")


def test_a_known_venue_note_is_not_rewritten(tmp_path: Path) -> None:
    """A crash during the write would leave a truncated file."""
    run = Run(tmp_path / "producers" / "live")
    run.create()
    follow_exchange(run, "wss://one")
    before = (run.folder / "exchange").stat()
    follow_exchange(run, "wss://one")
    after = (run.folder / "exchange").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize(
    ("about", "command"),
    [
        (
            SourceAbout(source="binance", symbols=("BTCUSDT", "ETHUSDT"), live=True),
            "mcloud produce --name 'my own' --symbols BTCUSDT,ETHUSDT",
        ),
        (
            SourceAbout(source="binance-us", symbols=("BTCUSDT",), live=True),
            "mcloud produce --name 'my own' --exchange binance-us --symbols BTCUSDT",
        ),
        (
            SourceAbout(
                source="binance",
                symbols=("BTCUSDT",),
                live=True,
                follows="all:USDT",
                shard="1/2",
            ),
            "mcloud produce --name 'my own' --symbols all:USDT --shard 1/2",
        ),
        (
            SourceAbout(source="simulate", symbols=("BTCUSDT",), live=False),
            "mcloud produce --name 'my own' --source spool",
        ),
        (
            SourceAbout(source="replay:a.zip", symbols=("BTCUSDT",), live=False),
            "mcloud produce --name 'my own' --source spool",
        ),
    ],
)
def test_leftover_messages_are_sent_without_mixing_sources(
    about: SourceAbout, command: str
) -> None:
    """Live trades of the same symbol are not appended to simulated or recorded ones."""
    assert resume_command("my own", about) == command


def test_the_route_of_futures_has_moved(tmp_path: Path) -> None:
    run = Run(tmp_path / "producers" / "live")
    run.create()
    follow_exchange(run, "wss://f/market")
    follow_exchange(run, "wss://f/public")
    with pytest.raises(UsageError, match="follows wss://f/public"):
        follow_exchange(run, "wss://f/market")


@pytest.mark.parametrize(
    ("stored", "market"), [("BTCUSDT", "um"), ("BTCUSDT.um", "spot"), ("BTCUSD_PERP", "cm")]
)
def test_a_spool_of_another_market_is_refused_and_never_mixed(
    tmp_path: Path, stored: str, market: str
) -> None:
    run = Run(tmp_path / "producers" / "live")
    with pytest.raises(UsageError, match=rf"'live' holds {stored},.*another --name"):
        check_market(run, [Position(stored, 1, 5)], market)


def test_a_spool_of_the_same_market_is_continued(tmp_path: Path) -> None:
    run = Run(tmp_path / "producers" / "live")
    check_market(run, [Position("BTCUSDT.um", 1, 5), Position("ETHUSDT.um", 1, 5)], "um")
    check_market(run, [Position("BTCUSDT", 1, 5)], "spot")


@pytest.mark.parametrize(
    ("source", "exchange"), [("binance-futures", "binance-us"), ("binance-us", "binance")]
)
def test_a_source_and_an_exchange_that_differ_are_refused(source: str, exchange: str) -> None:
    with pytest.raises(UsageError, match="are different exchanges"):
        open_source(FeedChoice(source, exchange=exchange), threading.Event())


def test_a_queue_is_fed_from_one_venue(tmp_path: Path) -> None:
    folder = tmp_path / "venues"
    queues = {"aws": "https://sqs/1", "gcp": "projects/p/topics/t"}
    for _ in range(2):
        check_venue(folder, queues, "binance", "spot")
    with pytest.raises(
        UsageError, match=r"gcp has been fed from binance, and binance-us"
    ) as raised:
        check_venue(folder, {"gcp": queues["gcp"]}, "binance-us", "spot")
    # Another market has other symbols, and another queue is another stack.
    check_venue(folder, queues, "binance-us", "um")
    check_venue(folder, {"aws": "https://sqs/2"}, "binance-us", "spot")
    note = Path(raised.value.remedy.rpartition("remove ")[2])
    note.unlink()
    check_venue(folder, {"gcp": queues["gcp"]}, "binance-us", "spot")


@pytest.mark.parametrize("name", KNOWN)
def test_endpoints_that_serve_the_same_trades_are_one_venue(name: str) -> None:
    assert (endpoints(name).venue == "binance") == (name != "binance-us")


@pytest.mark.parametrize("route", ["wss://fstream.binance.com/market", "ws://127.0.0.1:1/public"])
def test_futures_of_an_earlier_version_are_not_sent_as_spot_trades(
    tmp_path: Path, route: str
) -> None:
    run = Run(tmp_path / "producers" / "old")
    run.create()
    follow_exchange(run, route)
    with Spool.open(spool_of(run), SITES) as spool:
        # Of a recording that was replayed under this name, nothing has a position.
        spool.append([entry(1, symbol="ADAUSDT"), entry(1, symbol="BTCUSDT.um")])
        check_spool(run, spool)
        symbols = ("BTCUSDT", "ETHUSDT")
        positions = [Position(each, 1, 2) for each in symbols]
        spool.append([entry(1, symbol=each) for each in symbols], positions)
        with pytest.raises(UsageError, match=r"'old' .* as BTCUSDT, ETHUSDT, which are symbols of"):
            check_spool(run, spool)
        for site in SITES:
            drain(spool, site)
        check_spool(run, spool)


def test_messages_that_a_spot_producer_left_are_sent(tmp_path: Path) -> None:
    run = Run(tmp_path / "producers" / "spot")
    run.create()
    with Spool.open(spool_of(run), SITES) as spool:
        spool.append([entry(1)], [Position("BTCUSDT", 1, 2)])
        check_spool(run, spool)
        follow_exchange(run, "wss://stream.binance.com:9443")
        check_spool(run, spool)
