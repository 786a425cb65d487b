"""A site is compared with the primary at the moment of a move, and by its newest candles."""

import time
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from mcloud.clouds.access import FAULT, OK, WARNING
from mcloud.clouds.ports import ControlRecord, Lag, Site
from mcloud.errors import Unavailable
from mcloud.failover.audit import Audit
from mcloud.failover.execution import Tools
from mcloud.failover.journal import Journal, MoveOrder, MoveProgress
from mcloud.failover.manual_move import leading
from mcloud.failover.newest import NewestCandles, compare_newest
from mcloud.failover.preflight import PreflightCheck, preflight
from mcloud.failover.settings import GuardSettings
from mcloud.market.candle import MINUTE
from mcloud.market.envelope import encode
from mcloud.market.trade import Trade

from .sites import LiveSite, made

RECORD = ControlRecord(3, "aws", "manual", "a test", "me", 1_000.0)


def trades(*minutes: int, symbol: str = "BTCUSDT") -> list[Trade]:
    """Return ten trades in each of the minutes."""
    return [
        trade._replace(time=trade.time + minute * MINUTE)
        for minute in minutes
        for trade in made(range(100 * minute + 1, 100 * minute + 11), symbol)
    ]


def site(name: str, *sent: list[Trade]) -> LiveSite:
    it = LiveSite(name)
    for each in sent:
        it.queue.send([encode(each)])
    return it


def compare(primary: LiveSite, other: LiveSite, seconds: float = 300.0) -> NewestCandles:
    return compare_newest(cast(Site, primary), cast(Site, other), seconds)


def test_sites_with_the_same_trades_are_equal() -> None:
    assert compare(site("aws", trades(0, 1)), site("gcp", trades(0, 1))) == NewestCandles(1, 0, 0.0)
    assert compare(site("aws"), site("gcp", trades(0))) == NewestCandles(0, 0, 0.0)


def test_the_oldest_missing_trade_says_how_far_a_site_is_behind() -> None:
    primary = site("aws", trades(0, 1, 2, 3, 4))
    assert compare(primary, site("gcp", trades(0, 1, 2, 3))) == NewestCandles(1, 10, 60.0)
    assert compare(primary, site("gcp", trades(0, 1))) == NewestCandles(1, 30, 180.0)
    assert compare(primary, site("gcp", trades(0, 4))) == NewestCandles(1, 30, 240.0)
    # A minute from before the time that is compared
    assert compare(primary, site("gcp", trades(1, 2, 3, 4)), 120.0).missing == 0


def test_every_symbol_counts() -> None:
    primary = site("aws", trades(0, 1, 2), trades(2, symbol="ETHUSDT"))
    assert compare(primary, site("gcp", trades(0, 1, 2))) == NewestCandles(2, 10, 60.0)


def lag_check(*sites: LiveSite, **rules: float) -> PreflightCheck:
    there = {each.name: cast(Site, each) for each in sites}
    found = preflight(there, "gcp", RECORD, {}, {}, GuardSettings(**rules), {}, 2.0)  # type: ignore[arg-type]
    (check,) = (each for each in found.checks if each.check == "lag")
    return check


def test_equal_sites_need_no_report_of_a_replicator() -> None:
    gcp = site("gcp", trades(0, 1))
    gcp.control.note_lag(Lag("aws", "gcp", "all", 0.0, 0, 0.0, 0, time.time() - 653))
    found = lag_check(site("aws", trades(0, 1)), gcp)
    assert (found.state, found.text) == (
        OK,
        "the newest 6 minutes of 1 symbol were compared: nothing is missing",
    )


def test_a_site_that_is_too_far_behind_is_refused_with_the_command() -> None:
    aws, gcp = site("aws", trades(0, 1, 2, 3)), site("gcp", trades(0))
    assert lag_check(aws, gcp).state == OK
    found = lag_check(aws, gcp, max_lag=120)
    assert found.state == FAULT
    assert "it lacks 30 trades of aws, the oldest from 180 s before the newest" in found.text
    assert "`mcloud replicate --once`" in found.text


@pytest.mark.parametrize(("behind", "state"), [(2.0, WARNING), (301.0, FAULT)])
def test_without_the_primary_the_last_report_counts_with_its_age(behind: float, state: str) -> None:
    gcp = site("gcp", trades(0))
    assert lag_check(gcp).text == ("aws cannot be compared; no replicator has reported its lag")
    gcp.control.note_lag(Lag("aws", "gcp", "all", behind, 0, 0.0, 0, time.time() - 660))
    gcp.control.note_lag(Lag("west", "gcp", "all", 999.0, 0, 0.0, 0, time.time()))
    found = lag_check(gcp)
    assert found.state == state
    assert f"it was {behind:.0f} s behind when a replicator last reported, 11 min" in found.text


def test_without_the_candles_of_the_primary_the_last_report_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    aws, gcp = site("aws", trades(0, 1)), site("gcp", trades(0))

    def away(*_: object) -> None:
        raise Unavailable("DynamoDB: no answer")

    monkeypatch.setattr(aws.candles, "range", away)
    gcp.control.note_lag(Lag("aws", "gcp", "all", 400.0, 0, 0.0, 0, time.time() - 5))
    found = lag_check(aws, gcp)
    assert found.state == FAULT
    assert found.text.startswith("aws cannot be compared; it was 400 s behind when a replicator")


def test_a_site_that_does_not_answer_may_have_a_newer_record(tmp_path: Path) -> None:
    aws, gcp = site("aws"), site("gcp")
    sites = {"aws": cast(Site, aws), "gcp": cast(Site, gcp)}
    use = Tools(Journal(tmp_path / "a.json"), Audit(tmp_path / "audit.jsonl", sites))
    aws.control.write_record(RECORD)
    gcp.control.write_record(replace(RECORD, epoch=4, primary="gcp"))
    gcp.die("candles")
    assert leading(sites, "aws", use) is None
    gcp.live()
    assert leading(sites, "aws", use) is None
    assert leading(sites, "gcp", use) is not None


def test_the_site_that_leads_is_known_before_the_checks(tmp_path: Path) -> None:
    aws, gcp = site("aws"), site("gcp")
    sites = {"aws": cast(Site, aws), "gcp": cast(Site, gcp)}
    use = Tools(Journal(tmp_path / "a.json"), Audit(tmp_path / "audit.jsonl", sites))
    assert leading(sites, "aws", use) is None
    gcp.control.write_record(RECORD)
    assert leading(sites, "aws", use) == RECORD
    assert leading(sites, "gcp", use) is None
    order = MoveOrder("a", "aws", "manual", "", "me", 1.0, 2, "gcp")
    use.journal.write(MoveProgress(order))
    assert leading(sites, "aws", use) is None
