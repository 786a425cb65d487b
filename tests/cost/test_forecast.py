"""Forecasts of the month: by hand, by daily history, and beyond free tiers."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcloud.cost.forecast import expected_units, forecast
from mcloud.cost.report import make_report
from mcloud.cost.settings import CostSettings, Money

from .usages import MONTH, NOW, at, daily, metered, usage


def test_without_whole_days_the_rate_is_used() -> None:
    """Half of the month is over."""
    found = forecast([usage("aws", {"dynamodb_writes": 1_000_000})], MONTH, NOW)
    assert found.total == (Decimal("0.625"), Decimal("1.25"), Decimal("1.875"))
    assert found.sites["aws"] == found.total
    assert "15.0 days of use, too few days to compare" in found.rests_on


def test_a_free_tier_that_ends_inside_the_month() -> None:
    """Nothing is paid yet, but a million requests are paid by the end."""
    found = forecast([usage("aws", {"sqs_requests": 1_000_000})], MONTH, NOW)
    assert found.total == (0, Decimal("0.4"), Decimal("0.8"))
    assert found.runs_out == {}  # it is used completely
    found = forecast([usage("aws", {"sqs_requests": 750_000})], MONTH, NOW)
    assert found.total.expected == Decimal("0.2")
    # A third of the other half: five of fifteen days.
    assert found.runs_out == {("aws", "sqs_requests"): "2026-11-21"}
    bare = forecast([usage("aws", {"sqs_requests": 750_000})], MONTH, NOW, free_tier=False)
    assert bare.total.expected == Decimal("0.6")
    assert bare.runs_out == {}


def test_a_database_without_the_free_tier_pays_from_the_first_document() -> None:
    paid = replace(metered("firestore_gib_months", "0.25"), has_free_tier=False)
    found = forecast([usage("gcp", {}, more=(paid,))], MONTH, NOW)
    assert found.total.expected == Decimal("0.075")
    assert found.runs_out == {}
    report = make_report([usage("gcp", {}, more=(paid,))], MONTH, NOW)
    (line,) = report.lines
    assert (line.free, line.net) == (0, Decimal("0.0375"))


def test_equal_days_give_a_range_of_zero_width() -> None:
    same = usage("aws", {}, more=(daily("dynamodb_writes", [100_000] * 15),))
    found = forecast([same], MONTH, NOW)
    assert found.total == (Decimal("1.875"),) * 3
    assert found.rests_on.startswith("the daily figures of 15 days")


def test_different_days_give_a_range() -> None:
    """Mean 100,000 and variance 7.5e9, with 15 days seen and 15 to come: sqrt(7.5e9 * 30)."""
    days = [0, 100_000, 200_000] * 5
    found = forecast([usage("aws", {}, more=(daily("dynamodb_writes", days),))], MONTH, NOW)
    variance = Decimal(10 * 10**10) / 14
    spread = 2 * (variance * 30).sqrt() * Decimal("0.625e-6")
    assert found.total.expected == Decimal("1.875")
    assert abs(found.total.low - (Decimal("1.875") - spread)) < Decimal("1e-12")
    assert abs(found.total.high - (Decimal("1.875") + spread)) < Decimal("1e-12")


def test_two_days_are_too_few() -> None:
    two = usage("aws", {}, more=(daily("dynamodb_writes", [1, 10**6]),))
    found = forecast([two], MONTH, at("2026-11-03T00:00"))
    assert "too few days" in found.rests_on
    assert found.total.low == Decimal("0.625000625")


def test_the_current_day_is_not_part_of_the_mean() -> None:
    """At noon, the count of half a day is not part of a mean."""
    days = [86_400] * 4 + [43_200]
    found = forecast(
        [usage("aws", {}, more=(daily("dynamodb_writes", days),))], MONTH, at("2026-11-05T12:00")
    )
    assert found.total.expected == 30 * 86_400 * Decimal("0.625e-6")
    assert found.total.low == found.total.high


def test_a_daily_free_tier_applies_to_every_future_day() -> None:
    """25,000 writes per day are 5,000 paid writes, today and until the end."""
    days = usage("gcp", {}, more=(daily("firestore_writes", [25_000] * 15),))
    found = forecast([days], MONTH, NOW)
    assert found.total.expected == 30 * 5_000 * Decimal("0.9e-6")
    assert make_report([days], MONTH, NOW).net == 15 * 5_000 * Decimal("0.9e-6")


def test_fixed_costs_are_certain() -> None:
    found = forecast([usage("aws", {"kms_key_months": "0.5"})], MONTH, NOW)
    assert found.total == (1, 1, 1)
    stored = forecast([usage("aws", {"s3_gib_months": "500"})], MONTH, NOW)
    assert stored.total == (23, 23, Decimal("34.5"))


def test_usage_that_begins_in_mid_month_is_extrapolated_from_there() -> None:
    """Usage from the fourteenth and fifteenth on counts for 17 days at the end, not 30."""
    young = usage("aws", {"dynamodb_writes": 2_000_000}, start=at("2026-11-14T00:00"))
    assert forecast([young], MONTH, NOW).total.expected == 17 * Decimal("0.625")


def test_a_few_minutes_of_usage_are_too_little() -> None:
    young = usage("aws", {"dynamodb_writes": 100}, start=NOW - 300)
    found = forecast([young], MONTH, NOW)
    assert found.rests_on.startswith("5 min of use")
    assert "too little to predict a month" in found.rests_on
    assert found.early
    # It must not cause an alert.
    report = make_report(
        *([young], MONTH, NOW), money=Money(CostSettings(budget_usd=0.01)), forecast=found
    )
    assert found.expected > 0.01
    assert report.over_budget == []
    assert not forecast([young], MONTH, at("2026-12-01")).early


def test_a_past_month_has_its_actual_cost() -> None:
    found = forecast([usage("aws", {"dynamodb_writes": 8_000_000})], MONTH, at("2027-02-01"))
    assert found.total == (5, 5, 5)
    assert found.rests_on == "the month is over"


def test_a_forecast_without_usage() -> None:
    found = forecast([usage("aws", {}, problem="away")], MONTH, NOW)
    assert found.total == (0, 0, 0)
    assert found.rests_on.startswith("nothing")


def test_units_without_a_price_are_projected_too() -> None:
    assert expected_units(usage("aws", {"messages": 10}), MONTH, NOW) == {"messages": 20}


@given(
    st.dictionaries(
        st.sampled_from(["sqs_requests", "dynamodb_writes", "log_bytes", "s3_gib_months"]),
        st.integers(0, 10**9),
    ),
    st.lists(st.integers(0, 10**6), min_size=29, max_size=29),
    st.floats(0, 29.9),
)
def test_the_range_includes_the_expected_and_the_used_amount(
    counts: dict[str, int], days: list[int], passed: float
) -> None:
    now = MONTH.start + passed * 86_400
    seen = daily("lambda_requests", days[: int(passed)] or [0])  # type: ignore[arg-type]
    some = usage("aws", counts, more=(seen,))
    found = forecast([some], MONTH, now)
    used = make_report([some], MONTH, now).net
    slack = Decimal("1e-12")
    assert used - slack <= found.total.low <= found.total.expected + slack
    assert found.total.expected <= found.total.high + slack


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_steady_usage_is_forecast_exactly_at_any_time(share: float) -> None:
    now = MONTH.start + share * MONTH.seconds
    counts = {"dynamodb_writes": Decimal(8_000_000) * Decimal(share)}
    found = forecast([usage("aws", counts)], MONTH, now)
    assert abs(found.total.expected - 5) < Decimal("1e-9")


def test_stored_data_stays_and_continues_to_grow() -> None:
    """10 GiB are added every day. The rate of earlier days would ignore the stored data."""
    days = [Decimal(10 * day) / 30 for day in range(1, 31)]
    found = forecast([usage("aws", {}, more=(daily("s3_gib_months", days[:15]),))], MONTH, NOW)
    stays = sum(days[:15]) + 15 * days[14]
    assert found.total.low == pytest.approx(stays * Decimal("0.023"))
    assert found.total.expected == pytest.approx(sum(days) * Decimal("0.023"))
    assert found.total.high == pytest.approx((2 * sum(days) - stays) * Decimal("0.023"))


def test_data_stored_in_mid_month_counts_until_its_end() -> None:
    late = daily("s3_gib_months", [1] * 5, first=11)
    found = forecast([usage("aws", {}, more=(late,))], MONTH, NOW)
    assert found.total == pytest.approx([20 * Decimal("0.023")] * 3)
