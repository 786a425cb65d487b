"""The report of a month: sums by hand, missing figures, and bills beside the estimate."""

import json
from decimal import Decimal

import pytest

from mcloud.clouds.billing import Bill, BillLine
from mcloud.cost.forecast import forecast
from mcloud.cost.report import BY, CostReport, make_report
from mcloud.cost.settings import CostSettings, Money
from mcloud.cost.table import as_markdown
from mcloud.cost.usage import SiteUsage
from mcloud.cost.words import usd
from mcloud.documents import encode

from .usages import MONTH, NOW, metered, usage

AWS = usage(
    "aws",
    {
        "sqs_requests": 3_500_000,  # 1.40, of which 1.00 is paid
        "lambda_requests": 2_000_000,  # 0.40, of which 0.20
        "dynamodb_writes": 2_000_000,  # 1.25
        "s3_puts": 100_000,  # 0.50
        "messages": 1_000_000,
        "own_metric_reads": 30,
    },
    trades={"BTCUSDT": 3_000_000, "ETHUSDT": 1_000_000},
)
GCP = usage(
    "gcp",
    {
        "pubsub_bytes": 2 * 2**40,  # 80.00, of which 79.609375
        "function_requests": 1_000_000,  # 0.40, free
        "firestore_writes": 300_000,  # 0.27, free: 20,000 a day
        "gcs_class_a": 105_000,  # 0.525, of which 0.50
    },
    trades={"BTCUSDT": 4_000_000},
)


def made(*usages: SiteUsage, **options: object) -> CostReport:
    return make_report(usages or (AWS, GCP), MONTH, NOW, **options)  # type: ignore[arg-type]


def test_a_report_equals_figures_computed_by_hand() -> None:
    report = made()
    assert {(x.site, x.name): (x.gross, x.net) for x in report.groups} == {
        ("aws", "functions"): (Decimal("0.4"), Decimal("0.2")),
        ("aws", "storage"): (Decimal("0.5"), Decimal("0.5")),
        ("aws", "database"): (Decimal("1.25"), Decimal("1.25")),
        ("aws", "messaging"): (Decimal("1.4"), Decimal("1")),
        ("gcp", "functions"): (Decimal("0.4"), 0),
        ("gcp", "storage"): (Decimal("0.525"), Decimal("0.5")),
        ("gcp", "database"): (Decimal("0.27"), 0),
        ("gcp", "messaging"): (80, Decimal("79.609375")),
    }
    assert report.net == Decimal("83.059375")
    assert report.net_of("aws") == Decimal("2.95")
    by_name = {(x.site, x.name): x for x in report.groups}
    # 4 million trades
    assert by_name["aws", "database"].per_million == Decimal("0.3125")
    assert by_name["aws", "messaging"].share == 1 / Decimal("83.059375")


@pytest.mark.parametrize("by", BY)
def test_the_groups_add_up_to_the_total(by: str) -> None:
    report = made(by=by)
    assert abs(sum(group.net for group in report.groups) - report.net) < Decimal("1e-20")
    assert abs(sum(group.gross for group in report.groups) - report.gross) < Decimal("1e-20")
    assert abs(sum(group.share or 0 for group in report.groups) - 1) < Decimal("1e-20")


def test_costs_by_symbol_are_marked_as_an_allocation() -> None:
    report = made(AWS, by="symbol")
    assert {group.name: group.net for group in report.groups} == {
        "BTCUSDT": Decimal("2.2125"),
        "ETHUSDT": Decimal("0.7375"),
    }
    assert any("an allocation" in note for note in report.notes)
    nobody = made(usage("aws", {"s3_puts": 1000}), by="symbol")
    assert [(g.name, g.per_million) for g in nobody.groups] == [("unknown", None)]


def test_a_report_can_leave_out_free_tiers() -> None:
    report = made(free_tier=False)
    assert report.net == report.gross
    assert "without free tiers" in report.notes[0]


