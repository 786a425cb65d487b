"""The anomaly function sends what producers have stored, at least once."""

import json
from decimal import Decimal
from typing import cast

import pytest
from controls import Died, MemoryControl

from mcloud.clouds.anomalies import KIND, UNTOLD, store
from mcloud.clouds.ports import Control
from mcloud.errors import Unavailable
from mcloud.market.anomaly import Anomaly
from mcloud.market.candle import MINUTE, to_timestamp
from mcloud.processor.anomalies import AT_ONCE, EARLIER_WATCH, KEPT, AnomalySender, headline

START = 1_735_775_880_000  # 2025-01-01T23:58:00Z


def anomaly(symbol: str = "AUSDT", minute: int = 0) -> Anomaly:
    numbers = map(Decimal, ("105", "100", "0.05", "9"))
    return Anomaly(symbol, START + minute * MINUTE, "price-jump", *numbers, 1, True)


@pytest.fixture
def memory() -> MemoryControl:
    return MemoryControl()


def sender(memory: MemoryControl) -> AnomalySender:
    return AnomalySender(cast(Control, memory))


def find(memory: MemoryControl, *found: Anomaly) -> None:
    for each in found:
        store(cast(Control, memory), each)


def test_an_anomaly_is_logged_and_sent_once(
    memory: MemoryControl, capsys: pytest.CaptureFixture[str]
) -> None:
    found = anomaly()
    find(memory, found)
    told: list[Anomaly] = []
    mine = sender(memory)
    assert mine.send(told.extend) == told == [found]
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["message"] for line in lines] == ["anomaly", "checked"]
    assert (lines[0]["severity"], lines[0]["change"]) == ("WARNING", "0.05")
    assert (lines[0]["minute"], "timestamp" in lines[0]) == (found.timestamp, False)
    assert lines[1]["anomalies"] == 1
    assert mine.send(told.extend) == sender(memory).send(told.extend) == []
    assert told == [found]
    assert (memory.keys(KIND), memory.keys(UNTOLD)) == ([found.key], [])


def test_a_call_with_nothing_to_send_makes_one_query(memory: MemoryControl) -> None:
    mine = sender(memory)
    mine.send()
    before = memory.queries
    assert mine.send() == []
    assert (memory.queries - before, memory.writes) == (1, 0)


def test_an_anomaly_that_could_not_be_sent_is_sent_by_the_next_call(memory: MemoryControl) -> None:
    """The same or another instance sends it exactly once."""
    find(memory, anomaly())

    def refuse(anomalies: list[Anomaly]) -> None:
        raise Unavailable("no such topic")

    mine = sender(memory)
    for _ in range(2):
        with pytest.raises(Unavailable, match="no such topic"):
            mine.send(refuse)
    find(memory, anomaly("BUSDT"))
    told: list[Anomaly] = []
    sender(memory).send(told.extend)
    assert [each.symbol for each in told] == ["AUSDT", "BUSDT"]
    mine.send(told.extend)
    assert len(told) == 2
    assert memory.keys(UNTOLD) == []


def test_damaged_notes_do_not_keep_back_the_sound_ones(memory: MemoryControl) -> None:
    """They stay for `mcloud documents`, and have the first keys."""
    for number in range(2 * AT_ONCE):
        memory.keep(UNTOLD, f"0-{number:03}", {"symbol": 1})
    find(memory, anomaly())
    assert sender(memory).send() == [anomaly()]
    assert sender(memory).send() == []
    assert len(memory.keys(UNTOLD)) == 2 * AT_ONCE


def test_a_call_that_is_killed_anywhere_loses_no_anomaly() -> None:
    mine = MemoryControl()
    find(mine, anomaly())
    told: list[Anomaly] = []
    mine.crash_at = 1  # the removal of the note, its only write
    with pytest.raises(Died):
        sender(mine).send(told.extend)
    sender(mine).send(told.extend)
    assert [each.symbol for each in told] == ["AUSDT"] * 2
    assert mine.keys(UNTOLD) == []


def test_many_anomalies_are_sent_in_several_messages(memory: MemoryControl) -> None:
    find(memory, *(anomaly(f"A{n}USDT") for n in range(AT_ONCE + 1)))
    sizes: list[int] = []
    mine = sender(memory)
    for _ in range(3):
        mine.send(lambda anomalies: sizes.append(len(anomalies)))
    assert sizes == [AT_ONCE, 1]


def test_a_damaged_note_stays_and_stops_nothing(
    memory: MemoryControl, capsys: pytest.CaptureFixture[str]
) -> None:
    memory.keep(UNTOLD, "0", {"trades": "many"})
    find(memory, anomaly())
    assert sender(memory).send() == [anomaly()]
    assert memory.keys(UNTOLD) == ["0"]
    assert "cannot read an anomaly" in capsys.readouterr().out


def test_the_oldest_anomalies_are_deleted(memory: MemoryControl) -> None:
    old, young = to_timestamp(START - KEPT - MINUTE), to_timestamp(START - KEPT)
    for key in (f"{old} AUSDT drift", f"{young} AUSDT drift"):
        memory.keep(KIND, key, {})
    find(memory, anomaly())
    sender(memory).send()
    assert memory.keys(KIND) == [f"{young} AUSDT drift", anomaly().key]


def test_an_anomaly_in_the_future_makes_no_other_one_old(memory: MemoryControl) -> None:
    now = START / 1000
    mine = AnomalySender(cast(Control, memory), lambda: now)
    find(memory, anomaly(), anomaly(minute=KEPT // MINUTE + 10))
    mine.send()
    assert len(memory.keys(KIND)) == 2


def test_what_earlier_releases_have_left_is_deleted(memory: MemoryControl) -> None:
    for n in range(AT_ONCE + 5):
        memory.keep(EARLIER_WATCH, f"A{n}USDT", {"until": "2024-08-08T23:54:00Z"})
    mine = sender(memory)
    mine.send()
    assert len(memory.keys(EARLIER_WATCH)) == 5
    mine.send()
    assert memory.keys(EARLIER_WATCH) == []


def test_the_headline() -> None:
    first = anomaly()
    assert headline([first]) == f"mcloud: price-jump of AUSDT at {first.timestamp}"
    assert headline([first, anomaly("B")]).endswith(f"{first.timestamp} and 1 more")
