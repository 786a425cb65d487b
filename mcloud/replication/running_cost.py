"""The requests of ``mcloud replicate`` while the functions of both sites get the same trades.

The replicator polls both sites for changed candles, lists the raw archives of all symbols together
while candles change, and compares the archives as a whole once a day; see ``replication``.
"""

from decimal import Decimal

from mcloud.clouds.gcp.changes import OVERLAP, SWEEP
from mcloud.clouds.resources import Cloud
from mcloud.clouds.staged import DELAY
from mcloud.cost.archiving import listing
from mcloud.cost.estimate import Flow, Load
from mcloud.cost.unmetered import MINUTES
from mcloud.replication.change_follower import CALM, Pauses
from mcloud.replication.raw_comparison import PERIOD, SYMBOLS
from mcloud.replication.raw_replication import LOOKS
from mcloud.replication.replicate import NOTE

RACED = 0.25
"""Share of the changed candles that the replicator brings to a site although the site's own
function has just stored them. Each is read and written again. Measured on the embedded clouds."""

_AGAIN = 1 + (OVERLAP + SWEEP) / SWEEP
"""Number of times that a change is read from Firestore; see ``gcp.changes``."""
_SECONDS = 60 * MINUTES


def polls(freshness: float) -> float:
    """Return the polls per second of a site whose candles change once in ``freshness`` seconds."""
    pauses = Pauses()
    window = max(1.0, freshness)
    calm = max(0.0, window - CALM)
    # The pauses double after a while, so that half a dozen polls pass before they are longest.
    slow = min(calm, 8 * pauses.busy) / pauses.busy / 2 + max(0.0, calm - 10.0) / pauses.idle
    return ((window - calm) / pauses.busy + slow) / window


def replicator(
    cloud: Cloud, flow: Flow, load: Load, month: int, *, others: int
) -> dict[str, Decimal]:
    """Return the units of each meter of a site in a month after the deployment.

    Args:
        others: number of other sites. The replicator copies to and from each of them.
    """
    asked = polls(load.freshness) * _SECONDS
    # The staging bucket and the raw bucket are listed for each direction.
    looks = _SECONDS / (DELAY / LOOKS)
    # The comparison lists the objects of several symbols together.
    daily = listing(load.rates, month - 0.5)
    daily_lists = daily.lists - load.symbols + -(-load.symbols // SYMBOLS)
    lists = 2 * (2 * looks + daily_lists * _SECONDS / PERIOD)
    reads = 2 * daily.reads * _SECONDS / PERIOD
    notes = _SECONDS / NOTE
    if cloud == "aws":
        found = {
            "dynamodb_stream_reads": asked,
            "dynamodb_reads": RACED * flow.writes * MINUTES,
            "dynamodb_writes": RACED * flow.write_units * MINUTES + notes,
            "s3_puts": lists,
            "s3_gets": reads,
        }
    else:
        found = {
            "firestore_reads": asked + (_AGAIN + RACED) * flow.writes * MINUTES,
            "firestore_writes": notes,
            "gcs_class_a": lists,
            "gcs_class_b": reads,
        }
    return {meter: Decimal(others * units) for meter, units in found.items()}
