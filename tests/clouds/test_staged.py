"""The view over an archive and its staging bucket reads like one archive, and loses nothing."""

import gzip
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from market.trade_sets import START, several_symbols, subsets
from producer.sources import trade
from replication.memory import Faults, MemoryArchive, MemorySite

from mcloud.archive import raw
from mcloud.archive.compact import Compacted, compact
from mcloud.clouds.ports import Archive, Cleared, StoredObject
from mcloud.clouds.staged import StagedArchive
from mcloud.errors import Refused
from mcloud.market.archive import HOUR, order, pack, prefix, unpack
from mcloud.market.block import is_index_key
from mcloud.market.envelope import encode
from mcloud.market.ids import Ids
from mcloud.market.trade import CANARY, Trade, without_filled_voids

SYMBOL = "BTCUSDT"


class StagedSite(MemorySite):
    """A site in memory with a staging bucket."""

    def __init__(self, name: str = "aws") -> None:
        super().__init__(name)
        self.proper = self.archive
        self.staging = MemoryArchive(self.faults)
        self.open()

    def open(self, kept: int = 1_000_000, limit: int | None = None) -> None:
        """Open the archive again, as another process does."""
        self.archive: Archive = StagedArchive(self.proper, self.staging, kept=kept, limit=limit)  # type: ignore[assignment]

    def stage(self, key: str, *messages: Iterable[Trade], foreign: bytes = b"") -> None:
        bodies = [
            encode(sorted(set(each), key=lambda t: (t.symbol, t.id))).body.encode()
            for each in messages
            if each
        ]
        self.staging.objects[f"staged/{key}"] = b"\n".join([*bodies, foreign])

    def compact(self, **options: Callable[[], float]) -> Compacted:
        return compact(self.archive, **options)

    def holds(self) -> list[Trade]:
        """Return all trades in the archive proper, without voids that a trade replaces."""
        found: set[Trade] = set()
        for key, body in self.proper.objects.items():
            if not is_index_key(key):
                found.update(unpack(body))
        return rightful(found)


def rightful(trades: Iterable[Trade]) -> list[Trade]:
    return without_filled_voids(sorted(set(trades), key=lambda t: (t.symbol, *order(t))))


