"""The price book: every row has everything that is needed to check it."""

import re
from datetime import date

import pytest

from mcloud.cost.prices import COMMITMENTS, DAY, MONTH, PRICES, REGIONS, SERVICES, Price


@pytest.mark.parametrize("price", PRICES.values(), ids=lambda price: f"{price.cloud}-{price.meter}")
def test_every_price_has_all_fields(price: Price) -> None:
    assert price.usd > 0
    assert price.per > 0
    assert price.free >= 0
    assert price.free_every in (MONTH, DAY)
    assert price.service in SERVICES
    assert price.unit
    assert price.region == REGIONS[price.cloud]
    assert date(2026, 1, 1) <= date.fromisoformat(price.date)
    assert price.source.startswith(
        {"aws": "https://aws.amazon.com/", "gcp": "https://cloud.google.com/"}[price.cloud]
    )
    assert "pricing" in price.source
    assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", price.meter)
    assert not price.since or date.fromisoformat(price.since)


def test_both_clouds_price_what_the_pipeline_uses() -> None:
    for cloud in REGIONS:
        priced = {price.service for price in PRICES.values() if price.cloud == cloud}
        assert priced == set(SERVICES)


def test_only_firestore_has_a_daily_free_tier() -> None:
    daily = {price.meter for price in PRICES.values() if price.free_every == DAY}
    assert daily == {"firestore_reads", "firestore_writes", "firestore_deletes"}
    assert PRICES["gcp", "firestore_writes"].free_a_month == 600_000
    assert PRICES["gcp", "pubsub_bytes"].free_a_month == 10 * 2**30


def test_every_commitment_has_all_fields() -> None:
    for (cloud, meters), each in COMMITMENTS.items():
        assert all((cloud, meter) in PRICES for meter in meters)
        assert 0 < each.share < 1
        assert each.source.startswith("https://")
        assert each.name
        assert each.how
        date.fromisoformat(each.date)
