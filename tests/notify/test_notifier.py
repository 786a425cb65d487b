"""Sending never blocks, and failures are reported."""

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import rude
from patience import PATIENCE, eventually

from mcloud import best_effort, http
from mcloud.errors import Refused, Throttled, Unavailable
from mcloud.notify import web
from mcloud.notify.channels import Channel
from mcloud.notify.event import Event
from mcloud.notify.memory import SentMemory
from mcloud.notify.notifier import FIRST_RESEND, LONGEST_HOLD, LONGEST_RESEND, WAITING, Notifier

from .events import FIRING, HAPPENED, RESOLVED, Sink


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_an_event_is_sent_once() -> None:
    sink = Sink()
    notifier = Notifier(sink.channel())
    for _ in range(5):
        notifier.send(FIRING)
    notifier.send(RESOLVED)
    notifier.send(RESOLVED)
    notifier.close(PATIENCE)
    assert sink.taken == [FIRING, RESOLVED]
    assert notifier.failures() == []


def test_repeated_states_are_sent_in_order() -> None:
    sink = Sink()
    notifier = Notifier(sink.channel())
    again = replace(FIRING, at=RESOLVED.at + 1)
    for event in (FIRING, RESOLVED, again):
        notifier.send(event)
    notifier.close(PATIENCE)
    assert sink.taken == [FIRING, RESOLVED, again]


def test_a_channel_gets_events_of_its_severity_and_selection() -> None:
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
    """A gate that opens at the end, so that no thread of the test is left."""
    event = threading.Event()
    yield event
    event.set()


def test_a_channel_that_hangs_does_not_delay_others(gate: threading.Event) -> None:
    def hang(event: Event) -> str:
        gate.wait()
        return ""

    stuck, fine = Sink(hang), Sink()
    notifier = Notifier({**stuck.channel("stuck"), **fine.channel("fine")})
    for number in range(WAITING + 2):
        notifier.send(replace(FIRING, key=str(number)))
        eventually(lambda count=number + 1: len(fine.taken) == count, pause=0.001)
        eventually(lambda: stuck.asked == 1)  # the others wait for the first one
    assert notifier.failures() == [
        "stuck: dead letters on aws: 3: too many messages are waiting for this channel"
    ]
    notifier.close(0)
    ends = [each for each in notifier.failures() if "when the process ended" in each]
    assert len(ends) == len(notifier.failures())  # the newest ones, up to the limit
    notifier.send(FIRING)
    assert len(fine.taken) == WAITING + 2, "nothing is taken after the end"


def test_a_transient_failure_is_retried() -> None:
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


def test_a_refusal_is_retried_only_later() -> None:
    def answer(event: Event) -> str:
        raise Refused("HTTP 404 no_service")

    sink, clock = Sink(answer), Clock()
    notifier = Notifier(sink.channel(), clock=clock, timer=clock)

    def ask() -> None:
        notifier.send(FIRING)
        notifier.send(HAPPENED)  # queued behind the first event, which is handled before it
        eventually(lambda: len(notifier.failures()) >= 2)

    ask()
    assert notifier.failures()[0] == "desk: dead letters on aws: 3: HTTP 404 no_service"
    before = sink.asked
    notifier.send(FIRING)
    notifier.send(replace(HAPPENED, at=2.0))
    eventually(lambda: sink.asked == before + 1)  # only the new event
    clock.now += FIRST_RESEND
    notifier.send(FIRING)
    eventually(lambda: sink.asked == before + 2)
    clock.now += LONGEST_RESEND
    notifier.send(replace(FIRING, at=FIRING.at + 1))
    eventually(lambda: sink.asked == before + 3)
    notifier.close(PATIENCE)


def test_a_lasting_transient_failure_is_given_up() -> None:
    def answer(event: Event) -> str:
        raise Unavailable("HTTP 503")

    sink = Sink(answer)
    notifier = Notifier(sink.channel(), patience=0)
    notifier.send(FIRING)
    eventually(notifier.failures)
    assert (sink.asked, notifier.failures()) == (1, ["desk: dead letters on aws: 3: HTTP 503"])


def test_an_unexpected_exception_counts_as_a_failure() -> None:
    def answer(event: Event) -> str:
        raise KeyError("payload")

    notifier = Notifier(Sink(answer).channel())
    notifier.send(FIRING)
    eventually(notifier.failures)
    assert notifier.failures() == ["desk: dead letters on aws: 3: 'payload'"]