def made(ids: Iterable[int], every: int = 60_000) -> list[Trade]:
    return [trade(n)._replace(time=START // HOUR * HOUR + every * n) for n in ids]


def seen(archive: Archive, everything: Iterable[Trade]) -> dict[tuple[str, int], set[Trade]]:
    """Return the trades that a reader of the archive finds, by symbol and hour."""
    found = {}
    for symbol, hour in {(each.symbol, each.time // HOUR * HOUR) for each in everything}:
        ids = raw.covered(archive, raw.holdings(archive, symbol, hour))
        found[symbol, hour] = set(raw.archived(archive, symbol, hour, ids))
    return found


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_any_split_of_the_same_trades_reads_equal(data: st.DataObject) -> None:
    everything = [t for t in data.draw(several_symbols()) if not t.is_void]
    site, plain = StagedSite(), MemoryArchive(Faults())
    for item in pack(everything):
        plain.put(item)
    for item in pack(data.draw(subsets(everything))):
        site.proper.put(item)
    if data.draw(st.booleans()):
        site.compact()
    for number, part in enumerate(data.draw(st.lists(subsets(everything), max_size=3))):
        site.stage(str(number), part)
    half = data.draw(st.integers(0, len(everything)))
    site.stage("rest", everything[:half], everything[half:])
    # Not even one object fits into the memory: every body is made again from its staged object.
    site.open(kept=data.draw(st.sampled_from([1, 1_000_000])))
    assert seen(site.archive, everything) == seen(plain, everything)
    assert list(site.archive.symbols()) == list(plain.symbols())
    for symbol in plain.symbols():
        keys = [each.key for each in site.archive.list(prefix(symbol))]
        assert keys == sorted(set(keys))
        for each in site.archive.list(prefix(symbol)):
            assert len(site.archive.get(each.key)) == each.size
    done = site.compact()
    assert done.problems == []
    assert site.staging.objects == {}
    assert site.holds() == rightful(everything)
    assert seen(site.archive, everything) == seen(plain, everything)


def test_the_same_staged_object_twice_is_one_set_of_trades() -> None:
    site, trades = StagedSite(), made(range(50))
    site.stage("a", trades)
    site.stage("b", trades)
    (listed,) = site.archive.list("raw/")
    assert unpack(site.archive.get(listed.key)) == trades
    site.compact()
    assert site.staging.objects == {}
    assert site.holds() == trades


def test_an_object_that_is_staged_and_archived_is_listed_once_and_removed_from_both() -> None:
    site, trades = StagedSite(), made(range(50))
    (item,) = pack(trades)
    site.stage("a", trades)
    site.proper.put(item)
    assert [each.key for each in site.archive.list("raw/")] == [item.key]
    site.archive.release(item.key)
    assert site.archive.clear() == Cleared([], has_more=False)
    assert site.proper.objects == {}
    assert site.staging.objects == {}


def test_what_is_removed_from_the_archive_is_still_read_where_it_is_staged() -> None:
    """Compaction removes an object, and its staged object waits for another hour."""
    site, trades = StagedSite(), made([1, 2, 61])
    first, second = pack(trades)
    site.stage("a", trades)
    site.proper.put(first)
    assert [each.key for each in site.archive.list("raw/")] == [first.key, second.key]
    site.archive.release(first.key)
    assert site.proper.objects == {}
    assert unpack(site.archive.get(first.key)) == unpack(first.body)
    site.proper.put(first)
    list(site.archive.list("raw/"))
    site.proper.remove(first.key)  # by another process
    assert [each.key for each in site.archive.list("raw/")] == [first.key, second.key]
    assert unpack(site.archive.get(first.key)) == unpack(first.body)


def test_a_late_trade_of_yesterday_goes_to_its_block() -> None:
    site, trades = StagedSite(), made(range(100))
    site.stage("first", trades[:40], trades[41:])
    site.compact()
    site.stage("a day later", trades[40:41])
    done = site.compact()
    assert (done.objects, done.blocks, done.trades) == (1, 1, 1)
    assert site.staging.objects == {}
    assert site.holds() == trades


def test_a_staged_object_lasts_until_all_of_its_hours_are_settled() -> None:
    site, trades = StagedSite(), made([58, 59, 60, 61])
    site.stage("over the hour", trades)
    end = (trades[0].time // HOUR + 1) * HOUR / 1000
    before = site.compact(clock=lambda: end + 3600)
    assert (before.objects, before.pending) == (1, 1)
    assert list(site.staging.objects) == ["staged/over the hour"]
    assert seen(site.archive, trades) == {
        (SYMBOL, trades[0].time // HOUR * HOUR): set(trades[:2]),
        (SYMBOL, trades[2].time // HOUR * HOUR): set(trades[2:]),
    }
    site.compact(clock=lambda: end + 7200)
    assert site.staging.objects == {}
    assert site.holds() == trades


def test_foreign_lines_are_kept_aside_and_named_and_never_in_the_way() -> None:
    site, trades = StagedSite(), made(range(10))
    site.stage("good", trades[:5], trades[5:], foreign=b'{"v":1,"symbol":')
    site.stage("bad", foreign=b"\xffpoison")
    done = site.compact()
    assert done.problems == []
    assert sorted(done.foreign) == ["foreign/bad.gz", "foreign/good.gz"]
    assert sorted(site.staging.objects) == ["foreign/bad.gz", "foreign/good.gz"]
    assert gzip.decompress(site.staging.objects["foreign/bad.gz"]) == b"\xffpoison\n"
    assert site.holds() == trades
    assert site.compact().foreign == []


def test_the_trades_of_a_truncated_object_are_found_missing_and_nothing_else() -> None:
    site, trades = StagedSite(), made(range(50))
    site.stage("cut", trades[:30], trades[30:])
    site.staging.objects["staged/cut"] = site.staging.objects["staged/cut"][:-20]
    found = raw.covered(
        site.archive, raw.holdings(site.archive, SYMBOL, trades[0].time // HOUR * HOUR)
    )
    assert found == Ids([(0, 29)])
    assert site.compact().foreign == ["foreign/cut.gz"]


def test_a_canary_holds_up_no_staged_object() -> None:
    """Compaction leaves canaries where they are, as objects of their hour."""
    site, trades = StagedSite(), made(range(10))
    (canary,) = pack([trade(7, CANARY)])
    site.stage("a", trades, [trade(7, CANARY)])
    site.compact()
    assert site.staging.objects == {}
    assert unpack(site.proper.objects[canary.key]) == unpack(canary.body)


def test_what_is_removed_is_gone_and_its_neighbours_stay() -> None:
    """A staged object cannot be changed, so its other trades move to the archive."""
    site, trades = StagedSite(), made([1, 2, 61, 62])
    site.stage("a", trades, foreign=b"poison")
    first, second = [each.key for each in site.archive.list("raw/")]
    site.archive.remove(first)
    assert [each.key for each in site.archive.list("raw/")] == [second]
    assert list(site.proper.objects) == [second]
    assert list(site.staging.objects) == ["foreign/a.gz"]
    with pytest.raises(Refused):
        site.archive.get(first)


def test_an_object_that_a_compaction_moves_meanwhile_is_skipped() -> None:
    site, other, trades = StagedSite(), StagedSite(), made(range(10))
    other.proper, other.staging = site.proper, site.staging
    other.open()
    site.stage("a", trades)
    list(site.archive.list("raw/"))
    other.compact()
    assert seen(site.archive, trades) == {(SYMBOL, trades[0].time // HOUR * HOUR): set(trades)}
    assert not [each.key for each in site.archive.list(prefix(SYMBOL)) if "date=" in each.key]


class Killed(BaseException):
    """The process is killed."""


def test_with_a_limit_the_oldest_are_shown_until_they_are_cleared() -> None:
    site = StagedSite()
    for number in range(4):
        site.stage(str(number), made(range(10 * number, 10 * number + 10)))
    sizes = [len(body) for body in site.staging.objects.values()]
    site.open(limit=sizes[0] + sizes[1])

    def shown() -> list[int]:
        items = site.archive.list(prefix(SYMBOL))
        return [t.id for each in items for t in unpack(site.archive.get(each.key))]

    assert shown() == list(range(20))
    site.stage("00", made([90]))  # it has come since
    assert shown() == list(range(20))
    for each in [*site.archive.list(prefix(SYMBOL))][:1]:
        site.archive.release(each.key)
    cleared = site.archive.clear()
    assert (cleared.foreign, cleared.has_more, cleared.left) == ([], True, 3)
    assert list(site.staging.objects) == [f"staged/{each}" for each in "123"] + ["staged/00"]
    # What was shown and is left does not come again, or it would be in the way of the others.
    assert shown() == [*range(20, 30), 90]
    site.archive.clear()
    assert shown() == list(range(30, 40))
    assert not site.archive.clear().has_more


def test_a_staged_object_above_the_limit_is_shown_alone() -> None:
    site = StagedSite()
    for number in range(3):
        site.stage(str(number), made(range(10 * number, 10 * number + 10)))
    site.open(limit=1)
    site.compact()
    assert site.staging.objects == {}
    assert site.holds() == made(range(30))


def test_a_backlog_shrinks_although_no_run_has_time_for_all_of_it() -> None:
    """A run that ends before it has released all of a staged object repeats its work."""
    site, everything = StagedSite(), []
    for number in range(40):
        ids = range(3 * number, 3 * number + 3)
        trades = [t._replace(symbol=f"{name}USDT") for name in "ABCDEF" for t in made(ids, 1_000)]
        site.stage(f"{number:02}", trades)
        everything += trades
    size = max(map(len, site.staging.objects.values()))

    def run(limit: int | None) -> int:
        """Compact for as long as a function may, and return the number of staged objects left."""
        site.open(limit=limit)
        steps = iter(range(80))
        site.faults.before = lambda call: next(steps, None)
        compact(site.archive, is_time_left=lambda: next(steps, None) is not None)
        site.faults.before = lambda call: None
        return len(site.staging.objects)

    assert run(limit=None) == 40
    left = [40]
    while left[-1]:
        left.append(run(limit=5 * size))
        assert left[-1] < left[-2]
    assert len(left) > 3
    assert site.holds() == rightful(everything)


def test_what_is_not_ready_is_not_shown() -> None:
    site = StagedSite()
    site.stage("0", made(range(10)))
    site.stage("1", made(range(10, 20)))

    def is_ready(stored: StoredObject) -> bool:
        return stored.key == "staged/0"

    site.archive = StagedArchive(site.proper, site.staging, is_ready=is_ready)  # type: ignore[assignment]
    site.compact()
    assert list(site.staging.objects) == ["staged/1"]
    assert site.holds() == made(range(10))


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("limit", [None, 200])
def test_a_compaction_that_is_killed_at_any_step_loses_nothing(
    moment: str, limit: int | None
) -> None:
    everything = made(range(0, 130, 3))
    number = 0
    while True:
        site = StagedSite()
        site.open(limit=limit)
        for begin in range(0, len(everything), 9):
            site.stage(f"{begin:03}", everything[begin : begin + 9], foreign=b"poison")
        left = [number]

        def step(call: str, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Killed

        setattr(site.faults, moment, step)
        try:
            site.compact()
        except Killed:
            setattr(site.faults, moment, lambda call: None)
            site.open()
            assert set().union(*seen(site.archive, everything).values()) == set(everything)
            site.compact()
        else:
            break
        finally:
            setattr(site.faults, moment, lambda call: None)
        assert not [key for key in site.staging.objects if key.startswith("staged/")]
        assert len(site.staging.objects) == -(-len(everything) // 9)
        assert site.holds() == everything
        number += 1
    assert number > 1


def test_two_compactions_at_once_lose_nothing() -> None:
    site, other, trades = StagedSite(), StagedSite(), made(range(200), every=30_000)
    other.proper, other.staging = site.proper, site.staging
    other.open()
    for begin in range(0, 200, 20):
        site.stage(f"{begin:03}", trades[begin : begin + 20])
    begun: list[str] = []

    def beside(call: str) -> None:
        if call == "swap" or (call == "put" and not begun):
            begun.append(call)
            site.faults.before = lambda call: None
            other.compact()

    site.faults.before = beside
    site.compact()
    site.faults.before = lambda call: None
    assert begun
    assert site.compact().problems == []
    assert site.staging.objects == {}
    assert site.holds() == trades
