"""Trades that an export service has not written yet are pending at first, and missing later."""

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest
from producer.sources import trade

from mcloud.archive import raw
from mcloud.clouds.ports import Archive, Site, StoredObject
from mcloud.clouds.staged import DELAY, StagedArchive
from mcloud.errors import Unavailable
from mcloud.market.archive import HOUR, ArchiveObject, pack
from mcloud.market.candle import MINUTE, by_minute, fold
from mcloud.market.trade import Trade
from mcloud.rehearsal.demo import archived_ids
from mcloud.replication import verify as module
from mcloud.replication.change_follower import Pauses
from mcloud.replication.raw_replication import AT_ONCE, LOOKS
from mcloud.replication.scope import Scope
from mcloud.replication.verify_document import document

from .memory import MemoryArchive, MemorySite
from .rig import Rig

SYMBOL = "BTCUSDT"
SCOPE = Scope(symbols=frozenset({SYMBOL}))


def staged(name: str) -> MemorySite:
    """Return a site whose raw trades an export service writes."""
    site = MemorySite(name)
    view: Archive = StagedArchive(site.archive, MemoryArchive(site.faults))
    site.archive = view  # type: ignore[assignment]
    return site


def made(first: int, count: int, start: int) -> list[Trade]:
    return [trade(first + n)._replace(time=start + n) for n in range(count)]


def fold_only(site: MemorySite, trades: list[Trade]) -> None:
    """Store candles without raw trades, as a function of such a site does."""
    for (symbol, start), group in by_minute(trades).items():
        site.candles.update(symbol, start, lambda candle, group=group: fold(candle, group))


def opened(*sites: MemorySite) -> dict[str, Site]:
    return {site.name: cast(Site, site) for site in sites}


@pytest.mark.parametrize("deep", [False, True])
def test_a_report_says_what_is_being_exported_and_since_when(deep: bool) -> None:
    """It is not missing: the export service may still write it."""
    site = staged("aws")
    now = int(time.time() * 1000) // MINUTE * MINUTE
    old, young = made(1, 20, now - 2 * HOUR), made(21, 30, now - 2 * MINUTE)
    fold_only(site, [*old, *young])
    report = module.verify(opened(site), SCOPE, deep=deep, pause=0)
    (finding,) = report.findings
    assert (finding.kind, finding.site, finding.runs) == ("unarchived", "aws", ((1, 20),))
    told = document(report).sites["aws"]
    assert told.raw_exporting == 30
    assert told.raw_exporting_since == module.to_timestamp(now - 2 * MINUTE)
    for item in pack([*old, *young]):
        site.archive.put(item)
    report = module.verify(opened(site), SCOPE, deep=deep, pause=0)
    assert report.findings == ()
    told = document(report).sites["aws"]
    assert (told.raw_exporting, told.raw_exporting_since) == (0, None)


def test_where_functions_archive_first_a_recent_trade_is_missing_at_once() -> None:
    site = MemorySite("aws")
    now = int(time.time() * 1000) // MINUTE * MINUTE
    fold_only(site, made(1, 5, now - MINUTE))
    report = module.verify(opened(site), SCOPE, pause=0)
    assert [each.kind for each in report.findings] == ["unarchived"]
    assert report.sites["aws"].exporting == 0


class Dated(MemoryArchive):
    """An archive whose objects were all written at one time."""

    written = 0.0

    def list(self, prefix: str) -> Iterator[StoredObject]:

        for each in super().list(prefix):
            yield replace(each, written=self.written)


def test_a_replicator_copies_raw_trades_once_the_target_should_have_them(tmp_path: Path) -> None:
    """In the mode `primary` the target never gets them in another way."""
    aws, gcp = MemorySite("aws"), staged("gcp")
    aws.archive = archive = Dated(aws.faults)
    archive.written = 1_000.0
    trades = made(1, 50, 1_723_161_180_000)
    fold_only(aws, trades)
    for item in pack(trades):
        aws.archive.put(item)
    now = [1_000.0]
    rig = Rig(tmp_path, [aws, gcp], pauses=Pauses(), wall=lambda: now[0])
    pair = rig.pairs["aws", "gcp"]
    for _ in range(50):
        rig.step(pair)
        rig.clock.now += 1
    assert archived_ids(cast(Site, gcp), [SYMBOL]) == set()
    assert gcp.candles.last(SYMBOL) is not None
    assert not pair.is_idle
    now[0] += DELAY
    rig.clock.now += DELAY
    for _ in range(5):
        rig.step(pair)
        rig.clock.now += 1
    assert archived_ids(cast(Site, gcp), [SYMBOL]) == {(SYMBOL, each.id) for each in trades}
    rig.close()


