"""The scheduled compaction: it stops in time, continues, and notes and logs what it did."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest
from failover.sites import LiveSite
from producer.sources import START, trade
from replication.memory import Faults, MemoryArchive

from mcloud.clouds.ports import StoredObject
from mcloud.documents import Damaged
from mcloud.errors import McloudError
from mcloud.market.archive import HOUR, pack, parse_key
from mcloud.market.block import Block, block_of, is_index_key, parse_block_key, unpack_index
from mcloud.market.envelope import encode
from mcloud.market.trade import Trade
from mcloud.processor import compaction
from mcloud.processor.compaction import (
    COMPACTIONS,
    LAST,
    RESERVE,
    LastCompaction,
    compact_scheduled,
    last_compaction,
)

SYMBOLS = ("AUSDT", "BUSDT", "CUSDT")
LATER = START / 1000 + 2 * 3600 + 3600


class Clock:
    """A clock that advances with each step of an archive."""

    def __init__(self, site: LiveSite, step: float) -> None:
        self.now = LATER
        site.faults.before = self.advance
        self.step = step

    def advance(self, call: str) -> None:
        self.now += self.step

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def site() -> LiveSite:
    return LiveSite("aws")


def put(site: LiveSite, trades: Iterable[Trade]) -> list[str]:
    items = pack(trades)
    for item in items:
        site.archive.put(item)
    return [item.key for item in items]


def left(site: LiveSite) -> list[str]:
    return [key for key in sorted(site.archive.objects) if parse_key(key)]


def noted(site: LiveSite) -> LastCompaction:
    last = last_compaction(site.control)
    assert isinstance(last, LastCompaction)
    return last


def lines(out: str, message: str) -> list[dict[str, object]]:
    return [each for each in map(json.loads, out.splitlines()) if each["message"] == message]


def test_notes_and_logs_what_it_did(site: LiveSite, capsys: pytest.CaptureFixture[str]) -> None:
    hour = START // HOUR * HOUR
    put(site, [trade(n)._replace(time=hour + n) for n in range(10)])
    put(site, [trade(10)._replace(time=hour + 2 * HOUR)])
    assert last_compaction(site.control) is None
    done = compact_scheduled(site.archive, None, site.control, 900, Clock(site, 1))
    assert noted(site) == done
    assert (done.objects, done.blocks, done.trades, done.pending) == (1, 1, 10, 1)
    assert (done.problems, done.next_symbol) == (0, "")
    assert done.at == LATER + done.seconds
    (line,) = lines(capsys.readouterr().out, "compacted")
    assert line["severity"] == "INFO"
    assert {line[key] for key in ("objects", "blocks", "pending")} == {1}
    assert line["trades"] == 10


@pytest.mark.parametrize("step", [10, 20])
def test_it_ends_before_the_timeout_and_the_next_run_continues(site: LiveSite, step: float) -> None:
    for symbol in SYMBOLS:
        for n in range(20):
            put(site, [trade(n)._replace(symbol=symbol)])
    clock = Clock(site, step / 16)  # 16 threads read the objects of a part
    notes = []
    while not notes or notes[-1].next_symbol:
        begun = clock.now
        notes.append(compact_scheduled(site.archive, None, site.control, 100, clock))
        assert clock.now - begun < 100
        assert len(notes) < 20
    assert len(notes) > 1
    assert left(site) == []


def test_a_problem_is_logged_and_fails_the_run_after_everything_else(
    site: LiveSite, capsys: pytest.CaptureFixture[str]
) -> None:
    (bad,) = put(site, [trade(0)._replace(symbol="AUSDT")])
    put(site, [trade(0)._replace(symbol="BUSDT")])
    site.archive.objects[bad] = b"damaged"
    with pytest.raises(McloudError, match="1 objects cannot be compacted"):
        compact_scheduled(site.archive, None, site.control, 900, Clock(site, 1))
    assert left(site) == [bad]
    last = noted(site)
    assert (last.problems, last.objects) == (1, 1)
    assert last.named == (f"{bad} is damaged: its content does not match its name",)
    (line,) = lines(capsys.readouterr().out, "cannot compact")
    assert (line["severity"], line["problem"]) == ("ERROR", last.named[0])


def test_a_damaged_note_is_replaced(site: LiveSite, capsys: pytest.CaptureFixture[str]) -> None:
    site.control.keep(COMPACTIONS.name, LAST, {"next_symbol": 7})
    assert isinstance(last_compaction(site.control), Damaged)
    put(site, [trade(0)])
    compact_scheduled(site.archive, None, site.control, 900, Clock(site, 1))
    assert noted(site).objects == 1
    (line,) = lines(capsys.readouterr().out, "cannot read the note of the last compaction")
    assert line["severity"] == "ERROR"


def test_a_short_timeout_leaves_most_of_it_for_work(site: LiveSite) -> None:
    put(site, [trade(0)])
    assert compact_scheduled(site.archive, None, site.control, RESERVE, Clock(site, 1)).objects == 1


def test_logs_where_lines_that_are_no_messages_are_kept(
    site: LiveSite, capsys: pytest.CaptureFixture[str]
) -> None:
    proper, staging = MemoryArchive(Faults()), MemoryArchive(Faults())
    staging.objects["staged/one"] = b"no message\n"
    compact_scheduled(proper, staging, site.control, 900)
    (line,) = lines(capsys.readouterr().out, "kept lines that are no messages")
    assert list(staging.objects) == [line["key"]]
    assert str(line["key"]).startswith("foreign/")


def test_the_view_of_a_function_leaves_out_what_was_written_too_recently_and_counts_it(
    site: LiveSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "SMALL", 0)
    hour = START // HOUR * HOUR
    now = (hour + 2 * HOUR) / 1000  # the trades of the hour are compacted from now on
    written = {"staged/old": hour / 1000 + 3599, "staged/new": hour / 1000 + 3600}

    class Staging(MemoryArchive):
        def list(self, prefix: str) -> Iterator[StoredObject]:
            for each in super().list(prefix):
                yield replace(each, written=written[each.key])

    proper, staging = MemoryArchive(Faults()), Staging(Faults())
    for number, key in enumerate(written):
        trades = [trade(number)._replace(time=hour + number)]
        staging.objects[key] = encode(trades).body.encode()
    compact_scheduled(proper, staging, site.control, 900, lambda: now)
    assert list(staging.objects) == ["staged/new"]
    assert (noted(site).staged, noted(site).staged_since) == (1, written["staged/new"])
    monkeypatch.undo()
    now += 3600
    compact_scheduled(proper, staging, site.control, 900, lambda: now)
    assert staging.objects == {}
    assert (noted(site).staged, noted(site).staged_since) == (0, None)


def test_the_raw_bucket_is_listed_once_a_day(site: LiveSite) -> None:
    """Replicated objects wait for that. The blocks of staged trades are in their index at once."""
    faults = Faults()
    proper, staging = MemoryArchive(faults), MemoryArchive(Faults())
    calls: list[str] = []
    faults.before = calls.append
    hour = START // HOUR * HOUR
    now = hour / 1000 + 3 * 3600
    for number in range(25):
        (replicated,) = pack([trade(2 * number)._replace(time=hour)])
        proper.put(replicated)
        staged = [trade(2 * number + 1)._replace(time=hour)]
        staging.objects[f"staged/{number}"] = encode(staged).body.encode()
        calls.clear()
        compact_scheduled(proper, staging, site.control, 900, lambda: now + 3600 * number)  # noqa: B023
        is_full = number in (0, 24)
        assert (replicated.key in proper.objects) != is_full
        assert bool({"list", "symbols"} & {*calls}) == is_full
        assert staging.objects == {}
        (index,) = filter(is_index_key, proper.objects)
        (entry,) = unpack_index(index, proper.objects[index]).values()
        (block,) = (body for key, body in proper.objects.items() if parse_block_key(key))
        assert entry.tag == hashlib.md5(block).hexdigest()
        assert entry.hours == Block(block_of(trade(0).symbol, 0), block).hours
    assert [key for key in proper.objects if parse_key(key)] == []


def test_a_backlog_of_several_parts_is_moved_with_one_listing_of_the_raw_bucket(
    site: LiveSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "PART", 1)  # each staged object is a part
    faults = Faults()
    proper, staging = MemoryArchive(faults), MemoryArchive(Faults())
    (replicated,) = pack([trade(0)])
    proper.put(replicated)
    for number in range(1, 6):
        staging.objects[f"staged/{number}"] = encode([trade(number)]).body.encode()
    calls: list[str] = []
    faults.before = calls.append
    done = compact_scheduled(proper, staging, site.control, 900, lambda: LATER)
    assert (staging.objects, done.objects, done.trades) == ({}, 6, 6)
    assert (calls.count("symbols"), calls.count("list")) == (1, 2)
    (block,) = (body for key, body in proper.objects.items() if parse_block_key(key))
    assert Block(block_of(trade(0).symbol, 0), block).trades() == [trade(n) for n in range(6)]


def test_a_run_that_lists_the_raw_bucket_is_repeated_until_it_is_complete(site: LiveSite) -> None:
    for symbol in SYMBOLS:
        for n in range(20):
            put(site, [trade(n)._replace(symbol=symbol)])
    staging = MemoryArchive(Faults())
    clock = Clock(site, 1)
    while not (site.control.kept(COMPACTIONS.name) and noted(site).full_at):
        compact_scheduled(site.archive, staging, site.control, 100, clock)
    assert left(site) == []
    assert noted(site).next_symbol == ""
