"""Bills are requested every few hours, and kept."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from mcloud.clouds.billing import Bill, BillLine
from mcloud.cost.bills import remembered
from mcloud.errors import Refused

from .usages import NOW

LINES = (
    BillLine("2026-11-01", "Amazon DynamoDB", Decimal("1.0000000001"), Decimal(0)),
    BillLine("2026-11-02", "Cloud Run", Decimal("2"), Decimal("-2"), labelled=False),
)


class Asked:
    """Counts the requests."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> Bill:
        self.times += 1
        return Bill("AWS Cost Explorer", "tags", LINES, NOW, Decimal("0.01"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cost" / "prod" / "bill.json"


def look(path: Path, ask: Callable[[], Bill], now: float, settled: float = NOW + 10**9) -> Bill:
    return remembered(path, now, ask, hours=6, settled=settled)


def test_a_bill_is_requested_once_every_few_hours(path: Path) -> None:
    ask = Asked()
    first = look(path, ask, NOW)
    assert first.cost == Decimal("0.01")
    again = look(path, ask, NOW + 6 * 3600 - 1)
    assert ask.times == 1
    assert (again.lines, again.as_of, again.net) == (LINES, NOW, Decimal("1.0000000001"))
    assert again.cost == 0  # the request was already paid
    look(path, ask, NOW + 6 * 3600)
    assert ask.times == 2


def test_the_bill_of_a_settled_month_is_requested_once(path: Path) -> None:
    ask = Asked()
    look(path, ask, NOW, settled=NOW - 1)
    look(path, ask, NOW + 10**8, settled=NOW - 1)
    assert ask.times == 1


def test_a_clock_set_back_and_a_damaged_file_cause_a_new_request(path: Path) -> None:
    ask = Asked()
    look(path, ask, NOW)
    look(path, ask, NOW - 10)
    assert ask.times == 2
    for damaged in ("", "{}", "[]", '{"asked": 1, "lines": [["x"]]}'):
        path.write_text(damaged)
        look(path, ask, NOW)
    assert ask.times == 6
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_bill_requested_with_a_clock_far_ahead_is_not_kept(path: Path) -> None:
    ask = Asked()
    look(path, ask, NOW + 10**8, settled=NOW + 1)
    look(path, ask, NOW, settled=NOW + 1)
    assert ask.times == 2


def test_a_refusal_is_not_kept(path: Path) -> None:
    def refuse() -> Bill:
        raise Refused("no")

    with pytest.raises(Refused):
        look(path, refuse, NOW)
    assert not path.exists()
