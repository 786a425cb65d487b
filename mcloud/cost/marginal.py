"""The cost of the next message at a site, from its queue to its stores.

An estimate at list prices: one function call and one candle per message, and its share of a staged
object. It ranks sites and does not predict the bill.
"""

from decimal import Decimal

from mcloud.clouds.resources import Cloud
from mcloud.cost.calls import units
from mcloud.cost.prices import PRICES
from mcloud.cost.unmetered import billed_time
from mcloud.market.envelope import SQS_CHUNK
from mcloud.market.staged import RECORD

SMALLEST = 1000  # bytes that Pub/Sub bills at least, for a publish and for a delivery

# Seconds of a function for one message, its share of a cold start included; measured embedded.
CALL = Decimal("0.1")


def message_cost(cloud: Cloud, size: int, sent: int) -> Decimal:
    """Return the cost in dollars of one more message of ``size`` bytes, after ``sent`` like it this
    month.

    The free tiers are assumed to be for this pipeline alone.
    """
    cost = Decimal(0)
    for meter, count in message_units(cloud, size).items():
        price = PRICES[cloud, meter]
        if count * sent >= price.free_a_month:
            cost += count * price.each
    return cost


def message_units(cloud: Cloud, size: int) -> dict[str, Decimal]:
    """Return the units of each meter for one message."""
    if cloud == "aws":
        chunks = Decimal(-(-size // SQS_CHUNK))
        return {
            "sqs_requests": 3 * chunks,  # sent, received, deleted
            "lambda_requests": Decimal(1),
            **billed_time(cloud, CALL),
            **units(cloud, "write_candle"),  # usually not read before
            "firehose_bytes": Decimal(-(-size // RECORD) * RECORD),
        }
    return {
        "pubsub_bytes": Decimal(2 * max(size, SMALLEST)),
        "function_requests": Decimal(1),
        **billed_time(cloud, CALL),
        **units(cloud, "write_candle"),  # usually not read before
        "pubsub_export_bytes": Decimal(size),
    }
