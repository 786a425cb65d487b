"""Backfills of sites in memory, judged by the oracle."""

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest
from replication.memory import MemorySite

from mcloud.archive.compact import compact
from mcloud.backfill.dumps import Dump, dumps
from mcloud.backfill.gaps import FilledGaps, fill
from mcloud.backfill.libraries import open_library
from mcloud.backfill.load import Loader
from mcloud.backfill.run import Backfill, Outcome, Plan
from mcloud.bulk.columns import from_trades
from mcloud.clouds.ports import Site
from mcloud.errors import Contention, McloudError, Unavailable
from mcloud.local.exchange.thread import LocalExchange
from mcloud.market.archive import pack
from mcloud.market.candle import by_minute, fold
from mcloud.market.trade import Trade
from mcloud.rehearsal.demo import archived_ids, stored_rows
from mcloud.rehearsal.oracle import expected_rows
from mcloud.replication.scope import Scope
from mcloud.replication.verify import verify
from mcloud.replication.verify_report import VerifyReport
from mcloud.workers import Workers

from .files import publish, trades_of_day, write_checksum

FIRST = date(2024, 8, 1)
LAST = date(2024, 8, 3)
DAYS = [FIRST + timedelta(n) for n in range(3)]
# The ids of a day follow those of the day before, and lie in two blocks.
TRADES = {day: trades_of_day(day, 99_000 + 500 * n) for n, day in enumerate(DAYS)}


def all_trades() -> list[Trade]:
    return [trade for day in DAYS for trade in TRADES[day]]


def name(day: date) -> str:
    return f"BTCUSDT-trades-{day}"


