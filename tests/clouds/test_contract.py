"""Every kind of site fulfils the contract of ``mcloud.clouds.ports``, without ``Control``."""

import gzip
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ConnectionClosedError
from google.api_core.exceptions import ServiceUnavailable

from mcloud.clouds.factory import open_site
from mcloud.clouds.gcp import candles as gcp_candles
from mcloud.clouds.gcp.archive import COLD_SIZE
from mcloud.clouds.optimistic import CandleMemory
from mcloud.clouds.ports import Site, StoredCandle
from mcloud.errors import Refused
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
        for each in listed:
            alone = site.archive.stat(each.key)
            assert alone is not None
            assert replace(alone, written=each.written) == each
            # S3 truncates the date to the second.
            assert alone.written == pytest.approx(each.written, abs=1)
        assert site.archive.stat("raw/symbol=BTCUSDT/") is None

    def test_lists_the_hours_of_all_symbols_without_their_blocks(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        symbols = ["BTCUSDT", "BTCUSDT.um", "ETHUSDT", "KKUSD_PERP.cm"]
        hours = [
            item for symbol in symbols for item in pack(trades(3, symbol=symbol, step=3_600_000))
        ]
        staging: Any = site.archive._staging  # type: ignore[attr-defined]
        staged = trades(30, first=7, symbol="DOGEUSDT.um")
        staging.put(ArchiveObject("staged/2024/08/08/23/a-b", encode(staged).body.encode()))
        for item in hours:
            site.archive.put(item)
        for symbol in symbols:
            for number in range(3):
                block = BlockKey(symbol, number * BLOCK)
                site.archive.put(ArchiveObject(str(block), b"x"))
                site.archive.put(ArchiveObject(index_key(block), b"x"))
        two_a_page(site, monkeypatch)
        wanted = sorted([*hours, *pack(staged)])
        assert [each.key for each in site.archive.list_hours()] == [item.key for item in wanted]
        (first, *_) = site.archive.list(wanted[0].key)
        assert next(site.archive.list_hours()) == first

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
        assert site.archive.clear().foreign == []
        assert [each.key for each in site.archive.list("raw/")] == [one.key, other.key]
        site.archive.release(other.key)
        assert site.archive.clear().foreign == ["foreign/2024/08/08/23/a-b.gz"]
        assert list(site.archive.list("raw/")) == []
        assert [each.key for each in staging.list("")] == ["foreign/2024/08/08/23/a-b.gz"]
        assert gzip.decompress(staging.get("foreign/2024/08/08/23/a-b.gz")) == b"poison\n"

    def test_a_missing_object_is_refused(self, site: Site) -> None:
        with pytest.raises(Refused, match="nothing-here"):
            site.archive.get("raw/nothing-here")


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
