"""What usage costs at list price: max(0, use - free tier) x price.

Pure. A free tier belongs to the account: sites of one cloud share it, each by its part of the use.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from mcloud.cost.prices import DAY, PRICES, Price


@dataclass(frozen=True)
class Use:
    cloud: str
    meter: str
    units: Decimal
    days: Mapping[str, Decimal] = field(default_factory=dict)
    """The units by day, as far as that is known."""


@dataclass(frozen=True)
class Charge:
    free: Decimal
    """Units that the free tier covers."""
    gross: Decimal
    """Dollars, as if there were no free tier."""
    net: Decimal
    """Dollars."""


def charge(uses: Sequence[Use], dates: Sequence[str], *, free_tier: bool = True) -> list[Charge]:
    """What each use costs, in the order of ``uses``, which are those of one month.

    ``dates`` are the days over which units are taken as spread evenly where their days are not
    known; it matters to a free tier that is given by the day.

    Raises:
        KeyError: a meter without a price.
    """
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, use in enumerate(uses):
        groups[use.cloud, use.meter].append(index)
    charges: dict[int, Charge] = {}
    for key, members in groups.items():
        price = PRICES[key]
        together = [uses[index] for index in members]
        total = sum((use.units for use in together), Decimal(0))
        free = _free(price, together, total, dates) if free_tier else Decimal(0)
        for index in members:
            units = uses[index].units
            covered = free if units == total else free * units / total
            charges[index] = Charge(
                covered, units * price.usd / price.per, (units - covered) * price.usd / price.per
            )
    return [charges[index] for index in range(len(uses))]


def _free(price: Price, uses: Sequence[Use], total: Decimal, dates: Sequence[str]) -> Decimal:
    """The units that cost nothing."""
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
    # By what is too much: thirds of a unit do not add up to the last digit.
    excess = (units - price.free for units in by_day.values() if units > price.free)
    return max(Decimal(0), total - sum(excess, Decimal(0)))
