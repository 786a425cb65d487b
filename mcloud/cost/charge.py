"""The cost of usage at list price: max(0, use - free tier) x price.

Pure. A free tier belongs to the account, so the sites of one cloud share it in proportion to their
use.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from mcloud.clouds.resources import Cloud
from mcloud.cost.prices import DAY, PRICES, Price


@dataclass(frozen=True)
class Use:
    cloud: Cloud
    meter: str
    units: Decimal
    days: Mapping[str, Decimal] = field(default_factory=dict)
    """Units by day, as far as they are known."""
    has_free_tier: bool = True
    """Whether the free tier covers the use, as far as it goes."""


@dataclass(frozen=True)
class Charge:
    free: Decimal
    """Units that the free tier covers."""
    gross: Decimal
    """Cost in dollars without a free tier."""
    net: Decimal
    """Cost in dollars."""


def charge(uses: Sequence[Use], dates: Sequence[str], *, free_tier: bool = True) -> list[Charge]:
    """Return the cost of each use, in the order of ``uses``, which must be of one month.

    Units without a known day are spread evenly over ``dates``. That matters for a free tier per
    day.

    Raises:
        KeyError: a meter without a price.
    """
    groups: dict[tuple[str, str, bool], list[int]] = defaultdict(list)
    for index, use in enumerate(uses):
        groups[use.cloud, use.meter, use.has_free_tier].append(index)
    charges: dict[int, Charge] = {}
    for (cloud, meter, has_free_tier), members in groups.items():
        price = PRICES[cloud, meter]
        usd = price.usd if max(dates, default="") >= price.since else Decimal(0)
        together = [uses[index] for index in members]
        total = sum((use.units for use in together), Decimal(0))
        is_free = free_tier and has_free_tier
        free = _free(price, together, total, dates) if is_free else Decimal(0)
        for index in members:
            units = uses[index].units
            covered = free if units == total else free * units / total
            charges[index] = Charge(
                covered, units * usd / price.per, (units - covered) * usd / price.per
            )
    return [charges[index] for index in range(len(uses))]


def _free(price: Price, uses: Sequence[Use], total: Decimal, dates: Sequence[str]) -> Decimal:
    """Return the units that cost nothing."""
    if price.free_every != DAY:
        return min(total, price.free)
    by_day: dict[str, Decimal] = defaultdict(Decimal)
    for use in uses:
        for day, units in use.days.items():
            by_day[day] += units
    rest = max(Decimal(0), total - sum(by_day.values()))
    if rest and not dates:
        return min(total, price.free)
    for day in dates:
        by_day[day] += rest / len(dates)
    # Subtract the excess: thirds of a unit do not add up to the last digit.
    excess = (units - price.free for units in by_day.values() if units > price.free)
    return max(Decimal(0), total - sum(excess, Decimal(0)))
