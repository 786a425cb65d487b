"""The last answer to a question, and what a failure makes of it."""

import pytest

from mcloud.clouds.observation import DOWN, UNKNOWN, UP, Observation
from mcloud.errors import Refused, Unavailable


def test_a_failure_keeps_the_last_answer() -> None:
    seen = Observation[int]().then(7, 10.0, 0.5)
    assert (seen.value, seen.at, seen.tried, seen.state, seen.why) == (7, 10.0, 10.0, UP, "")
    failed = seen.then(Unavailable("no route"), 20.0)
    assert (failed.value, failed.at, failed.tried) == (7, 10.0, 20.0)
    assert (failed.problem, failed.state) == ("no route", DOWN)
    again = failed.then(8, 30.0)
    assert (again.value, again.tried, again.problem, again.state) == (8, 30.0, "", UP)


def test_before_the_first_answer_nothing_is_known() -> None:
    seen = Observation[int]()
    assert (seen.known, seen.tried, seen.state, seen.why) == (False, None, UNKNOWN, "not read yet")
    failed = seen.then(TimeoutError(), 5.0)
    assert (failed.known, failed.tried, failed.state, failed.why) == (
        *(False, 5.0, DOWN, "TimeoutError"),
    )


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (Unavailable("it is down"), DOWN),
        (Unavailable("no network", is_local=True), UNKNOWN),
        (TimeoutError("no answer"), DOWN),
        (Refused("no permission"), UNKNOWN),
        (ValueError("a bug"), UNKNOWN),
    ],
)
def test_only_an_outage_counts_as_down(error: Exception, state: str) -> None:
    assert Observation(1, 1.0).then(error, 2.0).state == state
