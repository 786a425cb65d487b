"""The screen of ``mcloud doctor``, character by character."""

import io

from rich.console import Console

from mcloud.doctor.check import DoctorCheck
from mcloud.drawing.doctor import report

CHECKS = [
    DoctorCheck("python", "", "ok", "3.11.7"),
    DoctorCheck(
        "exchange", "", "warning", "https://api.binance.com: it is away", "check the network"
    ),
    DoctorCheck("credentials", "aws", "fault", "AWS STS: ExpiredToken", "sign in again"),
    DoctorCheck("may operator", "aws", "unknown", "not checked: it needs credentials"),
    DoctorCheck("queue", "gcp", "ok", "up", seconds=0.0123),
]


def drawn(checks: list[DoctorCheck], width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(report(checks))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return [line.rstrip() for line in text.splitlines()]


def test_every_site_with_cause_and_remedy() -> None:
    assert drawn(CHECKS, 80) == [
        "this machine",
        "ok       python    3.11.7",
        "warning  exchange  https://api.binance.com: it is away",
        "                   → check the network",
        "",
        "aws",
        "FAULT    credentials   AWS STS: ExpiredToken",
        "                       → sign in again",
        "unknown  may operator  not checked: it needs credentials",
        "",
        "gcp",
        "ok  queue  up  12 ms",
        "",
        "1 fault, 1 warning, 1 unknown; 2 in order",
    ]


def test_a_shared_remedy_is_printed_once() -> None:
    away = [DoctorCheck(each, "aws", "fault", "away", "mend it") for each in ("queue", "candles")]
    assert drawn(away, 80)[1:4] == [
        "FAULT  queue    away",
        "FAULT  candles  away",
        "                → mend it",
    ]


def test_a_long_list_of_permissions_is_shortened() -> None:
    lines = drawn([DoctorCheck("may deployer", "aws", "fault", "a right, " * 200)], 80)
    assert len(lines) < 10
    assert "(all with -o json)" in " ".join(lines)


def test_brackets_are_no_markup() -> None:
    lines = drawn([DoctorCheck("x", "", "fault", "[red]a[/]", "give [exchange] a name")], 80)
    assert "FAULT  x  [red]a[/]" in lines
    assert "          → give [exchange] a name" in lines


def test_the_last_line_states_that_there_are_no_problems() -> None:
    assert drawn([CHECKS[0]], 80)[-1] == "no problems; 1 in order"


def test_long_words_stay_in_their_column() -> None:
    lines = drawn([DoctorCheck("exchange", "", "fault", "a cause " * 20, "a remedy " * 20)], 60)
    assert all(len(line) <= 60 for line in lines)
    assert sum("remedy" in line for line in lines) > 1
