"""Estimate a backfill before it starts: trades, time and cost, from the sizes of the files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from mcloud.backfill.libraries import FoundDump
from mcloud.clouds.resources import Cloud
from mcloud.cost.calls import CANDLE, price, units
from mcloud.market.block import BLOCK

# Bytes of a trade in a file. A zipped one takes 13 in files of small coins, measured, and up to 20
# in those of large ones.
_ZIPPED, _PLAIN = 16, 62
_STORED = 16  # bytes of a trade in a block, measured
MINUTES = 1440  # of a day; a candle each
SPEED = 300_000
"""Trades that a core reads, folds and packs in a second, measured. Requests to the sites run
meanwhile."""
_GIB = 1024**3


@dataclass(frozen=True)
class LoadCost:
    """Cost of a backfill at a site, in dollars at list price."""

    once: Decimal
    """The requests that write the data."""
    monthly: Decimal
    """The storage of the data, each month."""


@dataclass(frozen=True)
class BackfillEstimate:
    """The work of a backfill. All fields except ``files`` and ``bytes`` are estimates."""

    files: int
    bytes: int
    trades: int
    candles: int
    """Maximum number of candles."""
    seconds: float
    """Duration without the time of the downloads."""
    sites: Mapping[str, LoadCost]


def estimate(found: Sequence[FoundDump], clouds: Mapping[str, Cloud]) -> BackfillEstimate:
    """Estimate the work to load files into sites.

    Args:
        clouds: cloud of each site, by name of the site.
    """
    trades = candles = blocks = 0
    for each in found:
        inside = max(1, each.size // (_PLAIN if each.where.endswith(".csv") else _ZIPPED))
        trades += inside
        candles += min(inside, each.dump.days * MINUTES)
        blocks += 1 + inside // BLOCK
    return BackfillEstimate(
        files=len(found),
        bytes=sum(each.size for each in found),
        trades=trades,
        candles=candles,
        seconds=trades / SPEED,
        sites={name: _cost(cloud, trades, candles, blocks) for name, cloud in clouds.items()},
    )


def _cost(cloud: Cloud, trades: int, candles: int, blocks: int) -> LoadCost:
    def of(call: str, count: int) -> Decimal:
        return price(cloud, {name: each * count for name, each in units(cloud, call).items()})

    database, objects = (
        ("dynamodb_gib_months", "s3_gib_months")
        if cloud == "aws"
        else ("firestore_gib_months", "gcs_gib_months")
    )
    return LoadCost(
        once=of("write_candle", candles)
        + of("write_object", blocks)
        + of("read_object", 2 * blocks),
        monthly=price(
            cloud,
            {
                database: Decimal(candles * CANDLE) / _GIB,
                objects: Decimal(trades * _STORED) / _GIB,
            },
        ),
    )
