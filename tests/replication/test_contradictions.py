"""Sites with contradictions of every kind, compared with an oracle that knows the truth.

A contradiction is reported with its ids, sites and contents, and is not copied to other sites. If
the archive proves the truth, the contradiction is repaired. Otherwise the report names a command
with which a person can choose, and the choice resolves it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from producer.sources import START, trade

from mcloud.market.archive import HOUR, pack, parse_key, prefix, unpack
from mcloud.market.block import is_index_key
from mcloud.market.candle import MINUTE, Candle, fold
from mcloud.market.ids import Ids, shared
from mcloud.market.trade import Trade
from mcloud.replication import resolve
from mcloud.replication.backup import Backup
from mcloud.replication.id_contents import fingerprint
from mcloud.replication.repair import Repaired, plan, repair
from mcloud.replication.restore import Restore
from mcloud.replication.scope import Scope
from mcloud.replication.settle import Settlement
from mcloud.replication.verify_report import VerifyReport

from .memory import MemorySite
from .rig import Rig, check_equal, compacted, feed
from .test_verify import check, history, open_

SYMBOL = "BTCUSDT"
DAY = 24 * HOUR
FIRST = START // HOUR * HOUR
MINUTES = [at + n * MINUTE for at in (FIRST, FIRST + HOUR, FIRST + DAY) for n in (0, 1, 2, 5, 9)]
A_MINUTE = 8  # trades
TRADES = [
    trade(100 + n)._replace(time=MINUTES[n // A_MINUTE] + n % A_MINUTE * 7_000)
    for n in range(len(MINUTES) * A_MINUTE)
]
TRUTH = {each.id: each for each in TRADES}
NAMES = ("aws", "gcp")

Where = tuple[str, ...]


@dataclass
class World:
    """Two sites, the faults that were put into them, and the expected outcome."""

    sites: list[MemorySite] = field(default_factory=list)
    disputed: set[int] = field(default_factory=set)
    """Ids with two contents in the archives, so that nothing proves which is right."""
    misplaced: set[int] = field(default_factory=set)
    """Ids that a candle of another minute also holds."""
    wrong: set[int] = field(default_factory=set)
    """Minutes with a candle that has wrong numbers."""
    damaged: set[int] = field(default_factory=set)
    """Minutes with a damaged candle."""
    spoilt: set[str] = field(default_factory=set)
    """Keys of damaged objects, and of objects in wrong folders."""
    lost: set[int] = field(default_factory=set)
    """Ids whose true content is lost at one of the sites."""
    plain: set[int] = field(default_factory=set)
    """Ids whose contradiction is visible from keys and candles, without the raw trades."""

    def site(self, name: str) -> MemorySite:
        return next(each for each in self.sites if each.name == name)

    def at(self, where: Where) -> Iterator[MemorySite]:
        return (self.site(name) for name in where)


def false(id_: int, kind: str) -> Trade:
    """Return another content of an id: in the same minute, another minute, hour or day."""
    true = TRUTH[id_]
    minute = true.time // MINUTE * MINUTE
    others = {
        "number": minute,
        "minute": MINUTES[(MINUTES.index(minute) + 3) % 5 + MINUTES.index(minute) // 5 * 5],
        "hour": FIRST + HOUR if minute < FIRST + HOUR else FIRST,
        "day": FIRST + DAY if minute < FIRST + DAY else FIRST + HOUR,
        "alone": FIRST + 3 * DAY + 3 * MINUTE,  # a minute without other trades
    }
    time = others[kind] + true.time % MINUTE
    return true._replace(time=time, price=true.price + 5)


KINDS = ("number", "minute", "hour", "day", "alone")


def second_content(world: World, id_: int, kind: str, where: Where) -> None:
    """Archive and fold a second content, as a function does that receives it."""
    for site in world.at(where):
        feed(site, [false(id_, kind)])
    world.disputed.add(id_)
    if kind != "number":
        world.plain.add(id_)


def archived_only(world: World, id_: int, kind: str, where: Where) -> None:
    for site in world.at(where):
        for item in pack([false(id_, kind)]):
            site.archive.put(item)
    world.disputed.add(id_)
    if kind in ("hour", "day", "alone"):
        world.plain.add(id_)


def folded_only(world: World, id_: int, kind: str, where: Where) -> None:
    if kind == "number":
        kind = "minute"
    for site in world.at(where):
        other = false(id_, kind)
        site.candles.fold(fold(Candle(SYMBOL, other.time // MINUTE * MINUTE), [other]).candle)
    world.misplaced.add(id_)
    world.plain.add(id_)


def false_numbers(world: World, id_: int, kind: str, where: Where) -> None:
    start = TRUTH[id_].time // MINUTE * MINUTE
    for site in world.at(where):
        candle, version = site.candles.stored[SYMBOL, start]
        first = candle.fragments[0]
        fragments = (first._replace(volume=first.volume + Decimal(3)), *candle.fragments[1:])
        site.candles.stored[SYMBOL, start] = Candle(SYMBOL, start, fragments), version
    world.wrong.add(start)


def damaged_candle(world: World, id_: int, kind: str, where: Where) -> None:
    start = TRUTH[id_].time // MINUTE * MINUTE
    for site in world.at(where):
        site.candles.damaged.add((SYMBOL, start))
    world.damaged.add(start)


def damaged_object(world: World, id_: int, kind: str, where: Where) -> None:
    for site in world.at(where):
        key = key_of(site, id_)
        site.archive.objects[key] = b"nonsense"
        world.spoilt.add(key)


def object_in_a_wrong_folder(world: World, id_: int, kind: str, where: Where) -> None:
    for site in world.at(where):
        key = key_of(site, id_)
        to = prefix(SYMBOL, FIRST + 5 * HOUR) + key.rpartition("/")[2]
        body = site.archive.objects[key]
        if kind in ("hour", "day"):
            del site.archive.objects[key]
        site.archive.objects[to] = body
        world.spoilt.add(to)


FAULTS: Sequence[Callable[[World, int, str, Where], None]] = (
    second_content,
    archived_only,
    folded_only,
    false_numbers,
    damaged_candle,
    damaged_object,
    object_in_a_wrong_folder,
)


def key_of(site: MemorySite, id_: int) -> str:
    """Return the key of an object with the true trade of an id, in the hour of the trade."""
    for key in sorted(site.archive.objects):
        holding = parse_key(key)
        assert holding is not None
        if holding.hour == TRUTH[id_].time // HOUR * HOUR and (
            holding.first_id <= id_ <= holding.last_id
        ):
            return key
    raise AssertionError(f"no object with {id_}")


ADDING = (second_content, archived_only, folded_only)
"""Faults that keep the earlier data, so that a test can also remove some of it."""


def lose(world: World, site: MemorySite, block: int) -> None:
    """Remove all candles and objects of the minutes of a block from a site."""
    world.lost |= {each.id for each in TRADES if (each.id - 100) // A_MINUTE // 2 == block // 2}
    for minute in MINUTES[block // 2 * 2 : block // 2 * 2 + 2]:
        site.candles.stored.pop((SYMBOL, minute), None)
    for key, body in list(site.archive.objects.items()):
        if {(each.id - 100) // A_MINUTE // 2 for each in unpack(body)} == {block // 2}:
            del site.archive.objects[key]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Draw two sites with a few contradictions, one of which may have lost some trades."""
    world = World([MemorySite(name) for name in NAMES])
    for site, batch in zip(world.sites, (8, 16), strict=True):
        for begin in range(0, len(TRADES), batch):
            feed(site, TRADES[begin : begin + batch])
    pairs = st.integers(0, len(MINUTES) - 1)
    blocks = draw(st.lists(pairs, min_size=1, max_size=4, unique_by=lambda n: n // 2))
    faults = [draw(st.sampled_from(FAULTS)) for _ in blocks]
    for block, fault in zip(blocks, faults, strict=True):
        if fault in ADDING and draw(st.booleans()):
            lose(world, world.site(draw(st.sampled_from(NAMES))), block)
    for block, fault in zip(blocks, faults, strict=True):
        id_ = TRADES[block * A_MINUTE].id + draw(st.integers(0, A_MINUTE - 1))
        where = draw(st.sampled_from([("aws",), ("gcp",), NAMES]))
        fault(world, id_, draw(st.sampled_from(KINDS)), where)
    for site in draw(st.sets(st.sampled_from(NAMES))):
        compacted(world.site(site))
    return world


def false_contents(site: MemorySite) -> set[Trade | tuple[int, int]]:
    """Return false raw trades, and ids in candles of minutes that they do not belong to."""
    found: set[Trade | tuple[int, int]] = set()
    for key, body in site.archive.objects.items():
        if body != b"nonsense" and not is_index_key(key):
            found |= {each for each in unpack(body) if TRUTH[each.id] != each}
    for (_, start), (candle, _) in site.candles.stored.items():
        for first, last in candle.runs:
            for id_ in range(first, last + 1):
                if TRUTH[id_].time // MINUTE * MINUTE != start:
                    found.add((start, id_))
    return found


def mend(world: World, report: VerifyReport, folder: Path) -> Repaired:
    sites = open_(*world.sites)
    return repair(
        plan(report, sites, has_exchange=True), sites, history(TRADES), backup=Backup(folder)
    )


def ids_named(report: VerifyReport, *kinds: str) -> set[int]:
    return {
        id_
        for kind in kinds
        for each in report.of(kind)
        for first, last in each.runs
        for id_ in range(first, last + 1)
    }


@settings(max_examples=40, deadline=None)
@given(worlds())
def test_contradictions_are_reported_not_copied_and_resolved_if_proven(
    world: World,
) -> None:
    before = {site.name: false_contents(site) for site in world.sites}

    plain = check(*world.sites, deep=False)
    assert world.plain <= ids_named(plain, "disputed", "misplaced")
    assert ids_named(plain, "disputed", "misplaced") <= world.disputed | world.misplaced

    deep = check(*world.sites)
    assert ids_named(deep, "disputed") == world.disputed
    assert ids_named(deep, "misplaced") == world.misplaced
    assert {each.start for each in deep.of("wrong")} == world.wrong
    assert {each.start for each in deep.of("damaged") if not each.key} == world.damaged
    assert {each.key for each in (*deep.of("damaged"), *deep.of("misfiled")) if each.key} == (
        world.spoilt
    )
    for each in deep.of("disputed"):
        assert len(each.contents) >= 2
        assert all(any(name in line for name in NAMES) for line in each.contents)

    with TemporaryDirectory() as name:
        folder = Path(name)
        mend(world, plain, folder)
        for site in world.sites:
            assert false_contents(site) <= before[site.name]
        done = mend(world, check(*world.sites), folder)
        for site in world.sites:
            assert false_contents(site) <= before[site.name]
        left = check(*world.sites)
        assert {each.kind for each in left.findings} == ({"disputed"} if world.disputed else set())
        assert ids_named(left, "disputed") == world.disputed
        assert done.problems == []
        sites = open_(*world.sites)
        for step in plan(left, sites, has_exchange=True).beyond:
            assert "mcloud resolve" in step
        for id_ in world.disputed:
            question = resolve.of_ids(sites, SYMBOL, Ids([(id_, id_)]))
            assert question.is_open
            settlement = Settlement(sites, Backup(folder))
            assert question.options[fingerprint(TRUTH[id_])](settlement) == []
        assert check(*world.sites).ok
        check_equal(world.sites, TRADES)


@settings(max_examples=20, deadline=None)
@given(worlds())
def test_no_contradiction_is_spread_by_a_restoration_or_a_replicator(world: World) -> None:
    before = {site.name: false_contents(site) for site in world.sites}
    empty = MemorySite("empty")
    empty.cloud, world.sites[0].cloud = "gcp", "aws"
    with TemporaryDirectory() as name:
        (here,), (there,) = open_(world.sites[0]).values(), open_(empty).values()
        job = Restore(here, there, Scope(), Path(name), identities={"aws": "1", "empty": "2"})
        with job.locked():
            job.run(job.survey())
    assert visible(world, empty) == set()
    with TemporaryDirectory() as name:
        third = MemorySite("third")
        rig = Rig(Path(name), [*world.sites, third])
        rig.settle()
        rig.close()
        for site in world.sites:
            assert false_contents(site) <= before[site.name]
        assert visible(world, third) == set()


def visible(world: World, site: MemorySite) -> set[object]:
    """Return the false contents of a site, except for ids whose true content its source lost."""
    ids = {each: each.id if isinstance(each, Trade) else each[1] for each in false_contents(site)}
    return {each for each, id_ in ids.items() if id_ not in world.lost}


def test_ids_that_several_sets_share() -> None:
    sets = {"a": Ids([(0, 9), (20, 29)]), "b": Ids([(9, 9), (25, 40)]), "c": Ids([(41, 50)])}
    assert shared(sets) == {"a": Ids([(9, 9), (25, 29)]), "b": Ids([(9, 9), (25, 29)])}
    assert shared({"a": Ids(), "b": Ids([(1, 1)])}) == {}


@given(
    st.dictionaries(
        st.integers(0, 4), st.sets(st.integers(0, 30)).map(lambda ids: Ids((n, n) for n in ids))
    )
)
def test_shared_ids_are_those_of_sets(sets: dict[int, Ids]) -> None:
    found = shared(sets)
    for key, ids in sets.items():
        others = Ids(run for other, held in sets.items() if other != key for run in held.runs)
        assert found.get(key, Ids()) == ids.common(others)


@pytest.mark.parametrize("keep", ["aws", "gcp", "archive"])
def test_a_person_decides_about_a_candle_without_proof(keep: str, tmp_path: Path) -> None:
    """No archive has its raw trades, and the exchange no longer has them."""
    world = World([MemorySite(name) for name in NAMES])
    for site in world.sites:
        feed(site, TRADES)
    false_numbers(world, TRADES[0].id, "", ("gcp",))
    for site in world.sites:
        site.archive.objects = {item.key: item.body for item in pack(TRADES[4:])}
    report = check(*world.sites)
    assert {each.start for each in (*report.of("wrong"), *report.of("disputed"))} == world.wrong
    sites = open_(*world.sites)
    made = plan(report, sites, has_exchange=False)
    done = repair(made, sites, backup=Backup(tmp_path))
    assert all("mcloud resolve" in each for each in done.problems)
    assert done.problems
    question = resolve.of_candle(sites, SYMBOL, MINUTES[0])
    assert question.is_open
    assert set(question.options) == {"aws", "gcp", "archive"}
    backup = Backup(tmp_path)
    assert question.options[keep](Settlement(sites, backup)) == []
    assert backup.count == (2 if keep == "archive" else 1)
    one, other = (site.candles.stored[SYMBOL, MINUTES[0]][0] for site in world.sites)
    assert one == other
    assert not {"wrong", "disputed", "different"} & {e.kind for e in check(*world.sites).findings}


def test_ids_that_share_a_fragment_are_settled_together_or_not_at_all(tmp_path: Path) -> None:
    """A candle has no trades: making its fragment again needs all trades of the fragment."""
    world = World([MemorySite(name) for name in NAMES])
    for site in world.sites:
        feed(site, TRADES)
    one, other = TRADES[4].id, TRADES[6].id  # both in a fragment of four ids
    second_content(world, one, "minute", ("gcp",))
    archived_only(world, other, "number", ("gcp",))
    sites = open_(*world.sites)

    def state() -> list[object]:
        return [(dict(s.candles.stored), dict(s.archive.objects)) for s in world.sites]

    before = state()
    keep = resolve.of_ids(sites, SYMBOL, Ids([(one, one)])).options[fingerprint(TRUTH[one])]
    problems = keep(Settlement(sites, Backup(tmp_path)))
    assert f"also hold different trades with the id {other}" in problems[0]
    assert f"`mcloud resolve {SYMBOL} {one}-{other}`" in problems[0]
    assert state() == before
    assert ids_named(check(*world.sites), "disputed") == {one, other}

    question = resolve.of_ids(sites, SYMBOL, Ids([(one, other)]))
    assert question.options["aws"](Settlement(sites, Backup(tmp_path))) == []
    assert check(*world.sites).ok
    check_equal(world.sites, TRADES)