@pytest.mark.parametrize("restart", [False, True])
def test_raw_trades_that_the_source_exports_after_their_candles_are_copied(
    tmp_path: Path, restart: bool
) -> None:
    """No candle changes when they come."""
    aws, gcp = staged("aws"), staged("gcp")
    now = [1_723_161_200.0]
    rig = Rig(tmp_path, [aws, gcp], pauses=Pauses(), wall=lambda: now[0])

    def work(seconds: int) -> None:
        for _ in range(seconds):
            rig.step(rig.pairs["aws", "gcp"])
            rig.clock.now += 1
            now[0] += 1

    work(5)
    early, late = made(1, 50, 1_723_161_180_000), made(51, 50, 1_723_161_240_000)
    fold_only(aws, early)
    work(200)
    fold_only(aws, late)
    work(250)
    assert gcp.candles.last(SYMBOL) is not None
    for item in pack([*early, *late]):
        aws.archive.put(item)
    if restart:
        rig.close()
        rig = Rig(tmp_path, [aws, gcp], pauses=Pauses(), wall=lambda: now[0])
    work(int(2 * DELAY))
    assert archived_ids(cast(Site, gcp), [SYMBOL]) == {
        (SYMBOL, each.id) for each in (*early, *late)
    }
    assert rig.pairs["aws", "gcp"].is_idle
    rig.close()


def test_the_comparison_does_not_wait_for_exports_of_old_hours(tmp_path: Path) -> None:
    aws, gcp = staged("aws"), staged("gcp")
    trades = made(1, 50, 1_723_161_180_000)
    fold_only(aws, trades)
    for item in pack(trades):
        aws.archive.put(item)
    rig = Rig(tmp_path, [aws, gcp], pauses=Pauses(), wall=lambda: 1_723_161_180.0 + 2 * 3600)
    for _ in range(50):
        rig.step(rig.pairs["aws", "gcp"])
        rig.clock.now += 1
    assert archived_ids(cast(Site, gcp), [SYMBOL]) == {(SYMBOL, each.id) for each in trades}
    assert rig.pairs["aws", "gcp"].is_idle
    rig.close()


def test_the_lag_of_raw_trades_does_not_grow_while_an_hour_is_traded(tmp_path: Path) -> None:
    """The hour stays marked, but its earlier trades are copied."""
    aws, gcp = staged("aws"), staged("gcp")
    start = 1_723_161_600_000
    now = [start / 1000]
    rig = Rig(tmp_path, [aws, gcp], pauses=Pauses(), wall=lambda: now[0])
    pair = rig.pairs["aws", "gcp"]
    lags = []
    for minute in range(55):
        trades = made(1 + 50 * minute, 50, start + minute * 60_000)
        fold_only(aws, trades)
        for item in pack(trades):
            aws.archive.put(item)
        for _ in range(60):
            rig.step(pair)
            rig.clock.now += 1
            now[0] += 1
        lags.append(pair.progress().raw_s)
    known = [each for each in lags if each is not None]
    assert len(known) > 50
    assert DELAY / 2 < max(known) < 2 * DELAY
    rig.close()


