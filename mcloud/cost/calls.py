"""The cost of calls to a site: the billed units of each, and their list price.

Everything that makes such calls, or estimates them, uses this table. Calls that read settings are
free of charge: Lambda's GetFunctionConfiguration, DynamoDB's DescribeTable, Pub/Sub's
GetSubscription and the Functions API. The pricing pages of ``prices`` list the billed calls, and
these are not among them. The embedded clouds bill by their own rules, and a test compares the two.
"""

from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from mcloud.clouds.heartbeats import DOCUMENTS
from mcloud.clouds.resources import Cloud
from mcloud.cost.prices import PRICES

CANDLE = 1200  # bytes of a stored candle, measured
HEARTBEAT = 50  # bytes of the heartbeat of a symbol in its document, measured
_DOCUMENT = 100  # bytes of another document of the control store
_READ = 4096  # bytes of a read unit of DynamoDB
_HALF, _ONE = Decimal("0.5"), Decimal(1)


class MeterUnits(NamedTuple):
    """Units of one meter that a call takes."""

    meter: str
    units: Decimal = _ONE
    per: int = 1
    """Number of things that the call reads or writes for these units. A started unit counts as a
    whole one."""
    most: int | None = None
    """Maximum number of times that the call takes these units. None means no maximum."""


# An eventually consistent read of DynamoDB, as each query is, takes half a unit for each 4 KiB. A
# consistent one takes a unit. A query of Firestore that finds nothing is one read.
CALLS: Mapping[tuple[str, str], tuple[MeterUnits, ...]] = {
    # Probes of services; see ``ports.SERVICES``.
    ("aws", "queue"): (MeterUnits("sqs_requests"),),
    ("gcp", "queue"): (),
    ("aws", "function"): (),
    ("gcp", "function"): (),
    ("aws", "candles"): (),
    ("gcp", "candles"): (MeterUnits("firestore_reads"),),
    ("aws", "archive"): (MeterUnits("s3_gets"),),
    ("gcp", "archive"): (MeterUnits("gcs_class_a"),),
    # The depth of a queue.
    ("aws", "depth"): (MeterUnits("sqs_requests"),),
    ("gcp", "depth"): (MeterUnits("metric_reads"),),
    # Figures of the metrics service: metrics of CloudWatch, series of Cloud Monitoring.
    ("aws", "figures"): (MeterUnits("metric_reads"),),
    ("gcp", "figures"): (MeterUnits("metric_reads"),),
    # The control record, and all documents of one kind.
    ("aws", "record"): (MeterUnits("dynamodb_reads"),),
    ("gcp", "record"): (MeterUnits("firestore_reads"),),
    ("aws", "kept"): (MeterUnits("dynamodb_reads", _HALF, _READ // _DOCUMENT),),
    ("gcp", "kept"): (MeterUnits("firestore_reads"),),
    # All heartbeats. On AWS, those of earlier releases, usually none, take a query of their own.
    ("aws", "heartbeats"): (
        MeterUnits("dynamodb_reads", _HALF, most=1),
        MeterUnits("dynamodb_reads", _HALF, _READ // HEARTBEAT),
    ),
    ("gcp", "heartbeats"): (MeterUnits("firestore_reads", most=DOCUMENTS),),
    # Successive candles of a symbol, and a write of one, with or without a candle before it.
    ("aws", "candle"): (MeterUnits("dynamodb_reads", _HALF, _READ // CANDLE),),
    ("gcp", "candle"): (MeterUnits("firestore_reads"),),
    ("aws", "write_candle"): (MeterUnits("dynamodb_writes", 2 * _ONE),),  # a unit is 1 KiB
    ("gcp", "write_candle"): (MeterUnits("firestore_writes"),),
    # An object of the raw archive.
    ("aws", "read_object"): (MeterUnits("s3_gets"),),
    ("gcp", "read_object"): (MeterUnits("gcs_class_b"),),
    ("aws", "write_object"): (MeterUnits("s3_puts"),),
    ("gcp", "write_object"): (MeterUnits("gcs_class_a"),),
}
"""By cloud and call. A call without charges is free."""


def units(cloud: Cloud, call: str, count: int = 1) -> dict[str, Decimal]:
    """Return the units of each meter that a call takes.

    Args:
        call: one of those in ``CALLS``.
        count: number of things that it reads or writes. A read that finds nothing costs as much as
            one that finds something.
    """
    found: dict[str, Decimal] = defaultdict(Decimal)
    for charge in CALLS[cloud, call]:
        times = -(-max(1, count) // charge.per)
        found[charge.meter] += charge.units * min(times, charge.most or times)
    return dict(found)


def price(cloud: Cloud, units: Mapping[str, Decimal]) -> Decimal:
    """Return the cost of units in dollars at list price, without free tiers."""
    return sum((PRICES[cloud, meter].each * each for meter, each in units.items()), Decimal(0))
