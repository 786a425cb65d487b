"""Checks for anomalies: reads, stored data, notifications, and new instances."""

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, cast

import pytest

from mcloud.clouds.ports import Candles, Control, Heartbeat
from mcloud.documents import Damaged, encode
from mcloud.errors import Unavailable
from mcloud.market.anomaly import Anomaly, Thresholds, detect, minute
from mcloud.market.candle import MINUTE, Candle, fold, to_timestamp
from mcloud.market.trade import Trade
from mcloud.processor.anomalies import (
    ANOMALIES,
    AT_ONCE,
    CALM,
    CATCH_UP,
    KEPT,
    KIND,
    NOTED,
    OVERLAP,
    UNTOLD,
    WATCH,
    AnomalyRecord,
    AnomalyWatch,
    headline,
    recent,
)

START = 1_735_775_880_000  # 2025-01-01T23:58:00Z


class Died(BaseException):
    """The process ends at this point."""


class Store:
    """The part of a site that a check needs. It counts reads and writes."""

    def __init__(self) -> None:
        self.candles: dict[str, list[Candle]] = {}
        self.documents: dict[tuple[str, str], str] = {}
        self.beats: dict[str, Heartbeat] = {}
        self.reads = self.writes = 0
        self.broken: set[str] = set()
        self.crash_at = 0
        """Number of the write, counted from now, at which the process dies."""

    def fill(self, symbol: str, prices: list[str], first: int = 0) -> None:
        """Store one candle per minute with two trades, the second of which has the given price."""
        series = self.candles.setdefault(symbol, [])
        series[:] = [each for each in series if each.start < START + first * MINUTE]
        for n, price in enumerate(prices, first):
            start = START + n * MINUTE
            trades = [
                Trade(symbol, 2 * n, Decimal(100), Decimal(1), start, True),
                Trade(symbol, 2 * n + 1, Decimal(price), Decimal(1), start + 5, True),
            ]
            series.append(fold(Candle(symbol, start), trades).candle)
        self.beats[symbol] = Heartbeat(symbol, series[-1].start, 2 * len(series), 1, 0.0)

    def last(self, symbol: str) -> Candle | None:
        self._check(symbol)
        self.reads += 1
        return self.candles[symbol][-1] if self.candles.get(symbol) else None

    def range(self, symbol: str, start: int, end: int) -> Iterator[Candle]:
        self._check(symbol)
        for candle in self.candles[symbol]:
            if start <= candle.start < end:
                self.reads += 1
                yield candle

    def heartbeats(self) -> list[Heartbeat]:
        return list(self.beats.values())

    def keep(self, kind: str, key: str, document: Mapping[str, Any]) -> None:
        self._write()
        self.documents[kind, key] = json.dumps(document)

    def add(self, kind: str, key: str, document: Mapping[str, Any]) -> bool:
        if (kind, key) in self.documents:
            return False
        self.keep(kind, key, document)
        return True

    def kept(self, kind: str, after: str = "", limit: int | None = None) -> dict[str, Any]:
        keys = sorted(key for of, key in list(self.documents) if of == kind and key > after)
        return {key: json.loads(self.documents[kind, key]) for key in keys[:limit]}

    def forget(self, kind: str, key: str) -> None:
        self._write()
        self.documents.pop((kind, key), None)

    def _write(self) -> None:
        self.crash_at -= 1
        if self.crash_at == 0:
            raise Died
        self.writes += 1

    def _check(self, symbol: str) -> None:
        if symbol in self.broken:
            raise Unavailable(f"{symbol} cannot be read")


@pytest.fixture
def store() -> Store:
    return Store()


DEFAULTS = Thresholds()
LATER = START / 1000 + 1e8


def watch(store: Store, thresholds: Thresholds = DEFAULTS, now: float = LATER) -> AnomalyWatch:
    return AnomalyWatch(cast(Candles, store), cast(Control, store), thresholds, lambda: now)