def test_an_error_of_the_silences_does_not_end_the_notifier() -> None:
    def fail(event: Event) -> bool:
        if event.key == "a":
            raise KeyError("begin")
        return False

    sink = Sink()
    notifier = Notifier(sink.channel(), holds_back=fail)
    notifier.send(replace(FIRING, key="a"))
    notifier.send(FIRING)
    notifier.close(PATIENCE)
    assert sink.taken == [FIRING]
    assert notifier.failures() == ["desk: dead letters on aws: 3: KeyError: 'begin'"]


def test_a_memory_that_cannot_be_kept_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    sink = Sink()
    notifier = Notifier(sink.channel(), SentMemory(tmp_path / "file" / "told.json"))
    notifier.send(FIRING)
    notifier.send(replace(FIRING, at=5.0))
    notifier.close(PATIENCE)
    assert sink.taken == [FIRING]
    assert notifier.failures() == []
    assert str(tmp_path / "file" / "told.json") in best_effort.refused()


class Slow:
    """Asks to wait a given number of times, and records the times of the requests."""

    def __init__(self, times: int, seconds: float) -> None:
        self.asked: list[tuple[float, str]] = []
        self._times = times
        self._seconds = seconds

    def __call__(self, event: Event) -> str:
        self.asked.append((time.monotonic(), event.key))
        if len(self.asked) <= self._times:
            raise Throttled("HTTP 429", self._seconds)
        return "ok"


def test_a_requested_wait_delays_only_its_channel() -> None:
    slow, fine = Slow(1, 0.6), Sink()
    sink = Sink(slow)
    notifier = Notifier({**sink.channel("slow"), **fine.channel("fine")}, patience=0.05)
    keys = ["a", "b", "c"]
    for key in keys:
        notifier.send(replace(FIRING, key=key))
    eventually(lambda: len(fine.taken) == len(keys))
    notifier.close(PATIENCE)
    times = [at for at, _ in slow.asked]
    # Nothing is sent before the time is over. Then everything is sent in order.
    assert times[1] - times[0] >= 0.6
    assert [key for _, key in slow.asked] == ["a", *keys]
    assert [event.key for event in sink.taken] == keys
    assert [
        each for each in notifier.failures() if "slow: waits for 1 s: HTTP 429" not in each
    ] == []


def test_a_wait_holds_for_the_events_behind_one_that_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mcloud.notify.notifier.LONGEST_HOLD", 0.4)
    slow = Slow(2, 10**9)
    notifier = Notifier(Sink(slow).channel(), patience=0)
    for key in ("a", "b", "c"):
        notifier.send(replace(FIRING, key=key))
    eventually(lambda: len(slow.asked) == 3)
    notifier.close(PATIENCE)
    times = [at for at, _ in slow.asked]
    assert all(later - earlier >= 0.4 for earlier, later in pairwise(times))
    assert any(
        each.startswith("desk: dead letters on aws: 3: HTTP 429") for each in notifier.failures()
    )


@pytest.mark.parametrize("seconds", [0.0, 1e18, LONGEST_HOLD])
def test_no_wait_keeps_a_process_from_ending(seconds: float) -> None:
    before = set(threading.enumerate())
    slow = Slow(1, seconds)
    notifier = Notifier(Sink(slow).channel())
    notifier.send(FIRING)
    eventually(lambda: slow.asked)
    notifier.close(0.05 if seconds else PATIENCE)
    ends = [each for each in notifier.failures() if "when the process ended" in each]
    assert ends == (
        ["desk: dead letters on aws: 3: its server asked to wait when the process ended"]
        if seconds
        else []
    )
    eventually(lambda: set(threading.enumerate()) <= before)


@pytest.mark.parametrize("behaviour", rude.ALL)
def test_a_misbehaving_server_does_not_delay_another_channel(
    behaviour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = 0.1 if behaviour in rude.TIMED else PATIENCE
    monkeypatch.setattr("mcloud.http.WEBHOOK", http.HttpLimit(64 * http.KIB, seconds))
    before = set(threading.enumerate())
    fine = Sink()
    with rude.serve(rude.ALL[behaviour]) as url:
        desk = Channel("desk", "webhook", "info", 3600, lambda event: web.post(url, {}))
        notifier = Notifier({"desk": desk, **fine.channel("fine")}, patience=0)
        for key in ("a", "b"):
            notifier.send(replace(FIRING, key=key))
        notifier.close(PATIENCE)
    assert [event.key for event in fine.taken] == ["a", "b"]
    failures = notifier.failures()
    # A server that answered with success has the event, even if its answer then broke off.
    taken = behaviour not in rude.NO_ANSWER and not re.search(
        "redirects|103|401|429|503|400|two lengths", behaviour
    )
    assert len(failures) == (0 if taken else 2), failures
    eventually(lambda: set(threading.enumerate()) <= before)
