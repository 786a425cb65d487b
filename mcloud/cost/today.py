"""The part of a month's cost that arose today: the change since the end of yesterday. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from mcloud.clouds.ports import Metered
from mcloud.cost.charge import Use, charge
from mcloud.cost.forecast import DAY_SECONDS
from mcloud.cost.month import Month, day_of
from mcloud.cost.prices import PRICES
from mcloud.cost.usage import SiteUsage

ZERO = Decimal(0)


def today(
    usages: Sequence[SiteUsage], month: Month, now: float, *, free_tier: bool
) -> Mapping[str, Decimal | str]:
    """Return the net cost in dollars of each site since midnight UTC, or why it is unknown.

    Sites of one cloud share its free tiers. The result is empty for a past month.
    """
    if not month.start <= now < month.end:
        return {}
    begin = max(month.start, now // DAY_SECONDS * DAY_SECONDS)
    priced = [
        (usage, each)
        for usage in usages
        for each in usage.metered
        if each.units is not None and (usage.cloud, each.meter) in PRICES
    ]
    before = [(usage, _until(usage, each, begin, now)) for usage, each in priced]
    unknown = {
        usage.site: f"{metered.meter} is not counted by day"
        for (usage, metered), (_, earlier) in zip(priced, before, strict=True)
        if earlier is None
    }
    unknown |= {
        usage.site: usage.problem or "no meter could be read"
        for usage in usages
        if usage.is_unknown
    }
    known = [(usage, each) for usage, each in before if each is not None]
    start = min((usage.start for usage in usages), default=month.start)
    after = _nets(priced, month.dates(start, now), free_tier=free_tier)
    earlier = _nets(known, month.dates(start, begin), free_tier=free_tier)
    changes = {
        usage.site: after.get(usage.site, ZERO) - earlier.get(usage.site, ZERO) for usage in usages
    }
    return {**changes, **unknown}


def _until(usage: SiteUsage, metered: Metered, begin: float, now: float) -> Metered | None:
    """Return the usage of a meter before ``begin``. None if that is unknown."""
    assert metered.units is not None
    if not metered.units or usage.start >= begin:
        return replace(metered, units=ZERO, days={})
    if metered.days:
        days = {day: units for day, units in metered.days.items() if day < day_of(begin)}
        return replace(metered, units=sum(days.values(), ZERO), days=days)
    if PRICES[usage.cloud, metered.meter].unit.endswith("-month"):
        # Without days, such a meter counts what exists now as if it had existed all the time.
        share = Decimal(begin - usage.start) / Decimal(now - usage.start)
        return replace(metered, units=metered.units * share)
    return None


def _nets(
    metered: Sequence[tuple[SiteUsage, Metered]], dates: Sequence[str], *, free_tier: bool
) -> dict[str, Decimal]:
    uses = [
        Use(usage.cloud, each.meter, each.units or ZERO, each.days, each.has_free_tier)
        for usage, each in metered
    ]
    nets: dict[str, Decimal] = {}
    for (usage, _), each in zip(metered, charge(uses, dates, free_tier=free_tier), strict=True):
        nets[usage.site] = nets.get(usage.site, ZERO) + each.net
    return nets
