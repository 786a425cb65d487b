"""Every kind of site fulfils the contract of ``mcloud.clouds.ports``."""

import gzip
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from botocore.exceptions import ConnectionClosedError
from google.api_core.exceptions import ServiceUnavailable

from mcloud import errors
from mcloud.clouds.aws.control import DynamoControl
from mcloud.clouds.factory import open_site
from mcloud.clouds.gcp import candles as gcp_candles
from mcloud.clouds.gcp.archive import COLD_SIZE
from mcloud.clouds.gcp.control import FirestoreControl
from mcloud.clouds.optimistic import CandleMemory
from mcloud.clouds.ports import Control, ControlRecord, Heartbeat, Lag, Site, StoredCandle
from mcloud.documents import Damaged, sound
from mcloud.errors import Refused
from mcloud.failover import audit
from mcloud.market.archive import ArchiveObject, pack, unpack
from mcloud.market.block import BLOCK, BlockKey, index_key, pack_block
from mcloud.market.candle import Candle, Folded, by_minute, fold
from mcloud.market.envelope import Message, decode, encode
from mcloud.market.trade import MAX_TIME, Trade
from mcloud.rehearsal.demo import stored_rows
from mcloud.rehearsal.oracle import expected_rows

START = 1_723_161_240_000  # 2024-08-08T23:54:00Z


def trades(
    count: int, *, first: int = 1000, symbol: str = "BTCUSDT", step: int = 97
) -> list[Trade]:
    """Return trades with dense ids, changing prices and several minutes."""
    return [
        Trade(
            symbol,
            first + n,
            Decimal(f"61837.{n % 90 + 1}"),
            Decimal(f"0.{n % 8 + 1:05d}"),
            START + n * step,
            n % 3 == 0,
        )
        for n in range(count)
    ]


def store(site: Site, batch: list[Trade]) -> None:
    for (symbol, start), group in by_minute(batch).items():
        site.candles.update(symbol, start, lambda candle, group=group: fold(candle, group))


class TestQueue:
    def test_sends_more_than_one_request_holds(
        self, site: Site, request: pytest.FixtureRequest
    ) -> None:
        messages = [encode(trades(3, first=n * 10)) for n in range(25)]
        assert site.queue.send(messages) == []
        if site.queue.is_live:
            assert await_depth(site, 25) == 25
        else:
            # Google's emulator has no metrics, and Google's own are minutes late.
            kind = request.node.callspec.params["site"]
            assert (kind != "gcp") or site.queue.depth().ready == 25

    def test_sends_nothing(self, site: Site) -> None:
        assert site.queue.send([]) == []

    def test_peeking_at_dead_letters_does_not_take_them(self, site: Site) -> None:
        sent = [encode(trades(5)), Message("garbage", {"from": "elsewhere"})]
        send_to_dlq(site, sent)
        for _ in range(2):
            letters = await_letters(site, 2)
            by_body = {letter.body.decode(): letter for letter in letters}
            assert set(by_body) == {message.body for message in sent}
            assert by_body["garbage"].attributes["from"] == "elsewhere"
            assert decode(by_body[sent[0].body].body).trades == tuple(trades(5))

    def test_a_missing_queue_is_refused_with_a_remedy(self, site: Site) -> None:
        with pytest.raises(Refused, match="run `mcloud deploy`"):
            without_queue(site).queue.send([encode(trades(1))])


