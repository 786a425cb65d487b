"""Archives are compared by their trades, and damaged objects are not copied."""

import time
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from market.trade_sets import START, several_symbols, subsets, trade_sets
from producer.sources import trades
from replication.memory import Faults, MemoryArchive

from mcloud.archive import blocks, raw
from mcloud.archive.compact import compact
from mcloud.errors import Refused
from mcloud.market.archive import HOUR, pack, parse_key, unpack
from mcloud.market.ids import Ids
from mcloud.market.trade import Trade

HOUR_START = START // HOUR * HOUR
SYMBOL = "BTCUSDT"


@pytest.fixture
def source() -> MemoryArchive:
    return MemoryArchive(Faults())


@pytest.fixture
def target() -> MemoryArchive:
    return MemoryArchive(Faults())


def store(archive: MemoryArchive, *groups: Iterable[Trade]) -> list[str]:
    items = [item for group in groups for item in pack(group)]
    for item in items:
        archive.put(item)
    return [item.key for item in items]


def held(archive: MemoryArchive) -> set[Trade]:
    return {trade for body in archive.objects.values() for trade in unpack(body)}


def bring(source: MemoryArchive, target: MemoryArchive) -> raw.Copied:
    lacking = raw.compare(source, target, SYMBOL, HOUR_START).lacking
    return raw.copy(source, target, [piece.to_copy for piece in lacking])


@st.composite
def two_archives(draw: st.DrawFn) -> tuple[list[list[Trade]], list[list[Trade]]]:
    """Draw messages of the same trades to two sites, in other batches, some to one site only."""
    everything = draw(trade_sets(smallest=1))
    messages = st.lists(subsets(everything).filter(bool), max_size=5)
    return draw(messages), draw(messages)


@settings(max_examples=200)
@given(two_archives())
def test_the_target_has_all_trades_after_one_copy(
    messages: tuple[list[list[Trade]], list[list[Trade]]],
) -> None:
    source, target = MemoryArchive(Faults()), MemoryArchive(Faults())
    store(source, *messages[0])
    store(target, *messages[1])
    ids = {trade.id for trade in held(source) | held(target)}
    before = len(target.objects)
    copied = bring(source, target)
    assert {trade.id for trade in held(target)} == ids
    assert copied.objects == len(target.objects) - before
    assert not copied.damaged
    assert raw.compare(source, target, SYMBOL, HOUR_START).lacking == []
    there = raw.holdings(target, SYMBOL, HOUR_START)
    assert raw.covered(target, there) == Ids((each, each) for each in ids)


def test_the_same_trades_in_other_objects_are_not_copied(
    source: MemoryArchive, target: MemoryArchive
) -> None:
    everything = trades(range(100, 140))
    store(source, everything[:10], everything[10:])
    store(target, *(everything[n : n + 7] for n in range(0, 40, 7)))
    assert raw.compare(source, target, SYMBOL, HOUR_START).lacking == []