def test_a_late_trade_of_an_old_hour_is_copied_although_the_comparison_marks_the_hour(
    tmp_path: Path,
) -> None:
    """The comparison does not wait for exports of old hours, but the change of a candle does."""
    aws, gcp = staged("aws"), staged("gcp")
    now = [1_723_161_200.0 + 86_400]
    early, late = made(1, 50, 1_723_161_180_000), made(51, 50, 1_723_161_240_000)
    fold_only(aws, early)
    for item in pack(early):
        aws.archive.put(item)
    rig = Rig(tmp_path, [aws, gcp], pauses=Pauses(), wall=lambda: now[0])
    put, is_away = gcp.archive.put, True

    def put_later(item: ArchiveObject) -> bool:
        if is_away:
            raise Unavailable("gone")
        return put(item)

    gcp.archive.put = put_later  # type: ignore[method-assign]
    for second in range(int(3 * DELAY)):
        if second == 50:  # the comparison has marked the hour
            fold_only(aws, late)
        if second == 100:  # the change was read
            is_away = False
        if second == 300:
            for item in pack(late):
                aws.archive.put(item)
        rig.step(rig.pairs["aws", "gcp"])
        rig.clock.now += 1
        now[0] += 1
    assert archived_ids(cast(Site, gcp), [SYMBOL]) == {
        (SYMBOL, each.id) for each in (*early, *late)
    }
    rig.close()


def test_a_piece_that_becomes_old_enough_during_a_comparison_is_copied(tmp_path: Path) -> None:
    """Whenever that is: the clock advances each time it is read."""
    trades = made(1, 50, 1_723_161_180_000)
    for number in range(20):
        aws, gcp = MemorySite("aws"), staged("gcp")
        aws.archive = archive = Dated(aws.faults)
        archive.written = 1_000.0
        fold_only(aws, trades)
        for item in pack(trades):
            aws.archive.put(item)
        looks = count()
        begin = 1_000.05 + DELAY - 0.1 * number
        (folder := tmp_path / str(number)).mkdir()
        rig = Rig(folder, [aws, gcp], pauses=Pauses(), wall=lambda: begin + 0.1 * next(looks))  # noqa: B023
        pair = rig.pairs["aws", "gcp"]
        for _ in range(300):
            rig.step(pair)
            assert not pair.progress().error
            rig.clock.now += 1
        assert archived_ids(cast(Site, gcp), [SYMBOL]) == {(SYMBOL, each.id) for each in trades}
        rig.close()


def test_the_symbols_of_an_archive_are_listed_together(tmp_path: Path) -> None:
    """Their candles change at different times, but their hours are compared at the same time."""
    start = int(time.time() * 1000) // HOUR * HOUR  # no block holds trades of this hour

    def listings(symbols: int) -> int:
        aws, gcp = staged("aws"), staged("gcp")
        now = [start / 1000]
        (folder := tmp_path / str(symbols)).mkdir()
        rig = Rig(folder, [aws, gcp], pauses=Pauses(), wall=lambda: now[0])
        calls: list[str] = []
        for step in range(360):
            number = step % symbols
            trades = [
                each._replace(symbol=f"S{number}USDT")
                for each in made(1 + 50 * step, 5, start + step * 10_000)
            ]
            for site in (aws, gcp):
                site.faults.before = lambda call: None
                fold_only(site, trades)
                for item in pack(trades):
                    site.archive.put(item)
                site.faults.before = lambda call: calls.append(call) if call == "list" else None
            for _ in range(10):
                rig.step(rig.pairs["aws", "gcp"])
                rig.clock.now += 1
                now[0] += 1
            if step == 60:
                calls.clear()
        assert not rig.pairs["aws", "gcp"].progress().error
        rig.close()
        return len(calls)

    few, many = listings(3), listings(30)
    # Each comparison takes four listings: of both buckets of both sites.
    assert many <= few + 4
    assert many <= 4 * 3000 / (DELAY / LOOKS) + 4


def test_few_old_hours_are_listed_together(tmp_path: Path) -> None:
    """An archive that is not compacted may have many objects in each."""
    aws, gcp = MemorySite("aws"), MemorySite("gcp")
    start = 1_723_161_600_000
    trades = [each for n in range(50) for each in made(1 + 10 * n, 10, start + n * HOUR)]
    for item in pack(trades):
        aws.archive.put(item)
    most = 0
    compare_hours = raw.compare_hours

    def counted(*of: Any) -> Any:
        nonlocal most
        most = max(most, len(of[2]))
        return compare_hours(*of)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raw, "compare_hours", counted)
        rig = Rig(tmp_path, [aws, gcp], wall=time.time)
        rig.settle()
    assert gcp.archive.objects == aws.archive.objects
    assert most == AT_ONCE
    rig.close()
