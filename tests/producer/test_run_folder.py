"""The settings that a producer's run keeps for its lifetime."""

import threading
from pathlib import Path
from typing import Any

import pytest

from mcloud.errors import UsageError
from mcloud.feed.open import FeedChoice
from mcloud.producer.cursor import Position
from mcloud.producer.run_folder import check_market, follow_exchange
from mcloud.producer.source import open_source, resume_command
from mcloud.runs import Run


def test_a_run_follows_one_exchange(tmp_path: Path) -> None:
    run = Run(tmp_path / "producers" / "live")
    run.create()
    follow_exchange(run, "wss://one")
    follow_exchange(run, "wss://one")
    with pytest.raises(UsageError, match=r"has followed wss://one.*--name"):
        follow_exchange(run, "wss://other")


def test_a_name_that_a_loss_of_power_cut_away_is_written_again(tmp_path: Path) -> None:
    run = Run(tmp_path / "producers" / "live")
    run.create()
    (run.folder / "exchange").touch()
    follow_exchange(run, "wss://one")
    with pytest.raises(UsageError, match="has followed wss://one"):
        follow_exchange(run, "wss://other")


def test_a_name_that_is_known_is_not_written_again(tmp_path: Path) -> None:
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
            {"source": "binance", "symbols": ["BTCUSDT", "ETHUSDT"], "live": True},
            "mcloud produce --name 'my own' --symbols BTCUSDT,ETHUSDT",
        ),
        (
            {"source": "binance-us", "symbols": ["BTCUSDT"], "live": True},
            "mcloud produce --name 'my own' --exchange binance-us --symbols BTCUSDT",
        ),
        (
            {
                "source": "binance",
                "symbols": ["BTCUSDT"],
                "live": True,
                "follows": "all:USDT",
                "shard": "1/2",
            },
            "mcloud produce --name 'my own' --symbols all:USDT --shard 1/2",
        ),
        (
            {"source": "simulate", "symbols": ["BTCUSDT"], "live": False},
            "mcloud produce --name 'my own' --source spool",
        ),
        (
            {"source": "replay:a.zip", "symbols": ["BTCUSDT"], "live": False},
            "mcloud produce --name 'my own' --source spool",
        ),
    ],
)
def test_what_is_left_is_sent_without_mixing_sources(about: dict[str, Any], command: str) -> None:
    """Live trades of the same symbol are not appended to simulated or recorded ones."""
    assert resume_command("my own", about) == command


def test_the_route_of_futures_has_moved(tmp_path: Path) -> None:
    run = Run(tmp_path / "producers" / "live")
    run.create()
    follow_exchange(run, "wss://f/market")
    follow_exchange(run, "wss://f/public")
    with pytest.raises(UsageError, match="has followed wss://f/public"):
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
    with pytest.raises(UsageError, match="are two exchanges"):
        open_source(FeedChoice(source, exchange=exchange), threading.Event())
