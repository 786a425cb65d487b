"""Advice for a wasteful site, and none for a thrifty one."""

from decimal import Decimal

import pytest

from mcloud.clouds.gcp.archive import COLD_SIZE
from mcloud.config.produce import ProduceSettings
from mcloud.cost.advise import FRESHNESS, LEAST, SMALL, Advice, advise
from mcloud.cost.prices import GIB, PRICES, TIB
from mcloud.cost.usage import SiteUsage
from mcloud.documents import encode
from mcloud.market.envelope import SQS_CHUNK
from mcloud.market.staged import RECORD

from .usages import MONTH, NOW, at, daily, metered, usage

THRIFTY = usage(
    "aws",
    {"sqs_requests": 3_000, "lambda_requests": 1_000, "s3_puts": 1_000, "messages": 1_000},
    trades={"BTCUSDT": 1_000_000},
    messages=1_000,
)


def said(*usages: SiteUsage, **options: object) -> dict[str, Advice]:
    found = advise(usages, MONTH, NOW, profile="prod", **options)  # type: ignore[arg-type]
    assert found == sorted(found, key=lambda each: -each.saving)
    assert all(each.saving >= LEAST for each in found)
    return {f"{each.site} {each.how.split()[0]} {each.title}": each for each in found}


def only(*usages: SiteUsage, title: str) -> Advice:
    (found,) = [each for name, each in said(*usages).items() if title in name]
    return found


def test_a_thrifty_site_gets_no_advice() -> None:
    assert said(THRIFTY) == {}
    assert said(usage("aws", {}), usage("gcp", {})) == {}
    assert said(usage("aws", {}, problem="away")) == {}


def test_small_messages_should_be_combined() -> None:
    """30 million messages of ten trades per month: the requests to SQS alone cost $36."""
    packed = usage(
        "aws",
        {
            "messages": 15_000_000,
            "firehose_bytes": 15_000_000 * RECORD,
            "sqs_requests": 45_000_000,
        },
        trades={"BTCUSDT": 150_000_000},
        messages=15_000_000,
    )
    each = only(packed, title="s old")
    # 30 seconds bring 91% of the effect of a minute, and 10 seconds 55%.
    assert each.how == "mcloud produce --freshness 30"
    fewer = 30_000_000 * Decimal(5) / 6
    # A record and three SQS requests per message, beyond the free million.
    by_hand = fewer * RECORD * Decimal("0.029") / GIB + fewer * 3 * Decimal("0.4e-6")
    assert each.saving == pytest.approx(by_hand)
    assert each.at_most


def test_one_freshness_is_advised_for_all_sites() -> None:
    sites = [
        usage(
            site,
            {"messages": 15_000_000, meter: 15_000_000 * size},
            trades={"BTCUSDT": 3_000_000_000},
            messages=15_000_000,
        )
        for site, meter, size in (
            ("aws", "firehose_bytes", RECORD),
            ("gcp", "pubsub_export_bytes", 1_600),
        )
    ]
    each = only(*sites, title="s old")
    # 200 trades each, in 1,600 bytes: all of six messages fit into one.
    assert (each.site, each.how) == ("aws, gcp", "mcloud produce --freshness 30")
    fewer = 30_000_000 * Decimal(5) / 6
    a_message = RECORD * Decimal("0.029") / GIB + 1_600 * Decimal(50) / TIB
    assert each.saving == pytest.approx(fewer * a_message)


