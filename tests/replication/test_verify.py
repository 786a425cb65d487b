"""Verify reports exactly what is wrong, and repair fixes exactly what was reported."""

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from market.trade_sets import several_symbols, subsets
from producer.sources import START, trade

from mcloud.clouds.ports import Site
from mcloud.errors import Refused
from mcloud.market.archive import HOUR, pack, parse_key, prefix, unpack
from mcloud.market.candle import MINUTE, Candle, fold
from mcloud.market.ids import Ids
from mcloud.market.trade import Trade
from mcloud.rehearsal.oracle import expected_rows
from mcloud.replication import verify as module
from mcloud.replication.backup import Backup
from mcloud.replication.hour_digest import ALL_TIME, HourWindow
from mcloud.replication.repair import Fetch, Repaired, RepairPlan, plan, repair
from mcloud.replication.scope import Scope
from mcloud.replication.verify_document import RepairPlanDocument, plan_document
from mcloud.replication.verify_report import VerifyReport

from .memory import MemorySite
from .rig import check_equal, feed, rows

EVERYTHING = Scope()
SYMBOL = "BTCUSDT"
HOUR_START = START // HOUR * HOUR


def made(count: int, symbol: str = SYMBOL, every: int = 1_500) -> list[Trade]:
    """Return trades with ids from 0 on, forty per minute."""
    return [trade(n, symbol)._replace(time=HOUR_START + every * n) for n in range(count)]


TRADES = made(8_000)  # 200 minutes in four hours
BATCH = 80


@pytest.fixture
def aws() -> MemorySite:
    return MemorySite("aws")


@pytest.fixture
def gcp() -> MemorySite:
    return MemorySite("gcp")


def open_(*sites: MemorySite) -> dict[str, Site]:
    return {site.name: cast(Site, site) for site in sites}


def check(
    *sites: MemorySite, deep: bool = True, scope: Scope = EVERYTHING, window: HourWindow = ALL_TIME
) -> VerifyReport:
    return module.verify(open_(*sites), scope, window, deep=deep, pause=0)


def mend(report: VerifyReport, *sites: MemorySite, fetch: Fetch | None = None) -> RepairPlan:
    steps = plan(report, open_(*sites), has_exchange=fetch is not None)
    assert mended(steps, *sites, fetch=fetch).problems == []
    return steps


def mended(steps: RepairPlan, *sites: MemorySite, fetch: Fetch | None = None) -> Repaired:
    with TemporaryDirectory() as folder:
        return repair(steps, open_(*sites), fetch, backup=Backup(Path(folder)))


def fill(trades: list[Trade], *sites: MemorySite, batch: int = BATCH) -> None:
    for start in range(0, len(trades), batch):
        for site in sites:
            feed(site, trades[start : start + batch])


def history(trades: Iterable[Trade]) -> Fetch:
    """Return the ``Fetch`` of an exchange that returns one page at a time."""
    ordered = sorted(trades, key=lambda each: each.id)

    def fetch(symbol: str, first: int, limit: int) -> list[Trade]:
        return [each for each in ordered if each.symbol == symbol and each.id >= first][:limit]

    return fetch


def ids_in(site: MemorySite, key: str) -> Ids:
    return Ids((each.id, each.id) for each in unpack(site.archive.objects[key]))


def without(site: MemorySite, ids: Ids) -> None:
    """Make candles again as if these trades had never arrived."""
    for (symbol, start), (candle, version) in list(site.candles.stored.items()):
        if Ids(candle.runs).common(ids):
            kept = [
                each
                for each in TRADES
                if start <= each.time < start + MINUTE and each.id not in ids
            ]
            site.candles.stored[symbol, start] = fold(Candle(symbol, start), kept).candle, version


