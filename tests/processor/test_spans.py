"""The content of spans, and that recording them never affects a message."""

import json
from collections.abc import Sequence
from itertools import count

import pytest

from mcloud.clouds.otlp import Otlp
from mcloud.clouds.spans import Span
from mcloud.errors import Unavailable
from mcloud.market.trace import TraceParent
from mcloud.processor.arrival import Arrival
from mcloud.processor.ingest import Ingested
from mcloud.processor.spans import PAUSE, Recorder, spans_of

DONE = Ingested([], began=100.0, archived=100.5, stored=101.0)
PARENT = TraceParent("a" * 32, "b" * 16, True)
CAME = Arrival("BTCUSDT", 1, 9, 9, 1, 99_000, PARENT)


class Exporter:
    def __init__(self) -> None:
        self.calls: list[list[Span]] = []
        self.away = False

    def export(self, spans: Sequence[Span]) -> None:
        self.calls.append(list(spans))
        if self.away:
            raise Unavailable("the daemon is away")


def ids() -> list[str]:
    return [f"{number:016x}" for number in range(1, 99)]


def test_the_wait_and_the_work_with_its_halves() -> None:
    fresh = iter(ids())
    attributes = {"symbol": "BTCUSDT", "first_id": 1, "last_id": 9, "trades": 9}
    work, queue, archive, candles = ids()[:4]
    assert spans_of(CAME, DONE, "mcloud-processor", lambda: next(fresh)) == [
        Span("queue", "a" * 32, queue, "b" * 16, 99.0, 100.0, attributes),
        Span("mcloud-processor", "a" * 32, work, "b" * 16, 100.0, 101.0, attributes),
        Span("archive", "a" * 32, archive, work, 100.0, 100.5, attributes),
        Span("candles", "a" * 32, candles, work, 100.5, 101.0, attributes),
    ]


def test_no_span_of_an_archive_that_an_export_service_writes() -> None:
    spans = spans_of(CAME, DONE._replace(archived=None), "f", lambda: "1" * 16)
    assert [(each.name, each.start, each.end) for each in spans] == [
        ("queue", 99.0, 100.0),
        ("f", 100.0, 101.0),
        ("candles", 100.0, 101.0),
    ]


def test_a_queue_whose_clock_is_ahead_makes_no_negative_span() -> None:
    (queue, *_) = spans_of(CAME._replace(queued=100_700), DONE, "f", lambda: "1" * 16)
    assert (queue.start, queue.end) == (100.0, 100.0)


def test_messages_without_sampling_cost_nothing() -> None:
    exporter = Exporter()
    Recorder("f", exporter).record([CAME._replace(sampled=None)], DONE)
    Recorder("f", None).record([CAME], DONE)
    assert exporter.calls == []


def test_a_failure_is_logged_once_and_followed_by_a_pause(
    capsys: pytest.CaptureFixture[str],
) -> None:
    exporter, now, numbers = Exporter(), [1000.0], count()
    recorder = Recorder("f", exporter, clock=lambda: now[0], new_id=lambda: f"{next(numbers):016x}")
    exporter.away = True
    for _ in range(50):
        recorder.record([CAME], DONE)
    assert len(exporter.calls) == 1
    now[0] += PAUSE
    recorder.record([CAME], DONE)
    recorder.record([CAME], DONE)
    assert len(exporter.calls) == 2
    exporter.away = False
    now[0] += PAUSE
    for _ in range(3):
        recorder.record([CAME], DONE)
    assert len(exporter.calls) == 5
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (line["severity"], line["message"]) == ("WARNING", "no spans")
    assert line["reason"] == "the daemon is away"


def test_a_wrong_collector_address_fails_no_message(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Recorder("f", Otlp("collector", "", {})).record([CAME], DONE)
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert line["message"] == "no spans"
    assert "collector" in line["reason"]
