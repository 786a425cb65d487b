"""The estimated requests of a replicator."""

from decimal import Decimal

import pytest

from mcloud.cost.estimate import Load, estimate, net_of, simulated
from mcloud.cost.prices import PRICES
from mcloud.cost.unmetered import MINUTES
from mcloud.replication.running_cost import polls, replicator

SITES = {"aws": "aws", "gcp": "gcp"}


MEASURED = 422  # seconds


def test_units_agree_with_a_measured_run() -> None:
    """50 symbols whose candles changed seven times, once a minute, on the embedded clouds, with the
    delays of the real export services. The comparison of once a day was not part of it."""
    load = Load(50, 50, 60)
    flow = simulated(load)
    assert flow.writes == pytest.approx(50, rel=0.05)
    times = Decimal(60 * MINUTES) / MEASURED
    aws = replicator("aws", flow, load, 1, others=1)
    gcp = replicator("gcp", flow, load, 1, others=1)
    assert float(aws["dynamodb_stream_reads"] / times) == pytest.approx(300, rel=0.15)
    # Three listings of the raw bucket and four of the staging bucket.
    daily = 2 * 30 * (1 + 50 + 1)
    assert float((aws["s3_puts"] - daily) / times) == pytest.approx(3 + 4, abs=2)
    assert gcp["gcs_class_a"] == aws["s3_puts"]
    assert float(gcp["firestore_reads"] / times) == pytest.approx(1599, rel=0.15)


def test_a_poll_of_quiet_candles_is_rare() -> None:
    assert polls(1) == polls(5) == polls(30) == 1
    assert polls(60) == pytest.approx(300 / MEASURED, rel=0.15)
    assert 0.2 < polls(600) < 0.3


def test_listings_do_not_depend_on_the_number_of_symbols() -> None:
    """Without those of once a day, they cost a few cents."""
    for symbols in (1, 400):
        load = Load(symbols, 30, 60)
        lists = replicator("aws", simulated(load), load, 1, others=1)["s3_puts"]
        once_a_day = 2 * 30 * (1 + symbols + -(-symbols // 50))
        cost = (lists - once_a_day) * PRICES["aws", "s3_puts"].each
        assert 0.15 < cost < 0.25


def test_a_replicator_costs_something_at_both_sites() -> None:
    load = Load(5, 50, 20)

    def more(*of: object) -> dict[str, Decimal]:
        return replicator(*of, others=1)  # type: ignore[arg-type]

    alone, together = estimate(load, SITES), estimate(load, SITES, more=more)
    for site in SITES:
        assert net_of(together, site, 1) > net_of(alone, site, 1)