def kinds(report: VerifyReport) -> set[str]:
    return {each.kind for each in report.findings}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_sites_that_had_the_same_trades_in_any_way_are_equal(data: st.DataObject) -> None:
    everything = data.draw(several_symbols())
    sites = [MemorySite("aws"), MemorySite("gcp")]
    for site in sites:
        for part in data.draw(st.lists(subsets(everything), max_size=4)):
            feed(site, part)
        feed(site, everything)
    report = check(*sites)
    assert kinds(report) <= {"incomplete"}
    # Only the ids that were never made are missing everywhere.
    for symbol in report.symbols:
        ids = Ids((each.id, each.id) for each in everything if each.symbol == symbol)
        found = [run for each in report.findings if each.symbol == symbol for run in each.runs]
        assert sorted(found) == ids.holes()
    candles = len({(each.symbol, each.time // MINUTE) for each in everything})
    assert [report.equal(site.name) for site in sites] == [candles, candles]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_data_of_only_one_site_is_copied_to_the_others(data: st.DataObject) -> None:
    everything = data.draw(several_symbols())
    sites = [MemorySite(name) for name in ("aws", "gcp", "third")]
    for site in sites:
        for part in data.draw(st.lists(subsets(everything), max_size=3)):
            feed(site, part)
    feed(sites[0], everything)
    mend(check(*sites), *sites)
    check_equal(sites, everything)
    assert kinds(check(*sites)) <= {"incomplete"}


@pytest.mark.parametrize("deep", [False, True])
def test_a_candle_without_its_mark_is_reported_and_rewritten_unchanged(
    aws: MemorySite, gcp: MemorySite, deep: bool
) -> None:
    fill(TRADES, aws, gcp)
    gcp.candles.unmarked = set(sorted(gcp.candles.stored)[3:6])
    before = dict(gcp.candles.stored)
    report = check(aws, gcp, deep=deep)
    found = [(each.kind, each.site, each.symbol, each.start) for each in report.findings]
    assert found == [("unmarked", "gcp", *key) for key in sorted(gcp.candles.unmarked)]
    mend(report, aws, gcp)
    assert check(aws, gcp, deep=deep).ok
    changed = [key for key, stored in gcp.candles.stored.items() if stored != before[key]]
    assert sorted(changed) == sorted(before)[3:6]
    assert {key: candle for key, (candle, _) in gcp.candles.stored.items()} == {
        key: candle for key, (candle, _) in before.items()
    }


def test_removed_objects_candles_and_ids_are_found_and_repaired(
    aws: MemorySite, gcp: MemorySite
) -> None:
    """Twenty raw objects, twenty candles and five ids inside candles are removed."""
    fill(TRADES, aws, gcp)
    assert check(aws, gcp).ok
    random = Random(7)
    keys = random.sample(sorted(aws.archive.objects), 20)
    lost = Ids()
    for key in keys:
        lost.update(ids_in(aws, key))
        del aws.archive.objects[key]
    candles = random.sample(sorted(gcp.candles.stored), 25)
    removed, thinned = candles[:20], candles[20:]
    for candle in removed:
        del gcp.candles.stored[candle]
    inside = Ids()
    for candle in thinned:
        first, last = gcp.candles.stored[candle][0].runs[0]
        inside.add(first + 7, first + 7)
        assert first + 7 < last
    without(gcp, inside)

    report = check(aws, gcp)
    assert kinds(report) == {"missing", "different", "unarchived"}
    assert sorted((each.symbol, each.start) for each in report.of("missing")) == sorted(removed)
    assert {each.site for each in report.of("missing")} == {"gcp"}
    different = {(each.symbol, each.start) for each in report.of("different")}
    assert different == set(thinned)
    assert Ids(run for each in report.of("different") for run in each.runs) == inside
    assert Ids(run for each in report.of("unarchived") for run in each.runs) == lost
    assert {(each.site, each.elsewhere) for each in report.of("unarchived")} == {("aws", ("gcp",))}
    assert report.equal("aws") == 200
    assert report.equal("gcp") == 175

    puts: list[str] = []
    for site in (aws, gcp):
        site.faults.before = lambda call, site=site: puts.append(f"{site.name} {call}")
    steps = mend(report, aws, gcp)
    objects = [each.stored.key for copy in steps.copy for each in copy.objects]
    assert sorted(objects) == sorted(keys)
    assert puts.count("aws put") == 20
    assert puts.count("gcp put") == puts.count("aws write") == 0
    assert puts.count("gcp write") == 25
    assert check(aws, gcp).ok
    check_equal((aws, gcp), TRADES)


def test_trades_missing_in_all_candles_come_from_the_raw_trades(
    aws: MemorySite, gcp: MemorySite
) -> None:
    fill(TRADES, aws, gcp)
    inside = Ids([(5, 5), (100, 101), (3_999, 4_010), (7_000, 7_000)])
    without(aws, inside)
    without(gcp, inside)
    report = check(aws, gcp)
    assert kinds(report) == {"orphaned"}
    assert Ids(run for each in report.findings for run in each.runs) == inside
    mend(report, aws, gcp)
    assert check(aws, gcp).ok
    check_equal((aws, gcp), TRADES)


def test_trades_missing_on_all_sites_come_from_the_exchange(
    aws: MemorySite, gcp: MemorySite
) -> None:
    ids = Ids([(1, 5), (3_000, 5_500), (7_900, 7_900)])
    fill([each for each in TRADES if each.id not in ids], aws, gcp)
    report = check(aws, gcp)
    assert kinds(report) == {"incomplete"}
    assert Ids(run for each in report.findings for run in each.runs) == ids
    without_exchange = plan(report, open_(aws, gcp), has_exchange=False)
    assert without_exchange.is_empty
    assert "BTCUSDT 1 to 5" in without_exchange.beyond[0]
    steps = mend(report, aws, gcp, fetch=history(TRADES))
    assert plan_document(steps).exchange_requests == 5
    assert check(aws, gcp).ok
    check_equal((aws, gcp), TRADES)


def test_trades_missing_at_the_exchange_are_reported(aws: MemorySite) -> None:
    gone = Ids([(20, 29)])
    fill([each for each in TRADES[:100] if each.id not in gone], aws)
    report = check(aws)
    steps = plan(report, open_(aws), has_exchange=True)
    done = mended(steps, aws, fetch=history(TRADES[:25]))
    assert done.fetched == 5
    assert done.problems == ["the exchange does not have BTCUSDT 25 to 29"]
    (left,) = check(aws).findings
    assert left.runs == ((25, 29),)


def test_voids_are_counted_separately_and_a_later_trade_is_no_dispute(
    aws: MemorySite, gcp: MemorySite
) -> None:
    some = TRADES[:200]
    voids = [Trade.void(SYMBOL, each.id, each.time) for each in some[50:60]]
    fill([*some[:50], *voids, *some[60:]], aws, gcp)
    # One of the voids is a trade after all, and reaches one site first.
    feed(aws, [some[55]])
    report = check(aws, gcp)
    (found,) = report.findings
    assert (found.kind, found.site, found.elsewhere) == ("different", "gcp", ("aws",))
    assert found.runs == ((55, 55),)
    assert [(each.trades, each.voids) for each in report.sites.values()] == [(191, 9), (190, 10)]
    mend(report, aws, gcp)
    report = check(aws, gcp)
    assert report.ok
    tally = report.sites["gcp"]
    assert (tally.trades, tally.voids) == (191, 9)


def test_a_void_in_all_candles_whose_trade_is_archived_is_wrong(
    aws: MemorySite, gcp: MemorySite
) -> None:
    """The trade was archived, but its candle was not written."""
    some = TRADES[:200]
    fill([*some[:55], Trade.void(SYMBOL, 55, some[55].time), *some[56:]], aws, gcp)
    for site in (aws, gcp):
        for item in pack([some[55]]):
            site.archive.put(item)
    report = check(aws, gcp)
    assert {(each.kind, each.site) for each in report.findings} == {
        ("wrong", "aws"),
        ("wrong", "gcp"),
    }
    mend(report, aws, gcp)
    assert check(aws, gcp).ok
    check_equal((aws, gcp), some)


def test_late_trades_for_two_voids_of_a_block_one_at_each_site(
    aws: MemorySite, gcp: MemorySite
) -> None:
    some = TRADES[:64]
    voids = {id_: Trade.void(SYMBOL, id_, some[id_].time) for id_ in (20, 21)}
    fill([voids.get(each.id, each) for each in some], aws, gcp)
    feed(aws, [some[20]])
    feed(gcp, [some[21]])
    report = check(aws, gcp)
    assert not report.ok
    mend(report, aws, gcp)
    if not (report := check(aws, gcp)).ok:
        mend(report, aws, gcp)
    assert check(aws, gcp).ok
    check_equal((aws, gcp), some)


def test_voids_of_one_id_with_different_times_do_not_disagree(
    aws: MemorySite, gcp: MemorySite
) -> None:
    """One void was announced by the stream, and the other was proved by REST."""
    some = TRADES[:100]
    fill([*some[:50], Trade.void(SYMBOL, 50, some[50].time), *some[51:]], aws)
    fill([*some[:50], Trade.void(SYMBOL, 50, some[49].time), *some[51:]], gcp)
    feed(aws, [Trade.void(SYMBOL, 50, some[49].time)])
    report = check(aws, gcp)
    assert {each.kind for each in report.findings} <= {"different", "wrong"}
    mend(report, aws, gcp)
    assert check(aws, gcp).ok


def test_missing_ids_that_the_exchange_proves_void_are_not_missing(aws: MemorySite) -> None:
    voids = [Trade.void(SYMBOL, id_, TRADES[99].time) for id_ in range(100, 103)]
    fill([*TRADES[:100], *TRADES[103:200]], aws)
    report = check(aws)
    assert kinds(report) == {"incomplete"}
    mend(report, aws, fetch=history(voids))
    assert check(aws).ok


def test_raw_trades_that_are_in_candles_only(aws: MemorySite, gcp: MemorySite) -> None:
    """This is a real loss, since raw trades cannot be made from a candle."""
    fill(TRADES[:800], aws, gcp)
    for site in (aws, gcp):
        (key,) = [key for key in site.archive.objects if ids_in(site, key).covers(400, 410)]
        del site.archive.objects[key]
    report = check(aws, gcp)
    assert [(each.kind, each.site, each.elsewhere) for each in report.findings] == [
        ("unarchived", "aws", ()),
        ("unarchived", "gcp", ()),
    ]
    assert report.findings[0].why == "no archive has 80 of them"
    mend(report, aws, gcp, fetch=history(TRADES))
    assert check(aws, gcp).ok
    check_equal((aws, gcp), TRADES[:800])


def test_trades_of_two_minutes_interleave_by_id(aws: MemorySite) -> None:
    """At the edge of a minute the ids alternate between both minutes, which is not a hole."""
    times = [HOUR_START + MINUTE + (-1 if n % 3 else 1) for n in range(30)]
    crossing = [trade(n)._replace(time=at) for n, at in enumerate(times)]
    feed(aws, crossing)
    assert check(aws).ok
    hour = HOUR_START + HOUR
    for whole in (crossing, [each._replace(time=each.time - MINUTE + HOUR) for each in crossing]):
        site = MemorySite("aws")
        feed(site, whole)
        assert check(site).ok
        for window in (HourWindow(HOUR_START, hour), HourWindow(hour, hour + HOUR)):
            assert check(site, window=window, scope=Scope(frozenset({"candles"}))).ok


def test_only_the_hours_of_the_window_are_compared(aws: MemorySite, gcp: MemorySite) -> None:
    fill(TRADES, aws)
    hours = [each.start for each in check(aws, gcp).of("unarchived")]
    assert len(hours) == 4
    second = HourWindow.around(hours[1] + 5, hours[1] + 6)
    report = check(aws, gcp, window=second)
    assert {each.start // HOUR * HOUR for each in report.findings} == {hours[1]}
    mend(report, aws, gcp)
    assert check(aws, gcp, window=second).ok
    assert {start // HOUR * HOUR for _, start in gcp.candles.stored} == {hours[1]}
    assert {holding.hour for key in gcp.archive.objects if (holding := parse_key(key))} == {
        hours[1]
    }


def test_only_the_selected_symbols_and_kinds_are_compared(aws: MemorySite, gcp: MemorySite) -> None:
    fill(TRADES[:400], aws)
    feed(aws, made(40, "ETHUSDT"))
    assert kinds(check(aws, gcp, deep=False, scope=Scope(frozenset({"raw"})))) == {"unarchived"}
    assert kinds(check(aws, gcp, deep=False, scope=Scope(frozenset({"candles"})))) == {"missing"}
    one = check(aws, gcp, scope=Scope(symbols=frozenset({"ETHUSDT"})))
    assert one.symbols == ("ETHUSDT",)
    assert {each.symbol for each in one.findings} == {"ETHUSDT"}


@pytest.mark.parametrize("deep", [False, True])
def test_wrong_content_under_a_right_name(aws: MemorySite, gcp: MemorySite, deep: bool) -> None:
    fill(TRADES[:800], aws, gcp)
    keys = sorted(aws.archive.objects)[:4]
    for key, body in zip(keys, (b"", b"x", pack(TRADES[:1])[0].body, pack([])), strict=True):
        aws.archive.objects[key] = body or b"\0"
    report = check(aws, gcp, deep=deep)
    assert [(each.kind, each.site, each.key) for each in report.findings] == [
        ("damaged", "aws", key) for key in keys
    ]
    mend(report, aws, gcp)
    assert aws.archive.objects == gcp.archive.objects
    assert check(aws, gcp).ok


def test_a_damaged_object_is_rebuilt_from_other_objects(aws: MemorySite, gcp: MemorySite) -> None:
    """Its trades are in other objects, from which it is made again under its name."""
    fill(TRADES[:800], aws)
    fill(TRADES[:800], gcp, batch=33)
    intact = dict(aws.archive.objects)
    key = sorted(intact)[3]
    aws.archive.objects[key] = b"broken"
    assert check(aws, gcp, deep=False).ok  # a listing does not show it
    report = check(aws, gcp)
    assert [(each.kind, each.site, each.key) for each in report.findings] == [
        ("damaged", "aws", key)
    ]
    mend(report, aws, gcp)
    assert aws.archive.objects == intact
    alone = MemorySite("alone")
    fill(TRADES[:800], alone)
    alone.archive.objects[key] = b"broken"
    mend(check(alone), alone, fetch=history(TRADES))
    assert alone.archive.objects == intact


def test_other_builds_of_zlib_write_other_bytes(aws: MemorySite, gcp: MemorySite) -> None:
    import gzip

    fill(TRADES[:800], aws, gcp)
    for key, body in gcp.archive.objects.items():
        gcp.archive.objects[key] = gzip.compress(gzip.decompress(body), 1, mtime=0)
    assert aws.archive.objects != gcp.archive.objects
    assert check(aws, gcp).ok


def falsify(site: MemorySite, start: int) -> None:
    """Give a candle another volume than its trades have."""
    candle, version = site.candles.stored[SYMBOL, start]
    false = candle.fragments[0]._replace(volume=candle.fragments[0].volume + Decimal(1))
    site.candles.stored[SYMBOL, start] = (
        Candle(SYMBOL, start, (false, *candle.fragments[1:])),
        version,
    )


def test_a_candle_with_false_numbers_is_found_and_made_again(
    aws: MemorySite, gcp: MemorySite
) -> None:
    fill(TRADES[:800], aws, gcp)
    start = HOUR_START + 3 * MINUTE
    falsify(gcp, start)
    for deep in (False, True):
        wrong = check(aws, gcp, deep=deep)
        assert [(each.kind, each.site, each.start) for each in wrong.findings] == [
            ("wrong", "gcp", start)
        ]
    mend(wrong, aws, gcp)
    assert check(aws, gcp).ok
    check_equal((aws, gcp), TRADES[:800])
    for site in (aws, gcp):
        falsify(site, start)
    assert check(aws, gcp, deep=False).ok  # the sites agree, but both are wrong
    mend(check(aws, gcp), aws, gcp)
    assert check(aws, gcp).ok
    check_equal((aws, gcp), TRADES[:800])


def test_a_wrong_candle_without_raw_trades_is_left_and_reported(aws: MemorySite) -> None:
    fill(TRADES[:80], aws)
    falsify(aws, HOUR_START)
    wrong = check(aws)
    assert kinds(wrong) == {"wrong"}
    before = dict(aws.candles.stored)
    (key,) = aws.archive.objects
    aws.archive.objects = {item.key: item.body for item in pack(TRADES[:10])}
    assert key not in aws.archive.objects
    done = mended(plan(wrong, open_(aws), has_exchange=False), aws)
    assert done.problems == [
        f"aws {SYMBOL} 2024-08-08T23:00:00Z: the raw archives lack some of the candle's"
        f" trades: 10-31; run `mcloud resolve {SYMBOL} 2024-08-08T23:00:00Z` to see the contents"
        " that are left and choose one"
    ]
    assert aws.candles.stored == before


def test_data_of_two_sites_is_copied_from_one_of_them(aws: MemorySite, gcp: MemorySite) -> None:
    third = MemorySite("third")
    fill(TRADES[:800], aws, gcp)
    steps = mend(check(aws, gcp, third), aws, gcp, third)
    assert [(each.source, len(each.objects)) for each in steps.copy] == [("aws", 10)]
    assert check(aws, gcp, third).ok


def test_different_trades_under_one_id_are_reported_and_left(aws: MemorySite) -> None:
    fill(TRADES[:80], aws)
    feed(aws, [TRADES[7]._replace(price=Decimal(99))])
    report = check(aws)
    assert [(each.kind, each.runs) for each in report.findings] == [("disputed", ((7, 7),))]
    assert report.findings[0].why == (
        "7 is db0ea778: 2 at 1, taken by the seller, 2024-08-08T23:00:10.500Z, raw at aws, candle"
        " at aws, or 7fac1c6e: 2 at 99, taken by the seller, 2024-08-08T23:00:10.500Z, raw at aws,"
        " candle at aws"
    )
    steps = plan(report, open_(aws), has_exchange=False)
    assert steps.is_empty
    assert steps.beyond == [
        f"{SYMBOL} 7: nothing proves which of two contents is right; run `mcloud resolve"
        f" {SYMBOL} 7` to see both and choose"
    ]


def test_foreign_objects_are_counted_and_left_alone(aws: MemorySite) -> None:
    fill(TRADES[:80], aws)
    aws.archive.objects[prefix(SYMBOL, HOUR_START) + "notes.txt"] = b"mine"
    report = check(aws)
    assert report.ok
    assert report.sites["aws"].foreign == 1


def test_candles_that_cannot_be_read_are_named_and_the_others_compared(
    aws: MemorySite, gcp: MemorySite
) -> None:
    fill(TRADES, aws, gcp)
    damaged = {HOUR_START + n * MINUTE for n in (0, 1, 70, 199)}
    del aws.candles.stored[SYMBOL, HOUR_START + 5 * MINUTE]
    aws.candles.damaged = {(SYMBOL, start) for start in damaged}
    report = check(aws, gcp)
    assert {(each.site, each.start) for each in report.of("damaged")} == {
        ("aws", start) for start in damaged
    }
    assert [each.start for each in report.of("missing")] == [HOUR_START + 5 * MINUTE]
    assert kinds(report) == {"damaged", "missing"}
    mend(report, aws, gcp)
    assert check(aws, gcp).ok
    check_equal((aws, gcp), TRADES)


def test_a_store_that_refuses_everything_has_no_damaged_candles(aws: MemorySite) -> None:
    fill(TRADES[:80], aws)

    def refuse(call: str) -> None:
        if call == "range":
            raise Refused("access denied")

    aws.faults.before = refuse
    with pytest.raises(Refused, match="access denied"):
        check(aws)


def test_data_in_transit_is_not_reported(aws: MemorySite, gcp: MemorySite) -> None:
    """The rest of a message arrives before the second survey, and only the loss is reported."""
    fill(TRADES[:400], aws)
    fill(TRADES[:160], gcp)

    def arrive(words: str) -> None:
        if words.startswith("checking"):
            fill(TRADES[:320], gcp)
            fill(TRADES[:480], aws)

    report = module.verify(open_(aws, gcp), EVERYTHING, deep=True, pause=0, tell=arrive)
    assert {each.site for each in report.findings} == {"gcp"}
    late = Ids([(320, 399)])
    for kind in ("missing", "unarchived"):
        assert Ids(run for each in report.of(kind) for run in each.runs) == late


def test_an_emptied_site_is_filled_and_the_other_is_unchanged(
    aws: MemorySite, gcp: MemorySite
) -> None:
    fill(TRADES[:800], gcp)
    before = dict(gcp.archive.objects), dict(gcp.candles.stored)
    mend(check(aws, gcp), aws, gcp)
    assert check(aws, gcp).ok
    assert rows(aws, [SYMBOL]) == expected_rows(TRADES[:800])
    assert (gcp.archive.objects, gcp.candles.stored) == before


def test_a_plan_says_what_it_would_do(aws: MemorySite, gcp: MemorySite) -> None:
    fill(TRADES[:800], gcp)
    steps = plan(check(aws, gcp), open_(aws, gcp), has_exchange=True)
    assert plan_document(steps) == RepairPlanDocument(
        candles_to_merge=20,
        candles_to_rewrite=0,
        candles_to_write_again=0,
        objects_to_copy=10,
        bytes_to_copy=sum(map(len, gcp.archive.objects.values())),
        objects_to_replace=0,
        objects_to_move=0,
        trades_to_fold=0,
        trades_to_fetch=0,
        exchange_requests=0,
        beyond_repair=(),
    )


def test_a_failed_step_does_not_stop_the_others(aws: MemorySite, gcp: MemorySite) -> None:
    fill(TRADES[:800], gcp)
    steps = plan(check(aws, gcp), open_(aws, gcp), has_exchange=False)

    def refuse(call: str) -> None:
        if call == "put":
            raise Refused("the bucket is read-only")

    aws.faults.before = refuse
    done = mended(steps, aws, gcp)
    assert done.problems == ["gcp to aws: the bucket is read-only"]
    assert done.merged == 20
    assert kinds(check(aws, gcp)) == {"unarchived"}
