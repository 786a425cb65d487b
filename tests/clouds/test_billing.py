"""Bills in the recorded formats of Cost Explorer and of BigQuery's REST interface."""

import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from mcloud.clouds.aws.billing import CostExplorer
from mcloud.clouds.billing import BillLine
from mcloud.clouds.factory import open_billing
from mcloud.clouds.gcp.billing import BillingExport
from mcloud.clouds.resources import AwsResources, GcpResources
from mcloud.errors import ConfigError, Refused, Unavailable

from .web import Answer, anonymous, google_error, serve

AWS = AwsResources("us-east-1", *("https://sqs/q", "https://sqs/d"), *("t", "c", "b", "f"))
GCP = GcpResources(*("p", "us-central1", "t", "s", "d", "e", "db", "c", "k", "b", "f"))
TABLE = "bills.export.gcp_billing_export_v1_0123AB_4567CD_89EF01"


@pytest.fixture
def explorer() -> Iterator[tuple[CostExplorer, Stubber]]:
    client = boto3.client(
        "ce", region_name="us-east-1", aws_access_key_id="-", aws_secret_access_key="-"
    )
    with Stubber(client) as stub:
        yield CostExplorer(AWS, "mcloud", client), stub
        stub.assert_no_pending_responses()


def asked(**more: str) -> dict[str, Any]:
    tags = [("application", "mcloud"), ("stack", "mcloud")]
    return {
        "TimePeriod": {"Start": "2026-11-01", "End": "2026-11-26"},
        "Granularity": "DAILY",
        "Metrics": ["UnblendedCost"],
        "GroupBy": [
            {"Type": "DIMENSION", "Key": "SERVICE"},
            {"Type": "DIMENSION", "Key": "RECORD_TYPE"},
        ],
        "Filter": {"And": [{"Tags": {"Key": key, "Values": [value]}} for key, value in tags]},
        **more,
    }


def day(date: str, *groups: tuple[str, str, str]) -> dict[str, Any]:
    return {
        "TimePeriod": {"Start": date, "End": "2026-11-30"},
        "Total": {},
        "Groups": [
            {
                "Keys": [service, record],
                "Metrics": {"UnblendedCost": {"Amount": amount, "Unit": "USD"}},
            }
            for service, record, amount in groups
        ],
        "Estimated": True,
    }


def test_cost_explorer_by_day_and_service(explorer: tuple[CostExplorer, Stubber]) -> None:
    billing, stub = explorer
    sqs = "Amazon Simple Queue Service"
    stub.add_response(
        "get_cost_and_usage",
        {"ResultsByTime": [day("2026-11-01", (sqs, "Usage", "0.0000004"))], "NextPageToken": "2"},
        asked(),
    )
    stub.add_response(
        "get_cost_and_usage",
        {
            "ResultsByTime": [
                day("2026-11-02", ("Amazon DynamoDB", "Usage", "1.25"), (sqs, "Credit", "-0.5"))
            ]
        },
        asked(NextPageToken="2"),
    )
    bill = billing.bill("2026-11-01", "2026-11-25")
    assert bill.lines == (
        BillLine("2026-11-01", sqs, Decimal("0.0000004"), Decimal(0)),
        BillLine("2026-11-02", "Amazon DynamoDB", Decimal("1.25"), Decimal(0)),
        BillLine("2026-11-02", sqs, Decimal(0), Decimal("-0.5")),
    )
    assert bill.net == Decimal("0.7500004")
    assert bill.cost == Decimal("0.02")  # two pages
    assert "stack=mcloud" in bill.scope


def test_inactive_tags_are_an_error_and_not_a_cost_of_0(
    explorer: tuple[CostExplorer, Stubber],
) -> None:
    billing, stub = explorer
    stub.add_response("get_cost_and_usage", {"ResultsByTime": [day("2026-11-01")]}, asked())
    with pytest.raises(Refused, match="activate them as cost allocation tags"):
        billing.bill("2026-11-01", "2026-11-25")


def test_errors_of_cost_explorer_are_reported(explorer: tuple[CostExplorer, Stubber]) -> None:
    billing, stub = explorer
    stub.add_client_error("get_cost_and_usage", "AccessDeniedException", "not you", 400)
    with pytest.raises(Refused, match=r"Cost Explorer: AccessDeniedException.*have it granted"):
        billing.bill("2026-11-01", "2026-11-25")
    stub.add_client_error("get_cost_and_usage", "LimitExceededException", "slow down", 400)
    with pytest.raises(Unavailable):
        billing.bill("2026-11-01", "2026-11-25")


def test_an_embedded_cloud_has_no_bill() -> None:
    embedded = AwsResources(
        *("us-east-1", "q", "d", "t", "c", "b", "f"), endpoint_url="http://127.0.0.1:1"
    )
    with pytest.raises(Refused, match="an embedded cloud sends no bill"):
        CostExplorer(embedded, "mcloud").bill("2026-11-01", "2026-11-25")


# As in https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs/query
NAMES = ("day", "service", "labelled", "usd", "credits", "exported")
KINDS = ("STRING", "STRING", "BOOLEAN", "STRING", "STRING", "INTEGER")
SCHEMA = {
    "fields": [
        {"name": name, "type": kind, "mode": "NULLABLE"}
        for name, kind in zip(NAMES, KINDS, strict=True)
    ]
}
ROWS = (
    ("2026-11-01", "Cloud Run Functions", "true", "0.25", "-0.2", "1793500000"),
    ("2026-11-02", "Cloud Firestore", "false", "1.5", "0", "1793600000"),
)


