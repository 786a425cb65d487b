"""Drawing cost."""

from dataclasses import replace
from decimal import Decimal

import pytest
from cost.usages import MONTH, NOW, at, daily, metered, usage
from rich.console import Console, RenderableType

from mcloud.clouds.billing import Bill, BillLine
from mcloud.cost.advise import advise
from mcloud.cost.estimate import EstimateLine, Load
from mcloud.cost.forecast import forecast
from mcloud.cost.report import make_report
from mcloud.cost.settings import CostSettings, Money
from mcloud.cost.usage import Trades
from mcloud.drawing.cost import advice_view, count, estimate_view, forecast_view, report_view

PLAIN: dict[str, bool] = {"compare": False, "details": False}
SITES = (
    usage(
        "aws",
        {"sqs_requests": 3_500_000, "dynamodb_writes": 2_000_000},
        trades={"BTCUSDT": 4_000_000},
        more=(metered("s3_gets", None, source="unknown: off"),),
    ),
    usage("gcp", {"pubsub_bytes": 2 * 2**36, "function_requests": 1_000_000}),
)


def shown(drawn: RenderableType, width: int = 120) -> list[str]:
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(drawn)
    return [line.rstrip() for line in captured.get().splitlines()]


def test_a_report_is_drawn_with_its_bill() -> None:
    bill = Bill(
        *("AWS Cost Explorer", "resources with the tags"),
        (BillLine("2026-11-01", "Amazon DynamoDB", Decimal("2"), Decimal(0)),),
        *(NOW - 7200, Decimal("0.01")),
    )
    report = make_report(
        *(SITES, MONTH, NOW),
        bills={"aws": bill, "gcp": "no billing export is named"},
        money=Money(CostSettings(budget_usd=20), {"aws": Decimal(2)}),
        forecast=forecast(SITES, MONTH, NOW),
    )
    lines = shown(report_view(report, compare=True, details=True), width=400)
    assert lines[:11] == [
        "2026-11: $6.86 after free tiers, $8.05 at list price (estimate)",
        "site  service       list      net  share  per million    today",
        "aws   storage    unknown  unknown             unknown           + unknown: s3_gets",
        "      database     $1.25    $1.25    18%        $0.31           ███▎",
        "      messaging    $1.40    $1.00    15%        $0.25           ██▌",
        "      total        $2.65    $2.25    33%        $0.56  unknown",
        "gcp   functions    $0.40       $0     0%      unknown",
        "      messaging    $5.00    $4.61    67%      unknown           ████████████",
        "      total        $5.40    $4.61    67%      unknown  unknown",
        "all   total        $8.05    $6.86   100%               unknown",
        "",
    ]
    meters = lines.index("", 11)
    assert lines[11].split() == ["site", "meter", "used", "free", "list", "net", "from"]
    lines = lines[meters + 1 :]
    assert lines[:7] == [
        "service    AWS list  AWS net  GCP list  GCP net  GCP saves",
        "functions        $0       $0     $0.40       $0         $0",
        "storage     unknown  unknown        $0       $0    unknown",
        "database      $1.25    $1.25        $0       $0      $1.25",
        "messaging     $1.40    $1.00     $5.00    $4.61     -$3.61",
        "other            $0       $0        $0       $0         $0",
        "total         $2.65    $2.25     $5.40    $4.61     -$2.36",
    ]
    unknown = "the change since yesterday is unknown"
    assert lines[8:18] == [
        "aws: billed $2.00 (AWS Cost Explorer, 2 h 00 min old)",
        "aws: 4,000,000 trades (heartbeats)",
        "gcp: billed: unknown: no billing export is named",
        "gcp: trades unknown (heartbeats)",
        f"aws: {unknown}, because dynamodb_writes is not counted by day",
        f"gcp: {unknown}, because function_requests is not counted by day",
        "budget: 34% of $20.00 used, 73% by the end of the month",
        "budget of aws: 112% of $2.00 used",
        "forecast: $14.51, between $6.86 and $22.56",
        "this report cost $0.010 at most",
    ]
    assert len(lines) > 18
    assert all(line.startswith("· ") for line in lines[18:])


def test_unknown_trades_have_their_reason_without_details() -> None:
    away = Trades({}, None, "unknown: the candles: no answer within 1.4 s")
    report = make_report((SITES[0], replace(SITES[1], trades=away)), MONTH, NOW)
    lines = shown(report_view(report, **PLAIN))
    assert "gcp: trades unknown: the candles: no answer within 1.4 s" in lines
    assert not any(line.startswith("aws: trades") for line in lines)


def test_a_report_ends_with_one_footer() -> None:
    report = make_report(SITES, MONTH, NOW, forecast=forecast(SITES, MONTH, NOW))
    *_, above, footer = shown(report_view(report, compare=False, details=False), width=400)
    assert above == "forecast: $14.51, between $6.86 and $22.56"
    assert footer.startswith("an estimate: metered usage at list prices of 2026-")
    assert footer.endswith("; 1 more note with --details")


