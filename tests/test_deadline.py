import threading
import time

import pytest

from mcloud.deadline import Asker, OverlappingAsker, briefly, gather, is_brief


def test_gives_answers_and_errors_alike() -> None:
    error = ValueError("no")

    def fail() -> int:
        raise error

    assert gather({"a": lambda: 1, "b": fail, "c": lambda: None}, 60) == {
        "a": 1,
        "b": error,
        "c": None,
    }


def test_asks_all_at_once() -> None:
    """Each call waits for the other, so that sequential calls would never return."""
    together = threading.Barrier(3)
    answers = gather({n: lambda: together.wait(60) for n in range(3)}, 60)
    assert sorted(answers.values()) == [0, 1, 2]  # type: ignore[type-var]


def test_late_calls_are_not_awaited() -> None:
    release = threading.Event()
    ended = threading.Event()

    def hang() -> str:
        release.wait(60)
        ended.set()
        return "too late"

    answers = gather({"slow": hang, "quick": lambda: "here"}, 3)
    assert not ended.is_set()
    assert answers["quick"] == "here"
    with pytest.raises(TimeoutError, match=r"no answer within 3 s"):
        raise answers["slow"]  # type: ignore[misc]
    # A later result does not change the returned answer.
    release.set()
    assert ended.wait(60)
    assert isinstance(answers["slow"], TimeoutError)


def test_a_late_call_does_not_keep_the_process_alive() -> None:
    release = threading.Event()
    before = set(threading.enumerate())
    gather({"slow": lambda: release.wait(60)}, 0)
    try:
        assert [thread.daemon for thread in set(threading.enumerate()) - before] == [True]
    finally:
        release.set()


def test_no_calls_give_no_results() -> None:
    assert gather({}, 60) == {}


@pytest.mark.parametrize("leap_at", range(1, 5))
def test_a_leap_of_the_clock_makes_no_answer_late(leap_at: int) -> None:
    """The machine may be suspended while it waits."""
    looks = 0

    def clock() -> float:
        nonlocal looks
        looks += 1
        return time.monotonic() + (3600 if looks > leap_at else 0)

    def call() -> str:
        time.sleep(0.05)
        return "here"

    calls = dict.fromkeys("ab", call)
    assert Asker[str](clock=clock).gather(calls, 60) == {"a": "here", "b": "here"}


def test_calls_that_do_not_hang_are_not_limited() -> None:
    asker, together = Asker[str](most=1), threading.Barrier(30)
    answers: list[object] = []

    def ask() -> None:
        answers.append(asker.gather({"a": lambda: bool(together.wait(60))}, 60)["a"])

    threads = [threading.Thread(target=ask) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers, key=bool) == [False] + 29 * [True]


def test_calls_that_hang_are_limited() -> None:
    asker, release, begun = Asker[str](most=3), threading.Event(), []

    def hang() -> None:
        begun.append(1)
        release.wait(60)

    for _ in range(5):
        assert isinstance(asker.gather({"a": hang}, 0.05)["a"], TimeoutError)
    assert len(begun) == 3
    release.set()
    while asker.gather({"a": lambda: 1}, 60) != {"a": 1}:
        time.sleep(0.01)


def test_overlapping_calls_find_a_service_that_hangs_in_little_more_than_one_timeout() -> None:
    release, asker = threading.Event(), OverlappingAsker[str]()
    begun: list[float] = []

    def hang() -> None:
        begun.append(time.monotonic())
        release.wait(60)

    late: list[object] = []
    try:
        while len(late) < 3:
            late += asker.gather({"a": hang}, 0.4, 0.2).values()
    finally:
        release.set()
    # Later calls began before the first was late.
    assert begun[1] - begun[0] < 0.4
    assert all(isinstance(each, TimeoutError) for each in late)


