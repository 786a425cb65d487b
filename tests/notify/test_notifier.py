"""Whoever sends waits for nobody, and what does not get through is said."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from patience import PATIENCE, eventually

from mcloud import best_effort
from mcloud.errors import Refused, Unavailable
from mcloud.notify.event import Event
from mcloud.notify.memory import Memory
from mcloud.notify.notifier import LONGEST_SULK, SULK, WAITING, Notifier

from .events import FIRING, HAPPENED, RESOLVED, Sink


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_it_gets_there_once() -> None:
    sink = Sink()
    notifier = Notifier(sink.channel())
    for _ in range(5):
        notifier.send(FIRING)
    notifier.send(RESOLVED)
    notifier.send(RESOLVED)
    notifier.close(PATIENCE)
    assert sink.taken == [FIRING, RESOLVED]
    assert notifier.failures() == []


def test_a_state_that_comes_back_comes_in_order() -> None:
    sink = Sink()
    notifier = Notifier(sink.channel())
    again = replace(FIRING, at=RESOLVED.at + 1)
    for event in (FIRING, RESOLVED, again):
        notifier.send(event)
    notifier.close(PATIENCE)
    assert sink.taken == [FIRING, RESOLVED, again]


def test_a_channel_has_what_is_severe_enough_and_meant_for_it() -> None:
    desk, oncall = Sink(), Sink()
    notifier = Notifier({**desk.channel("desk"), **oncall.channel("oncall", "critical")})
    notifier.send(replace(FIRING, key="a", severity="warning"))
    notifier.send(replace(FIRING, key="b"))
    notifier.send(replace(FIRING, key="c"), channels=["oncall"])
    notifier.send(replace(FIRING, key="d", severity="no such word"))
    notifier.close(PATIENCE)
    assert [event.key for event in desk.taken] == ["a", "b", "d"]
    assert [event.key for event in oncall.taken] == ["b", "c", "d"]


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Opened at the end, so that no thread of the test is left."""
    event = threading.Event()
    yield event
    event.set()


def test_one_that_hangs_holds_up_nobody(gate: threading.Event) -> None:
    def hang(event: Event) -> str:
        gate.wait()
        return ""

    stuck, fine = Sink(hang), Sink()
    notifier = Notifier({**stuck.channel("stuck"), **fine.channel("fine")})
    for number in range(WAITING + 2):
        notifier.send(replace(FIRING, key=str(number)))
        eventually(lambda count=number + 1: len(fine.taken) == count, pause=0.001)
        eventually(lambda: stuck.asked == 1)  # the others wait behind the first
    assert notifier.failures() == ["stuck: dead letters on aws: 3: too much waits for this channel"]
    notifier.close(0)
    ends = [each for each in notifier.failures() if "when the process ended" in each]
    assert len(ends) == len(notifier.failures())  # the newest, as many as are kept
    notifier.send(FIRING)
    assert len(fine.taken) == WAITING + 2, "nothing is taken after the end"


def test_what_passes_is_tried_again() -> None:
    answers = iter([Unavailable("HTTP 503"), Unavailable("HTTP 429"), None])

    def answer(event: Event) -> str:
        if error := next(answers):
            raise error
        return "ok"

    sink = Sink(answer)
    notifier = Notifier(sink.channel())
    notifier.send(FIRING)
    notifier.close(PATIENCE)
    assert (sink.asked, sink.taken, notifier.failures()) == (3, [FIRING], [])


def test_a_no_is_taken_for_one_and_tried_again_later_only() -> None:
    def answer(event: Event) -> str:
        raise Refused("HTTP 404 no_service")

    sink, clock = Sink(answer), Clock()
    notifier = Notifier(sink.channel(), clock=clock, timer=clock)

    def ask() -> None:
        notifier.send(FIRING)
        notifier.send(HAPPENED)  # behind it; once it is seen, the first has been looked at
        eventually(lambda: len(notifier.failures()) >= 2)

    ask()
    assert notifier.failures()[0] == "desk: dead letters on aws: 3: HTTP 404 no_service"
    before = sink.asked
    notifier.send(FIRING)
    notifier.send(replace(HAPPENED, at=2.0))
    eventually(lambda: sink.asked == before + 1)  # only what is new
    clock.now += SULK
    notifier.send(FIRING)
    eventually(lambda: sink.asked == before + 2)
    clock.now += LONGEST_SULK
    notifier.send(replace(FIRING, at=FIRING.at + 1))
    eventually(lambda: sink.asked == before + 3)
    notifier.close(PATIENCE)


def test_what_passes_is_given_up_in_time() -> None:
    def answer(event: Event) -> str:
        raise Unavailable("HTTP 503")

    sink = Sink(answer)
    notifier = Notifier(sink.channel(), patience=0)
    notifier.send(FIRING)
    eventually(notifier.failures)
    assert (sink.asked, notifier.failures()) == (1, ["desk: dead letters on aws: 3: HTTP 503"])


def test_a_fault_of_ours_is_a_failure_too() -> None:
    def answer(event: Event) -> str:
        raise KeyError("payload")

    notifier = Notifier(Sink(answer).channel())
    notifier.send(FIRING)
    eventually(notifier.failures)
    assert notifier.failures() == ["desk: dead letters on aws: 3: 'payload'"]


def test_a_memory_that_cannot_be_kept_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    sink = Sink()
    notifier = Notifier(sink.channel(), Memory(tmp_path / "file" / "told.json"))
    notifier.send(FIRING)
    notifier.send(replace(FIRING, at=5.0))
    notifier.close(PATIENCE)
    assert sink.taken == [FIRING]
    assert notifier.failures() == []
    assert str(tmp_path / "file" / "told.json") in best_effort.refused()
