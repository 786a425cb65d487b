"""The bill of a month, from what the embedded clouds metered in a run.

Metered units are scaled to a month of 30 days. What the embedded clouds cannot measure is added;
see ``unmetered``. Each item says how much of it was measured, and fixed charges are not scaled.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from mcloud.clouds.resources import Cloud
from mcloud.cost import unmetered
from mcloud.cost.archiving import CompactionWork
from mcloud.cost.charge import Use, charge
from mcloud.cost.prices import PRICES, SERVICES
from mcloud.cost.unmetered import HOURS, MINUTES, FunctionWork

_TIMES = ("lambda_gb_s", "function_vcpu_s", "function_gib_s")
"""Meters of the time of functions. That of this machine says nothing about a real cloud."""


@dataclass(frozen=True)
class MeasuredRun:
    """Counts of one site over a run."""

    cloud: Cloud
    minutes: Decimal
    counted: Mapping[str, Decimal]
    """Units by meter."""
    work: FunctionWork
    """The work of the processor; its CPU time includes that of the anomaly function."""
    log_bytes: Decimal
    candles: Decimal
    """New candles."""
    candle_bytes: Decimal
    raw_bytes: Decimal
    compacted: Mapping[str, Decimal] = field(default_factory=dict)
    """Units by meter of a compaction of the trades of an hour, which is repeated every hour."""
    compacting: CompactionWork = field(default_factory=CompactionWork)
    """The work of that compaction, without the requests that ``compacted`` has."""


@dataclass(frozen=True)
class BillItem:
    """The units of a meter in a month."""

    meter: str
    measured: Decimal
    added: Decimal


@dataclass(frozen=True)
class ServiceCost:
    """The cost of a service in a month, in dollars."""

    service: str
    measured: Decimal
    """At list price, for measured units."""
    added: Decimal
    """At list price, for units that were not measured."""
    net: Decimal
    """For all units, after the free tiers."""

    @property
    def gross(self) -> Decimal:
        return self.measured + self.added


def bill(run: MeasuredRun, month: int = 1) -> list[BillItem]:
    """Return the items of a month after the deployment."""
    scale = MINUTES / run.minutes
    measured: dict[str, Decimal] = defaultdict(Decimal)
    for meter, units in run.counted.items():
        if (run.cloud, meter) in PRICES and meter not in _TIMES:
            measured[meter] += units * scale
    for meter, units in run.compacted.items():
        if (run.cloud, meter) in PRICES:
            measured[meter] += units * HOURS
    measured["log_bytes"] += run.log_bytes * scale
    new = (each * scale for each in (run.candles, run.candle_bytes, run.raw_bytes))
    for meter, units in unmetered.stored(run.cloud, month, *new).items():
        measured[meter] += units
    computing = unmetered.computing(run.cloud, run.work) * scale
    for meter, units in unmetered.billed_time(run.cloud, computing).items():
        measured[meter] += units

    added: dict[str, Decimal] = defaultdict(Decimal, unmetered.fixed(run.cloud))
    sending = FunctionWork(run.minutes, run.minutes, Decimal(0), Decimal(0))
    waiting = sum(unmetered.waiting(run.cloud, each) for each in (run.work, sending)) * scale
    for meter, units in unmetered.billed_time(run.cloud, Decimal(waiting)).items():
        added[meter] += units
    for meter, units in unmetered.compacting_time(run.cloud, run.compacting).items():
        added[meter] += units * HOURS
    if run.cloud == "aws":
        added["sqs_requests"] += unmetered.idle_polls(run.work.calls * scale)
    return [BillItem(meter, measured[meter], added[meter]) for meter in sorted({*measured, *added})]


def by_service(cloud: Cloud, items: list[BillItem]) -> list[ServiceCost]:
    """Return the cost of each service that has any."""
    dates = [f"{day:02}" for day in range(30)]
    uses = [Use(cloud, item.meter, item.measured + item.added) for item in items]
    found: dict[str, ServiceCost] = {}
    for item, each in zip(items, charge(uses, dates), strict=True):
        price = PRICES[cloud, item.meter]
        known = found.get(price.service, ServiceCost(price.service, *[Decimal(0)] * 3))
        found[price.service] = ServiceCost(
            price.service,
            known.measured + item.measured * price.each,
            known.added + item.added * price.each,
            known.net + each.net,
        )
    return [found[service] for service in SERVICES if service in found]