def test_an_object_is_read_only_if_its_key_is_not_sufficient(
    source: MemoryArchive, target: MemoryArchive
) -> None:
    everything = trades(range(100, 140))
    dense = store(source, everything[:10])[0]
    sparse = store(source, everything[10:20:2])[0]
    read: list[str] = []
    source.faults.before = read.append
    pieces = raw.holdings(source, "BTCUSDT", everything[0].time // HOUR * HOUR)
    ids = {each.key: raw.coverage(source, each) for each in pieces}
    assert ids[dense].runs == [(100, 109)]
    assert ids[sparse].runs == [(n, n) for n in range(110, 120, 2)]
    assert read.count("get") == 1


@pytest.mark.parametrize("body", [b"", b"no gzip", pack(trades([7]))[0].body])
@pytest.mark.parametrize("step", [1, 2])
def test_an_object_that_does_not_match_its_key_is_reported_and_not_copied(
    source: MemoryArchive, target: MemoryArchive, body: bytes, step: int
) -> None:
    sound = store(source, trades(range(100, 110)))[0]
    damaged = store(source, trades(range(110, 130, step)))[0]
    source.objects[damaged] = body
    copied = bring(source, target)
    assert copied.damaged == [damaged]
    assert (copied.objects, copied.bytes) == (1, len(source.objects[sound]))
    assert list(target.objects) == [sound]


def test_foreign_objects_are_skipped(source: MemoryArchive, target: MemoryArchive) -> None:
    key = store(source, trades([100]))[0]
    source.objects[key.replace("100-100", "notes")] = b"somebody else's"
    assert [each.key for each in raw.holdings(source, SYMBOL, HOUR_START)] == [key]
    bring(source, target)
    assert list(target.objects) == [key]


def test_no_object_is_overwritten(source: MemoryArchive, target: MemoryArchive) -> None:
    key = store(source, trades([100]))[0]
    lacking = raw.compare(source, target, SYMBOL, HOUR_START).lacking
    target.objects[key] = b"written meanwhile"
    copied = raw.copy(source, target, [piece.to_copy for piece in lacking])
    assert copied.objects == 0
    assert target.objects[key] == b"written meanwhile"


def test_one_hour_is_compared_at_a_time(source: MemoryArchive, target: MemoryArchive) -> None:
    late: Sequence[Trade] = [
        trade._replace(time=trade.time + HOUR) for trade in trades(range(100, 110))
    ]
    (key,) = store(source, late)
    assert raw.compare(source, target, SYMBOL, HOUR_START).lacking == []
    holding = parse_key(key)
    assert holding is not None
    found = raw.compare(source, target, SYMBOL, holding.hour).lacking
    assert [each.key for each in found] == [key]


def test_a_refused_object_does_not_stop_the_others(
    source: MemoryArchive, target: MemoryArchive
) -> None:
    keys = store(source, *(trades([n]) for n in range(100, 104)))
    gone = next(iter(source.list(keys[1])))
    del source.objects[keys[1]]
    objects = [raw.Whole(each) for each in (gone, *source.list("raw/"))]
    with pytest.raises(Refused, match="no object"):
        raw.copy(source, target, objects)
    assert set(target.objects) == {keys[0], *keys[2:]}


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_many_hours_are_compared_like_each_of_them(data: st.DataObject) -> None:
    everything = data.draw(several_symbols().filter(bool))
    everything = [
        trade._replace(symbol=f"S{trade.id % 5}USDT", time=trade.time + trade.id % 7 * HOUR)
        for trade in everything
    ]
    archives = MemoryArchive(Faults()), MemoryArchive(Faults())
    for archive in archives:
        store(archive, *data.draw(st.lists(subsets(everything).filter(bool), max_size=4)))
        if data.draw(st.booleans()):
            compact(archive)
        store(archive, *data.draw(st.lists(subsets(everything).filter(bool), max_size=2)))
    hours = sorted({(trade.symbol, trade.time // HOUR * HOUR) for trade in everything})
    alone = [raw.compare(*archives, *hour) for hour in hours]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raw, "PAGE", data.draw(st.sampled_from([1, 1000])))
        together = raw.compare_hours(*archives, hours)
        found = raw.lacking_hours(*archives, sorted({symbol for symbol, _ in hours}))
    assert together == alone
    lacking = {hour for hour, each in zip(hours, alone, strict=True) if each.lacking}
    # Contents that only reading them would compare count as lacking.
    assert lacking <= found.keys()
    for hour, each in zip(hours, alone, strict=True):
        if found.get(hour):
            assert found[hour] == each
        elif hour in found.keys() - lacking:
            assert any(piece.ids is None for piece in (*each.theirs, *each.ours))


@pytest.mark.parametrize("is_busy", [False, True])
def test_objects_of_many_symbols_are_found_with_few_listings(
    source: MemoryArchive, target: MemoryArchive, is_busy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = int(time.time() * 1000) // HOUR * HOUR
    made = [trade._replace(symbol=f"S{trade.id}USDT", time=now) for trade in trades(range(40))]
    store(source, made)
    if is_busy:  # listing all objects of the archive would take more requests
        monkeypatch.setattr(raw, "PAGE", 10)
        store(source, *[[each._replace(id=n)] for each in made for n in range(100, 120)])
    calls: list[str] = []
    source.faults.before = target.faults.before = calls.append
    found = raw.compare_hours(source, target, [(trade.symbol, now) for trade in made])
    assert all(each.lacking for each in found)
    assert calls.count("list") == (1 + 40 + 1 if is_busy else 2)


def test_a_block_of_several_hours_is_copied_as_it_is(
    source: MemoryArchive, target: MemoryArchive
) -> None:
    """The comparison tells what the target holds, so nothing is listed again."""
    made = [trade._replace(time=HOUR_START + trade.id * 600_000) for trade in trades(range(30))]
    store(source, made)
    compact(source)
    hours = sorted({(SYMBOL, trade.time // HOUR * HOUR) for trade in made})
    assert len(hours) == 5
    compared = dict(zip(hours, raw.compare_hours(source, target, hours), strict=True))
    calls: list[str] = []
    source.faults.before = target.faults.before = calls.append
    others = {start: each.ours for (_, start), each in compared.items()}
    whole = set()
    for (symbol, start), each in compared.items():
        selected = raw.select(source, target, symbol, start, compared=each, others=others)
        assert selected.parts == []
        whole |= {piece.to_copy for piece in selected.whole}
    (block,) = whole
    assert set(calls) == {"stat"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raw, "unpack", None)  # an index describes the block: it is not parsed
        patch.setattr(blocks, "Block", None)
        assert raw.copy(source, target, [block]).objects == 1
    assert target.objects[block.stored.key] == source.objects[block.stored.key]
    source.objects[block.stored.key] += b"damaged"
    del target.objects[block.stored.key]
    assert raw.copy(source, target, [block]).damaged == [block.stored.key]


def test_a_block_is_not_copied_as_it_is_if_an_id_of_another_hour_is_disputed(
    source: MemoryArchive, target: MemoryArchive
) -> None:
    made = [trade._replace(time=HOUR_START + trade.id * 600_000) for trade in trades(range(12))]
    store(source, made)
    compact(source)
    second = made[6].time // HOUR * HOUR
    assert second != HOUR_START
    selected = raw.select(
        source,
        target,
        SYMBOL,
        HOUR_START,
        find_disputed_in=lambda block: Ids([(11, 11)] if second in block.hours else []),
    )
    assert selected.whole == []
    (part,) = selected.parts
    assert unpack(part.body) == made[:6]