def test_full_messages_need_no_advice() -> None:
    full = usage(
        "aws",
        {"messages": 15_000_000, "firehose_bytes": 15_000_000 * SQS_CHUNK},
        trades={"BTCUSDT": 15_000_000 * SQS_CHUNK // 8},
        messages=15_000_000,
    )
    assert not any("old" in name for name in said(full))


def test_the_advice_knows_the_default_freshness() -> None:
    assert ProduceSettings().freshness == FRESHNESS


def test_less_memory_is_advised_for_a_waiting_function() -> None:
    """3.2 million GB-s per month, of which 400,000 are free. Half of it is too much."""
    busy = usage(
        "aws",
        {
            "lambda_gb_s": 1_600_000,
            "lambda_requests": 16_000_000,
            "function_seconds": 3_200_000,
            "function_memory_mb": 512,
        },
    )
    each = only(busy, title="256 MB")
    assert each.saving == 1_600_000 * Decimal("0.0000133334")
    assert "[profiles.prod.sites.aws.variables] function_memory = 256" in each.how
    assert "a call takes 200 ms" in each.why
    small = usage("aws", {"lambda_gb_s": 1_600_000, "function_memory_mb": 256})
    assert not any("MB" in name for name in said(small))


def test_a_shorter_retention_of_logs_is_advised() -> None:
    logs = usage("aws", {"log_gib_months": 50, "log_retention_days": 30})
    each = only(logs, title="keep logs")
    # 100 GiB-months, of which 5 are free; keeping 7 of 30 days leaves 23.3.
    assert each.saving == pytest.approx(Decimal(100 * 23) / 30 * Decimal("0.03"))


def test_a_colder_class_is_advised_for_old_trades() -> None:
    """3,000 GiB are stored during the whole month, without growth."""
    old = usage(
        "aws",
        {"stored_objects": 1_000_000},
        more=(daily("s3_gib_months", [100] * 15),),
    )
    each = only(old, title="colder class")
    assert each.saving == 3_000 * Decimal("0.019")
    tiny = usage(
        "aws",
        {"stored_objects": 10**9},
        more=(daily("s3_gib_months", [100] * 15),),
    )
    packed = only(tiny, title="larger objects")
    assert packed.how == "mcloud compact aws"
    assert packed.why.endswith("moving them would cost $20,000.00, once")
    young = usage("aws", {}, more=(daily("s3_gib_months", [n * 7 for n in range(15)]),))
    assert not any("colder" in name for name in said(young))


def test_even_writes_are_cheaper_by_the_hour() -> None:
    """100 per second cost $162 per request, or $83 for 200 units per hour, 25 of them free."""
    even = usage("aws", {}, more=(daily("dynamodb_writes", [8_640_000] * 15),))
    each = only(even, title="provision")
    by_request = 30 * 8_640_000 * Decimal("0.625e-6")
    by_hour = (200 - 25) * 730 * Decimal("0.00065")
    assert each.saving == pytest.approx(by_request - by_hour)
    assert "candles_capacity = { write = 200, read = 1 }" in each.how
    # One busy day in fifteen: permanent capacity for it costs more.
    burst = usage("aws", {}, more=(daily("dynamodb_writes", [86_400] * 14 + [86_400_000]),))
    assert not any("provision" in name for name in said(burst))


def test_a_commitment_is_advised_for_daily_usage() -> None:
    steady = usage("aws", {}, more=(daily("lambda_gb_s", [1_000_000] * 15),))
    each = only(steady, title="commit")
    assert each.saving == pytest.approx(
        (30_000_000 - 400_000) * Decimal("0.0000133334") * Decimal("0.12")
    )
    now_and_then = usage("aws", {}, more=(daily("lambda_gb_s", [0, 2_000_000] * 8),))
    assert not any("commit" in name for name in said(now_and_then))


def test_sending_to_the_cheapest_site_is_advised() -> None:
    counts = {"messages": 1_000_000}
    given = {"trades": {"BTCUSDT": 900_000_000}, "messages": 1_000_000}
    aws, gcp = (
        usage(site, counts | {extra: units}, **given)  # type: ignore[arg-type]
        for site, extra, units in (
            ("aws", "dynamodb_writes", 2_000_000),
            ("gcp", "pubsub_bytes", 18 * 10**9),
        )
    )
    each = only(aws, gcp, title="only")
    assert each.site == "gcp"
    assert each.how.startswith("mcloud failover gcp")
    # On AWS, for two million messages: four million write units.
    assert each.saving == pytest.approx(Decimal("2.5"))
    assert not any("only" in name for name in said(aws))


def test_the_local_profile_has_no_variables() -> None:
    busy = usage("aws", {"lambda_gb_s": 1_600_000, "function_memory_mb": 512})
    found = advise([busy], MONTH, NOW, profile="local")
    assert found[0].how.startswith("[profiles.PROFILE.sites.aws.variables]")


def test_without_free_tiers_the_savings_are_larger() -> None:
    little = usage("aws", {"lambda_gb_s": 100_000, "function_memory_mb": 512})
    assert said(little) == {}
    assert len(said(little, free_tier=False)) == 1


def test_advice_as_json() -> None:
    (each,) = advise(
        [usage("aws", {}, more=(metered("log_gib_months", 50), metered("log_retention_days", 30)))],
        MONTH,
        NOW,
        profile="prod",
    )
    assert encode(each.report)["saving_usd_a_month"] == "2.3"


def test_data_within_a_free_tier_stays_in_its_class() -> None:
    """Standard storage has 5 GiB free, and Coldline none, so moving 3 of them costs money."""
    each = daily("gcs_gib_months", [Decimal(3) / 30] * 15)
    objects = metered("stored_objects", 100)
    assert said(usage("gcp", {}, more=(each, objects))) == {}
    ten = daily("gcs_gib_months", [Decimal(10) / 30] * 15)
    found = only(usage("gcp", {}, more=(ten, objects)), title="colder class")
    by_hand = 5 * Decimal("0.020") - 10 * Decimal("0.004")
    assert found.saving == pytest.approx(by_hand)


def test_a_saving_is_that_of_a_whole_month_whenever_it_was_measured() -> None:
    """One of the last two days of the month, at a rate of 3,000 GiB-months."""
    late = usage(
        *("aws", {"log_gib_months": 100, "log_retention_days": 30}), start=at("2026-11-29T00:00")
    )
    (found,) = advise([late], MONTH, at("2026-11-30T00:00"), profile="prod", free_tier=False)
    assert found.saving == pytest.approx(3000 * Decimal("0.03") * 23 / 30)


@pytest.mark.parametrize(
    ("hot", "cold", "move"),
    [
        ("s3_gib_months", "s3_glacier_ir_gib_months", "s3_glacier_ir_transitions"),
        ("gcs_gib_months", "gcs_coldline_gib_months", "gcs_coldline_transitions"),
    ],
)
def test_the_smallest_object_that_is_moved_earns_its_move_within_a_year(
    hot: str, cold: str, move: str
) -> None:
    prices = {price.meter: price.each for price in PRICES.values()}
    saving = (prices[hot] - prices[cold]) * SMALL / 2**30
    assert prices[move] < 12 * saving
    assert SMALL == COLD_SIZE
