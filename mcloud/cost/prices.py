"""List prices: one row per meter, with its region, date and source.

They change a few times per year. All prices of mcloud are here. Two clouds may have a meter of the
same name, such as ``log_bytes``.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal, NamedTuple, get_args

from mcloud.clouds.resources import Cloud

CostService = Literal[
    "functions",
    "storage",
    "database",
    "messaging",
    "logs",
    "monitoring",
    "schedules",
    "network",
    "billing",
]
SERVICES: tuple[CostService, ...] = get_args(CostService)

MONTH, DAY = "month", "day"


class Price(NamedTuple):
    cloud: Cloud
    meter: str
    service: CostService
    unit: str
    """Unit of the meter, such as ``request`` or ``GiB-month``."""
    usd: Decimal
    """Price in dollars of ``per`` units."""
    per: Decimal
    """Number of units that ``usd`` buys."""
    free: Decimal
    """Free units every ``free_every``, shared by everything on the account."""
    free_every: str
    """``month`` or ``day``. The rest of a day's free units is lost at its end."""
    region: str
    date: str
    source: str
    doubt: str
    """Why the price should be verified before money depends on it. Empty for most rows."""
    since: str = ""
    """First day on which a price that is only announced will be billed; empty for most rows."""

    @property
    def free_a_month(self) -> Decimal:
        """Free units of a month of thirty equal days."""
        return self.free * 30 if self.free_every == DAY else self.free

    @property
    def each(self) -> Decimal:
        """Price in dollars of one unit beyond the free tier."""
        return self.usd / self.per


REGIONS = {"aws": "us-east-1", "gcp": "us-central1"}
"""Regions of all rows. Elsewhere most prices are the same or up to a third higher."""

GIB, TIB = 2**30, 2**40
_MILLION = 10**6
_HOURS = 730  # of a month, as AWS counts it
_DATE = "2026-11-22"
_UNSEEN = "not confirmed on its page"
_OPEN = "sources differ"

_PAGES = {"aws": "https://aws.amazon.com/", "gcp": "https://cloud.google.com/"}


def _price(
    cloud: Cloud,
    meter: str,
    service: CostService,
    unit: str,
    usd: str,
    per: int,
    free: float,
    page: str,
    *,
    every: str = MONTH,
    doubt: str = "",
    since: str = "",
) -> Price:
    return Price(
        *(cloud, meter, service, unit, Decimal(usd), Decimal(per), Decimal(str(free)), every),
        *(REGIONS[cloud], _DATE, _PAGES[cloud] + _path(cloud, page), doubt, since),
    )


def _path(cloud: Cloud, page: str) -> str:
    if "pricing" in page:
        return page
    return f"{page}/pricing/" if cloud == "aws" else f"{page}/pricing"