def test_the_change_since_yesterday_is_shown_where_it_is_known() -> None:
    sites = (
        usage("aws", {}, more=(daily("dynamodb_writes", [8_000_000, 1_000_000, 2_000_000]),)),
        usage("gcp", {"function_requests": 3_000_000}),
    )
    lines = shown(report_view(make_report(sites, MONTH, at("2026-11-03T12:00")), **PLAIN))
    rows = {tuple(line.split()[:2]): line.split() for line in lines}
    assert rows["aws", "database"][2:4] == ["$6.88", "$6.88"]
    assert rows["total", "$6.88"][-1] == "+$1.25"
    assert rows["total", "$1.20"][-1] == "unknown"
    assert rows["all", "total"][-1] == "unknown"
    whole = make_report(sites[:1], MONTH, at("2026-11-03T12:00"))
    title = shown(report_view(whole, **PLAIN))[0]
    assert title.endswith("(estimate), +$1.25 today")
    past = shown(report_view(make_report(sites, MONTH, at("2026-12-03T12:00")), **PLAIN))
    assert "today" not in "\n".join(past)


@pytest.mark.parametrize("width", [60, 80])
def test_no_number_is_cut_on_a_narrow_terminal(width: int) -> None:
    drawn = report_view(make_report(SITES, MONTH, NOW), **PLAIN, width=width)
    lines = shown(drawn, width)
    row = next(line for line in lines if "database" in line)
    assert row.split()[:3] == ["database", "$1.25", "$1.25"]
    assert all(len(line) <= width for line in lines)


def test_every_meter_with_source_and_age() -> None:
    old = usage("aws", {}, more=(metered("s3_puts", "1500.4", as_of=NOW - 300, exact=False),))
    lines = shown(report_view(make_report([old], MONTH, NOW), compare=False, details=True))
    row = next(line for line in lines if "s3_puts" in line)
    assert row.split() == [
        *("aws", "s3_puts", "1,500", "0", "$0.0075", "$0.0075"),
        *("CloudWatch", "(estimate),", "5", "min", "00", "s", "old"),
    ]


def test_an_unknown_meter_shows_no_money() -> None:
    lines = shown(report_view(make_report(SITES, MONTH, NOW), compare=False, details=True))
    row = next(line for line in lines if line.split()[1:2] == ["s3_gets"])
    assert row.split() == ["aws", "s3_gets", "unknown", "unknown:", "off"]


def test_a_forecast_is_drawn_for_each_site() -> None:
    *table, basis = shown(forecast_view(forecast(SITES, MONTH, NOW)))
    assert table == [
        "     expected    low    high",
        "aws     $4.90  $2.25   $7.55",
        "gcp     $9.61  $4.61  $15.01",
        "all    $14.51  $6.86  $22.56",
    ]
    assert basis.startswith("by the end of 2026-11; based on 15.0 days of use, too few")


def test_a_free_tier_that_runs_out_is_shown() -> None:
    lines = shown(forecast_view(forecast([usage("aws", {"sqs_requests": 750_000})], MONTH, NOW)))
    assert lines[-1] == "the free tier of aws sqs_requests is used up on 2026-11-21"


def test_advice_is_drawn_with_its_saving() -> None:
    busy = usage("aws", {}, more=(daily("dynamodb_writes", [8_640_000] * 15),))
    lines = shown(advice_view(advise([busy], MONTH, NOW, profile="prod")))
    assert lines[1].startswith(" up to $78.96  aws   provision the candle table: 200 write")
    assert "candles_capacity = { write = 200, read = 1 }" in lines[2]


@pytest.mark.parametrize(
    ("units", "words"),
    [("0", "0"), ("12", "12"), ("1234567.8", "1,234,568"), ("0.5", "0.5"), ("0.00001", "1.0e-5")],
)
def test_counts_are_rounded_and_grouped(units: str, words: str) -> None:
    assert count(Decimal(units)) == words


def test_an_estimate_shows_what_a_replicator_adds() -> None:
    def lines(*costs: str) -> list[EstimateLine]:
        values = map(Decimal, costs)
        return [
            EstimateLine(cloud, cloud, month, "database", cost, cost)  # type: ignore[arg-type]
            for (cloud, month), cost in zip(
                [("aws", 1), ("aws", 12), ("gcp", 1), ("gcp", 12)], values, strict=True
            )
        ]

    pipeline, together = lines("1", "2", "3", "4"), lines("1.5", "2.5", "3", "4.25")
    drawn = shown(estimate_view(Load(1, 30, 5), pipeline, together, free_tier=True))
    assert drawn[-2].split() == ["replicator", "+$0.50", "+$0.50", "+$0", "+$0.25"]
    alone = [line for line in pipeline if line.site == "aws"]
    drawn = shown(estimate_view(Load(1, 30, 5), alone, alone, free_tier=True))
    assert not any("replicator" in line for line in drawn)
