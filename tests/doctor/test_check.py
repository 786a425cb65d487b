import threading

import pytest

from mcloud.clouds.access import FAULT, OK, UNKNOWN, WARNING, AccessFinding
from mcloud.doctor.check import take
from mcloud.doctor.site import clock_finding
from mcloud.errors import Refused, Unavailable


def test_a_check_that_hangs_or_fails_does_not_hide_the_others() -> None:
    released = threading.Event()

    def hang() -> AccessFinding:
        released.wait(60)
        return AccessFinding(OK, "late")

    def raising(error: Exception) -> AccessFinding:
        raise error

    checks = take(
        "aws",
        {
            "queue": hang,
            "clock": lambda: raising(Unavailable("it is away")),
            "candles": lambda: raising(Unavailable("it is away")),
            "credentials": lambda: raising(Refused("expired", remedy="sign in")),
            "billing": lambda: raising(KeyError("bug")),
            "archive": lambda: AccessFinding(OK, "up", seconds=0.1),
        },
        2,
    )
    released.set()
    found = {check.subject: (check.state, check.finding, check.remedy) for check in checks}
    assert found["queue"][:2] == (FAULT, "no answer within 2 s")
    assert found["clock"] == (UNKNOWN, "it is away", "")
    assert found["candles"] == (FAULT, "it is away", "")
    assert found["credentials"] == (FAULT, "expired", "sign in")
    assert found["billing"][:2] == (UNKNOWN, "KeyError: 'bug'")
    assert found["archive"] == (OK, "up", "")
    assert {check.site for check in checks} == {"aws"}


@pytest.mark.parametrize(
    ("ahead", "state", "words"),
    [
        (0.0, OK, "equal to"),
        (-0.6, OK, "equal to"),
        (2.0, OK, "2.0 s ahead of"),
        (-30.0, WARNING, "30.0 s behind"),
        (600.0, FAULT, "600.0 s ahead of the cloud's (± 0.6 s)"),
        (-600.0, FAULT, "600.0 s behind"),
    ],
)
def test_the_difference_of_a_clock_is_shown_in_seconds(
    ahead: float, state: str, words: str
) -> None:
    finding = clock_finding(ahead, 0.6)
    assert finding.state == state
    assert words in finding.text
    assert ("NTP" in finding.remedy) is (state != OK)