def rows(*values: tuple[str, ...]) -> list[dict[str, Any]]:
    return [{"f": [{"v": value} for value in row]} for row in values]


class BigQuery:
    """Gives its answers in turn, and records the requests."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, method: str, path: str) -> Answer:
        self.asked.append(f"{method} {path}")
        return self.answers.pop(0)

    def bill(self) -> Any:
        with serve(self) as address:
            export = BillingExport("p", "mcloud", TABLE, anonymous(), address)
            return export.bill("2026-11-01", "2026-11-25")


def done(*values: tuple[str, ...], **more: Any) -> Answer:
    return 200, {
        "kind": "bigquery#queryResponse",
        "schema": SCHEMA,
        "jobReference": {"projectId": "p", "jobId": "job_1", "location": "EU"},
        "totalRows": str(len(values)),
        "rows": rows(*values),
        "totalBytesProcessed": "20971520",
        "jobComplete": True,
        "cacheHit": False,
        **more,
    }


def test_the_export_by_day_and_service() -> None:
    server = BigQuery(done(*ROWS))
    bill = server.bill()
    assert bill.lines == (
        BillLine("2026-11-01", "Cloud Run Functions", Decimal("0.25"), Decimal("-0.2")),
        BillLine("2026-11-02", "Cloud Firestore", Decimal("1.5"), Decimal(0), labelled=False),
    )
    assert bill.net == Decimal("1.55")
    assert bill.as_of == 1_793_600_000
    assert bill.scope == "the whole project p"
    assert bill.cost == 20_971_520 * Decimal("6.25") / 2**40
    (call,) = server.asked
    method, path, body = call.split(" ", 2)
    assert (method, path) == ("POST", "/bigquery/v2/projects/p/queries")
    request = json.loads(body)
    assert request["useLegacySql"] is False
    assert request["maximumBytesBilled"] == str(2**30)
    assert f"FROM `{TABLE}`" in request["query"]
    values = {each["name"]: each["parameterValue"]["value"] for each in request["queryParameters"]}
    assert values == {
        "stack": "mcloud",
        "project": "p",
        "first": "2026-11-01",
        "last": "2026-11-25",
    }
    for name in values:
        assert f"@{name}" in request["query"]


def test_a_slow_query_with_several_pages() -> None:
    server = BigQuery(
        (200, {"jobComplete": False, "jobReference": {"jobId": "job_1", "location": "EU"}}),
        done(ROWS[0], pageToken="next"),
        done(ROWS[1]),
    )
    assert len(server.bill().lines) == 2
    assert server.asked[1].startswith("GET /bigquery/v2/projects/p/queries/job_1?timeoutMs=30000")
    assert "location=EU" in server.asked[1]
    assert "pageToken" not in server.asked[1]
    assert "pageToken=next" in server.asked[2]


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (google_error(403, "Access Denied"), Refused, "BigQuery: Access Denied; have the roles"),
        (google_error(404, "Not found: Table"), Refused, "Not found: Table; correct gcp_billing_"),
        (google_error(400, "bytes billed limit exceeded"), Refused, "limit exceeded"),
        (google_error(429, "quota"), Unavailable, "quota"),
        ((503, "busy"), Unavailable, "HTTP 503"),
        (done(), Refused, "has no costs of p in these days"),
    ],
)
def test_an_error_of_the_export_is_reported(
    answer: Answer, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        BigQuery(answer).bill()


def test_a_server_that_does_not_answer() -> None:
    export = BillingExport("p", "mcloud", TABLE, anonymous(), "http://127.0.0.1:1")
    with pytest.raises(Unavailable, match="the billing export"):
        export.bill("2026-11-01", "2026-11-25")


@pytest.mark.parametrize(
    "table", ["", "export.table", "p.d.t`; DROP TABLE x; --", "p.d.t t", "P d"]
)
def test_an_invalid_table_name_is_refused(table: str) -> None:
    with pytest.raises(ConfigError, match="gcp_billing_table is not a table"):
        BillingExport("p", "mcloud", table)


def test_the_factory_opens_the_billing_of_each_cloud() -> None:
    assert isinstance(open_billing(AWS, "mcloud", None), CostExplorer)
    assert isinstance(open_billing(GCP, "mcloud", TABLE), BillingExport)
    with pytest.raises(ConfigError, match="gcp_billing_table in \\[cost\\]"):
        open_billing(GCP, "mcloud", None)


@pytest.mark.parametrize(
    ("region", "endpoint"),
    [
        ("eu-west-1", "https://ce.us-east-1.amazonaws.com"),
        ("cn-north-1", "https://ce.cn-northwest-1.amazonaws.com.cn"),
    ],
)
def test_cost_explorer_of_each_partition(region: str, endpoint: str) -> None:
    client = CostExplorer(replace(AWS, region=region), "mcloud")._client()
    assert client.meta.endpoint_url == endpoint


def test_a_partition_without_a_cost_explorer_is_reported() -> None:
    stack = CostExplorer(replace(AWS, region="us-gov-west-1"), "mcloud")
    with pytest.raises(Refused, match="does not exist in the partition aws-us-gov") as caught:
        stack.bill("2026-11-01", "2026-11-25")
    assert "the account that pays for this one" in caught.value.remedy
