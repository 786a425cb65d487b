"""Compaction turns small objects into blocks, and never loses or changes a trade."""

import gzip
import time
from collections.abc import Callable, Iterable
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from market.trade_sets import several_symbols, subsets, trade_sets
from producer.sources import START, trade
from replication.memory import MemorySite
from replication.rig import feed
from replication.test_verify import check, kinds, mend

from mcloud.archive import blocks, raw
from mcloud.archive import compact as module
from mcloud.archive.compact import Compacted, compact
from mcloud.clouds.cache import Cache
from mcloud.market.archive import HOUR, inflate, order, pack, parse_key, unpack
from mcloud.market.block import BLOCK, Block, BlockKey, is_index_key, parse_block_key, unpack_index
from mcloud.market.ids import Ids
from mcloud.market.trade import Trade, without_filled_voids

SYMBOL = "BTCUSDT"
HOUR_START = START // HOUR * HOUR


def made(ids: Iterable[int], every: int = 60_000) -> list[Trade]:
    """Return trades with these ids; by default one per minute."""
    return [trade(n)._replace(time=HOUR_START + every * n) for n in ids]


def run(site: MemorySite, clock: Callable[[], float] = time.time) -> Compacted:
    return compact(site.archive, clock=clock)


def put(site: MemorySite, trades: Iterable[Trade]) -> list[str]:
    items = pack(trades)
    for item in items:
        site.archive.put(item)
    return [item.key for item in items]


def archived(site: MemorySite) -> set[Trade]:
    """Return all trades in all objects."""
    found: set[Trade] = set()
    for key, body in site.archive.objects.items():
        if not is_index_key(key):
            found.update(unpack(body))
    return found


def rightful(trades: Iterable[Trade]) -> list[Trade]:
    """Return the trades without voids that a trade with the same id replaces."""
    return without_filled_voids(sorted(set(trades), key=order))


def block_keys(site: MemorySite) -> list[BlockKey]:
    return [key for name in sorted(site.archive.objects) if (key := parse_block_key(name))]


def hour_keys(site: MemorySite) -> list[str]:
    return [name for name in sorted(site.archive.objects) if parse_key(name)]


@pytest.fixture
def aws() -> MemorySite:
    return MemorySite("aws")


