"""Price arithmetic: computed by hand at the limits of tiers, and by properties."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcloud.cost.charge import Charge, Use, charge
from mcloud.cost.prices import PRICES

DATES = [f"2026-11-{day:02}" for day in range(1, 31)]

METERS = st.sampled_from(sorted(key for key, price in PRICES.items() if not price.since))
UNITS = st.integers(0, 10**15).map(Decimal) | st.decimals(0, 10**12, places=6)


def one(cloud: str, meter: str, units: object, **options: object) -> Charge:
    days = options.pop("days", {})
    dates = options.pop("dates", DATES)
    (found,) = charge([Use(cloud, meter, Decimal(str(units)), days)], dates, **options)  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize(
    ("cloud", "meter", "units", "gross", "net"),
    [
        ("aws", "sqs_requests", 1_000_000, "0.40", "0"),
        ("aws", "sqs_requests", 1_000_001, "0.4000004", "0.0000004"),
        ("aws", "sqs_requests", 3_500_000, "1.40", "1.00"),
        ("aws", "lambda_gb_s", 400_000, "5.33336", "0"),
        ("aws", "lambda_gb_s", 400_001, "5.3333733334", "0.0000133334"),
        ("aws", "dynamodb_writes", 2_000_000, "1.25", "1.25"),
        ("aws", "dynamodb_gib_months", "26.5", "6.625", "0.375"),
        ("aws", "s3_puts", 1, "0.000005", "0.000005"),
        ("aws", "alarm_months", 12, "1.2", "0.2"),
        ("aws", "log_bytes", 6 * 2**30, "3", "0.5"),
        ("gcp", "pubsub_bytes", 10 * 2**30, "0.390625", "0"),
        ("gcp", "pubsub_bytes", 2**40, "40", "39.609375"),
        ("gcp", "function_requests", 2_000_000, "0.8", "0"),
        ("gcp", "function_vcpu_s", 180_100, "4.3224", "0.0024"),
        ("gcp", "gcs_class_a", 6_000, "0.03", "0.005"),
        ("gcp", "scheduler_job_months", 4, "0.4", "0.1"),
    ],
)
def test_charges_equal_figures_computed_by_hand(
    cloud: str, meter: str, units: object, gross: str, net: str
) -> None:
    found = one(cloud, meter, units)
    assert (found.gross, found.net) == (Decimal(gross), Decimal(net))
    bare = one(cloud, meter, units, free_tier=False)
    assert (bare.gross, bare.net, bare.free) == (Decimal(gross), Decimal(gross), 0)


def test_a_use_without_the_free_tier_is_billed_and_does_not_consume_it() -> None:
    """Only one Firestore database of a project has the free tier."""
    writes = Decimal(600_000)
    uses = [
        Use("gcp", "firestore_writes", writes),
        Use("gcp", "firestore_writes", writes, has_free_tier=False),
    ]
    free, paid = charge(uses, DATES)
    assert (free.free, free.net) == (600_000, 0)
    assert (paid.free, paid.net) == (0, Decimal("0.54"))


def test_a_daily_free_tier_differs_from_a_monthly_one() -> None:
    """600,000 writes are free if they are spread evenly, and mostly not on a single day."""
    evenly = one("gcp", "firestore_writes", 600_000)
    assert (evenly.free, evenly.net) == (600_000, 0)
    at_once = one("gcp", "firestore_writes", 600_000, days={"2026-11-07": Decimal(600_000)})
    assert (at_once.free, at_once.net) == (20_000, Decimal("0.522"))
    two = {"2026-11-07": Decimal(20_001), "2026-11-08": Decimal(1)}
    assert one("gcp", "firestore_writes", 20_002, days=two).net == Decimal("0.0000009")


def test_usage_without_daily_figures_is_spread_evenly() -> None:
    dates = DATES[:2]
    days = {"2026-11-01": Decimal(20_000)}
    # 10,000 more, half of which count for the first day, where nothing more is free.
    found = one("gcp", "firestore_writes", 30_000, days=days, dates=dates)
    assert found.free == 25_000
    assert one("gcp", "firestore_writes", 30_000, dates=[]).free == 20_000


def test_sites_of_one_cloud_share_a_free_tier() -> None:
    uses = [Use("aws", "sqs_requests", Decimal(units)) for units in (3_000_000, 1_000_000)]
    first, second = charge(uses, DATES)
    assert (first.free, second.free) == (750_000, 250_000)
    assert first.net + second.net == Decimal("1.2")


def test_two_clouds_do_not() -> None:
    uses = [Use(cloud, "log_bytes", Decimal(5 * 2**30)) for cloud in ("aws", "gcp")]
    assert [each.net for each in charge(uses, DATES)] == [0, 0]


def test_a_meter_without_a_price_is_refused() -> None:
    with pytest.raises(KeyError):
        one("aws", "messages", 1)


@given(METERS, UNITS, UNITS)
def test_more_never_costs_less(key: tuple[str, str], units: Decimal, more: Decimal) -> None:
    less, all_ = one(*key, units), one(*key, units + more)
    assert 0 <= less.net <= all_.net
    assert less.net <= less.gross
    assert less.gross <= all_.gross
    assert 0 <= less.free <= units


@given(METERS, UNITS)
def test_beyond_the_free_tier_a_unit_has_its_list_price(
    key: tuple[str, str], more: Decimal
) -> None:
    price = PRICES[key]
    full = price.free_a_month
    dates = DATES
    before, after = one(*key, full, dates=dates), one(*key, full + more, dates=dates)
    exact = Fraction(more) * Fraction(price.usd) / Fraction(price.per)
    assert before.net == 0
    assert abs(Fraction(after.net - before.net) - exact) <= Fraction(1, 10**12)


def test_a_price_that_is_announced_costs_nothing_before_its_day() -> None:
    (key,) = (key for key, price in PRICES.items() if price.since)
    assert one(*key, 7) == Charge(Decimal(0), Decimal(0), Decimal(0))
    begun = one(*key, 7, dates=[f"{PRICES[key].since[:8]}{day:02}" for day in range(1, 31)])
    assert begun.net == begun.gross == 7 * PRICES[key].each


@given(METERS, st.lists(UNITS, min_size=1, max_size=5))
def test_the_total_does_not_depend_on_the_number_of_sites(
    key: tuple[str, str], parts: list[Decimal]
) -> None:
    together = one(*key, sum(parts))
    apart = charge([Use(*key, units) for units in parts], DATES)
    assert all(each.net >= 0 for each in apart)
    assert abs(sum(each.net for each in apart) - together.net) <= Decimal("1e-9")
    assert abs(sum(each.free for each in apart) - together.free) <= Decimal("1e-6")


@given(st.lists(st.integers(0, 60_000), min_size=30, max_size=30))
def test_each_day_has_its_own_free_units(counts: list[int]) -> None:
    days = {day: Decimal(count) for day, count in zip(DATES, counts, strict=True)}
    found = one("gcp", "firestore_writes", sum(counts), days=days)
    assert found.free == sum(min(count, 20_000) for count in counts)
