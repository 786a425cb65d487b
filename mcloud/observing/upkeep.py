"""The cost of watching the sites at list price, from the questions and their intervals."""

from collections.abc import Mapping
from decimal import Decimal

from mcloud.clouds.aws.metrics import METRICS
from mcloud.cost.prices import PRICES

MONTH = 30 * 24 * 3600.0  # seconds
BEATS_A_UNIT = 40  # heartbeats of about 100 bytes in a read unit of DynamoDB, 4 KiB
CANDLES_A_SYMBOL = 4  # see `recent.MINUTES`
# Maximum number of metrics for the cost of the month: see ``ports.Usage``.
USAGE = {"aws": 30, "gcp": 60}
SERIES = 7  # series of Cloud Monitoring: two backlogs, an age, two classes of calls, p95, writes


def asked(cloud: str, part: str, symbols: int, lags: int) -> dict[str, Decimal]:
    """Return the units of each meter that one question to a site takes.

    Args:
        part: a query of ``queries.queries_of``, or ``cost``. Requests without a charge have no
            units.
        symbols: number of symbols with a heartbeat on the site.
        lags: number of lags that replicators store on the site.
    """
    half, one = Decimal("0.5"), Decimal(1)
    if cloud == "aws":
        # An eventually consistent read is half a unit for each 4 KiB.
        pages = -(-max(1, symbols) // BEATS_A_UNIT)
        return {
            "queue": {"sqs_requests": one},
            "archive": {"s3_gets": one},
            "depth": {"sqs_requests": one},
            "dead": {"sqs_requests": one},
            "figures": {"metric_reads": Decimal(METRICS)},
            "cost": {"metric_reads": Decimal(USAGE[cloud])},
            "beats": {"dynamodb_reads": half * pages},
            "lags": {"dynamodb_reads": half},
            "guard": {"dynamodb_reads": half},
            "debts": {"dynamodb_reads": half},
            "silences": {"dynamodb_reads": half},
            "record": {"dynamodb_reads": one},
            "recent": {"dynamodb_reads": one * symbols},
        }.get(part, {})
    # A query of Firestore that finds nothing is one read.
    return {
        "candles": {"firestore_reads": one},
        "archive": {"gcs_class_a": one},
        "figures": {"metric_reads": Decimal(SERIES)},
        "cost": {"metric_reads": Decimal(USAGE[cloud])},
        "beats": {"firestore_reads": Decimal(max(1, symbols))},
        "lags": {"firestore_reads": Decimal(max(1, lags))},
        "guard": {"firestore_reads": one},
        "debts": {"firestore_reads": one},
        "silences": {"firestore_reads": one},
        "record": {"firestore_reads": one},
        "recent": {"firestore_reads": Decimal(symbols * CANDLES_A_SYMBOL)},
    }.get(part, {})


def price(cloud: str, units: Mapping[str, Decimal]) -> Decimal:
    """Return the cost in dollars at list price, without free tiers."""
    return sum(
        (
            PRICES[cloud, meter].usd * count / PRICES[cloud, meter].per
            for meter, count in units.items()
        ),
        Decimal(0),
    )


def a_month(cloud: str, intervals: Mapping[str, float], symbols: int, lags: int) -> Decimal:
    """Return the cost in dollars of thirty days of questions to one site, at these intervals."""
    return sum(
        (
            price(cloud, asked(cloud, part, symbols, lags)) * Decimal(MONTH / interval)
            for part, interval in intervals.items()
        ),
        Decimal(0),
    )
