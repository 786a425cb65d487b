import threading
import time

import pytest

from mcloud.deadline import Asker, gather


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
