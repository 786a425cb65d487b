"""The table of what calls cost. ``tests/e2e/test_meters.py`` compares it with what is billed."""

from decimal import Decimal

import pytest

from mcloud.clouds.ports import SERVICES
from mcloud.cost.calls import CALLS, price, units
from mcloud.cost.prices import PRICES


def test_each_call_is_known_on_both_clouds_and_each_meter_has_a_price() -> None:
    names = {cloud: {call for each, call in CALLS if each == cloud} for cloud in ("aws", "gcp")}
    assert names["aws"] == names["gcp"] > {*SERVICES}
    assert all((cloud, each.meter) in PRICES for (cloud, _), all_ in CALLS.items() for each in all_)


@pytest.mark.parametrize(
    ("cloud", "call", "count", "expected"),
    [
        ("aws", "record", 1, {"dynamodb_reads": "1"}),  # consistent
        ("aws", "kept", 1, {"dynamodb_reads": "0.5"}),  # a query, eventually consistent
        ("aws", "kept", 40, {"dynamodb_reads": "0.5"}),
        ("aws", "kept", 41, {"dynamodb_reads": "1"}),
        ("aws", "heartbeats", 400, {"dynamodb_reads": "3"}),
        ("gcp", "heartbeats", 400, {"firestore_reads": "4"}),
        ("aws", "candle", 1, {"dynamodb_reads": "0.5"}),
        ("aws", "candle", 205, {"dynamodb_reads": "34.5"}),  # 3 in 4 KiB
        ("gcp", "candle", 205, {"firestore_reads": "205"}),
        ("gcp", "kept", 0, {"firestore_reads": "1"}),  # nothing found is a read as well
        ("aws", "write_candle", 3, {"dynamodb_writes": "6"}),
        ("aws", "function", 1, {}),
    ],
)
def test_units_equal_figures_computed_by_hand(
    cloud: str, call: str, count: int, expected: dict[str, str]
) -> None:
    assert units(cloud, call, count) == {m: Decimal(each) for m, each in expected.items()}


def test_the_price_is_units_times_list_price() -> None:
    asked = {"dynamodb_reads": Decimal(2), "dynamodb_writes": Decimal(4)}
    assert price("aws", asked) == (Decimal("0.125") * 2 + Decimal("0.625") * 4) / 10**6
