"""Archives are compared by their trades, and damaged objects are not copied."""

from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from market.trade_sets import START, subsets, trade_sets
from producer.sources import trades
from replication.memory import Faults, MemoryArchive

from mcloud.archive import raw
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
    return raw.copy(source, target, lacking)


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
    copied = raw.copy(source, target, lacking)
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
    objects = [gone, *source.list("raw/")]
    with pytest.raises(Refused, match="no object"):
        raw.copy(source, target, objects)
    assert set(target.objects) == {keys[0], *keys[2:]}
