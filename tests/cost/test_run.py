"""The cost of a run, and a report as a table."""

import csv
from decimal import Decimal

from mcloud.cost.report import make_report
from mcloud.cost.run import RunCost, run_cost
from mcloud.cost.table import COLUMNS, as_csv, as_markdown

from .usages import MONTH, NOW, metered, usage

SITES = (
    usage("aws", {"s3_puts": 1_000}, more=(metered("s3_gets", None, source="unknown: off"),)),
    usage("gcp", {"pubsub_bytes": 11 * 2**30}, trades={"BTCUSDT": 500_000}),
)


def test_the_cost_of_a_run_equals_a_figure_computed_by_hand() -> None:
    meters = {
        "aws": {"sqs_requests": 1_000_000, "s3_puts": 100, "anything": 7},
        "gcp": {"firestore_writes": 20_100},
    }
    assert run_cost(meters, {"aws": "aws", "gcp": "gcp"}) == {
        "aws": RunCost(Decimal("0.4005"), Decimal("0.0005")),
        "gcp": RunCost(Decimal("0.01809"), Decimal("0.00009")),
    }
    assert run_cost({"aws": {}}, {"aws": "aws"}) == {"aws": RunCost(Decimal(0), Decimal(0))}


def test_csv_has_a_row_for_every_meter() -> None:
    rows = list(csv.DictReader(as_csv(make_report(SITES, MONTH, NOW)).splitlines()))
    assert tuple(rows[0]) == COLUMNS
    assert {row["meter"]: row["net_usd"] for row in rows} == {
        "s3_gets": "",
        "s3_puts": "0.005",
        "pubsub_bytes": "0.0390625",
    }
    assert rows[0]["used"] == ""
    assert rows[2] == {
        "month": "2026-11",
        "site": "gcp",
        "cloud": "gcp",
        "service": "messaging",
        "meter": "pubsub_bytes",
        "unit": "byte",
        "used": "11811160064",
        "free_tier_used": "10737418240",
        "gross_usd": "0.4296875",
        "net_usd": "0.0390625",
        "source": "CloudWatch",
        "as_of": "2026-11-16T00:00:00Z",
        "exact": "yes",
    }


def test_a_report_is_written_as_markdown() -> None:
    text = as_markdown(make_report(SITES, MONTH, NOW))
    assert text.splitlines()[:6] == [
        "## Cost of 2026-11: $0.044 (estimate, 2026-11-16T00:00:00Z)",
        "",
        "| Site | Service | List | Net | Share | Per million trades |",
        "| --- | --- | --- | --- | --- | --- |",
        "| aws | storage | $0.0050 | $0.0050 | 11% | unknown |",
        "| gcp | messaging | $0.43 | $0.039 | 89% | $0.078 |",
    ]
    assert "| messaging | $0 | $0 | $0.43 | $0.039 | -$0.039 |" in text
    assert "- not in the sums: aws s3_gets: unknown: off" in text