_ROWS = (
    # SQS bills every 64 KiB of a request as one.
    _price("aws", "sqs_requests", "messaging", "request", "0.40", _MILLION, _MILLION, "sqs"),
    # Data Firehose bills each record by the started 5 KB.
    _price(
        *("aws", "firehose_bytes", "messaging", "byte", "0.029", GIB, 0, "firehose"), doubt=_UNSEEN
    ),
    _price("aws", "lambda_requests", "functions", "call", "0.20", _MILLION, _MILLION, "lambda"),
    # On arm64, which the stack uses; x86 is 0.0000166667.
    _price("aws", "lambda_gb_s", "functions", "GB-s", "0.0000133334", 1, 400_000, "lambda"),
    _price("aws", "dynamodb_writes", "database", "write unit", "0.625", _MILLION, 0, "dynamodb"),
    _price("aws", "dynamodb_reads", "database", "read unit", "0.125", _MILLION, 0, "dynamodb"),
    _price("aws", "dynamodb_gib_months", "database", "GiB-month", "0.25", 1, 25, "dynamodb"),
    _price("aws", "dynamodb_pitr_gib_months", "database", "GiB-month", "0.20", 1, 0, "dynamodb"),
    _price(
        *("aws", "dynamodb_stream_reads", "database", "read", "0.20", _MILLION),
        *(2_500_000, "dynamodb"),
    ),
    # Provisioned capacity, for comparison with on-demand requests.
    _price(
        *("aws", "dynamodb_wcu_hours", "database", "WCU-hour", "0.00065", 1, 25 * _HOURS),
        "dynamodb/pricing/provisioned/",
        doubt=_UNSEEN,
    ),
    _price(
        *("aws", "dynamodb_rcu_hours", "database", "RCU-hour", "0.00013", 1, 25 * _HOURS),
        "dynamodb/pricing/provisioned/",
        doubt=_UNSEEN,
    ),
    _price("aws", "s3_gib_months", "storage", "GiB-month", "0.023", 1, 0, "s3"),
    _price("aws", "s3_ia_gib_months", "storage", "GiB-month", "0.0125", 1, 0, "s3"),
    _price("aws", "s3_glacier_ir_gib_months", "storage", "GiB-month", "0.004", 1, 0, "s3"),
    # Moves of objects by the lifecycle, reads of moved objects, and the bytes of these reads.
    _price("aws", "s3_glacier_ir_transitions", "storage", "object", "0.02", 1000, 0, "s3"),
    _price("aws", "s3_glacier_ir_gets", "storage", "request", "0.01", 1000, 0, "s3"),
    _price("aws", "s3_glacier_ir_retrieved_bytes", "storage", "byte", "0.03", GIB, 0, "s3"),
    # PUT, COPY, POST and LIST.
    _price("aws", "s3_puts", "storage", "request", "0.005", 1000, 0, "s3"),
    # GET and all others but DELETE, which is free.
    _price("aws", "s3_gets", "storage", "request", "0.0004", 1000, 0, "s3"),
    _price("aws", "log_bytes", "logs", "byte", "0.50", GIB, 5 * GIB, "cloudwatch"),
    _price("aws", "log_gib_months", "logs", "GiB-month", "0.03", 1, 5, "cloudwatch", doubt=_UNSEEN),
    _price("aws", "alarm_months", "monitoring", "alarm-month", "0.10", 1, 10, "cloudwatch"),
    _price("aws", "metric_months", "monitoring", "metric-month", "0.30", 1, 10, "cloudwatch"),
    _price("aws", "dashboard_months", "monitoring", "dashboard-month", "3", 1, 3, "cloudwatch"),
    # GetMetricData, per metric requested. It is not part of the free million of API requests.
    _price("aws", "metric_reads", "monitoring", "metric", "0.01", 1000, 0, "cloudwatch"),
    _price(
        "aws", "xray_traces", "monitoring", "trace", "5", _MILLION, 100_000, "xray", doubt=_UNSEEN
    ),
    _price("aws", "eventbridge_events", "schedules", "event", "1.00", _MILLION, 0, "eventbridge"),
    _price(
        *("aws", "scheduler_invocations", "schedules", "call", "1.00", _MILLION, 14 * _MILLION),
        "eventbridge",
        doubt=_UNSEEN,
    ),
    _price("aws", "kms_key_months", "monitoring", "key-month", "1.00", 1, 0, "kms", doubt=_UNSEEN),
    _price("aws", "websocket_messages", "network", "message", "1.00", _MILLION, 0, "api-gateway"),
    _price(
        *(
            "aws",
            "egress_bytes",
            "network",
            "byte",
            "0.09",
            GIB,
            100 * GIB,
            "ec2/pricing/on-demand/",
        ),
        doubt=f"the free tier: {_OPEN}",
    ),
    _price(
        "aws",
        "cost_explorer_requests",
        "billing",
        "request",
        "0.01",
        1,
        0,
        "aws-cost-management/aws-cost-explorer/pricing/",
    ),
    # In its Enhanced mode, which `restore --engine transfer-service` uses.
    _price("aws", "datasync_bytes", "network", "byte", "0.015", GIB, 0, "datasync", doubt=_UNSEEN),
    _price("aws", "datasync_runs", "network", "run", "0.55", 1, 0, "datasync", doubt=_UNSEEN),
    # For all bytes published and delivered, with a minimum of 1,000 bytes per request.
    _price("gcp", "pubsub_bytes", "messaging", "byte", "40", TIB, 10 * GIB, "pubsub"),
    # For the bytes that a subscription writes to Cloud Storage, instead of their delivery.
    _price(
        *("gcp", "pubsub_export_bytes", "messaging", "byte", "50", TIB, 0, "pubsub"), doubt=_UNSEEN
    ),
    _price("gcp", "function_requests", "functions", "call", "0.40", _MILLION, 2 * _MILLION, "run"),
    _price("gcp", "function_vcpu_s", "functions", "vCPU-s", "0.000024", 1, 180_000, "run"),
    _price("gcp", "function_gib_s", "functions", "GiB-s", "0.0000025", 1, 360_000, "run"),
    # Unacknowledged messages are kept at no cost for 24 hours.
    _price(
        *("gcp", "pubsub_retained_gib_months", "messaging", "GiB-month", "0.27", 1, 0, "pubsub"),
        doubt=_UNSEEN,
    ),
    # The free tier of Firestore is that of one database a project (see ``Metered.has_free_tier``),
    # and its day ends at midnight in California; days here are UTC.
    _price(
        *("gcp", "firestore_reads", "database", "document", "0.03", 100_000, 50_000, "firestore"),
        every=DAY,
    ),
    _price(
        *("gcp", "firestore_writes", "database", "document", "0.09", 100_000, 20_000, "firestore"),
        every=DAY,
    ),
    _price(
        *("gcp", "firestore_deletes", "database", "document", "0.01", 100_000, 20_000, "firestore"),
        every=DAY,
        doubt=_OPEN,
    ),
    _price(
        *("gcp", "firestore_gib_months", "database", "GiB-month", "0.15", 1, 1, "firestore"),
        doubt=_OPEN,
    ),
    # Neither has a free tier. Backups are billed until they expire, also without their database.
    _price(
        *("gcp", "firestore_pitr_gib_months", "database", "GiB-month", "0.15", 1, 0, "firestore"),
        doubt=_UNSEEN,
    ),
    _price(
        *("gcp", "firestore_backup_gib_months", "database", "GiB-month", "0.03", 1, 0, "firestore"),
        doubt=_UNSEEN,
    ),
    _price("gcp", "gcs_gib_months", "storage", "GiB-month", "0.020", 1, 5, "storage"),
    _price("gcp", "gcs_nearline_gib_months", "storage", "GiB-month", "0.010", 1, 0, "storage"),
    _price("gcp", "gcs_coldline_gib_months", "storage", "GiB-month", "0.004", 1, 0, "storage"),
    # As for the colder class of S3.
    _price("gcp", "gcs_coldline_transitions", "storage", "object", "0.02", 1000, 0, "storage"),
    _price(
        *("gcp", "gcs_coldline_class_b", "storage", "request", "0.01", 1000, 0, "storage"),
        doubt=_OPEN,
    ),
    _price("gcp", "gcs_coldline_retrieved_bytes", "storage", "byte", "0.02", GIB, 0, "storage"),
    # Writes and listings.
    _price("gcp", "gcs_class_a", "storage", "request", "0.005", 1000, 5_000, "storage"),
    # Reads.
    _price("gcp", "gcs_class_b", "storage", "request", "0.0004", 1000, 50_000, "storage"),
    _price("gcp", "log_bytes", "logs", "byte", "0.50", GIB, 50 * GIB, "stackdriver"),
    # Data that the Monitoring API returns to a reader.
    _price(
        "gcp", "metric_reads", "monitoring", "series", "0.50", _MILLION, _MILLION, "stackdriver"
    ),
    _price(
        *("gcp", "trace_spans", "monitoring", "span", "0.20", _MILLION, 2_500_000, "stackdriver"),
        doubt=_UNSEEN,
    ),
    # For each metric to which the condition of an alert policy refers. The points that a condition
    # evaluates ($0.50 per million) are not metered.
    _price(
        *("gcp", "alert_condition_months", "monitoring", "condition-month", "0.35", 1, 0),
        "stackdriver",
        doubt="announced for not before this day",
        since="2027-09-01",
    ),
    # The images of the functions.
    _price(
        *("gcp", "image_gib_months", "functions", "GiB-month", "0.10", 1, 0.5),
        "artifact-registry",
    ),
    _price("gcp", "scheduler_job_months", "schedules", "job-month", "0.10", 1, 3, "scheduler"),
    _price("gcp", "egress_bytes", "network", "byte", "0.12", GIB, 0, "vpc/network-pricing"),
    _price("gcp", "bigquery_bytes", "billing", "byte", "6.25", TIB, TIB, "bigquery", doubt=_UNSEEN),
)


class Commitment(NamedTuple):
    """A discount for a commitment of one year."""

    name: str
    share: Decimal
    how: str
    date: str
    source: str
    doubt: str


COMMITMENTS = {
    ("aws", ("lambda_gb_s",)): Commitment(
        *("Compute Savings Plan, one year, nothing up front", Decimal("0.12")),
        *("AWS console: Savings Plans", _DATE),
        *("https://aws.amazon.com/savingsplans/compute-pricing/", _UNSEEN),
    ),
    ("gcp", ("function_vcpu_s", "function_gib_s")): Commitment(
        *("Cloud Run committed use, one year", Decimal("0.17")),
        *("Google Cloud console: committed use discounts", _DATE),
        *("https://cloud.google.com/run/cud", _UNSEEN),
    ),
}

PRICES: Mapping[tuple[str, str], Price] = {(row.cloud, row.meter): row for row in _ROWS}
