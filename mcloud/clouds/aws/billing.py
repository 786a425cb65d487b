"""The bill of a stack, from Cost Explorer, selected by tags."""

import time
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from mcloud.clouds.aws.client import make_client, partition_of, translated
from mcloud.clouds.billing import Bill, BillLine
from mcloud.clouds.resources import AwsResources
from mcloud.errors import Refused

REQUEST = Decimal("0.01")  # dollars, for each page of an answer
REGIONS = {"aws": "us-east-1", "aws-cn": "cn-northwest-1"}
"""Region of Cost Explorer, by the partition of the stack."""


class CostExplorer:
    """Implementation of ``billing.Billing`` for AWS."""

    def __init__(self, resources: AwsResources, stack: str, client: Any = None) -> None:
        self._endpoint = resources.endpoint_url
        self._region = resources.region
        self._tags = {"application": "mcloud", "stack": stack}
        self._made = client

    def bill(self, first: str, last: str) -> Bill:
        if self._endpoint:
            raise Refused("an embedded cloud sends no bill")
        client = self._made or self._client()
        after = (date.fromisoformat(last) + timedelta(days=1)).isoformat()
        arguments: dict[str, Any] = {
            "TimePeriod": {"Start": first, "End": after},
            "Granularity": "DAILY",
            "Metrics": ["UnblendedCost"],
            "GroupBy": [
                {"Type": "DIMENSION", "Key": "SERVICE"},
                {"Type": "DIMENSION", "Key": "RECORD_TYPE"},
            ],
            "Filter": {
                "And": [
                    {"Tags": {"Key": key, "Values": [value]}} for key, value in self._tags.items()
                ]
            },
        }
        lines: list[BillLine] = []
        pages = 0
        token: dict[str, str] = {}
        with translated("Cost Explorer"):
            while True:
                answer = client.get_cost_and_usage(**arguments, **token)
                pages += 1
                for day in answer["ResultsByTime"]:
                    lines += [_line(day["TimePeriod"]["Start"], each) for each in day["Groups"]]
                if not answer.get("NextPageToken"):
                    break
                token = {"NextPageToken": answer["NextPageToken"]}
        scope = ", ".join(f"{key}={value}" for key, value in self._tags.items())
        if not lines:
            raise Refused(
                f"Cost Explorer has no costs with the tags {scope}",
                remedy="activate them as cost allocation tags in the console, and wait a day",
            )
        return Bill(
            *("AWS Cost Explorer", f"resources with the tags {scope}", tuple(lines)),
            *(time.time(), REQUEST * pages),
        )

    def _client(self) -> Any:
        partition = partition_of(self._region)
        if partition not in REGIONS:
            raise Refused(
                f"Cost Explorer does not exist in the partition {partition} of {self._region}",
                remedy="check the bill in the account that pays for this one",
            )
        return make_client("ce", REGIONS[partition])


def _line(day: str, group: dict[str, Any]) -> BillLine:
    service, record = group["Keys"]
    amount = Decimal(group["Metrics"]["UnblendedCost"]["Amount"])
    if record == "Credit":
        return BillLine(day, service, Decimal(0), amount)
    return BillLine(day, service, amount, Decimal(0))