class TestCandles:
    def test_stores_and_reads_back(self, site: Site) -> None:
        batch = trades(2000)
        store(site, batch)
        assert stored_rows(site, ["BTCUSDT"]) == expected_rows(batch)

    def test_reads_a_range_by_time_and_symbol(self, site: Site) -> None:
        store(site, trades(3000) + trades(3000, symbol="BTCUSDTX", first=5))
        inside = site.candles.range("BTCUSDT", START + 60_000, START + 180_000)
        assert [(c.symbol, c.start) for c in inside] == [
            ("BTCUSDT", START + 60_000),
            ("BTCUSDT", START + 120_000),
        ]
        assert list(site.candles.range("BTCUSDT", START, START)) == []
        assert list(site.candles.range("ETHUSDT", 0, 2**42)) == []

    def test_a_symbol_is_not_confused_with_a_dated_one_of_the_same_prefix(self, site: Site) -> None:
        """``BTCUSDT_250926_2024…`` sorts between ``BTCUSDT_2024…`` and ``BTCUSDT_9999…``."""
        store(site, trades(700) + trades(700, symbol="BTCUSDT_250926", first=5))
        for symbol in ("BTCUSDT", "BTCUSDT_250926"):
            found = list(site.candles.range(symbol, 0, MAX_TIME))
            assert [(c.symbol, c.start) for c in found] == [
                (symbol, START),
                (symbol, START + 60_000),
            ]
            last = site.candles.last(symbol)
            assert last is not None
            assert (last.symbol, last.start) == (symbol, START + 60_000)

    def test_finds_the_last(self, site: Site) -> None:
        assert site.candles.last("BTCUSDT") is None
        store(site, trades(3000))
        last = site.candles.last("BTCUSDT")
        assert last is not None
        assert last.last_id == 3999

    def test_reads_more_than_a_page(self, site: Site) -> None:
        """DynamoDB returns 1 MB per page, which is 250 candles with fragment texts of 4 KB."""
        for n in range(300):
            every_other = trades(120, first=n * 1000, step=500)[::2]
            moved = [t._replace(time=START + n * 60_000) for t in every_other]
            store(site, moved)
        candles = list(site.candles.range("BTCUSDT", 0, 2**42))
        assert [candle.start for candle in candles] == [START + n * 60_000 for n in range(300)]

    def test_an_interrupted_read_continues_where_it_stopped(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store(site, trades(3000, step=200))
        whole = list(site.candles.range("BTCUSDT", 0, 2**42))
        assert len(whole) > 6
        cuts = cut_after_two(site, monkeypatch)
        assert list(site.candles.range("BTCUSDT", 0, 2**42)) == whole
        assert len(cuts) == len(whole) // 2

    def test_rewrite_replaces_or_deletes_any_stored_candle(self, site: Site) -> None:
        """The stored candle may be damaged, without version or stamp, intact, or missing."""
        (candle,) = (fold(Candle("BTCUSDT", START), trades(100)).candle,)
        seen: list[StoredCandle] = []

        def put(stored: StoredCandle) -> Candle:
            seen.append(stored)
            return candle

        for break_it in (None, spoil, strip):
            if break_it is not None:
                break_it(site, candle)
            site.candles.rewrite("BTCUSDT", START, put)
            assert list(site.candles.range("BTCUSDT", 0, 2**42)) == [candle]
        absent, spoilt, stripped = seen
        assert (absent.candle, absent.record) == (Candle("BTCUSDT", START), {})
        assert spoilt.candle is None
        assert spoilt.record["fragments"] == "nonsense"
        assert json.loads(json.dumps(spoilt.record))["symbol"] == "BTCUSDT"
        assert stripped.candle == candle
        for break_it in (strip, spoil):
            break_it(site, candle)
            site.candles.rewrite("BTCUSDT", START, lambda stored: Candle("BTCUSDT", START))
            assert list(site.candles.range("BTCUSDT", 0, 2**42)) == []
            site.candles.rewrite("BTCUSDT", START, lambda stored: Candle("BTCUSDT", START))
            site.candles.rewrite("BTCUSDT", START, put)

    def test_rewrite_does_not_overwrite_a_concurrent_write(self, site: Site) -> None:
        batch = trades(90)
        store(site, batch[:30])
        others = [batch[30:60], batch[60:]]

        def change(stored: StoredCandle) -> Candle:
            assert stored.candle is not None
            if others:
                store(site, others.pop(0))
            return fold(stored.candle, trades(1, first=5000)).candle

        site.candles.rewrite("BTCUSDT", START, change)
        (candle,) = site.candles.range("BTCUSDT", 0, 2**42)
        assert candle.runs == [(1000, 1089), (5000, 5000)]

    def test_late_trades_are_added_to_a_candle_without_a_version(self, site: Site) -> None:
        batch = trades(100)
        store(site, batch[:50])
        (candle,) = site.candles.range("BTCUSDT", 0, 2**42)
        strip(site, candle)
        store(site, batch[50:])
        assert stored_rows(site, ["BTCUSDT"]) == expected_rows(batch)
        store(site, trades(2, first=5000))
        (candle,) = site.candles.range("BTCUSDT", 0, 2**42)
        assert candle.runs == [(1000, 1099), (5000, 5001)]

    def test_a_candle_without_its_mark_is_named_and_marked_again(self, site: Site) -> None:
        store(site, trades(100))
        (candle,) = site.candles.range("BTCUSDT", 0, 2**42)
        named: list[tuple[int, str]] = []

        def unmarked() -> list[int]:
            named.clear()
            found = site.candles.range("BTCUSDT", 0, 2**42, lambda *each: named.append(each))
            assert list(found) == [candle]
            return [start for start, _ in named]

        assert unmarked() == []
        strip(site, candle)
        assert unmarked() == [candle.start]
        marks: list[bool] = []

        def keep(stored: StoredCandle) -> Candle:
            marks.append(stored.has_mark)
            assert stored.candle is not None
            return stored.candle

        site.candles.rewrite("BTCUSDT", START, keep)
        assert unmarked() == []
        site.candles.rewrite("BTCUSDT", START, keep)
        assert marks == [False, True]

    def test_writes_nothing_when_nothing_changes(self, site: Site) -> None:
        store(site, trades(100))
        calls = []

        def again(candle: Candle) -> Folded:
            calls.append(candle)
            return fold(candle, trades(50))

        folded = site.candles.update("BTCUSDT", START, again)
        assert {folded.candle} == set(calls)

    def test_a_writer_without_reads_loses_no_write_of_another(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        batch = trades(120, step=2000)
        reads = counted_reads(site, monkeypatch)
        for n in range(0, 80, 10):
            store(site, batch[n : n + 10])
        assert len(reads) == 1
        # Another writer deletes the candle that was written twice, and also writes it twice.
        other = without_queue(site)
        last = START + 120_000
        other.candles.rewrite("BTCUSDT", last, lambda _: Candle("BTCUSDT", last))
        store(other, batch[60:80])
        store(other, batch[80:85])
        store(site, batch[85:])
        assert stored_rows(site, ["BTCUSDT"]) == expected_rows(batch)

    def test_a_writer_sees_that_a_database_was_restored(self, site: Site) -> None:
        """The stored document is then older than the one that this process wrote last."""
        if site.cloud != "gcp":
            pytest.skip("the versions of DynamoDB are no times")
        batch = trades(20)
        store(site, batch[:10])
        (candle,) = site.candles.range("BTCUSDT", 0, 2**42)
        memory: CandleMemory[Any] = site.candles._memory  # type: ignore[attr-defined]
        guess = memory.guess("BTCUSDT", START)
        assert guess is not None
        memory.keep(candle, guess.version + timedelta(hours=1), is_new=False)
        store(site, batch[10:])
        assert stored_rows(site, ["BTCUSDT"]) == expected_rows(batch)

    def test_many_writers_lose_nothing(self, site: Site) -> None:
        """Eight writers update the same two candles with overlapping shares in any order."""
        batch = trades(640, step=180)
        failures: list[Exception] = []

        def write(worker: int) -> None:
            try:
                for n in range(6):
                    store(site, batch[(worker * 7 + n) % 5 :: 5])
            except Exception as error:  # noqa: BLE001 - told below
                failures.append(error)

        threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert stored_rows(site, ["BTCUSDT"]) == expected_rows(batch)

    def test_create_writes_only_missing_candles(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(gcp_candles, "BATCH", 7)
        batch = trades(30, step=60_000)
        candles = [fold(Candle("BTCUSDT", each.time), [each]).candle for each in batch]
        there = [3, 11, 29]
        store(site, [batch[n]._replace(price=Decimal(1)) for n in there])
        expected = candles.copy()
        for n, each in zip(there, site.candles.range("BTCUSDT", 0, 2**42), strict=True):
            expected[n] = each
        assert site.candles.create(candles) == [candles[n] for n in there]
        assert list(site.candles.range("BTCUSDT", 0, 2**42)) == expected
        assert site.candles.create(candles) == candles
        assert site.candles.create([]) == []

    def test_a_disagreement_is_reported_and_the_first_stays(self, site: Site) -> None:
        store(site, trades(8, first=16))
        other = [t._replace(price=Decimal(1)) for t in trades(8, first=16)]
        folded = site.candles.update("BTCUSDT", START, lambda candle: fold(candle, other))
        (disagreement,) = folded.disagreements
        assert (disagreement.first_id, disagreement.last_id) == (16, 23)
        assert stored_rows(site, ["BTCUSDT"]) == expected_rows(trades(8, first=16))


class TestArchive:
    def test_puts_once_and_reads_the_same_bytes(self, site: Site) -> None:
        (item,) = pack(trades(500))
        assert site.archive.put(item) is True
        assert site.archive.put(item) is False
        assert site.archive.get(item.key) == item.body
        assert unpack(site.archive.get(item.key)) == trades(500)

    def test_only_large_blocks_may_move_to_a_colder_class(self, site: Site) -> None:
        """On S3 the lifecycle rule has a minimum size. On Cloud Storage it needs a custom time."""
        if site.cloud != "gcp":
            pytest.skip("the rule of the bucket decides")
        bucket: Any = site.archive._archive._bucket  # type: ignore[attr-defined]
        block = BlockKey("BTCUSDT", 0)
        (hour,) = pack(trades(1))
        for key, size, moves in (
            (str(block), COLD_SIZE - 1, False),
            (str(BlockKey("BTCUSDT", BLOCK)), COLD_SIZE, True),
            (index_key(block), COLD_SIZE, False),
            (hour.key, COLD_SIZE, False),
        ):
            item = ArchiveObject(key, b"x" * size)
            site.archive.put(item)
            blob = bucket.get_blob(item.key)
            assert (blob.custom_time is not None) == moves
            assert site.archive.get(item.key) == item.body

    def test_lists_a_prefix_by_key(self, site: Site) -> None:
        items = pack(trades(30)) + pack(trades(30, symbol="ETHUSDT")) + pack(trades(30, first=7))
        for item in items:
            site.archive.put(item)
        listed = list(site.archive.list("raw/symbol=BTCUSDT/"))
        wanted = sorted(item for item in items if "BTC" in item.key)
        assert [(each.key, each.size, each.md5) for each in listed] == [
            (item.key, len(item.body), hashlib.md5(item.body).hexdigest()) for item in wanted
        ]
        assert list(site.archive.list("raw/symbol=NONE/")) == []

    def test_replaces_what_is_damaged(self, site: Site) -> None:
        (item,) = pack(trades(500))
        site.archive.put(ArchiveObject(item.key, item.body[:-9]))
        site.archive.replace(item)
        assert site.archive.get(item.key) == item.body
        (listed,) = site.archive.list("raw/")
        assert listed.md5 == hashlib.md5(item.body).hexdigest()

    def test_swaps_one_version_for_another_once(self, site: Site) -> None:
        first, second, third = (pack_block(trades(count)) for count in (5, 6, 7))
        assert not site.archive.swap(first, "1")
        assert not list(site.archive.list("raw/"))
        site.archive.put(first)
        (listed,) = site.archive.list("raw/")
        assert site.archive.swap(second, listed.version)
        assert not site.archive.swap(third, listed.version)
        assert site.archive.get(second.key) == second.body
        (again,) = site.archive.list("raw/")
        assert again.version != listed.version
        site.archive.remove(second.key)
        assert not site.archive.swap(third, again.version)
        assert not list(site.archive.list("raw/"))

    def test_removing_a_missing_object_is_no_error(self, site: Site) -> None:
        one, other = (pack(trades(5, first=first))[0] for first in (1000, 2000))
        for item in (one, other):
            site.archive.put(item)
        for _ in range(2):
            site.archive.remove(one.key)
            assert [each.key for each in site.archive.list("raw/")] == [other.key]
        assert site.archive.put(one)

    def test_all_symbols_of_the_archive_are_found(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert list(site.archive.symbols()) == []
        symbols = [f"COIN{n}USDT" for n in range(5)]
        for symbol in reversed(symbols):
            for item in pack(trades(3, symbol=symbol, step=3_600_000)):
                site.archive.put(item)
        site.archive.put(ArchiveObject("raw/notes.txt", b"not ours"))
        assert list(site.archive.symbols()) == symbols
        two_a_page(site, monkeypatch)
        assert list(site.archive.symbols()) == symbols
        assert len(list(site.archive.list("raw/"))) == 16

    def test_shows_what_is_staged_until_it_is_released(self, site: Site) -> None:
        staging: Any = site.archive._staging  # type: ignore[attr-defined]
        held, staged = trades(30), trades(30, first=7, symbol="ETHUSDT")
        (one,), (other,) = pack(held), pack(staged)
        site.archive.put(one)
        bodies = [encode(held).body, "poison", encode(staged).body]
        staging.put(ArchiveObject("staged/2024/08/08/23/a-b", "\n".join(bodies).encode()))
        assert [each.key for each in site.archive.list("raw/")] == [one.key, other.key]
        assert list(site.archive.symbols()) == ["BTCUSDT", "ETHUSDT"]
        assert unpack(site.archive.get(other.key)) == staged
        site.archive.release(one.key)
        assert site.archive.clear() == []
        assert [each.key for each in site.archive.list("raw/")] == [one.key, other.key]
        site.archive.release(other.key)
        assert site.archive.clear() == ["foreign/2024/08/08/23/a-b.gz"]
        assert list(site.archive.list("raw/")) == []
        assert [each.key for each in staging.list("")] == ["foreign/2024/08/08/23/a-b.gz"]
        assert gzip.decompress(staging.get("foreign/2024/08/08/23/a-b.gz")) == b"poison\n"

    def test_a_missing_object_is_refused(self, site: Site) -> None:
        with pytest.raises(Refused, match="nothing-here"):
            site.archive.get("raw/nothing-here")


class TestControl:
    def test_heartbeats_add_up_and_the_newest_time_stays(self, site: Site) -> None:
        assert site.control.heartbeats() == []
        site.control.beat([Heartbeat("ETHUSDT", 500, 10, 1, 1.0)])
        site.control.beat(
            [Heartbeat("BTCUSDT", 900, 5, 1, 2.0), Heartbeat("ETHUSDT", 400, 7, 2, 3.0)]
        )
        assert site.control.heartbeats() == [
            Heartbeat("BTCUSDT", 900, 5, 1, 2.0),
            Heartbeat("ETHUSDT", 500, 17, 3, 3.0),
        ]

    def test_the_newest_lag_of_a_pair_is_kept(self, site: Site) -> None:
        assert site.control.lags() == []
        site.control.beat([Heartbeat("BTCUSDT", 900, 5, 1, 2.0)])
        lag = Lag("gcp", "aws", "all", 1.5, 3, None, 0, 12.25)
        for told in (lag, replace(lag, part="1/2", raw_s=2.0), replace(lag, source="a/b")):
            site.control.note_lag(told)
        site.control.note_lag(replace(lag, candles=0))
        assert site.control.lags() == [
            replace(lag, source="a/b"),
            replace(lag, part="1/2", raw_s=2.0),
            replace(lag, candles=0),
        ]
        assert site.control.heartbeats() == [Heartbeat("BTCUSDT", 900, 5, 1, 2.0)]

    def test_a_lag_of_an_earlier_version_is_damaged_until_the_next_report(self, site: Site) -> None:
        lag = Lag("gcp", "aws", "1/2", 1.5, 3, None, 0, 12.25)
        put_raw(site, "lag", lag.key, {"lag": json.dumps(asdict(lag))})
        site.control.keep("lag", "gcp aws all", {"source": "gcp", "seconds": 4})
        assert list(map(str, site.control.lags())) == [
            "the lag gcp aws 1/2 is damaged: document is not a text; `mcloud documents repair` "
            "repairs it",
            "the lag gcp aws all is damaged: target is missing; `mcloud documents repair` "
            "repairs it",
        ]
        site.control.note_lag(lag)
        assert site.control.lags()[0] == lag

    def test_a_document_that_is_no_object_is_damaged(self, site: Site) -> None:
        site.control.keep("note", "sound", {"n": 1})
        for document in ("{", "[]", "null", "[" * 5000, 5, None, b"x", True):
            put_raw(site, "note", "broken", {"document": document})
            found = site.control.kept("note")
            assert found["sound"] == {"n": 1}
            assert isinstance(found["broken"], Damaged)
            assert found["broken"].where == "the note broken"
            assert site.control.replace("note", "broken", {"n": 2}, {"n": 1}) is False
        site.control.forget("note", "broken")
        assert site.control.kept("note") == {"sound": {"n": 1}}

    def test_a_document_with_other_spacing_is_replaced(self, site: Site) -> None:
        put_raw(site, "note", "x", {"document": '{ "b":1,\n"a" : 2 }'})
        assert site.control.replace("note", "x", {"n": 2}, {"a": 2, "b": 1}) is True
        assert site.control.kept("note") == {"x": {"n": 2}}

    def test_a_damaged_record_is_reported_and_stays_until_it_is_deleted(self, site: Site) -> None:
        record = ControlRecord(3, "aws", "manual", "why", "me", 12.5)
        huge = 10**37 if site.cloud == "aws" else 2**62  # Firestore has no integers beyond 64 bits
        for changes, what in (
            ({"epoch": huge}, f"epoch is {huge}, "),
            ({"epoch": "7"}, "epoch is '7', not a whole number"),
            ({"at": "yesterday"}, "at is 'yesterday', not a number"),
            ({"by": True}, "by is True, not a text"),
            ({"primary": None}, "primary is null, not a text"),
            ({"version": 2}, "version 2, and this one reads 1"),
        ):
            put_raw(site, "control", "record", {**asdict(record), **changes})
            found = site.control.record()
            assert isinstance(found, Damaged)
            assert found.where == "the control record"
            assert found.what.startswith(what)
            with pytest.raises(errors.DamagedData, match="the control record"):
                site.control.write_record(replace(record, epoch=2**53))
            assert site.control.record() == found
        site.control.forget_record()
        assert site.control.record() is None
        assert site.control.write_record(record) is True

    def test_heartbeats_of_an_earlier_release_are_added(self, site: Site) -> None:
        earlier = {"last_trade_time": 700, "trades": 40, "messages": 4, "at": 9.5}
        for symbol in ("BTCUSDT", "OLDUSDT"):
            put_raw(site, "heartbeat", symbol, {"symbol": symbol, **earlier})
        site.control.beat([Heartbeat("BTCUSDT", 900, 5, 1, 2.0)])
        assert site.control.heartbeats() == [
            Heartbeat("BTCUSDT", 900, 45, 5, 9.5),
            Heartbeat("OLDUSDT", 700, 40, 4, 9.5),
        ]
        site.control.forget_heartbeat("BTCUSDT")
        assert site.control.heartbeats() == [Heartbeat("OLDUSDT", 700, 40, 4, 9.5)]

    def test_concurrent_instances_lose_and_double_no_count(self, site: Site) -> None:
        controls = [site.control, *(another_control(site) for _ in range(3))]
        symbols = [f"A{n}USDT" for n in range(12)]

        def count(control: Control) -> None:
            for n in range(10):
                beats = [Heartbeat(symbol, n, 2, 1, float(n)) for symbol in symbols[n % 3 :]]
                assert control.beat(beats) == []

        with ThreadPoolExecutor(len(controls)) as pool:
            list(pool.map(count, controls))
        writes = dict.fromkeys(symbols, 40) | {symbols[0]: 16, symbols[1]: 28}
        assert {beat.symbol: (beat.trades, beat.messages) for beat in sound_beats(site)} == {
            symbol: (2 * count, count) for symbol, count in writes.items()
        }
        assert {beat.last_trade_time for beat in sound_beats(site)} == {9}

    def test_a_damaged_heartbeat_does_not_stop_the_others(self, site: Site) -> None:
        put_raw(site, "heartbeat", "AAAUSDT", {"symbol": "AAAUSDT", "trades": "many", "at": 1.0})
        beats = [Heartbeat("AAAUSDT", 1, 1, 1, 2.0), Heartbeat("BTCUSDT", 900, 5, 1, 2.0)]
        assert site.control.beat(beats) == []
        broken, good = site.control.heartbeats()
        assert isinstance(broken, Damaged)
        assert good == beats[1]
        site.control.forget_heartbeat("AAAUSDT")
        site.control.beat(beats[:1])
        assert site.control.heartbeats() == beats

    def test_a_damaged_entry_does_not_hold_up_others(self, site: Site) -> None:
        # Both symbols are in this document.
        beats = [Heartbeat("BADUSDT", 1, 1, 1, 2.0), Heartbeat("BTCUSDT", 900, 5, 1, 2.0)]
        for entry, what in (
            ([900, "many", 1, 2.0], "trades is 'many', not a whole number"),
            ([900, 1], "it is not a list of four numbers"),
            (None, "it is not a list of four numbers"),
        ):
            document = {"symbols": {"BADUSDT": entry}, "write": ""}
            site.control.keep("heartbeats", "4 of 4", document)
            assert site.control.beat(beats) == beats[:1]
            broken, good = site.control.heartbeats()
            assert isinstance(broken, Damaged)
            assert (broken.where, broken.what) == ("the heartbeat BADUSDT", what)
            assert good == beats[1]
        site.control.forget_heartbeat("BADUSDT")
        assert site.control.beat(beats[:1]) == []
        assert site.control.heartbeats() == beats

    def test_a_damaged_document_of_heartbeats_stays_as_it_is(self, site: Site) -> None:
        site.control.beat([Heartbeat("ETHUSDT", 3, 1, 1, 2.0)])
        for document, what in (
            ("{", "it is not JSON: "),
            ('{"symbols": [], "write": ""}', "symbols is a list, not an object"),
            ('{"symbols": {}, "write": "", "version": 2}', "version 2, and this one reads 1"),
        ):
            put_raw(site, "heartbeats", "4 of 4", {"document": document})
            with pytest.raises(errors.DamagedData, match="the heartbeats 4 of 4"):
                site.control.beat([Heartbeat("BTCUSDT", 900, 5, 1, 2.0)])
            good, broken = site.control.heartbeats()
            assert good == Heartbeat("ETHUSDT", 3, 1, 1, 2.0)
            assert isinstance(broken, Damaged)
            assert broken.where == "the heartbeats 4 of 4"
            assert broken.what.startswith(what)

    def test_the_record_with_the_highest_epoch_stays(self, site: Site) -> None:
        assert site.control.record() is None
        first = ControlRecord(1, "aws", "manual", "the first", "somebody", 12.5)
        second = ControlRecord(2, "gcp", "automatic", "aws is away", "guard", 13.0)
        assert site.control.write_record(first) is True
        assert site.control.record() == first
        assert site.control.write_record(second) is True
        assert site.control.write_record(first) is False
        assert site.control.write_record(replace(second, primary="aws")) is False
        assert site.control.record() == second

    def test_keeps_documents(self, site: Site) -> None:
        control = site.control
        assert control.kept("step") == {}
        for key in ("2026-01-02", "2026-01-01", "2026-01-03"):
            control.keep("step", key, {"at": 1, "who": None, "parts": [key, 1.5, {"ü": True}]})
        control.keep("steps", "2026-01-04", {})
        assert list(control.kept("step")) == ["2026-01-01", "2026-01-02", "2026-01-03"]
        assert list(control.kept("step", "2026-01-01")) == ["2026-01-02", "2026-01-03"]
        assert control.kept("step", "2026-01-01", 1) == {
            "2026-01-02": {"at": 1, "who": None, "parts": ["2026-01-02", 1.5, {"ü": True}]}
        }
        assert control.add("step", "2026-01-02", {"at": 2}) is False
        assert control.add("step", "12:00:00 b", {"at": 2}) is True
        control.keep("step", "2026-01-02", {"at": 3})
        assert control.get("step", "2026-01-02") == {"at": 3}
        assert control.get("step", "2026-01-09") is None
        assert control.kept("step", limit=1) == {"12:00:00 b": {"at": 2}}
        assert control.kept("step")["2026-01-02"] == {"at": 3}
        for _ in range(2):
            control.forget("step", "12:00:00 b")
        assert "12:00:00 b" not in control.kept("step")

    def test_replace_fails_after_a_change_by_another_writer(self, site: Site) -> None:
        control = site.control
        first, second = {"n": 1, "at": 0.1, "who": "ü"}, {"n": 2, "at": 0.2, "who": None}
        assert control.replace("note", "a b", second, first) is False
        assert control.kept("note") == {}
        control.keep("note", "a b", first)
        told = control.kept("note")["a b"]
        assert control.replace("note", "a b", second, told) is True
        assert control.replace("note", "a b", first, told) is False
        assert control.kept("note") == {"a b": second}

    def test_one_of_several_concurrent_replacements_of_a_document_wins(self, site: Site) -> None:
        site.control.keep("note", "many", {"n": 0})
        wins: list[int] = []

        def write(number: int) -> None:
            if site.control.replace("note", "many", {"n": number}, {"n": 0}):
                wins.append(number)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(1, 7)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [site.control.kept("note")["many"]["n"]] == wins

    def test_one_of_several_writers_of_an_epoch_wins(self, site: Site) -> None:
        wins: list[str] = []

        def write(name: str) -> None:
            if site.control.write_record(ControlRecord(7, name, "manual", "", name, 1.0)):
                wins.append(name)

        threads = [threading.Thread(target=write, args=(f"site-{n}",)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        record = site.control.record()
        assert record is not None
        assert wins == [record.primary]

    def test_the_audit_of_a_site_has_the_newest_entries(
        self, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(audit, "KEPT", 4)
        monkeypatch.setattr(audit, "AT_ONCE", 3)
        monkeypatch.setattr(audit, "DEADLINE", 60.0)
        log = audit.Audit(tmp_path / "audit.jsonl", {"x": site})
        entries = [
            audit.AuditEntry(f"2026-01-0{day} abc", "move", "me", "", day) for day in range(1, 8)
        ]
        assert log.share(entries[:3], ["x"]) == {}
        assert list(site.control.kept(audit.KIND)) == [each.key for each in entries[:3]]
        assert log.share(entries[3:], ["x"]) == log.share(entries[6:], ["x"]) == {}
        assert list(site.control.kept(audit.KIND)) == [each.key for each in entries[3:]]
        # An entry that it has forgotten does not come back from a site that still has it.
        other: dict[str, Any] = {each.key: asdict(each) for each in entries}
        behind: Any = SimpleNamespace(
            control=SimpleNamespace(
                kept=lambda kind: other,
                add=lambda kind, key, document: other.setdefault(key, document),
            )
        )
        audit.level({"x": site, "y": behind})
        assert list(site.control.kept(audit.KIND)) == list(other)[3:]
        log.share([audit.AuditEntry("2026-01-08 abc", "move", "me", "", 8)], ["x"])
        audit.level({"x": site, "y": behind})
        assert list(site.control.kept(audit.KIND)) == list(other)[4:]


def sound_beats(site: Site) -> list[Heartbeat]:
    return sound(site.control.heartbeats())


def another_control(site: Site) -> Control:
    """Return the control store of the same site as another process would open it."""
    control: Any = site.control
    if site.cloud == "gcp":
        return FirestoreControl(control._client, control._collection.id)
    return DynamoControl(control._client, control._table)


def put_raw(site: Site, kind: str, key: str, fields: dict[str, Any]) -> None:
    """Write a document that no code of mcloud would write."""
    control: Any = site.control
    if site.cloud == "gcp":
        name = "record" if kind == "control" else f"{kind}_{quote(key, safe=' :')}"
        control._collection.document(name).set({"kind": kind, "key": key, **fields})
        return
    from boto3.dynamodb.types import TypeSerializer

    values = {n: Decimal(str(v)) if isinstance(v, float) else v for n, v in fields.items()}
    item = {"kind": kind, "key": key, **values}
    serialize = TypeSerializer().serialize
    control._client.put_item(
        TableName=control._table, Item={name: serialize(value) for name, value in item.items()}
    )


class TestProbe:
    @pytest.mark.parametrize("service", ["queue", "function", "candles", "archive"])
    def test_finds_each_service_up(self, site: Site, service: str) -> None:
        site.probe.check(service, timeout=60)


def counted_reads(site: Site, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return a list that grows with each read of a single candle."""
    candles: Any = site.candles
    reads: list[object] = []
    if site.cloud == "aws":
        candles._client.meta.events.register(
            "before-send.dynamodb.GetItem", lambda request, **_: reads.append(request)
        )
        return reads
    api = candles._client._firestore_api
    get = api.batch_get_documents
    monkeypatch.setattr(
        api, "batch_get_documents", lambda **request: (reads.append(request), get(**request))[1]
    )
    return reads


def two_a_page(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make listings of the archive return pages of two."""
    archive: Any = site.archive._archive  # type: ignore[attr-defined]
    if site.cloud == "aws":
        archive._client.meta.events.register(
            "before-parameter-build.s3.ListObjectsV2",
            lambda params, **_: params.setdefault("MaxKeys", 2),
        )
    else:
        listing = partial(archive._bucket.list_blobs, page_size=2)
        monkeypatch.setattr(archive._bucket, "list_blobs", listing)


def cut_after_two(site: Site, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Make every read of candles stop after two. Return the places where it stopped."""
    candles: Any = site.candles
    cuts: list[str] = []
    if site.cloud == "aws":
        events = candles._client.meta.events
        events.register(
            "before-parameter-build.dynamodb.Query",
            lambda params, **_: params.setdefault("Limit", 2),
        )

        def reset(request: Any, **_: Any) -> None:
            page = json.loads(request.body).get("ExclusiveStartKey")
            if page and (at := page["timestamp"]["S"]) not in cuts:
                cuts.append(at)
                raise ConnectionClosedError(endpoint_url=request.url)

        events.register("before-send.dynamodb.Query", reset)
        return cuts
    api = candles._client._firestore_api
    run_query = api.run_query

    def cut(**request: Any) -> Iterator[Any]:
        documents = 0
        for answer in run_query(**request):
            documents += bool(answer.document.name)
            yield answer
            if documents == 2:
                cuts.append(answer.document.name)
                raise ServiceUnavailable("the stream was reset")

    monkeypatch.setattr(api, "run_query", cut)
    return cuts


def send_to_dlq(site: Site, messages: list[Message]) -> None:
    """Send messages to the dead-letter queue as the cloud does."""
    to = site.resources  # type: ignore[attr-defined]
    moved = (
        replace(to, queue_url=to.dlq_url)
        if site.cloud == "aws"
        else replace(to, topic=to.dlq_topic)
    )
    assert open_site(site.name, moved).queue.send(messages) == []


def without_queue(site: Site) -> Site:
    to = site.resources  # type: ignore[attr-defined]
    return open_site(
        site.name,
        replace(to, queue_url=f"{to.queue_url}-none")
        if site.cloud == "aws"
        else replace(to, topic="none"),
    )


def await_depth(site: Site, count: int) -> int | None:
    """The depth of the queue, once it is as expected: SQS counts with a delay."""
    for _ in range(600):
        depth = site.queue.depth().ready
        if depth == count:
            break
        time.sleep(0.1)
    return depth


def await_letters(site: Site, count: int) -> list:
    """Wait for dead letters: letters that were just released may take a moment to reappear."""
    for _ in range(600):
        letters = site.queue.dead_letters(10)
        if len(letters) == count:
            return letters
        time.sleep(0.1)
    raise AssertionError(f"{len(letters)} dead letters, not {count}")


def spoil(site: Site, candle: Candle) -> None:
    """Damage a stored candle, as another program might."""
    change_fields(site, candle, {"fragments": "nonsense"}, [])


def strip(site: Site, candle: Candle) -> None:
    """Remove the version or stamp that the store keeps with a candle."""
    change_fields(site, candle, {}, ["version", "updated"])


def change_fields(site: Site, candle: Candle, texts: dict[str, str], gone: list[str]) -> None:
    to: Any = site.resources  # type: ignore[attr-defined]
    store: Any = site.candles
    if site.cloud == "aws":
        key = {"symbol": {"S": candle.symbol}, "timestamp": {"S": candle.timestamp}}
        item = store._client.get_item(TableName=to.candles_table, Key=key)["Item"]
        item |= {name: {"S": text} for name, text in texts.items()}
        kept = {name: value for name, value in item.items() if name not in gone}
        store._client.put_item(TableName=to.candles_table, Item=kept)
        return
    document = store._key(candle.symbol, candle.start)
    record = {**document.get().to_dict(), **texts}
    document.set({name: value for name, value in record.items() if name not in gone})
