"""Pairs of sites in memory: in the end all sites have everything, whatever happens before."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from market.trade_sets import several_symbols, subsets
from producer.sources import trades

from mcloud.errors import Refused, Unavailable
from mcloud.market.archive import HOUR
from mcloud.market.candle import Candle
from mcloud.market.trade import Trade
from mcloud.replication import history_comparison as module
from mcloud.replication.change_follower import Pauses

from .memory import MemorySite
from .rig import Killed, Rig, check_equal, compacted, feed, rows

A_FEW = trades(range(100, 130))


@pytest.fixture
def aws() -> MemorySite:
    return MemorySite("aws")


@pytest.fixture
def gcp() -> MemorySite:
    return MemorySite("gcp")


@contextmanager
def rig_of(*sites: MemorySite, **choices: object) -> Iterator[Rig]:
    with tempfile.TemporaryDirectory() as folder:
        made = Rig(Path(folder), sites, **choices)  # type: ignore[arg-type]
        try:
            yield made
        finally:
            made.close()


@st.composite
def partitions(draw: st.DrawFn, sites: int) -> tuple[list[Trade], list[tuple[str, int, object]]]:
    """Draw trades and events.

    The events are messages with some of the trades to a site. In between, replicators run, are
    killed, find a site unavailable or find their position trimmed.
    """
    everything = draw(several_symbols().filter(bool))
    messages = draw(st.lists(st.tuples(st.integers(0, sites - 1), subsets(everything)), max_size=6))
    # The first site gets all trades that no message contains.
    events: list[tuple[str, int, object]] = [("message", site, part) for site, part in messages]
    events.append(("message", 0, everything))
    pairs = st.integers(0, sites * (sites - 1) - 1)
    happenings = st.one_of(
        st.tuples(st.just("step"), pairs, st.none()),
        st.tuples(st.just("step"), pairs, st.none()),
        st.tuples(st.just("kill"), st.just(0), st.integers(0, 12)),
        st.tuples(st.just("away"), pairs, st.integers(0, 5)),
        st.tuples(st.just("forget"), st.integers(0, sites - 1), st.none()),
        st.tuples(st.just("compact"), st.integers(0, sites - 1), st.none()),
    )
    for happening in draw(st.lists(happenings, max_size=15)):
        events.insert(draw(st.integers(0, len(events))), happening)
    return everything, events


@pytest.mark.parametrize("count", [2, 3])
def test_sites_converge_in_any_order_of_events(count: int) -> None:
    @settings(max_examples=20, deadline=None)
    @given(partitions(count), st.integers(1, 4), st.integers(0, 3))
    def check(
        drawn: tuple[list[Trade], list[tuple[str, int, object]]], page: int, repeats: int
    ) -> None:
        everything, events = drawn
        sites = [MemorySite(name, page=page, repeats=repeats) for name in "abc"[:count]]
        with rig_of(*sites) as rig:
            for what, which, how in events:
                pair = list(rig.pairs.values())[which % len(rig.pairs)]
                if what == "message":
                    assert isinstance(how, list)
                    feed(sites[which], how)
                elif what == "compact":
                    compacted(sites[which])
                elif what == "forget":
                    candles = sites[which].candles
                    candles.forgotten = len(candles.log)
                else:
                    error = Killed if what == "kill" else Unavailable
                    rig.reached = failing(error, int(how)) if how is not None else allow
                    try:
                        rig.step(pair)
                    except Killed:
                        rig.restart()
                    rig.reached = allow
            rig.settle()
            check_equal(sites, everything)
            assert rig.settle() == 0
            rig.restart()
            assert rig.settle() == 0

    check()


def failing(error: type[BaseException], after: int) -> Callable[[str], None]:
    """Return a hook that raises once, after ``after`` calls."""
    calls = count()

    def reach(call: str) -> None:
        if next(calls) == after:
            raise error(call)

    return reach


def allow(call: str) -> None:
    """Do nothing."""


@pytest.mark.slow
@pytest.mark.parametrize(("part", "every"), [("disjoint", 3), ("overlapping", 1), ("contained", 3)])
def test_a_kill_at_every_step_loses_nothing(part: str, every: int) -> None:
    first, second = {
        "disjoint": (A_FEW[:15], A_FEW[15:]),
        "overlapping": (A_FEW[:20], A_FEW[10:]),
        "contained": (A_FEW, A_FEW[5:9]),
    }[part]
    for steps in count(0, every):
        aws, gcp = MemorySite("aws", page=2), MemorySite("gcp", page=2)
        was_killed = False
        with rig_of(aws, gcp) as rig:
            rig.reached = failing(Killed, steps)
            for site, part_of_it in ((aws, first), (gcp, second)):
                feed(site, part_of_it)
                try:
                    rig.settle()
                except Killed:
                    was_killed = True
                    rig.restart()
                    rig.settle()
            rig.reached = allow
            check_equal((aws, gcp), A_FEW)
            assert rig.settle() == 0
        if not was_killed:
            assert steps > 40  # enough steps to be killed at
            return


def test_a_second_pass_does_not_query_the_target(aws: MemorySite, gcp: MemorySite) -> None:
    with rig_of(aws, gcp) as rig:
        feed(aws, A_FEW)
        feed(gcp, A_FEW)
        rig.settle()
        asked: list[str] = []
        rig.reached = asked.append
        assert rig.settle() == 0
        assert set(asked) == {"changes"}
        # For candles that both functions folded, only one direction has to read.
        feed(aws, trades(range(130, 140)))
        feed(gcp, trades(range(130, 140)))
        assert rig.settle() == 0
        assert asked.count("read") == 1


def test_the_echo_of_a_write_is_neither_read_nor_written(aws: MemorySite, gcp: MemorySite) -> None:
    with rig_of(aws, gcp) as rig:
        rig.settle()
        feed(aws, A_FEW)
        there, back = rig.pairs["aws", "gcp"], rig.pairs["gcp", "aws"]
        rig.settle()
        asked: list[str] = []
        rig.reached = asked.append
        rig.settle()
        assert set(asked) == {"changes"}
        assert (there.progress().written, back.progress().written) == (1, 0)
        assert len(gcp.candles.log) == 1


def test_an_unavailable_site_does_not_delay_other_pairs(aws: MemorySite, gcp: MemorySite) -> None:
    west = MemorySite("west")
    with rig_of(aws, gcp, west) as rig:
        rig.settle()
        feed(aws, A_FEW)
        gcp.faults.before = _away
        for _ in range(3):
            for pair in rig.pairs.values():
                rig.clock.now += 0.01
                rig.step(pair)
        assert rows(west, ["BTCUSDT"]) == rows(aws, ["BTCUSDT"])
        pair = rig.pairs["aws", "gcp"]
        assert pair.progress().error == "gcp is away"
        # The pause grows with every failure, up to half a minute.
        waits = []
        for _ in range(10):
            waits.append(rig.step(pair))
            rig.clock.now += waits[-1]
        assert waits == sorted(waits)
        assert waits[-1] == 30.0
        gcp.faults.before = lambda call: None
        rig.settle()
        check_equal((aws, gcp, west), A_FEW)
        assert pair.progress().error == ""


def test_unavailable_archives_do_not_delay_candles(aws: MemorySite, gcp: MemorySite) -> None:
    def no_archive(call: str) -> None:
        if call in ("list", "put", "get"):
            raise Refused("no access to the bucket")

    with rig_of(aws, gcp) as rig:
        rig.settle()
        gcp.faults.before = no_archive
        pair = rig.pairs["aws", "gcp"]
        for begin in range(100, 130, 10):
            feed(aws, trades(range(begin, begin + 10)))
            pair.look_again()
            rig.step(pair)
            assert rows(gcp, ["BTCUSDT"]) == rows(aws, ["BTCUSDT"])
        progress = pair.progress()
        assert (progress.error, progress.raw) == ("no access to the bucket", 1)
        gcp.faults.before = lambda call: None
        rig.clock.now += 60
        rig.settle()
        check_equal((aws, gcp), A_FEW)


def test_a_raw_object_that_is_refused_does_not_hold_up_the_other_hours(
    aws: MemorySite, gcp: MemorySite
) -> None:
    later = [trade._replace(time=trade.time + HOUR) for trade in trades(range(200, 210))]
    with rig_of(aws, gcp) as rig:
        feed(aws, A_FEW)
        refused = set(aws.archive.objects)
        feed(aws, later)
        get = aws.archive.get

        def picky(key: str) -> bytes:
            if key in refused:
                raise Refused("no permission")
            return get(key)

        aws.archive.get = picky  # type: ignore[method-assign]
        pair = rig.pairs["aws", "gcp"]
        for _ in range(20):
            rig.clock.now += rig.step(pair)
        assert pair.progress().error == "no permission"
        assert set(gcp.archive.objects) == set(aws.archive.objects) - refused
        aws.archive.get = get  # type: ignore[method-assign]
        rig.settle()
        check_equal((aws, gcp), [*A_FEW, *later])


def test_trimmed_changes_are_found_by_a_comparison(aws: MemorySite, gcp: MemorySite) -> None:
    with rig_of(aws, gcp) as rig:
        feed(aws, A_FEW[:10])
        rig.settle()
        feed(aws, A_FEW[10:])
        aws.candles.forgotten = len(aws.candles.log)
        rig.settle()
        check_equal((aws, gcp), A_FEW)
        assert rig.pairs["aws", "gcp"].progress().trimmed == 1


def test_an_emptied_target_is_filled_again(aws: MemorySite, gcp: MemorySite) -> None:
    with rig_of(aws, gcp) as rig:
        feed(aws, A_FEW)
        rig.settle()
        gcp.candles.stored.clear()
        gcp.archive.objects.clear()
        rig.restart()
        rig.settle()
        check_equal((aws, gcp), A_FEW)
        gcp.archive.objects.clear()
        rig.restart()
        rig.settle()
        check_equal((aws, gcp), A_FEW)


def test_a_clock_that_is_wrong_changes_nothing(aws: MemorySite, gcp: MemorySite) -> None:
    """Our clock says 1970, or is an hour off. The sources tell their own time."""
    with rig_of(aws, gcp, wall=lambda: -3600.0) as rig:
        feed(aws, A_FEW)
        rig.settle()
        check_equal((aws, gcp), A_FEW)
        pair = rig.pairs["aws", "gcp"]
        pair.look_again()
        rig.step(pair)
        rig.clock.now += 7
        assert pair.progress().candles_s == 7.0
        assert pair.progress().raw_s == 7.0


def test_sites_whose_clocks_are_an_hour_apart(aws: MemorySite, gcp: MemorySite) -> None:
    with rig_of(aws, gcp) as rig:
        gcp.candles.clock = lambda: aws.candles.clock() + 3600
        feed(aws, A_FEW[:20])
        feed(gcp, A_FEW[10:])
        rig.settle()
        check_equal((aws, gcp), A_FEW)
        for pair in rig.pairs.values():
            pair.look_again()
            rig.step(pair)
        rig.clock.now += 7
        # The lag of each pair is measured by the clock of its source only.
        assert {pair.progress().candles_s for pair in rig.pairs.values()} == {7.0}


def test_a_source_is_polled_less_often_after_a_quiet_time(aws: MemorySite, gcp: MemorySite) -> None:
    with rig_of(aws, gcp, pauses=Pauses()) as rig:
        pair = rig.pairs["aws", "gcp"]
        rig.step(pair)
        feed(aws, A_FEW)
        waits = []
        while rig.clock.now < 1_120:
            waits.append((rig.clock.now, rig.step(pair)))
            rig.clock.now += waits[-1][1]
        busy = Pauses().busy
        (begun, *_) = [at for at, wait in waits if wait == busy]
        assert {wait for at, wait in waits if begun <= at < begun + 29} == {busy}
        assert waits[-1][1] == 5.0


def test_changes_wait_at_most_until_the_comparison_ends(gcp: MemorySite) -> None:
    aws = MemorySite("aws", page=2)
    with rig_of(aws, gcp) as rig:
        feed(aws, A_FEW[:5])

        def arrive(call: str) -> None:
            if call == "changes":
                rig.reached = allow
                for trade in A_FEW[5:]:
                    feed(aws, [trade])
                rig.clock.now += 60.0  # the first page takes this long

        rig.reached = arrive
        pair = rig.pairs["aws", "gcp"]
        waited = 0.0
        while not pair.is_idle:
            seconds = rig.step(pair)
            rig.clock.now += seconds
            waited += seconds
        assert waited < 5.0
        check_equal((aws, gcp), A_FEW)


def test_lag_is_unknown_until_everything_is_compared(
    aws: MemorySite, gcp: MemorySite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SLICE", 1)
    feed(aws, trades(range(0, 30_000, 500)))
    with rig_of(aws, gcp) as rig:
        pair = rig.pairs["aws", "gcp"]
        rig.step(pair)
        progress = pair.progress()
        assert (progress.phase, progress.candles_s, progress.raw_s) == ("comparing", None, None)
        rig.settle()
        assert pair.progress().phase == "following"
        assert pair.progress().candles_s is not None


def test_a_comparison_continues_where_it_stopped(
    aws: MemorySite, gcp: MemorySite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SLICE", 2)
    everything = trades(range(0, 60_000, 1000))
    feed(aws, everything)
    with rig_of(aws, gcp) as rig:
        for _ in range(3):
            rig.step(rig.pairs["aws", "gcp"])
        assert 0 < len(gcp.candles.stored) < len(aws.candles.stored)
        rig.restart()
        written = len(gcp.candles.log)
        rig.settle()
        check_equal((aws, gcp), everything)
        assert rig.pairs["aws", "gcp"].progress().written == len(aws.candles.stored) - written


def test_objects_of_the_wrong_content_are_reported_and_not_copied(
    aws: MemorySite, gcp: MemorySite
) -> None:
    with rig_of(aws, gcp) as rig:
        feed(aws, A_FEW[:10])
        feed(aws, A_FEW[10:])
        bad, good = sorted(aws.archive.objects)
        aws.archive.objects[bad] = aws.archive.objects[good]
        rig.settle()
        assert list(gcp.archive.objects) == [good]
        assert rows(gcp, ["BTCUSDT"]) == rows(aws, ["BTCUSDT"])
        assert rig.pairs["aws", "gcp"].progress().damaged == (bad,)
        # The other direction only compares names, since an existing object is never overwritten.
        gcp.archive.objects[bad] = b"other"
        rig.restart()
        rig.settle()
        assert gcp.archive.objects[bad] == b"other"


@pytest.mark.parametrize("where", ["source", "target"])
@pytest.mark.parametrize("is_compared", [False, True])
def test_a_damaged_candle_is_reported_and_the_others_are_copied(
    aws: MemorySite, gcp: MemorySite, where: str, is_compared: bool
) -> None:
    minutes = range(0, 60_000, 1_000)
    with rig_of(aws, gcp) as rig:
        if is_compared:
            rig.settle()
        feed(aws, trades(minutes))
        feed(gcp, trades(minutes)[7:9])
        site = aws if where == "source" else gcp
        bad = sorted(gcp.candles.stored)[0]
        site.candles.damaged.add(bad)
        pair = rig.pairs["aws", "gcp"]
        for _ in range(20):
            pair.look_again()
            rig.clock.now += rig.step(pair)
        name = f"the stored candle {bad[0]} {Candle(*bad).timestamp} is damaged"
        progress = pair.progress()
        if where == "target" or not is_compared:
            # The changes of the source contain the candle as it was before the damage.
            assert progress.damaged == (f"{site.name}: {name}",)
        assert progress.error == ""
        assert pair.is_idle
        good = aws.candles.stored.keys() - {bad}
        assert len(good) > 3
        assert all(gcp.candles.stored[key][0] == aws.candles.stored[key][0] for key in good)
        # When it can be read again, its next change brings the rest.
        site.candles.damaged.clear()
        rig.restart()
        feed(aws, trades([7_500]))
        rig.settle()
        assert gcp.candles.stored[bad][0].runs == aws.candles.stored[bad][0].runs


@pytest.mark.parametrize("where", ["source", "target"])
def test_a_damaged_newest_candle_does_not_stop_a_pair(
    aws: MemorySite, gcp: MemorySite, where: str
) -> None:
    with rig_of(aws, gcp) as rig:
        feed(aws, A_FEW)
        rig.settle()
        for site in (aws, gcp) if where == "source" else (gcp,):
            site.candles.damaged.add(max(site.candles.stored))
        rig.restart()
        feed(aws, trades(range(120_000, 121_000, 100)))
        pair = rig.pairs["aws", "gcp"]
        for _ in range(20):
            pair.look_again()
            rig.clock.now += rig.step(pair)
        assert pair.progress().error == ""
        assert gcp.candles.stored.keys() == aws.candles.stored.keys()


def test_two_trades_under_one_id_are_reported_and_every_site_decides_alike(
    aws: MemorySite, gcp: MemorySite
) -> None:
    with rig_of(aws, gcp) as rig:
        feed(aws, A_FEW)
        feed(gcp, [A_FEW[0]._replace(price=A_FEW[0].price + 1)])
        rig.settle()
        assert rows(gcp, ["BTCUSDT"]) == rows(aws, ["BTCUSDT"])
        found = [pair.progress().disagreements for pair in rig.pairs.values()]
        assert any("BTCUSDT 100: kept " in each for some in found for each in some)
        assert rig.settle() == 0


def _away(call: str) -> None:
    raise Unavailable("gcp is away")
