"""Estimate a restoration: the amount of data, the requests and the cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

from mcloud.clouds.ports import Site
from mcloud.clouds.resources import Cloud
from mcloud.cost.calls import CANDLE, price, units
from mcloud.cost.marginal import message_cost
from mcloud.cost.prices import PRICES
from mcloud.market.ids import Ids
from mcloud.replication.hour_digest import NOTHING
from mcloud.replication.verify import NO_RAW, Hour, Survey

BATCH = 1000  # trades per message, as producers send them
MESSAGE = 8 * 1024  # bytes of such a message
MANY = 10**9  # messages this month, so that free tiers are used up


@dataclass(frozen=True)
class RestoreEstimate:
    """Amount of data to restore, requests and cost. Prices are list prices without free tiers."""

    symbols: tuple[str, ...]
    hours: tuple[Hour, ...]
    """Hours in which the target lacks data, by symbol and start (in ms)."""
    candles: int
    """Number of candles of the source in those of these hours whose candles the target lacks."""
    trades: int
    """Number of trades of the source in these hours."""
    objects: int
    """Number of raw objects of the source in those of these hours whose raw trades it lacks."""
    bytes: int
    """Size of these objects."""
    requests: Mapping[str, int]
    """Number of requests, by name of the site."""
    usd: Decimal
    damaged: int
    """Number of damaged objects of the target, which are replaced."""

    @property
    def is_empty(self) -> bool:
        return not (self.hours or self.damaged)

    @property
    def document(self) -> "RestoreEstimateDocument":
        return RestoreEstimateDocument(
            symbols=self.symbols,
            hours=len(self.hours),
            candles=self.candles,
            trades=self.trades,
            raw_objects=self.objects,
            raw_bytes=self.bytes,
            requests=self.requests,
            usd=float(round(self.usd, 6)),
            damaged_objects=self.damaged,
        )


@dataclass(frozen=True)
class RestoreEstimateDocument:
    """An estimate as JSON: see the fields of `RestoreEstimate`."""

    symbols: tuple[str, ...]
    hours: int
    candles: int
    trades: int
    raw_objects: int
    raw_bytes: int
    requests: Mapping[str, int]
    usd: float
    damaged_objects: int


def estimate(
    look: Survey,
    source: Site,
    target: Site,
    engine: str,
    damaged: int,
    disputed: Mapping[str, Ids] = MappingProxyType({}),
) -> RestoreEstimate:
    """Estimate the work to copy the target's missing data from the source.

    Args:
        look: the survey of both sites.
        engine: see ``restore.Restore``.
        damaged: number of damaged objects of the target.
        disputed: ids that are not copied, by symbol.
    """
    hours = []
    candles = trades = objects = size = 0
    for hour in sorted({*look.candles, *look.raw}):
        mine = look.candles.get(hour, {}).get(source.name, NOTHING)
        theirs = look.candles.get(hour, {}).get(target.name, NOTHING)
        raw_here = look.raw.get(hour, {}).get(source.name, NO_RAW)
        raw_there = look.raw.get(hour, {}).get(target.name, NO_RAW)
        left_out = disputed.get(hour[0], Ids())
        lacks_raw = bool(raw_here.ids.minus(raw_there.ids).minus(left_out))
        lacks_candles = bool(mine.ids.minus(theirs.ids).minus(left_out))
        if not (lacks_raw or lacks_candles):
            continue
        hours.append(hour)
        candles += mine.candles * lacks_candles
        trades += max(raw_here.ids.count, mine.ids.count)
        objects += raw_here.objects * lacks_raw
        size += raw_here.bytes * lacks_raw
    reads = _price(source.cloud, "read_object", objects)
    messages = -(-trades // BATCH)
    if engine == "functions":
        writes, sent = messages, messages * MESSAGE
        usd = reads + messages * message_cost(target.cloud, MESSAGE, MANY)
    else:
        writes, sent = candles + objects, size + candles * CANDLE
        usd = (
            reads
            + _price(source.cloud, "candle", candles)
            + _price(target.cloud, "write_candle", candles)
            + _price(target.cloud, "write_object", objects)
        )
    if engine == "transfer-service" and target.cloud == "aws" and objects:
        # Storage Transfer Service, in the other direction, is free.
        usd += size * PRICES["aws", "datasync_bytes"].each + PRICES["aws", "datasync_runs"].usd
    if source.cloud != target.cloud:
        usd += sent * PRICES[source.cloud, "egress_bytes"].each
    return RestoreEstimate(
        tuple(look.symbols),
        tuple(hours),
        candles,
        trades,
        objects,
        size,
        {source.name: candles + objects + 2 * len(hours), target.name: writes + 2 * len(hours)},
        usd,
        damaged,
    )


def _price(cloud: Cloud, call: str, count: int) -> Decimal:
    return price(cloud, units(cloud, call, count)) if count else Decimal(0)
