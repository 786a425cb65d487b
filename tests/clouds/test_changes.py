"""Following the changes in a candle store, for every kind of site."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from mcloud.clouds.aws import changes as aws_changes
from mcloud.clouds.factory import open_site
from mcloud.clouds.gcp import changes as gcp_changes
from mcloud.clouds.ports import Changes, Site
from mcloud.errors import DamagedData, Refused, Trimmed
from mcloud.market.candle import Candle, fold, merge, to_timestamp

from .test_contract import START, store, trades

MINUTE = 60_000


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws_changes, "PAGE", 15)
    monkeypatch.setattr(gcp_changes, "PAGE", 15)


def follow(
    site: Site, position: str, *, until: Callable[[], bool] = lambda: True
) -> tuple[list[Changes], str]:
    """Read pages until nothing is waiting, and ``until`` was true before the last request."""
    pages = []
    while True:
        is_over = until()
        page = site.candles.changes(position)
        pages.append(page)
        position = page.position
        if page.is_last and is_over:
            return pages, position


def stored(site: Site, symbol: str = "BTCUSDT") -> dict[int, Candle]:
    return {candle.start: candle for candle in site.candles.range(symbol, 0, 2**42)}


def last_states(pages: list[Changes]) -> dict[int, Candle]:
    return {candle.start: candle for page in pages for candle in page.candles}


def again(site: Site) -> Site:
    """Return the same site with its own clients, as in another process."""
    return open_site(site.name, site.resources)  # type: ignore[attr-defined]


def test_without_changes_a_page_is_empty(site: Site) -> None:
    position = site.candles.tip()
    for _ in range(2):
        page = site.candles.changes(position)
        assert (page.candles, page.damaged, page.is_last) == ([], [], True)
        position = page.position


def test_each_change_is_seen_and_the_last_state_last(site: Site) -> None:
    position = site.candles.tip()
    store(site, trades(400, step=300))
    pages, position = follow(site, position)
    assert last_states(pages) == stored(site)
    assert len(stored(site)) == 2
    store(site, trades(400, first=1400, step=300))
    pages, position = follow(site, position)
    assert last_states(pages) == stored(site)


@pytest.mark.slow
def test_a_position_can_be_used_by_another_process(site: Site, small_pages: None) -> None:
    """This holds for every page, and any number of times."""
    position = site.candles.tip()
    store(site, trades(40, step=MINUTE))
    seen: dict[int, Candle] = {}
    numbers = []
    while True:
        page = again(site).candles.changes(position)
        same = site.candles.changes(position)
        assert [candle.start for candle in same.candles] == [
            candle.start for candle in page.candles
        ]
        assert len(page.candles) <= 15
        seen |= {candle.start: candle for candle in page.candles}
        numbers.append(len(page.candles))
        position = page.position
        if page.is_last:
            break
    assert seen == stored(site)
    assert sum(numbers) >= 40


@pytest.mark.slow
def test_changes_of_concurrent_writers_are_seen(
    site: Site, small_pages: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    position = site.candles.tip()
    batch = trades(300, step=1800)
    failures: list[Exception] = []

    def write(worker: int) -> None:
        try:
            for n in range(5):
                store(site, batch[(worker + n) % 5 :: 5])
        except Exception as error:  # noqa: BLE001 - told below
            failures.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()

    def is_over() -> bool:
        if any(thread.is_alive() for thread in threads):
            return False
        # A change that a read has just missed in Firestore comes with the next repeated read: half
        # a minute later or, in this test, now.
        monkeypatch.setattr(gcp_changes, "SWEEP", 1)
        return True

    pages, position = follow(site, position, until=is_over)
    assert failures == []
    merged: dict[int, Candle] = {}
    for page in pages:
        for candle in page.candles:
            known = merged.get(candle.start, Candle(candle.symbol, candle.start))
            merged[candle.start] = merge(known, candle).candle
    assert merged == stored(site)


def test_an_update_without_a_change_is_not_reported(site: Site) -> None:
    store(site, trades(100))
    position = site.candles.tip()
    _, position = follow(site, position)
    store(site, trades(50))
    pages, _ = follow(site, position)
    assert pages[-1].is_last
    assert last_states(pages) in ({}, stored(site))  # at least once


def test_candles_made_in_bulk_are_changes(site: Site) -> None:
    position = site.candles.tip()
    batch = trades(20, step=MINUTE)
    candles = [fold(Candle("BTCUSDT", each.time), [each]).candle for each in batch]
    assert site.candles.create(candles) == []
    pages, _ = follow(site, position)
    assert last_states(pages) == {candle.start: candle for candle in candles}


def test_as_of_advances(site: Site) -> None:
    position = site.candles.tip()
    first = site.candles.changes(position)
    store(site, trades(10))
    pages, _ = follow(site, first.position)
    assert first.as_of <= pages[-1].as_of
    assert abs(pages[-1].as_of - first.as_of) < 600  # both in seconds, by the same clock


def test_a_damaged_candle_does_not_stop_other_changes(site: Site) -> None:
    position = site.candles.tip()
    store(site, trades(10))
    _spoil(site)
    store(site, trades(10, symbol="ETHUSDT"))
    pages, _ = follow(site, position)
    assert {candle.symbol for page in pages for candle in page.candles} == {"ETHUSDT"}
    (damage,) = {each for page in pages for each in page.damaged}
    assert "BTCUSDT 2024-08-08T23:54:00Z is damaged" in damage


def test_a_foreign_document_under_a_candles_name_is_left_unchanged(site: Site) -> None:
    _write_foreign(site)
    before = _raw(site)
    batch = trades(10)
    with pytest.raises(DamagedData, match=r"BTCUSDT.2024-08-08T23:54:00Z is damaged"):
        store(site, batch)
    candle = fold(Candle("BTCUSDT", START), batch).candle
    assert site.candles.create([candle]) == [candle]
    assert _raw(site) == before


def test_a_foreign_position_is_refused(site: Site) -> None:
    for text in ("", "{}", "[]", '{"stream": 1}', "nonsense"):
        with pytest.raises(Refused, match="not a position"):
            site.candles.changes(text)


def test_a_stored_candle_has_only_its_record_and_a_stamp(site: Site) -> None:
    """Sites' records are compared, so they must not contain what one kind of site needs."""
    store(site, trades(10))
    (candle,) = stored(site).values()
    assert set(_raw(site)) - set(candle.to_record()) == (
        {"version"} if site.cloud == "aws" else {"updated"}
    )