def steady(count: int) -> list[str]:
    return ["100.1", "99.9", "100"] * (count // 3)


def keys(store: Store) -> list[str]:
    return list(store.kept(KIND))


def test_an_anomaly_is_stored_and_sent_once(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    store.fill("AUSDT", [*steady(30), "105", *steady(3)])
    store.fill("BUSDT", steady(30))
    mine = watch(store)
    (found,) = mine.look()
    assert found.key == f"{to_timestamp(START + 30 * MINUTE)} AUSDT price-jump"
    assert store.kept(KIND) == {found.key: encode(AnomalyRecord.of(found))}
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["message"] for line in lines] == ["looked", "anomaly"]
    assert (lines[0]["symbols"], lines[0]["candles"], lines[0]["anomalies"]) == (2, 64, 1)
    assert (lines[1]["severity"], lines[1]["change"]) == ("WARNING", "0.05")
    assert (lines[1]["minute"], "timestamp" in lines[1]) == (found.timestamp, False)
    # It is not found again, nor by another instance.
    assert mine.look() == []
    assert watch(store).look() == []


def test_an_empty_site_has_no_anomalies(store: Store) -> None:
    assert watch(store).look() == []
    store.beats["NEWUSDT"] = Heartbeat("NEWUSDT", START, 1, 1, 0.0)
    assert watch(store).look() == []
    assert store.documents == {}


def test_a_check_reads_only_new_candles_and_no_silent_symbols(store: Store) -> None:
    prices = steady(300)
    store.fill("AUSDT", prices)
    mine = watch(store)
    mine.look()
    assert store.reads == 1 + 300
    for n in range(300, 303):
        store.reads = 0
        store.fill("AUSDT", ["100"], first=n)
        mine.look()
        assert store.reads == 1
    for _ in range(CALM):
        mine.look()
    store.reads = 0
    mine.look()
    assert store.reads == 0
    store.fill("AUSDT", ["120"], first=303)
    assert [each.value for each in mine.look()] == [120]


def test_minutes_are_read_again_until_they_are_complete(store: Store) -> None:
    late = Store()
    late.fill("AUSDT", ["105"], first=30)
    store.fill("AUSDT", steady(30))
    mine = watch(store)
    mine.look()

    def reads(first: int, *found: int) -> int:
        store.fill("AUSDT", ["100"], first=first)
        store.reads = 0
        assert [each.start for each in mine.look()] == [START + n * MINUTE for n in found]
        return store.reads

    assert reads(31) == 1 + 2  # the new minute, and all from the one before the hole on
    assert reads(32) == 3
    store.candles["AUSDT"].insert(30, *late.candles["AUSDT"])
    assert reads(33, 30) == 5
    assert reads(34) == 1


def test_a_minute_that_had_not_ended_is_read_again(store: Store) -> None:
    now = START / 1000 + 29 * 60 + 30
    mine = AnomalyWatch(cast(Candles, store), cast(Control, store), DEFAULTS, lambda: now)
    store.fill("AUSDT", steady(30))
    mine.look()
    for n in range(30, 33):
        now += 60
        store.fill("AUSDT", ["100"], first=n)
        store.reads = 0
        mine.look()
        assert store.reads == 2


def test_a_minute_that_fills_up_is_kept_as_it_is_in_the_end(store: Store) -> None:
    store.fill("AUSDT", [*steady(30), "105"])
    mine = watch(store, now=START / 1000 + 30 * 60 + 20)
    (found,) = mine.look()
    assert not found.complete
    store.fill("AUSDT", ["108", "100"], first=30)
    assert mine.look() == []  # it is already known
    (document,) = store.kept(KIND).values()
    assert (document["value"], document["complete"]) == ("108", True)


def test_the_same_candles_are_the_same_anomalies_on_every_site(store: Store) -> None:
    """This does not depend on the number of checks, new instances, or late instances."""
    prices = steady(90)
    for n, price in ((20, "104"), (33, "95"), (34, "95"), (60, "110"), (89, "90")):
        prices[n] = price
    often, late = store, Store()
    mine = watch(often)
    for n in range(len(prices)):
        often.fill("AUSDT", [prices[n]], first=n)
        if n % 25 == 7:
            mine = watch(often)
        mine.look()
    late.fill("AUSDT", prices)
    watch(late).look()
    assert often.kept(KIND) == late.kept(KIND)
    everything = detect([minute(each) for each in late.candles["AUSDT"]], 0)
    assert keys(late) == [each.key for each in everything]
    assert len(everything) == 4


@pytest.mark.parametrize("order", ["01234567", "76543210", "70316254"])
def test_a_backlog_in_any_order_has_the_same_anomalies(store: Store, order: str) -> None:
    """A check may see the newest hours of a backlog before the hours in front of them."""
    prices = steady(240)
    for n in (20, 75, 130, 200):
        prices[n] = "105"
    store.fill("AUSDT", prices)
    every = store.candles["AUSDT"]
    store.candles["AUSDT"] = []
    now = LATER
    mine = AnomalyWatch(cast(Candles, store), cast(Control, store), DEFAULTS, lambda: now)
    for part in map(int, order):
        arrived = store.candles["AUSDT"] + every[30 * part : 30 * part + 30]
        store.candles["AUSDT"] = sorted(arrived, key=lambda each: each.start)
        store.beats["AUSDT"] = Heartbeat("AUSDT", START, part, 1, now)
        mine.look()
        now += 60
    assert keys(store) == [each.key for each in detect([minute(each) for each in every], 0)]
    assert len(keys(store)) == 4


def test_a_gap_that_stays_is_not_read_for_ever(store: Store) -> None:
    store.fill("AUSDT", steady(100))
    del store.candles["AUSDT"][40:50]
    now = LATER
    mine = AnomalyWatch(cast(Candles, store), cast(Control, store), DEFAULTS, lambda: now)
    for n in range(100, 120):
        store.reads = 0
        mine.look()
        now += 60
        store.fill("AUSDT", ["100"], first=n)
    assert store.reads == 1


def test_a_new_instance_continues_at_the_stored_position(store: Store) -> None:
    store.fill("AUSDT", steady(300))
    watch(store).look()
    noted = store.kept(WATCH)["AUSDT"]["until"]
    assert noted == to_timestamp(START + 299 * MINUTE)
    # The anomaly happens while no check runs for two hours.
    store.fill("AUSDT", [*steady(60), "105", *steady(60)], first=300)
    store.reads = 0
    (found,) = watch(store).look()
    assert found.start == START + 360 * MINUTE
    reach = Thresholds().reach // MINUTE
    assert store.reads == 1 + 121 + OVERLAP // MINUTE + 1 + reach


def test_the_position_is_stored_periodically(store: Store) -> None:
    store.fill("AUSDT", steady(30))
    mine = watch(store)
    mine.look()
    store.writes = 0
    for n in range(30, 60):
        store.fill("AUSDT", ["100"], first=n)
        mine.look()
    assert store.writes == 30 * MINUTE // NOTED


def test_after_a_long_absence_only_the_last_day_is_checked(store: Store) -> None:
    day = CATCH_UP // MINUTE
    store.fill("AUSDT", ["100"] * 50 + ["105"] + ["100"] * day + ["95"] + ["100"] * 10)
    assert [each.value for each in watch(store).look()] == [95]


def test_the_oldest_anomalies_are_deleted(store: Store) -> None:
    old, young = to_timestamp(START - KEPT), to_timestamp(START - KEPT + 10 * MINUTE)
    for key in (f"{old} AUSDT drift", f"{young} AUSDT drift"):
        store.keep(KIND, key, {})
    store.fill("AUSDT", [*steady(3), "100", "105"])
    (found,) = watch(store).look()
    assert keys(store) == [f"{young} AUSDT drift", found.key]


def test_a_symbol_that_fails_does_not_stop_the_others(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    for symbol in ("AUSDT", "BUSDT", "CUSDT"):
        store.fill(symbol, [*steady(30), "105"])
    store.broken = {"BUSDT"}
    mine = watch(store)
    told: list[Anomaly] = []
    with pytest.raises(Unavailable, match="BUSDT cannot be read"):
        mine.look(told.extend)
    assert [each.symbol for each in told] == ["AUSDT", "CUSDT"]
    assert [key.split()[1] for key in keys(store)] == ["AUSDT", "CUSDT"]
    assert '"symbol": "BUSDT", "reason": "BUSDT cannot be read"' in capsys.readouterr().out
    store.broken = set()
    assert [each.symbol for each in mine.look()] == ["BUSDT"]


def test_a_failed_symbol_continues_where_it_stopped(store: Store) -> None:
    store.fill("AUSDT", steady(600))
    mine = watch(store)
    mine.look()
    store.fill("AUSDT", ["100"], first=600)
    store.broken = {"AUSDT"}
    with pytest.raises(Unavailable):
        mine.look()
    store.broken, store.reads = set(), 0
    mine.look()
    assert store.reads == 1 + 2 + OVERLAP // MINUTE + Thresholds().reach // MINUTE


def test_a_minute_in_the_future_does_not_hide_current_ones(store: Store) -> None:
    store.fill("AUSDT", steady(30))
    to_come = Store()
    to_come.fill("AUSDT", ["100"], first=10_000)
    store.candles["AUSDT"] += to_come.candles["AUSDT"]
    mine = watch(store, now=START / 1000 + 29 * 60)
    assert mine.look() == []
    assert store.kept(WATCH)["AUSDT"]["until"] == to_timestamp(START + 29 * MINUTE)
    store.fill("AUSDT", ["105"], first=30)
    store.candles["AUSDT"] += to_come.candles["AUSDT"]
    store.beats["AUSDT"] = Heartbeat("AUSDT", START, 62, 2, 1.0)
    assert [each.value for each in mine.look()] == [105]


def test_an_anomaly_that_could_not_be_sent_is_sent_by_the_next_check(store: Store) -> None:
    """The same or another instance sends it exactly once."""
    store.fill("AUSDT", [*steady(30), "105"])

    def refuse(anomalies: list[Anomaly]) -> None:
        raise Unavailable("no such topic")

    mine = watch(store)
    with pytest.raises(Unavailable, match="no such topic"):
        mine.look(refuse)
    with pytest.raises(Unavailable, match="no such topic"):
        mine.look(refuse)
    store.fill("BUSDT", [*steady(30), "95"])
    told: list[Anomaly] = []
    assert [each.symbol for each in watch(store).look(told.extend)] == ["BUSDT"]
    assert [each.symbol for each in told] == ["AUSDT", "BUSDT"]
    mine.look(told.extend)
    watch(store).look(told.extend)
    assert len(told) == 2
    assert store.kept(UNTOLD) == {}


def test_a_check_that_is_killed_anywhere_loses_no_anomaly(store: Store) -> None:
    """The process dies at each write in turn. A notification before its death may be repeated."""
    for write in range(1, 20):
        mine = Store()
        mine.fill("AUSDT", [*steady(30), "105"])
        told: list[Anomaly] = []
        mine.crash_at = write
        try:
            watch(mine).look(told.extend)
        except Died:
            watch(mine).look(told.extend)
        else:
            assert write == 5  # a note, the anomaly, the position, and the removal of the note
            break
        assert {each.symbol for each in told} == {"AUSDT"}
        assert len(told) == 1 or write == 4
        assert (len(mine.kept(KIND)), mine.kept(UNTOLD)) == (1, {})


def test_many_unsent_anomalies_are_sent_in_several_messages(store: Store) -> None:
    for n in range(AT_ONCE + 1):
        store.fill(f"A{n}USDT", [*steady(30), "105"])
    sizes: list[int] = []
    mine = watch(store)
    for _ in range(3):
        mine.look(lambda anomalies: sizes.append(len(anomalies)))
    assert sizes == [AT_ONCE, 1]


def test_thresholds_are_heeded(store: Store) -> None:
    store.fill("AUSDT", [*steady(30), "105"])
    assert watch(store, Thresholds(jump_least=0.06)).look() == []


def test_recent_anomalies_are_returned_by_time(store: Store) -> None:
    store.fill("AUSDT", [*steady(30), "105", *steady(30), "95"])
    first, second = watch(store).look()
    control = cast(Control, store)
    assert recent(control, 0) == [first, second]
    assert recent(control, first.start / 1000) == [first, second]
    assert recent(control, first.start / 1000 + 1) == [second]
    assert recent(control, second.start / 1000 + 60) == []
    assert headline([first]) == f"mcloud: price-jump of AUSDT at {first.timestamp}"
    assert headline([first, second]).endswith(f"{first.timestamp} and 1 more")


def test_a_record_has_all_fields_of_the_anomaly() -> None:
    anomaly = Anomaly(
        "XUSDT", START, "drift", *map(Decimal, ("0.0000001", "1E+2", "-0.385", "8.10")), 3, True
    )
    document = json.loads(json.dumps(encode(AnomalyRecord.of(anomaly))))
    assert (document["value"], document["usual"]) == ("0.0000001", "100")
    assert (document["change"], document["score"]) == ("-0.385", "8.1")
    record = ANOMALIES.decode("key", document)
    assert isinstance(record, AnomalyRecord)
    assert record.anomaly == anomaly


@pytest.mark.parametrize("number", ["NaN", "Infinity", "five", ""])
def test_a_record_needs_finite_numbers(number: str) -> None:
    anomaly = Anomaly("XUSDT", START, "drift", *[Decimal(1)] * 4, 3, True)
    document = {**encode(AnomalyRecord.of(anomaly)), "value": number}
    damage = ANOMALIES.decode("key", document)
    assert isinstance(damage, Damaged)
    assert damage.what == f"value is {number!r}, not a decimal number"
