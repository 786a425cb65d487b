"""The cost of a planned pipeline, from simulated trades."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from mcloud.cost.estimate import Flow, Load, estimate, monthly, net_of, simulated
from mcloud.market.staged import RECORD

BOTH = {"aws": "aws", "gcp": "gcp"}


def test_a_busy_symbol_has_one_message_and_one_write_for_each_window() -> None:
    flow = simulated(Load(1, 60, 5))
    assert flow.messages == flow.calls == flow.writes == flow.rows == 12
    assert flow.candles == 1
    assert flow.heartbeats == 1
    assert flow.trades == pytest.approx(3600, rel=0.05)
    minute = simulated(Load(1, 60, 60))
    assert minute.messages == minute.writes == 1
    assert minute.trades == flow.trades
    assert minute.candle_bytes == flow.candle_bytes
    assert minute.raw_bytes == flow.raw_bytes
    # A record of less than 5 KiB is billed as 5 KiB.
    assert flow.record_bytes == 12 * RECORD
    assert 2 * RECORD < minute.staged_bytes < minute.record_bytes <= 5 * RECORD


def test_a_message_is_full_at_64_kib() -> None:
    flow = simulated(Load(20, 2000, 60))
    assert flow.messages > 5
    assert flow.published / flow.messages > 32 * 1024
    assert flow.calls == 1
    assert flow.writes == 20


def test_heartbeats_are_four_documents_a_minute_for_any_number_of_symbols() -> None:
    flow = simulated(Load(400, 400, 60))
    assert flow.heartbeats == 4
    assert flow.heartbeat_units == pytest.approx(
        4 * 5, rel=0.2
    )  # about a hundred symbols of 50 bytes in each
    assert simulated(Load(1, 30, 60)).heartbeat_units == 1


def test_a_quiet_symbol_has_no_messages_while_nothing_is_traded() -> None:
    flow = simulated(Load(1, 0.05, 5))
    assert flow.messages == flow.writes < 1.5
    assert flow.candles < 1


def test_units_equal_figures_computed_by_hand() -> None:
    flow = Flow(
        *(2, 3, 5000, 1, 4, 4, 6, 1000, 1),
        record_bytes=5120,
        export_bytes=4072,
        staged_bytes=4000,
        raw_bytes=8_000,
        heartbeats=2,
        heartbeat_units=5,
        trades=3000,
    )
    load = Load(1, 50, 30)
    aws = monthly("aws", flow, load, month=1)
    assert aws["sqs_requests"] == 43_200 * (3 * 3 + 14)  # two of the 15 polls bring messages
    assert aws["dynamodb_writes"] == 43_200 * (6 + 5)
    assert aws["firehose_bytes"] == 43_200 * 5120
    # A staged object every five minutes. Each hour, a compaction lists what is staged, and writes
    # 2.8 blocks and an index. Once a day it also lists the symbols, the hours and the blocks.
    assert float(aws["s3_puts"]) == pytest.approx(43_200 / 5 + 720 * (1 + 2.8 + 1) + 30 * 3)
    # It reads 12 staged objects, a block that was begun before, and the index with its version. It
    # reads the versions of 2.8 blocks before and after their writes, and once a day the index
    # again.
    assert float(aws["s3_gets"]) == pytest.approx(720 * (12 + 1 + 2 + 2 * 2.8) + 30)
    assert aws["s3_gib_months"] == Decimal(43_200 * 8000) / 2 / 2**30
    assert monthly("aws", flow, load, month=12)["s3_gib_months"] == 23 * aws["s3_gib_months"]
    gcp = monthly("gcp", flow, load, month=1)
    assert gcp["pubsub_bytes"] == 43_200 * 2 * 5000
    assert gcp["pubsub_export_bytes"] == 43_200 * 4072
    assert gcp["gcs_class_a"] == aws["s3_puts"]
    assert gcp["gcs_class_b"] == aws["s3_gets"]
    assert gcp["firestore_writes"] == 43_200 * (4 + 2)
    assert gcp["function_requests"] == 43_200 * (2 + 1) + 720


@pytest.mark.parametrize(
    "more",
    [
        lambda load: replace(load, rate=4 * load.rate),
        lambda load: replace(load, symbols=4 * load.symbols),
        lambda load: replace(load, freshness=load.freshness / 4),
    ],
    ids=["trades", "symbols", "freshness"],
)
def test_more_symbols_or_trades_cost_more(more: Callable[[Load], Load]) -> None:
    load = Load(5, 50, 20)
    less, much = (estimate(each, BOTH, free_tier=False) for each in (load, more(load)))
    for site in BOTH:
        assert net_of(less, site, 1) < net_of(much, site, 1)
        assert net_of(less, site, 1) < net_of(less, site, 12)


def test_the_sites_of_a_cloud_share_its_free_tier() -> None:
    load = Load(1, 30, 5)
    alone, shared = estimate(load, {"a": "aws"}), estimate(load, {"a": "aws", "b": "aws"})
    assert net_of(shared, "a", 1) == net_of(shared, "b", 1) > net_of(alone, "a", 1)
    paid = estimate(load, {"a": "aws"}, free_tier=False)
    assert net_of(paid, "a", 1) == sum(line.gross for line in alone if line.month == 1)


def test_symbols_follow_zipf() -> None:
    rates = Load(4, 25, 5).rates
    assert rates == pytest.approx([12, 6, 4, 3])
