import threading

import pytest

from mcloud.clouds.access import FAULT, OK, UNKNOWN, WARNING, AccessFinding
from mcloud.doctor.check import take, take_if_up
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
    assert found["candles"][:2] == (FAULT, "it is away")
    assert "check the network" in found["candles"][2]
    assert found["credentials"] == (FAULT, "expired", "sign in")
    assert found["billing"][:2] == (UNKNOWN, "KeyError: 'bug'")
    assert found["archive"] == (OK, "up", "")
    assert {check.site for check in checks} == {"aws"}


def test_the_other_checks_of_a_site_that_is_down_are_not_awaited() -> None:
    released = threading.Event()

    def hang() -> AccessFinding:
        released.wait(60)
        return AccessFinding(OK, "late")

    try:
        looks = {"credentials": hang, "clock": hang}
        checks = take_if_up("aws", {"queue": hang, "candles": hang}, 0.5, looks, 60)
    finally:
        released.set()
    found = {check.subject: (check.state, check.finding) for check in checks}
    assert found == {
        "credentials": (FAULT, "not checked: the site does not answer"),
        "clock": (UNKNOWN, "not checked: the site does not answer"),
        "queue": (FAULT, "no answer within 0.5 s"),
        "candles": (FAULT, "no answer within 0.5 s"),
    }
    assert all(check.remedy for check in checks if check.state == FAULT)


def test_one_service_that_hangs_cuts_no_other_check_off() -> None:
    released, is_late = threading.Event(), threading.Event()

    def hang() -> AccessFinding:
        released.wait(60)
        return AccessFinding(OK, "late")

    def slow() -> AccessFinding:
        is_late.wait(1)  # longer than the patience with the services
        return AccessFinding(OK, "allowed")

    try:
        signs = {"queue": hang, "candles": lambda: AccessFinding(OK, "up")}
        checks = take_if_up("aws", signs, 0.3, {"may operator": slow}, 60)
    finally:
        released.set()
    assert {check.subject: check.state for check in checks} == {
        "may operator": OK,
        "queue": FAULT,
        "candles": OK,
    }


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