def test_an_unknown_meter_is_not_0() -> None:
    report = made(
        usage("aws", {"s3_puts": 1000}, more=(metered("s3_gets", None, source="unknown: off"),))
    )
    (group,) = report.groups
    assert (group.net, group.unknown) == (Decimal("0.005"), ("s3_gets",))
    assert "not in the sums: aws s3_gets: unknown: off" in report.notes
    line = next(x for x in encode(report.report)["lines"] if x["meter"] == "s3_gets")
    assert (line["used"], line["net_usd"]) == (None, None)


def test_a_group_without_known_meters_is_unknown() -> None:
    off = metered("s3_gets", None, source="unknown: off")
    report = made(usage("aws", {"sqs_requests": 1}, more=(off,)))
    storage, messaging = encode(report.report)["groups"]
    assert (storage["net_usd"], messaging["net_usd"]) == (None, "0")


def test_a_site_that_does_not_answer_is_reported() -> None:
    report = made(AWS, usage("gcp", {}, problem="no answer within 30 s"))
    assert "gcp: unknown: no answer within 30 s" in report.notes
    assert report.unknown_sites == ["gcp: no answer within 30 s"]
    assert encode(report.report)["sites"]["gcp"]["net_usd"] is None
    assert {row.gcp_net for row in report.comparison} == {None}
    assert {row.saving for row in report.comparison} == {None}


def test_another_region_is_an_estimate() -> None:
    report = made(usage("aws", {"s3_puts": 1000}, region="eu-central-1"))
    assert any("aws is in eu-central-1" in note for note in report.notes)
    assert not any("is in" in note for note in made().notes)


def test_the_clouds_side_by_side() -> None:
    rows = {row.service: row for row in made().comparison}
    assert list(rows) == ["functions", "storage", "database", "messaging", "other", "total"]
    assert rows["database"].aws_net == Decimal("1.25")
    assert (rows["database"].gcp_gross, rows["database"].gcp_net) == (Decimal("0.27"), 0)
    assert rows["database"].saving == Decimal("1.25")
    assert rows["total"].aws_gross == Decimal("3.55")
    assert rows["total"].saving == Decimal("2.95") - Decimal("80.109375")


def test_a_service_without_a_readable_meter_has_an_unknown_cost() -> None:
    google = usage("gcp", {"firestore_writes": None, "pubsub_bytes": 5})
    rows = {row.service: row for row in made(AWS, google).comparison}
    assert rows["database"].gcp_net is rows["database"].saving is None
    assert rows["messaging"].gcp_net == 0


def test_sites_of_one_cloud_share_its_free_tier() -> None:
    west = usage("aws-west", {"sqs_requests": 500_000}, cloud="aws")
    report = made(AWS, west)
    assert sum(x.net for x in report.lines if x.meter == "sqs_requests") == Decimal("1.2")


def test_a_bill_beside_the_estimate_and_why_they_differ() -> None:
    bill = Bill(
        *("AWS Cost Explorer", "resources with the tags"),
        (
            BillLine("2026-11-01", "Amazon DynamoDB", Decimal("3.5"), Decimal(0)),
            BillLine("2026-11-02", "Amazon DynamoDB", Decimal(0), Decimal("-0.5")),
        ),
        *(NOW - 3600, Decimal("0.01")),
    )
    report = made(bills={"aws": bill, "gcp": "no billing export is named"})
    (note,) = [each for each in report.notes if "the bill" in each]
    assert note.startswith("aws: the estimate is $0.050 below the bill: the bill lags")
    assert "it has -$0.50 of credits" in note
    sites = encode(report.report)["sites"]
    assert sites["aws"]["billed"]["usd"] == "3"
    assert sites["aws"]["billed"]["services"] == {"Amazon DynamoDB": "3"}
    assert sites["gcp"]["billed"] == {"unknown": "no billing export is named"}
    # 30 metrics, and a request to Cost Explorer
    assert report.own_cost == Decimal("0.0103")