def test_an_overlapping_call_that_answers_in_time_counts_later() -> None:
    release, asker = threading.Event(), OverlappingAsker[str]()

    def wait() -> str:
        release.wait(60)
        return "here"

    assert asker.gather({"a": wait, "b": lambda: 1}, 60, 0.1) == {"b": 1}
    assert asker.waiting == {"a"}
    release.set()
    assert asker.gather({}, 60, 60) == {"a": "here"}
    assert asker.waiting == set()
    assert asker.gather({}, 60, 0) == {}


def test_an_overlapping_call_is_late_once() -> None:
    release, asker = threading.Event(), OverlappingAsker[str]()
    late = asker.gather({"a": lambda: release.wait(60)}, 0.1, 60)
    assert isinstance(late["a"], TimeoutError)
    release.set()
    assert asker.gather({"b": lambda: 2}, 60, 60) == {"b": 2}


def test_overlapping_calls_are_bounded() -> None:
    release, asker = threading.Event(), OverlappingAsker[str](most=2)
    calls: list[int] = []

    def hang() -> None:
        calls.append(1)
        release.wait(60)

    try:
        for _ in range(5):
            asker.gather({"a": hang}, 0.05, 60)
    finally:
        release.set()
    assert len(calls) == 2


def test_time_without_checks_makes_no_overlapping_call_late() -> None:
    """The machine was suspended, or too busy to check."""
    now = [0.0]
    release, asker = threading.Event(), OverlappingAsker[str](clock=lambda: now[0])
    assert asker.gather({"a": lambda: release.wait(60)}, 1.0, 0) == {}
    now[0] = 3600.0
    assert asker.gather({}, 1.0, 0) == {}
    release.set()
    deadline = time.monotonic() + 60
    while not (found := asker.gather({}, 1.0, 0)):
        assert time.monotonic() < deadline
    assert found == {"a": True}


def test_a_round_can_wait_for_all_its_calls_while_earlier_ones_are_late() -> None:
    release, asker = threading.Event(), OverlappingAsker[str]()
    try:
        assert asker.gather({"a": lambda: release.wait(60)}, 0.1, 0.0) == {}
        begun = threading.Event()

        def answer() -> str:
            begun.set()
            time.sleep(0.5)  # the earlier call is late meanwhile
            return "here"

        found = asker.gather({"b": answer}, 60, 0.0, wait_for_all=True)
        assert begun.is_set()
        assert found["b"] == "here"
        assert isinstance(found["a"], TimeoutError)
    finally:
        release.set()


def test_a_round_does_not_wait_for_calls_that_nobody_awaits() -> None:
    release, asker = threading.Event(), OverlappingAsker[str]()
    calls = {"a": lambda: 1, "b": lambda: release.wait(60)}
    assert asker.gather(calls, 60, 60, awaited=["a"]) == {"a": 1}
    assert asker.waiting == {"b"}
    release.set()
    assert asker.gather({}, 60, 60) == {"b": True}


def test_a_late_call_that_nobody_awaits_ends_no_round() -> None:
    release, asker = threading.Event(), OverlappingAsker[str]()
    try:
        assert asker.gather({"a": lambda: release.wait(60)}, 0.1, 0.0) == {}

        def answer() -> str:
            time.sleep(0.5)  # the earlier call is late meanwhile
            return "here"

        assert asker.gather({"b": answer}, 60, 60, awaited=["b"])["b"] == "here"
    finally:
        release.set()


def test_the_result_of_an_earlier_call_ends_a_round() -> None:
    """A service that hangs is known to fail while newer calls wait."""
    release, asker = threading.Event(), OverlappingAsker[str]()
    try:
        assert asker.gather({"a": lambda: release.wait(60)}, 0.5, 0.0) == {}
        found = asker.gather({"a": lambda: release.wait(60)}, 60, 60, awaited=["a"])
        assert isinstance(found["a"], TimeoutError)
        assert asker.waiting == {"a"}
    finally:
        release.set()


def test_a_brief_call_ends_with_its_call() -> None:
    assert briefly(is_brief) is True
    assert is_brief() is False
    with pytest.raises(ZeroDivisionError):
        briefly(lambda: 1 / 0)
    assert is_brief() is False