def test_a_stream_that_was_switched_off_and_on_is_trimmed(site: Site) -> None:
    if site.cloud != "aws":
        pytest.skip("Firestore forgets nothing")
    position = site.candles.tip()
    store(site, trades(10))
    dynamodb = site.candles._client  # type: ignore[attr-defined]
    table = site.resources.candles_table  # type: ignore[attr-defined]
    off, on = {"StreamEnabled": False}, {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
    dynamodb.update_table(TableName=table, StreamSpecification=off)
    other = again(site)
    with pytest.raises(Refused, match="deploy the site again"):
        other.candles.tip()
    dynamodb.update_table(TableName=table, StreamSpecification=on)
    with pytest.raises(Trimmed, match="another stream"):
        other.candles.changes(position)
    position = other.candles.tip()
    store(site, trades(10, first=1010))
    pages, _ = follow(other, position)
    assert last_states(pages) == stored(site)


def _raw(site: Site) -> dict[str, Any]:
    """Return the stored candle of the first minute."""
    candles: Any = site.candles
    if site.cloud == "gcp":
        fields: dict[str, Any] = candles._key("BTCUSDT", START).get().to_dict()
        return fields
    item = candles._client.get_item(TableName=candles._table, Key=_key())["Item"]
    return {name: value for name, typed in item.items() for value in typed.values()}


def _spoil(site: Site) -> None:
    """Damage the candle of the first minute without the adapter."""
    candles: Any = site.candles
    if site.cloud == "gcp":
        from google.cloud.firestore import SERVER_TIMESTAMP

        candles._key("BTCUSDT", START).update({"high": "7", "updated": SERVER_TIMESTAMP})
    else:
        candles._client.update_item(
            TableName=candles._table,
            Key=_key(),
            UpdateExpression="SET high = :seven",
            ExpressionAttributeValues={":seven": {"N": "7"}},
        )


def _write_foreign(site: Site) -> None:
    """Write something like a candle, but not one of mcloud, under the name of the first minute."""
    candles: Any = site.candles
    record = fold(Candle("BTCUSDT", START), trades(5)).candle.to_record()
    if site.cloud == "gcp":
        candles._key("BTCUSDT", START).set({**record, "symbol": "ETHUSDT"})
    else:
        record["trade_count"] = 7  # its fragments have another number
        item = {name: {"S" if type(v) is str else "N": str(v)} for name, v in record.items()}
        candles._client.put_item(TableName=candles._table, Item=item)


def _key() -> dict[str, Any]:
    return {"symbol": {"S": "BTCUSDT"}, "timestamp": {"S": to_timestamp(START)}}