def test_budgets_that_are_exceeded_are_reported() -> None:
    money = Money(CostSettings(budget_usd=100), {"aws": Decimal("2.5"), "gcp": Decimal(90)})
    report = made(money=money)
    assert report.over_budget == ["aws: $2.95 of a budget of $2.50"]
    budget = encode(report.report)["budget"]
    assert (budget["usd"], budget["used_percent"]) == ("100", "83.1")
    assert budget["sites"]["aws"]["used_percent"] == "118"
    # Half of the month is over.
    ahead = made(
        money=Money(CostSettings(budget_usd=100)), forecast=forecast((AWS, GCP), MONTH, NOW)
    )
    assert len(ahead.over_budget) == 1
    assert "expected by the end of the month" in ahead.over_budget[0]
    assert made(money=Money(CostSettings(budget_usd=400))).over_budget == []
    assert encode(made().report)["budget"] is None


def test_the_document_is_json_of_texts() -> None:
    document = json.loads(
        json.dumps(encode(made(forecast=forecast((AWS, GCP), MONTH, NOW)).report))
    )
    assert document["net_usd"] == "83.059375"
    assert document["lines"][0]["price_source"].startswith("https://")
    assert document["forecast"]["expected_usd"]
    assert document["month"] == "2026-11"


def test_a_month_without_usage_costs_nothing() -> None:
    report = made(usage("aws", {}))
    assert (report.net, report.groups) == (0, ())
    encode(report.report)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "$0"),
        ("1234.567", "$1,234.57"),
        ("1", "$1.00"),
        ("0.5", "$0.50"),
        ("0.0123", "$0.012"),
        ("0.000004", "$0.0000040"),
        ("0.00000001", "<$0.000001"),
        ("-0.5", "-$0.50"),
        ("-12", "-$12.00"),
    ],
)
def test_amounts_are_written_with_fitting_precision(amount: str, text: str) -> None:
    assert usd(Decimal(amount)) == text


AWAY = usage("aws", {}, problem="no answer")
BLIND = usage("aws", {"sqs_requests": None, "s3_puts": None}, trades={"BTCUSDT": 5})


@pytest.mark.parametrize("site", [AWAY, BLIND])
@pytest.mark.parametrize("by", BY)
def test_an_unknown_cost_is_never_shown_as_0(site: SiteUsage, by: str) -> None:
    money = Money(CostSettings(budget_usd=20.0), {"aws": Decimal(15)})
    report = made(site, by=by, money=money, forecast=forecast([site], MONTH, NOW))
    document = encode(report.report)
    assert document["net_usd"] is None
    assert document["gross_usd"] is None
    assert all(each["net_usd"] is None for each in document["groups"])
    assert document["sites"]["aws"]["net_usd"] is None
    assert document["budget"]["used_percent"] is None
    assert document["budget"]["sites"]["aws"]["used_percent"] is None
    assert document["forecast"]["expected_usd"] is None
    assert document["forecast"]["sites"]["aws"]["low_usd"] is None
    assert report.unknown_sites == [f"aws: {site.problem or 'no meter could be read'}"]
    text = as_markdown(report)
    assert "2026-11: unknown" in text
    assert "| total | unknown | unknown | no site | no site | no site |" in text


def test_an_unavailable_site_does_not_affect_the_other() -> None:
    money = Money(CostSettings(), {"aws": Decimal(15), "gcp": Decimal(100)})
    document = encode(
        made(AWAY, GCP, money=money, forecast=forecast([AWAY, GCP], MONTH, NOW)).report
    )
    sites = document["budget"]["sites"]
    assert [sites[name]["used_percent"] for name in ("aws", "gcp")] == [None, "80.1"]
    assert document["forecast"]["sites"]["aws"]["expected_usd"] is None
    assert (
        document["forecast"]["expected_usd"] == document["forecast"]["sites"]["gcp"]["expected_usd"]
    )


def test_services_without_a_readable_meter_are_unknown_in_the_comparison() -> None:
    site = usage("aws", {"sqs_requests": 5, "log_bytes": None, "egress_bytes": None})
    rows = {row.service: row.aws_net for row in made(site).comparison}
    assert rows["other"] is None
    assert rows["total"] == 0