class Stage:
    """Two sites in memory, a folder of published files, and a folder for the state."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sites = {each: MemorySite(each) for each in ("aws", "gcp")}
        self.public = folder / "public"
        for day, trades in TRADES.items():
            publish(self.public, name(day), trades)
        self.place = str(self.public)

    def job(self) -> Backfill:
        return Backfill(
            open_library(self.place),
            cast(dict[str, Site], self.sites),
            self.folder / "state",
            {each: each for each in self.sites},
            sleep=lambda seconds: None,
        )

    def run(
        self, wanted: Iterable[Dump] = tuple(dumps("BTCUSDT", FIRST, LAST))
    ) -> tuple[Plan, Outcome]:
        job = self.job()
        plan = job.plan(list(wanted))
        return plan, job.run(plan)

    def report(self) -> VerifyReport:
        return verify(cast(dict[str, Site], self.sites), Scope(), pause=0.0)

    def fill(self, exchange: Sequence[Trade]) -> FilledGaps:
        """Fill the gaps from an exchange that has these trades."""

        def fetch(symbol: str, first_id: int, count: int) -> list[Trade]:
            return [each for each in exchange if first_id <= each.id < first_id + count]

        return fill(self.report(), cast(dict[str, Site], self.sites), fetch)

    def check(self, trades: Iterable[Trade]) -> None:
        """Compare all candles and all raw trades of both sites with the given trades."""
        trades = list(trades)
        symbols = sorted({trade.symbol for trade in trades})
        for site in self.sites.values():
            assert stored_rows(cast(Site, site), symbols) == expected_rows(trades)
            assert archived_ids(cast(Site, site), symbols) == {
                (trade.symbol, trade.id) for trade in trades
            }


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_all_days_are_on_both_sites(stage: Stage) -> None:
    plan, done = stage.run()
    assert (len(plan.load), done.files, done.loaded.trades) == (3, 3, 1500)
    assert not (plan.absent)
    assert not (done.problems)
    assert not (done.unchecked)
    stage.check(all_trades())


def test_a_second_run_changes_nothing(stage: Stage) -> None:
    stage.run()
    objects = {name: dict(site.archive.objects) for name, site in stage.sites.items()}
    plan, done = stage.run()
    assert (len(plan.load), len(plan.known), done.files) == (0, 3, 0)
    shutil.rmtree(stage.folder / "state")  # without the checkpoints
    _, done = stage.run()
    assert done.files == 3
    assert not done.loaded.candles.total()
    assert not done.loaded.blocks.total()
    assert objects == {name: dict(site.archive.objects) for name, site in stage.sites.items()}


def test_a_site_that_was_reset_is_loaded_again(stage: Stage) -> None:
    stage.run()
    stage.sites["gcp"] = MemorySite("gcp")  # with the same names
    plan, _ = stage.run()
    assert (len(plan.load), len(plan.known)) == (3, 0)
    stage.check(all_trades())


def test_what_a_site_has_is_merged(stage: Stage) -> None:
    """A producer has delivered every second trade to one site, as objects of hours."""
    had = all_trades()[::2]
    site = stage.sites["aws"]
    for item in pack(had):
        site.archive.put(item)
    for (symbol, start), trades in by_minute(had).items():
        site.candles.update(symbol, start, lambda held, new=tuple(trades): fold(held, new))
    stage.run()
    stage.check(all_trades())
    assert compact(cast(Any, site.archive)).objects
    stage.check(all_trades())


@contextmanager
def failing_after(stage: Stage, calls: int) -> Iterator[Callable[[], None]]:
    """Let one site fail after some calls, until the returned function is called."""
    left = calls

    def before(call: str) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Unavailable("no answer")

    stage.sites["gcp"].faults.before = before

    def heal() -> None:
        stage.sites["gcp"].faults.before = lambda call: None

    yield heal


@pytest.mark.parametrize("calls", [0, 1, 3, 8, 20])
def test_a_run_that_a_site_interrupts_is_continued(stage: Stage, calls: int) -> None:
    with failing_after(stage, calls) as heal:
        with pytest.raises(Unavailable):
            stage.run()
        heal()
    plan, _ = stage.run()
    assert len(plan.load) + len(plan.known) == 3
    stage.check(all_trades())


def test_a_month_is_one_file_or_its_days(stage: Stage) -> None:
    """The monthly file is preferred, and both have the same trades."""
    wanted = dumps("BTCUSDT", FIRST, date(2024, 8, 31))
    plan, done = stage.run(wanted)
    assert len(plan.load) == done.files == 3
    assert [each.first.day for each in plan.absent] == list(range(4, 32))
    publish(stage.public, "BTCUSDT-trades-2024-08", all_trades())
    plan, done = stage.run(wanted)
    assert [each.dump.name for each in plan.load] == ["BTCUSDT-trades-2024-08"]
    assert not (done.loaded.candles.total())
    assert not (done.loaded.blocks.total())
    stage.check(all_trades())


def test_missing_ids_are_requested_from_the_exchange(stage: Stage) -> None:
    missing, lost = TRADES[DAYS[1]][100:110], TRADES[DAYS[1]][300:302]
    absent = {each.id for each in (*missing, *lost)}
    publish(
        stage.public, name(DAYS[1]), [each for each in TRADES[DAYS[1]] if each.id not in absent]
    )
    stage.run()
    assert stage.fill(missing).fetched == 10
    (finding,) = stage.report().of("incomplete")
    assert finding.runs == ((lost[0].id, lost[1].id),)
    stage.check(each for each in all_trades() if each not in lost)


def test_a_missing_day_is_not_requested_trade_by_trade(stage: Stage) -> None:
    publish(stage.public, name(DAYS[2]), trades_of_day(DAYS[2], 500_000_000))
    stage.run()
    done = stage.fill([])
    assert not done.fetched
    assert "BTCUSDT: the exchange was not asked for the missing ids" in done.problems[0]


def test_the_gap_to_the_live_trades_is_filled(stage: Stage) -> None:
    """A producer began some time after the end of the newest file."""
    today = trades_of_day(LAST + timedelta(1), TRADES[LAST][-1].id + 1, 2_400)
    for (symbol, start), trades in by_minute(today[2_100:]).items():
        for site in stage.sites.values():
            site.candles.update(symbol, start, lambda held, new=tuple(trades): fold(held, new))
            for item in pack(trades):
                site.archive.put(item)
    stage.run()
    assert stage.fill(today).fetched == 2_100
    assert stage.report().ok
    stage.check([*all_trades(), *today])


def test_a_file_that_was_published_again_is_loaded_and_differences_are_named(
    stage: Stage,
) -> None:
    stage.run()
    changed = [each._replace(price=each.price + 1) for each in TRADES[DAYS[0]][:3]]
    more = Trade("BTCUSDT", 98_999, Decimal(1), Decimal(1), TRADES[DAYS[0]][0].time, True)
    publish(stage.public, name(DAYS[0]), [more, *changed, *TRADES[DAYS[0]][3:]])
    plan, done = stage.run()
    assert [each.dump.first for each in plan.load] == [DAYS[0]]
    assert done.loaded.disputed >= 3
    assert any("kept" in each for each in done.loaded.disagreements)
    for site in stage.sites.values():
        # Nothing was overwritten: the candles keep what they had, and the archive keeps both.
        assert stored_rows(cast(Site, site), ["BTCUSDT"]) == expected_rows([more, *all_trades()])
        assert {(each.symbol, each.id) for each in changed} <= archived_ids(
            cast(Site, site), ["BTCUSDT"]
        )


def test_bad_files_are_named_and_the_rest_goes_on(stage: Stage) -> None:
    wrong = stage.public / f"{name(DAYS[0])}.zip.CHECKSUM"
    wrong.write_text(f"{'0' * 64}  {wrong.stem}\n")
    publish(stage.public, name(DAYS[1]), TRADES[DAYS[1]], more="no trade\n")
    cut = stage.public / f"{name(DAYS[2])}.zip"
    cut.write_bytes(cut.read_bytes()[:-200])
    write_checksum(cut)
    _, done = stage.run()
    assert done.files == 1
    said = "\n".join(sorted(map(str, done.problems)))
    assert f"{name(DAYS[0])}: " in said
    assert "does not have its published checksum" in said
    assert f"{name(DAYS[1])}: line 501: 7 columns expected, not 1" in said
    assert f"{name(DAYS[2])}: " in said
    stage.check(TRADES[DAYS[1]])
    # The files are tried again: none of them counts as loaded.
    for day in DAYS:
        publish(stage.public, name(day), TRADES[day])
    plan, done = stage.run()
    assert (len(plan.load), done.problems) == (3, [])
    stage.check(all_trades())


def test_trades_of_the_last_hours_are_not_put_into_blocks(stage: Stage) -> None:
    """Readers look for these trades in objects of hours only."""
    now = int(time.time() * 1000)
    trades = [
        each._replace(time=now - 6 * 3_600_000 + n * 36_000)
        for n, each in enumerate(TRADES[DAYS[0]])
    ]
    loader = Loader("BTCUSDT", cast(dict[str, Site], stage.sites), Workers(4))
    loader.load([from_trades(trades)])
    stage.check(trades)
    for site in stage.sites.values():
        assert any("/block=" in key for key in site.archive.objects)
        assert any("/hour=" in key for key in site.archive.objects)


@pytest.mark.parametrize("symbol", ["BTCUSDT.um", "BTCUSD_PERP.cm"])
def test_futures_are_loaded_from_the_exchange(stage: Stage, symbol: str) -> None:
    trades = trades_of_day(FIRST, 5_000, 300, symbol)
    with LocalExchange(trades, history=86_400.0, wait_for=0) as exchange:
        exchange.wait_finished(30)
        stage.place = exchange.rest_url
        _, done = stage.run(dumps(symbol, FIRST, FIRST))
    assert not done.problems
    stage.check(trades)


def test_aggregate_trades_are_a_symbol_of_their_own(stage: Stage) -> None:
    trades = TRADES[FIRST]
    with LocalExchange(trades, history=86_400.0, wait_for=0) as exchange:
        exchange.wait_finished(30)
        stage.place = exchange.rest_url
        _, done = stage.run(dumps("BTCUSDT", FIRST, FIRST, "aggTrades"))
        aggregates = exchange.aggregates("BTCUSDT")
    assert (done.files, done.unchecked, done.problems) == (1, 0, [])
    stage.check(
        Trade("BTCUSDT.agg", a.id, a.price, a.quantity, a.time, a.buyer_is_maker)
        for a in aggregates
    )


def test_a_full_disk_stops_it(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(stage.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1024))
    with LocalExchange(all_trades(), history=4 * 86_400.0, wait_for=0) as exchange:
        exchange.wait_finished(30)
        stage.place = exchange.rest_url
        with pytest.raises(McloudError, match="is full"):
            stage.run()
        stage.place = str(stage.public)  # which needs no copies
        stage.run()
    stage.check(all_trades())


def test_only_one_backfill_runs_at_a_time(stage: Stage) -> None:
    with (
        stage.job().locked(),
        pytest.raises(McloudError, match="another backfill is running"),
        stage.job().locked(),
    ):
        pass


def test_a_damaged_candle_is_left_and_named(stage: Stage) -> None:
    stage.run()
    site = stage.sites["gcp"]
    key = min(site.candles.stored)
    site.candles.damaged.add(key)
    shutil.rmtree(stage.folder / "state")
    _, done = stage.run()
    assert len(done.loaded.unchanged) == 1
    assert key in site.candles.damaged


def test_a_candle_that_others_change_all_the_time_is_named(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    candles = stage.sites["gcp"].candles
    first = TRADES[FIRST][0]
    start = first.time // 60_000 * 60_000
    candles.update("BTCUSDT", start, lambda held: fold(held, [first._replace(id=first.id - 1)]))
    update = candles.update

    def contended(symbol: str, at: int, change: Any) -> Any:
        if at == start:
            raise Contention("others were faster")
        return update(symbol, at, change)

    monkeypatch.setattr(candles, "update", contended)
    _, done = stage.run()
    assert done.files == 3
    assert [each for each in done.loaded.unchanged if "others were faster" in each]
    monkeypatch.undo()
    plan, done = stage.run()
    assert (len(plan.load), done.loaded.unchanged) == (1, [])
    assert candles.stored["BTCUSDT", start][0].trade_count == 2
