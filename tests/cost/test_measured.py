"""The bill of a month, from a run on the embedded clouds."""

from dataclasses import replace
from decimal import Decimal

import pytest

from mcloud.cost.archiving import FILLED_AT_ONCE, CompactionWork
from mcloud.cost.measured import BillItem, MeasuredRun, bill, by_service
from mcloud.cost.unmetered import HOURS, MINUTES, FunctionWork, fixed, waiting

RUN = MeasuredRun(
    "aws",
    minutes=Decimal(30),
    counted={
        "dynamodb_writes": Decimal(60),
        "sqs_requests": Decimal(90),
        "lambda_gb_s": Decimal(10**9),
        "cloudwatch_requests": Decimal(5),
    },
    work=FunctionWork(
        calls=Decimal(30), candles=Decimal(30), objects=Decimal(30), cpu=Decimal("0.29")
    ),
    log_bytes=Decimal(3000),
    candles=Decimal(30),
    candle_bytes=Decimal(30_000),
    raw_bytes=Decimal(2**20),
)


def units(run: MeasuredRun, month: int = 1) -> dict[str, tuple[Decimal, Decimal]]:
    return {item.meter: (item.measured, item.added) for item in bill(run, month)}


def test_counted_units_are_scaled_and_fixed_charges_are_not() -> None:
    found = units(RUN)
    assert found["dynamodb_writes"] == (2 * MINUTES, 0)
    assert found["log_bytes"] == (100 * MINUTES, 0)
    assert found["alarm_months"] == (0, fixed("aws")["alarm_months"])
    assert found["s3_gib_months"] == (Decimal(MINUTES) / 30 / 2 / 1024, 0)
    assert units(RUN, 12)["s3_gib_months"][0] == 23 * found["s3_gib_months"][0]
    assert "cloudwatch_requests" not in found  # it has no price


def test_the_compaction_of_a_run_is_repeated_every_hour() -> None:
    units_, work = {"s3_puts": Decimal(7)}, CompactionWork(reads=8, cpu=0.58)
    found = units(replace(RUN, compacted=units_, compacting=work))
    assert found["s3_puts"] == (7 * HOURS, 0)
    waited = 8 * Decimal("0.030") / FILLED_AT_ONCE
    seconds = found["lambda_gb_s"][1] - units(RUN)["lambda_gb_s"][1]
    assert float(seconds) == pytest.approx(float(HOURS * (waited + 1)))


def test_polls_without_messages_are_billed() -> None:
    assert units(RUN)["sqs_requests"] == (3 * MINUTES, 14 * MINUTES)


def test_the_time_of_functions_follows_from_real_stores_and_the_cpu_share() -> None:
    # A second of computing with 0.29 of a CPU, and 30 calls that wait for a candle and an object.
    # The anomaly function makes one query a minute. Half a GiB is billed.
    computing, added = units(RUN)["lambda_gb_s"]
    assert computing == Decimal(MINUTES) / 30 / 2
    assert added == MINUTES * (Decimal("0.038") + Decimal("0.008")) / 2


@pytest.mark.parametrize(
    ("work", "seconds"),
    [
        (FunctionWork(Decimal(10), Decimal(10), Decimal(0), Decimal(0)), "0.4"),
        (FunctionWork(Decimal(1), Decimal(16), Decimal(0), Decimal(0)), "0.04"),
        (FunctionWork(Decimal(1), Decimal(32), Decimal(1), Decimal(9)), "0.14"),
    ],
)
def test_a_call_waits_for_sixteen_requests_at_once(work: FunctionWork, seconds: str) -> None:
    assert waiting("gcp", work) == Decimal(seconds)


def test_services_add_up() -> None:
    items = [
        BillItem("log_bytes", Decimal(4 * 2**30), Decimal(2 * 2**30)),
        BillItem("sqs_requests", Decimal(2_000_000), Decimal(500_000)),
        BillItem("alarm_months", Decimal(0), Decimal(12)),
    ]
    found = {
        cost.service: (cost.measured, cost.added, cost.net) for cost in by_service("aws", items)
    }
    assert found == {
        "messaging": (Decimal("0.8"), Decimal("0.2"), Decimal("0.6")),
        "logs": (2, 1, Decimal("0.5")),
        "monitoring": (0, Decimal("1.2"), Decimal("0.2")),
    }
