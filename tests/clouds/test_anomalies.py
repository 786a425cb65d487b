"""Several finders store the same anomalies on a site, and agree."""

import json
from decimal import Decimal
from itertools import permutations
from typing import cast

import pytest
from controls import Died, MemoryControl

from mcloud.clouds.anomalies import ANOMALIES, KIND, UNTOLD, AnomalyRecord, recent, store
from mcloud.clouds.ports import Control, Site
from mcloud.documents import VERSION, Damaged, encode
from mcloud.market.anomaly import Anomaly
from mcloud.market.candle import MINUTE

START = 1_735_775_880_000  # 2025-01-01T23:58:00Z


def anomaly(
    trades: int = 1, *, complete: bool = False, score: str = "9", minute: int = 0
) -> Anomaly:
    numbers = map(Decimal, ("105", "100", "0.05", score))
    return Anomaly("AUSDT", START + minute * MINUTE, "price-jump", *numbers, trades, complete)


KEY = anomaly().key


@pytest.fixture
def memory() -> MemoryControl:
    return MemoryControl()


def control_of(memory: MemoryControl) -> Control:
    return cast(Control, memory)


def test_an_anomaly_is_noted_once_and_improved(site: Site) -> None:
    control = site.control
    store(control, anomaly(2))
    assert list(control.kept(UNTOLD)) == [KEY]
    control.forget(UNTOLD, KEY)  # it was sent
    store(control, anomaly(2))
    store(control, anomaly(1))
    assert recent(control, 0) == [anomaly(2)]
    store(control, anomaly(3))
    store(control, anomaly(3, complete=True))
    store(control, anomaly(4))
    assert recent(control, 0) == [anomaly(3, complete=True)]
    assert control.kept(UNTOLD) == {}


def test_nobody_is_to_send_it(memory: MemoryControl) -> None:
    store(control_of(memory), anomaly(), noted=False)
    assert (memory.keys(KIND), memory.keys(UNTOLD)) == ([KEY], [])


def test_the_order_of_the_finders_does_not_matter() -> None:
    versions = [
        anomaly(2),
        anomaly(3),
        anomaly(3, score="8"),
        anomaly(3, score="-8"),
        anomaly(1, complete=True),
    ]
    ends = set()
    for order in permutations(versions):
        mine = MemoryControl()
        for each in order:
            store(control_of(mine), each)
        ends.add(mine.documents[KIND, KEY])
    assert len(ends) == 1
    assert json.loads(ends.pop())["complete"]


def test_a_finder_that_dies_anywhere_loses_no_note() -> None:
    for write in (1, 2):
        mine = MemoryControl()
        mine.crash_at = write
        with pytest.raises(Died):
            store(control_of(mine), anomaly())
        store(control_of(mine), anomaly())
        assert (mine.keys(KIND), mine.keys(UNTOLD)) == ([KEY], [KEY])


def test_a_damaged_anomaly_is_replaced_and_a_newer_one_stays(memory: MemoryControl) -> None:
    memory.keep(KIND, KEY, {"trades": "many"})
    store(control_of(memory), anomaly())
    assert recent(control_of(memory), 0) == [anomaly()]
    newer = {"version": VERSION + 1}
    memory.keep(KIND, KEY, newer)
    store(control_of(memory), anomaly())
    assert memory.get(KIND, KEY) == newer


def test_recent_anomalies_are_returned_by_time(memory: MemoryControl) -> None:
    control = control_of(memory)
    first, second = anomaly(minute=0), anomaly(minute=31)
    for each in (second, first):
        store(control, each)
    assert recent(control, 0) == [first, second]
    assert recent(control, first.start / 1000) == [first, second]
    assert recent(control, first.start / 1000 + 1) == [second]
    assert recent(control, second.start / 1000 + 60) == []


def test_a_record_has_all_fields_of_the_anomaly() -> None:
    numbers = map(Decimal, ("0.0000001", "1E+2", "-0.385", "8.10"))
    found = Anomaly("XUSDT", START, "drift", *numbers, 3, True)
    document = json.loads(json.dumps(encode(AnomalyRecord.of(found))))
    assert (document["value"], document["usual"]) == ("0.0000001", "100")
    assert (document["change"], document["score"]) == ("-0.385", "8.1")
    record = ANOMALIES.decode("key", document)
    assert isinstance(record, AnomalyRecord)
    assert record.anomaly == found


@pytest.mark.parametrize("number", ["NaN", "Infinity", "five", ""])
def test_a_record_needs_finite_numbers(number: str) -> None:
    document = {**encode(AnomalyRecord.of(anomaly())), "value": number}
    damage = ANOMALIES.decode("key", document)
    assert isinstance(damage, Damaged)
    assert damage.what == f"value is {number!r}, not a decimal number"
