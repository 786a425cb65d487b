"""List prices, one row a meter, each with its region, date and source.

They change a few times a year; a price that is wrong here is wrong everywhere and nowhere else.
"""

from decimal import Decimal
from typing import NamedTuple


class Price(NamedTuple):
    cloud: str
    meter: str
    usd: Decimal
    """For one ``per``."""
    per: Decimal
    """Units of the meter that ``usd`` buys."""
    free: Decimal
    """Units a month that cost nothing, shared by everything on the account."""
    region: str
    date: str
    source: str


def _price(
    cloud: str, meter: str, usd: str, per: str, free: str, source: str, date: str = "2026-11-22"
) -> Price:
    region = {"aws": "us-east-1", "gcp": "us-central1"}[cloud]
    return Price(cloud, meter, Decimal(usd), Decimal(per), Decimal(free), region, date, source)


_AWS, _GCP = "https://aws.amazon.com", "https://cloud.google.com"
_MILLION, _GIB, _TIB = "1000000", str(2**30), str(2**40)

PRICES = {
    (price.cloud, price.meter): price
    for price in (
        _price("aws", "sqs_requests", "0.40", _MILLION, _MILLION, f"{_AWS}/sqs/pricing/"),
        _price("aws", "lambda_requests", "0.20", _MILLION, _MILLION, f"{_AWS}/lambda/pricing/"),
        _price("aws", "lambda_gb_s", "0.0000133334", "1", "400000", f"{_AWS}/lambda/pricing/"),
        _price("aws", "dynamodb_writes", "0.625", _MILLION, "0", f"{_AWS}/dynamodb/pricing/"),
        _price("aws", "dynamodb_reads", "0.125", _MILLION, "0", f"{_AWS}/dynamodb/pricing/"),
        _price("aws", "s3_puts", "0.005", "1000", "0", f"{_AWS}/s3/pricing/"),
        _price("aws", "s3_gets", "0.0004", "1000", "0", f"{_AWS}/s3/pricing/"),
        # GetMetricData, by the metric asked for; it is outside the free million of API requests.
        _price("aws", "metric_reads", "0.01", "1000", "0", f"{_AWS}/cloudwatch/pricing/"),
        _price("aws", "egress_bytes", "0.09", _GIB, "0", f"{_AWS}/ec2/pricing/on-demand/"),
        _price("gcp", "pubsub_bytes", "40", _TIB, str(10 * 2**30), f"{_GCP}/pubsub/pricing"),
        _price("gcp", "function_requests", "0.40", _MILLION, "2000000", f"{_GCP}/run/pricing"),
        _price("gcp", "function_vcpu_s", "0.000024", "1", "180000", f"{_GCP}/run/pricing"),
        _price("gcp", "function_gib_s", "0.0000025", "1", "360000", f"{_GCP}/run/pricing"),
        # 20,000 free writes and 50,000 free reads a day, taken as thirty days.
        _price("gcp", "firestore_writes", "0.09", "100000", "600000", f"{_GCP}/firestore/pricing"),
        _price("gcp", "firestore_reads", "0.03", "100000", "1500000", f"{_GCP}/firestore/pricing"),
        _price("gcp", "gcs_class_a", "0.005", "1000", "5000", f"{_GCP}/storage/pricing"),
        _price("gcp", "gcs_class_b", "0.0004", "1000", "50000", f"{_GCP}/storage/pricing"),
        # By the time series returned.
        _price("gcp", "metric_reads", "0.50", _MILLION, _MILLION, f"{_GCP}/stackdriver/pricing"),
        _price("gcp", "egress_bytes", "0.12", _GIB, "0", f"{_GCP}/vpc/network-pricing"),
    )
}