@pytest.fixture
def gcp() -> MemorySite:
    return MemorySite("gcp")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_sites_with_the_same_trades_get_equal_blocks_in_any_order(data: st.DataObject) -> None:
    everything = data.draw(several_symbols())
    sites = [MemorySite("aws"), MemorySite("gcp")]
    for site in sites:
        for part in data.draw(st.lists(subsets(everything), max_size=4)):
            put(site, part)
            if data.draw(st.booleans()):
                run(site)
        put(site, everything)
        done = run(site)
        assert done.problems == []
        assert hour_keys(site) == []
        assert rightful(archived(site)) == rightful(everything)
    one, other = (site.archive.objects for site in sites)
    assert one == other
    before = dict(one)
    assert run(sites[0]).blocks == 0
    assert sites[0].archive.objects == before


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_archive_holds_the_same_trades_before_and_after(data: st.DataObject) -> None:
    everything = data.draw(several_symbols())
    site = MemorySite("aws")
    for part in data.draw(st.lists(subsets(everything), min_size=1, max_size=4)):
        put(site, part)
    hours = {(each.symbol, each.time // HOUR * HOUR) for each in everything}

    def seen() -> dict[tuple[str, int], tuple[Ids, list[Trade]]]:
        found = {}
        for symbol, hour in hours:
            pieces = raw.holdings(site.archive, symbol, hour)
            ids = raw.covered(site.archive, pieces)
            found[symbol, hour] = ids, rightful(raw.archived(site.archive, symbol, hour, ids))
        return found

    before = seen()
    run(site)
    after = seen()
    for place, (ids, trades) in before.items():
        # A void is removed even if its trade is in another hour.
        gone = Ids((each.id, each.id) for each in trades if each not in archived(site))
        assert after[place][0] == ids.minus(gone)
        assert after[place][1] == [each for each in trades if each in archived(site)]
        assert all(each.is_void for each in trades if each not in archived(site))


class Killed(BaseException):
    """The process is killed."""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_at_every_step_loses_nothing(moment: str) -> None:
    everything = made(range(BLOCK - 100, BLOCK + 100, 3))
    number = 0
    while True:
        site = MemorySite("aws")
        for begin in range(0, len(everything), 7):
            put(site, everything[begin : begin + 7])
        left = [number]

        def step(call: str, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Killed

        setattr(site.faults, moment, step)
        try:
            run(site)
        except Killed:
            assert set(archived(site)) == set(everything)
            setattr(site.faults, moment, lambda call: None)
            run(site)
        else:
            break
        finally:
            setattr(site.faults, moment, lambda call: None)
        assert hour_keys(site) == []
        assert rightful(archived(site)) == everything
        number += 1
    assert number > 1


def test_two_compactions_and_a_function_at_once(aws: MemorySite) -> None:
    everything = made(range(300))
    late = made(range(300, 310))
    for begin in range(0, 300, 10):
        put(aws, everything[begin : begin + 10])
    calls: list[str] = []

    def meanwhile(call: str) -> None:
        calls.append(call)
        if calls.count(call) == 1 and call in ("put", "swap", "remove", "get", "list"):
            put(aws, late[len(calls) % 10 :])
            run(aws)

    aws.faults.before = meanwhile
    run(aws)
    aws.faults.before = lambda call: None
    assert {"put", "swap", "remove"} <= set(calls)
    run(aws)
    assert hour_keys(aws) == []
    kept = set(archived(aws))
    assert kept >= set(everything)
    assert kept <= {*everything, *late}


@settings(max_examples=60, deadline=None)
@given(trade_sets(smallest=1), st.data())
def test_other_contents_of_an_id_are_kept_wherever_they_lie(
    everything: list[Trade], data: st.DataObject
) -> None:
    """Usual lines are compared as they are, and trades are parsed if that is not sufficient."""
    other = [each._replace(quantity=Decimal("0.5")) for each in everything]
    site = MemorySite("aws")
    for part in data.draw(st.lists(subsets(everything) | subsets(other), max_size=4)):
        put(site, part)
        if data.draw(st.booleans()):
            run(site)
    expected = archived(site)
    assert run(site).problems == []
    assert hour_keys(site) == []
    assert archived(site) == expected


def test_a_late_trade_changes_one_object_in_place(aws: MemorySite) -> None:
    everything = made(range(BLOCK - 50, BLOCK + 50))
    put(aws, [each for each in everything if each.id != BLOCK + 7])
    run(aws)
    before = dict(aws.archive.objects)
    put(aws, [each for each in everything if each.id == BLOCK + 7])
    assert run(aws).blocks == 1
    changed = {key for key, body in aws.archive.objects.items() if before.get(key) != body}
    indexes = set(filter(is_index_key, changed))
    assert changed - indexes == {str(BlockKey(SYMBOL, BLOCK))}
    assert len(indexes) == 1
    assert aws.archive.objects.keys() == before.keys()


def test_hours_that_have_ended_too_short_ago_are_left(aws: MemorySite) -> None:
    keys = put(aws, made(range(180)))  # three hours
    after_two = HOUR_START / 1000 + 3 * 3600 + 60
    done = run(aws, clock=lambda: after_two)
    assert (done.objects, done.pending) == (2, 1)
    assert hour_keys(aws) == keys[2:]


@pytest.mark.parametrize("steps", range(3, 12))
def test_compaction_stops_when_the_time_runs_out_and_continues_later(
    aws: MemorySite, steps: int
) -> None:
    everything = [
        each._replace(symbol=symbol)
        for symbol in ("AUSDT", "BUSDT", "CUSDT")
        for each in made(range(BLOCK - 150, BLOCK + 150, 10))
    ]
    for each in everything:
        put(aws, [each])
    begin, first = "", []
    for _ in range(100):
        left = iter(range(steps))
        done = compact(aws.archive, begin=begin, is_time_left=lambda left=left: next(left, -1) >= 0)
        assert set(archived(aws)) == set(everything)
        assert done.problems == []
        first.append(begin)
        begin = done.next_symbol
        if not begin:
            break
    assert not begin
    assert hour_keys(aws) == []
    assert rightful(archived(aws)) == rightful(everything)
    if steps < 6:
        assert len(first) > 1


def test_a_symbol_does_not_wait_until_those_before_it_have_no_new_objects(aws: MemorySite) -> None:
    (key,) = put(aws, [made([0])[0]._replace(symbol="CUSDT")])
    begin = ""
    for n in range(10):
        put(aws, [made([n])[0]._replace(symbol=symbol) for symbol in ("AUSDT", "BUSDT")])
        left = iter((True, True, True))  # one symbol, its only part, its block
        begin = compact(
            aws.archive, begin=begin, is_time_left=lambda left=left: next(left, False)
        ).next_symbol
    assert key not in aws.archive.objects


def test_an_interrupted_index_has_the_blocks_that_were_written(
    aws: MemorySite, forget: Callable[[], None]
) -> None:
    put(aws, made(range(10)))
    run(aws)
    (index,) = filter(is_index_key, aws.archive.objects)
    del aws.archive.objects[index]
    put(aws, made(range(BLOCK, BLOCK + 10), every=1))
    forget()
    left = iter((True, True, True))  # the symbol, its only part, its block
    compact(aws.archive, is_time_left=lambda: next(left, False))
    assert unpack_index(index, aws.archive.objects[index]).keys() == {BlockKey(SYMBOL, BLOCK)}
    run(aws)
    assert len(unpack_index(index, aws.archive.objects[index])) == 2


def test_compaction_reads_as_many_trades_at_a_time_as_fit_into_memory(
    aws: MemorySite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TRADES_AT_ONCE", 50)
    for begin in range(0, 1_000, 10):
        put(aws, made(range(begin, begin + 10), every=1))
    calls: list[str] = []
    get, remove = aws.archive.get, aws.archive.remove

    def reading(key: str) -> bytes:
        if parse_key(key):
            calls.append("read")
        return get(key)

    def removing(key: str) -> None:
        calls.append("remove")
        remove(key)

    monkeypatch.setattr(aws.archive, "get", reading)
    monkeypatch.setattr(aws.archive, "remove", removing)
    assert run(aws).objects == 100
    assert calls == (["read"] * 5 + ["remove"] * 5) * 20


def test_a_dry_run_counts_and_changes_nothing(aws: MemorySite) -> None:
    put(aws, made(range(100)))
    before = dict(aws.archive.objects)
    done = compact(aws.archive, dry_run=True)
    assert (done.objects, done.blocks) == (2, 0)
    assert aws.archive.objects == before


def test_a_damaged_object_is_named_and_does_not_hold_up_others(aws: MemorySite) -> None:
    (bad,) = put(aws, made(range(10)))
    put(aws, made(range(10, 20)))
    aws.archive.objects[bad] = b"damaged"
    done = run(aws)
    assert done.problems == [f"{bad} is damaged: its content does not match its name"]
    assert hour_keys(aws) == [bad]
    assert Ids((each.id, each.id) for each in unpack(aws.archive.objects[_only(aws)])) == Ids(
        [(10, 19)]
    )


def _only(site: MemorySite) -> str:
    (key,) = block_keys(site)
    return str(key)


def test_a_damaged_block_keeps_its_objects_and_is_repaired_from_the_other_site(
    aws: MemorySite, gcp: MemorySite
) -> None:
    for site in (aws, gcp):
        feed(site, made(range(100)))
        run(site)
    feed(aws, made(range(100, 110)))
    aws.archive.objects[_only(aws)] = b"damaged"
    done = run(aws)
    assert [each.split(":")[0] for each in done.problems] == [_only(aws)]
    assert len(hour_keys(aws)) == 1
    report = check(aws, gcp)
    assert "damaged" in kinds(report)
    mend(report, aws, gcp)
    mend(check(aws, gcp), aws, gcp)
    assert check(aws, gcp).ok
    for site in (aws, gcp):
        assert run(site).problems == []
    assert aws.archive.objects == gcp.archive.objects


def test_a_block_with_ids_of_another_one_is_damaged_and_stays_as_it_is(aws: MemorySite) -> None:
    feed(aws, made(range(100)))
    run(aws)
    other = MemorySite("other")
    put(other, made(range(BLOCK, BLOCK + 100)))
    run(other)
    (body,) = (body for key, body in other.archive.objects.items() if parse_block_key(key))
    aws.archive.objects[_only(aws)] = body
    feed(aws, made(range(100, 110)))
    assert [each.split(":")[0] for each in run(aws).problems] == [_only(aws)]
    assert aws.archive.objects[_only(aws)] == body
    assert len(hour_keys(aws)) == 1


def test_a_block_in_another_order_is_damaged_and_keeps_its_objects(aws: MemorySite) -> None:
    put(aws, made(range(10)))
    run(aws)
    key = _only(aws)
    lines = inflate(aws.archive.objects[key]).splitlines(keepends=True)
    aws.archive.objects[key] = gzip.compress(b"".join(reversed(lines)))
    (late,) = put(aws, made([5]))
    assert [each.split(":")[0] for each in run(aws).problems] == [key]
    assert hour_keys(aws) == [late]


def test_a_block_of_foreign_lines_is_damaged(aws: MemorySite, gcp: MemorySite) -> None:
    for site in (aws, gcp):
        feed(site, made(range(100)))
        run(site)
    other = MemorySite("other")
    put(other, [each._replace(symbol="ETHUSDT") for each in made(range(100))])
    run(other)
    (body,) = (body for key, body in other.archive.objects.items() if parse_block_key(key))
    aws.archive.objects[_only(aws)] = body
    report = check(aws, gcp)
    assert {(each.kind, each.site) for each in report.findings} >= {("damaged", "aws")}
    mend(report, aws, gcp)
    assert check(aws, gcp).ok


def test_two_trades_under_one_id_are_both_kept_and_found(aws: MemorySite, gcp: MemorySite) -> None:
    everything = made(range(100))
    false = everything[5]._replace(price=Decimal(7))
    for site in (aws, gcp):
        feed(site, everything)
    put(aws, [false])
    run(aws)
    assert set(archived(aws)) == {*everything, false}
    for deep in (False, True):
        assert "disputed" in kinds(check(aws, gcp, deep=deep))


@pytest.mark.parametrize("compacted", ["aws", "gcp", "both"])
def test_a_site_gets_the_trades_missing_in_its_blocks(
    aws: MemorySite, gcp: MemorySite, compacted: str
) -> None:
    everything = made(range(BLOCK - 200, BLOCK + 200))
    put(aws, everything)
    put(gcp, everything[100:150])
    put(gcp, everything[350:])
    for site in (aws, gcp):
        if compacted in (site.name, "both"):
            run(site)
    for hour in sorted({each.time // HOUR * HOUR for each in everything}):
        selected = raw.select(aws.archive, gcp.archive, SYMBOL, hour)
        raw.copy(aws.archive, gcp.archive, [piece.to_copy for piece in selected.whole])
        for item in selected.parts:
            gcp.archive.put(item)
        assert raw.compare(aws.archive, gcp.archive, SYMBOL, hour).lacking == []
    for site in (aws, gcp):
        run(site)
    assert aws.archive.objects == gcp.archive.objects
    assert rightful(archived(gcp)) == everything


def test_a_block_is_copied_unchanged_to_a_site_without_its_trades(
    aws: MemorySite, gcp: MemorySite
) -> None:
    put(aws, made(range(200)))
    run(aws)
    selected = raw.select(aws.archive, gcp.archive, SYMBOL, HOUR_START)
    assert [piece.key for piece in selected.whole] == [_only(aws)]
    assert selected.parts == []
    # A compaction at the target makes the block first.
    put(gcp, made(range(30)))
    run(gcp)
    raw.copy(aws.archive, gcp.archive, [piece.to_copy for piece in selected.whole])
    assert set(archived(gcp)) == set(made(range(200)))


@pytest.fixture
def forget(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Clear the caches, as in a new process."""

    def again() -> None:
        for name in ("_blocks", "_entries", "_indexes"):
            monkeypatch.setattr(blocks, name, Cache(blocks.REMEMBERED))

    return again


def test_the_listing_and_the_index_are_sufficient(
    aws: MemorySite, gcp: MemorySite, forget: Callable[[], None]
) -> None:
    for site in (aws, gcp):
        feed(site, made(range(0, 3 * BLOCK, 997), every=1_000))
        run(site)
    forget()
    read: list[str] = []
    for site in (aws, gcp):
        get = site.archive.get
        site.archive.get = lambda key, get=get: read.append(key) or get(key)  # type: ignore[assignment, misc]
    assert kinds(check(aws, gcp, deep=False)) == {"incomplete"}
    assert all(map(is_index_key, read))
    assert 1 <= len(read) <= 2


def test_without_its_index_a_block_is_read(
    aws: MemorySite, gcp: MemorySite, forget: Callable[[], None]
) -> None:
    for site in (aws, gcp):
        feed(site, made(range(200)))
        run(site)
        for key in list(filter(is_index_key, site.archive.objects)):
            site.archive.objects[key] = b"nonsense"
    assert check(aws, gcp, deep=False).ok
    forget()
    assert check(aws, gcp, deep=False).ok
    assert run(aws).blocks == 0
    assert len(Block(BlockKey(SYMBOL, 0), aws.archive.objects[_only(aws)]).trades()) == 200
    (index,) = filter(is_index_key, aws.archive.objects)
    assert aws.archive.objects[index] != b"nonsense"
