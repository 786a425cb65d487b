"""The part of the cost that arose today."""

from decimal import Decimal

import pytest

from cost.usages import MONTH, at, daily, metered, usage
from mcloud.clouds.ports import Metered
from mcloud.cost.today import today

NOON = at("2026-11-03T12:00")


def of(*found: Metered, now: float = NOON, **given: float) -> Decimal | str:
    site = usage("aws", {}, more=found, **given)  # type: ignore[arg-type]
    return today([site], MONTH, now, free_tier=True)["aws"]


def test_the_units_of_this_day_are_priced_after_what_the_free_tier_still_covers() -> None:
    # A million requests are free in a month, and $0.40 buys a million more.
    assert of(daily("sqs_requests", [300_000, 300_000, 900_000])) == Decimal("0.2")
    assert of(daily("sqs_requests", [1_000_000, 500_000, 500_000])) == Decimal("0.2")
    assert of(daily("sqs_requests", [1_000_000, 500_000])) == 0


def test_everything_is_of_today_if_the_measurement_began_today() -> None:
    begun = at("2026-11-03T08:00")
    assert of(metered("dynamodb_writes", 8_000_000), start=begun) == 5
    assert of(metered("dynamodb_writes", 8_000_000), now=at("2026-11-01T12:00")) == 5


def test_what_exists_now_counts_by_time() -> None:
    half = Decimal("0.5")  # GiB-months in two and a half days
    pitr = metered("dynamodb_pitr_gib_months", half)
    assert of(pitr) == half * Decimal("0.20") / 5


@pytest.mark.parametrize(
    ("meters", "why"),
    [
        ([metered("dynamodb_writes", 8_000_000)], "dynamodb_writes is not counted by day"),
        ([metered("dynamodb_writes", None)], "no meter could be read"),
    ],
)
def test_a_change_that_no_meter_proves_is_unknown(meters: list[Metered], why: str) -> None:
    assert of(*meters) == why


def test_a_site_that_fails_is_unknown_and_the_other_is_not() -> None:
    sites = [usage("aws", {}, problem="no answer"), usage("gcp", {})]
    assert today(sites, MONTH, NOON, free_tier=True) == {"aws": "no answer", "gcp": 0}


def test_a_past_month_has_no_today() -> None:
    assert today([usage("aws", {})], MONTH, at("2026-12-01T00:00"), free_tier=True) == {}
