"""The cost of watching: the counted calls at list price.

Reads of settings are free of charge: Lambda's GetFunctionConfiguration, DynamoDB's DescribeTable,
Pub/Sub's GetSubscription and the Functions API. The pricing pages of ``prices`` list the billed
calls, and these are not among them. A query of Firestore counts as at least one read.
"""

from collections.abc import Mapping
from decimal import Decimal

from mcloud.cost.marginal import message_cost
from mcloud.cost.prices import PRICES

Calls = Mapping[tuple[str, str], int]
"""Number of calls by cloud and by the probed service or one of the other names in `METERS`."""

CANARY_SIZE = 300  # bytes
MANY = 10**9  # messages this month: free tiers are used up

METERS: Mapping[tuple[str, str], str | None] = {
    ("aws", "queue"): "sqs_requests",
    ("aws", "function"): None,
    ("aws", "candles"): None,
    ("aws", "archive"): "s3_gets",
    ("aws", "depth"): "sqs_requests",
    ("aws", "record"): "dynamodb_reads",
    ("aws", "kept"): "dynamodb_reads",
    ("aws", "candle"): "dynamodb_reads",
    ("gcp", "queue"): None,
    ("gcp", "function"): None,
    ("gcp", "candles"): "firestore_reads",
    ("gcp", "archive"): "gcs_class_a",
    ("gcp", "depth"): "metric_reads",
    ("gcp", "record"): "firestore_reads",
    ("gcp", "kept"): "firestore_reads",
    ("gcp", "candle"): "firestore_reads",
}
"""The meter of each call. None if the call is free of charge."""


def dollars(calls: Calls) -> Decimal:
    """Return the cost of the calls at list price, without free tiers."""
    return sum((count * _price(*call) for call, count in calls.items()), Decimal(0))


def _price(cloud: str, call: str) -> Decimal:
    if call == "canary":
        return message_cost(cloud, CANARY_SIZE, MANY)
    meter = METERS[cloud, call]
    return Decimal(0) if meter is None else PRICES[cloud, meter].each
