"""``mcloud cost`` on the embedded clouds, and its errors."""

import csv
import json
from decimal import Decimal
from pathlib import Path

import pytest
from patience import eventually

from mcloud.cost.month import Month
from mcloud.cost.run import run_cost
from mcloud.local import meter
from mcloud.local.state import State

from .conftest import Terminal


def test_the_cost_of_a_run_on_the_embedded_clouds(mcloud_up: Terminal, embedded: State) -> None:
    """The report is the price of what the meters counted, on both clouds."""
    home = Path(embedded.options["home"])
    before = meter.read(home)
    done = mcloud_up.run(
        "produce", "--source", "simulate", "--symbols", "COSTUSDT", "--count", 1_000
    )
    assert done.returncode == 0, done.stderr

    def counted() -> bool:
        now = meter.read(home)
        return all(
            now[site].get(name, 0) > before[site].get(name, 0)
            for site, name in (("aws", "lambda_requests"), ("gcp", "function_requests"))
        )

    eventually(counted)
    report = json.loads(mcloud_up.run("cost", "report", "-o", "json").stdout)
    assert report["month"]
    assert report["estimate"] is True
    lines = {(line["site"], line["meter"]): line for line in report["lines"]}
    for site, service in (("aws", "sqs_requests"), ("gcp", "pubsub_bytes")):
        assert Decimal(lines[site, service]["used"]) > 0
        assert lines[site, service]["exact"] is True
        assert lines[site, service]["source"] == "embedded meter"
    # The cost is computed again from the usage in the report.
    meters: dict[str, dict[str, Decimal]] = {"aws": {}, "gcp": {}}
    for (site, name), line in lines.items():
        meters[site][name] = Decimal(line["used"])
    for site, cost in run_cost(meters, {"aws": "aws", "gcp": "gcp"}).items():
        told = sum(Decimal(x["gross_usd"]) for x in report["groups"] if x["site"] == site)
        assert told == pytest.approx(cost.gross, abs=Decimal("1e-7"))
        assert report["sites"][site]["billed"] == {"unknown": "the embedded clouds send no bill"}
    assert Decimal(report["sites"]["aws"]["trades"]) > 0


@pytest.mark.slow
def test_a_report_is_printed_in_every_format(mcloud_up: Terminal) -> None:
    text = mcloud_up.run("cost", "report", "--compare", "--details", "--by", "symbol")
    assert text.returncode == 0, text.stderr
    assert "GCP saves" in text.stdout
    table = list(csv.DictReader(mcloud_up.run("cost", "report", "-o", "csv").stdout.splitlines()))
    assert {row["site"] for row in table} == {"aws", "gcp"}
    markdown = mcloud_up.run("cost", "report", "-o", "md", "--no-free-tier").stdout
    assert markdown.startswith("## Cost of ")
    assert "### By cloud" in markdown
    forecast = mcloud_up.run("cost", "forecast", "-o", "json")
    expected = json.loads(forecast.stdout)
    assert Decimal(expected["low_usd"]) <= Decimal(expected["expected_usd"])
    advice = mcloud_up.run("cost", "advise", "-o", "json")
    assert advice.returncode == 0, advice.stderr
    assert all(Decimal(each["saving_usd_a_month"]) > 0 for each in json.loads(advice.stdout))


def test_a_month_without_usage_and_an_unused_budget(mcloud_up: Terminal) -> None:
    (mcloud_up.folder / "mcloud.toml").write_text("[cost]\nbudget_usd = 20\n")
    done = mcloud_up.run("cost", "report", "--month", "2024-01", "--check", "-o", "json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["month"], report["budget"]["used_percent"]) == ("2024-01", "0")
    assert report["forecast"]["rests_on"] == "the month is over"


def test_a_budget_that_is_used_up(mcloud_up: Terminal, embedded: State) -> None:
    """Ten billion requests are written into the meter of the previous month."""
    month = Month(2023, 5)
    home = Path(embedded.options["home"])
    path = home / "data" / "meters" / "aws.json"
    eventually(path.exists)
    other = mcloud_up.folder / "other" / "local"
    (other / "data" / "meters").mkdir(parents=True)
    (other / "data" / "meters" / "aws.json").write_text(
        json.dumps(
            {"since": month.start, "months": {month.name: {"sqs_requests": {"trades": 10**10}}}}
        )
    )
    for name in ("state.json", "lock"):
        (other / name).symlink_to(home / name)
    (mcloud_up.folder / "mcloud.toml").write_text("[cost.budgets]\naws = 20\n")
    done = mcloud_up.run(
        *("cost", "report", "--month", month.name, "--check"),
        MCLOUD_STATE=str(other.parent),
    )
    assert done.returncode == 3, done.stderr
    assert "warning: over budget: aws: $3,999.60 of a budget of $20.00" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "--month", "2026-13"], "invalid month '2026-13'; use one such as 2026-10"),
        (["report", "--month", "2099-01"], "2099-01 is in the future"),
        (["report", "--by", "day"], "unknown grouping 'day'; choose from service, site, symbol"),
        (["forecast", "-o", "csv"], "unknown output format 'csv'"),
    ],
)
def test_invalid_arguments_are_refused(
    mcloud: Terminal, arguments: list[str], message: str
) -> None:
    done = mcloud.run("cost", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_invalid_setting_is_reported_with_its_line(mcloud: Terminal) -> None:
    (mcloud.folder / "mcloud.toml").write_text("[cost]\nbudget_usd = 'much'\n")
    done = mcloud.run("cost", "report")
    assert done.returncode == 2
    assert "mcloud.toml:2: cost.budget_usd must be a number, not 'much'" in done.stderr
