"""The search on sites that fail, lag, or have the trade in an unexpected place."""

import threading
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from replication.memory import MemorySite

from mcloud import documents
from mcloud.clouds.ports import LogLine
from mcloud.errors import Refused, Unavailable
from mcloud.market.archive import pack
from mcloud.market.candle import by_minute, fold
from mcloud.market.envelope import encode
from mcloud.market.trade import Trade
from mcloud.processor.ingest import ingest
from mcloud.producer.message_log import MessageLog
from mcloud.producer.parcels import alone
from mcloud.producer.spool_message import Spooled, SpoolEntry
from mcloud.runs import Run
from mcloud.trace import find as module
from mcloud.trace.find import Traced, find

START = 1_723_161_240_000
NOW = START / 1000 + 7_200
TRADES = [
    Trade("BTCUSDT", 100 + n, Decimal(7), Decimal(1), START + n * 1_000, True) for n in range(200)
]


class Logs:
    """A log that records the searched time ranges, and finds nothing or raises."""

    def __init__(self, *answer: LogLine | Exception) -> None:
        self.answer = answer
        self.asked: list[tuple[float, float]] = []

    def find(self, symbol: str, trade_id: int, start: float, end: float) -> list[LogLine]:
        self.asked.append((start, end))
        lines = []
        for each in self.answer:
            if isinstance(each, Exception):
                raise each
            lines.append(each)
        return lines


def site(name: str, *answer: LogLine | Exception, trades: list[Trade] = TRADES) -> Any:
    made: Any = MemorySite(name)
    made.logs = Logs(*answer)
    if trades:
        ingest(trades, made.archive, made.candles)
    return made


def look(trade_id: int, *sites: Any, producers: tuple[Run, ...] = ()) -> Traced:
    by_name = {each.name: each for each in sites}
    return find("BTCUSDT", trade_id, by_name, producers, now=lambda: NOW)


def note(folder: Path, trades: list[Trade], sent: dict[str, int]) -> Run:
    run = Run(folder / "producers" / "default")
    run.create()
    message = encode(trades, one_in=1)
    with MessageLog(run.folder) as trail:
        trail.spooled([(trades, SpoolEntry.of(message, received_at=START, sites=["a"]))], START + 1)
        for name, at in sent.items():
            trail.sent(name, [alone(Spooled(1, message, 1, at))], at)
    return run


def test_a_failed_search_is_reported_and_does_not_stop_others(tmp_path: Path) -> None:
    good, bad = site("good"), site("bad", Refused("no permission"))

    def fail(call: str) -> None:
        if call in ("range", "last"):
            raise Unavailable("the store is away")

    bad.faults.before = fail
    run = note(tmp_path, TRADES, {"bad": START + 5})
    traced = look(150, good, bad, producers=(run,))
    assert traced.is_found
    assert traced.trade == TRADES[50]
    found = traced.sites["bad"]
    # Its archive is searched at the time that the producer noted.
    assert (found.trade, found.candle) == (TRADES[50], "")
    assert found.candle_note == "the store is away"
    assert found.log_note == "no permission"
    document = documents.encode(traced.report)
    assert document["trace"]["sampled"]
    assert document["trade"]["time"] == "2024-08-08T23:54:50.000Z"
    assert [each["stage"] for each in document["sites"]["bad"]["stages"]] == [
        *("exchange", "received", "spooled", "sent", "processed", "archived", "stored")
    ]


def test_a_site_that_hangs_is_not_waited_for_longer_than_agreed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "DEADLINE", 0.2)
    hung, release = site("hung"), threading.Event()
    hung.faults.before = lambda call: release.wait(60)
    try:
        traced = look(150, site("good"), hung)
    finally:
        release.set()
    assert traced.sites["good"].trade == TRADES[50]
    assert traced.sites["hung"].candle_note == "no answer within 0.2 s"


def test_an_unexpected_exception_is_not_taken_for_an_answer() -> None:
    broken = site("broken")
    broken.logs = None
    with pytest.raises(AttributeError):
        look(150, broken)


def test_archived_and_in_no_candle_yet() -> None:
    """The function crashed between the two steps."""
    early = site("early", trades=TRADES[:100])
    for item in pack(TRADES[100:]):
        early.archive.put(item)
    traced = look(250, early)
    assert traced.trade == TRADES[150]
    found = traced.sites["early"]
    assert found.candle_note == "above the newest candle, 2024-08-08T23:55:00Z"
    assert (found.key != "", found.candle) == (True, "")


def test_a_candle_without_raw_trades() -> None:
    orphan = site("orphan", trades=[])
    for (symbol, start), group in by_minute(TRADES).items():
        orphan.candles.update(symbol, start, partial(_folded, group))
    traced = look(150, orphan)
    assert traced.is_found
    assert traced.trade is None
    assert "not in the trades from 2024-08-08T23:00:00.000Z" in "".join(traced.looked)


def test_a_damaged_object_is_named_and_another_is_tried() -> None:
    hurt = site("hurt")
    (whole,) = [key for key in hurt.archive.objects if "hour=23" in key]
    damaged = whole.replace("/100-", "/99-")
    hurt.archive.objects[damaged] = b"not gzip"
    assert look(150, hurt).sites["hurt"].key == whole
    del hurt.archive.objects[whole]
    assert f"{damaged} is damaged" in look(150, hurt).sites["hurt"].archive_note


def test_the_log_is_searched_around_the_known_times(tmp_path: Path) -> None:
    run = note(tmp_path, TRADES, {"one": START + 5_000})
    one, other, unknown = site("one"), site("other"), site("unknown", trades=[])
    look(150, one, other, producers=(run,))
    look(150, unknown)
    ((begin, end),) = one.logs.asked
    assert (begin, end) == (START / 1000 + 5 - module.BEFORE, NOW)
    assert other.logs.asked == unknown.logs.asked == [(NOW - module.LATELY, NOW)]


def test_a_trade_that_no_site_has_is_reported() -> None:
    traced = look(5_000, site("one"), site("two", trades=[]))
    assert not traced.is_found
    assert traced.looked[0] == "producers of this folder: no record (0)"
    assert traced.looked[1] == "one, candles: above the newest candle, 2024-08-08T23:57:00Z"
    assert "two, candles: there are no candles of the symbol" in traced.looked
    assert traced.report.found is False


def _folded(trades: list[Trade], candle: Any) -> Any:
    return fold(candle, trades)
