"""A forecast of the month's cost at its end, with a range, from the usage so far. Pure."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

from mcloud.clouds.ports import Metered
from mcloud.clouds.resources import Cloud
from mcloud.cost.charge import Use, charge
from mcloud.cost.month import Month
from mcloud.cost.prices import MONTH, PRICES
from mcloud.cost.usage import SiteUsage
from mcloud.market.trade import to_text

DAY_SECONDS = 86_400.0
ENOUGH = 3  # whole days from which the forecast uses daily figures instead of their sum
SPREADS = 2  # standard deviations on either side: about 19 times of 20, if days are alike
LITTLE = 3600.0  # seconds; a shorter measurement is too little for a forecast

ZERO = Decimal(0)


class Range(NamedTuple):
    low: Decimal
    expected: Decimal
    high: Decimal


@dataclass(frozen=True)
class Forecast:
    month: Month
    at: float
    total: Range
    """Cost in dollars at the end of the month, including the usage so far."""
    sites: Mapping[str, Range]
    rests_on: str
    runs_out: Mapping[tuple[Cloud, str], str] = field(default_factory=dict)
    """Day on which the free tier of a cloud's meter will be used up, if it will be."""
    early: bool = False
    """Whether less than an hour was measured, which is too little for a forecast."""
    unknown: frozenset[str] = frozenset()
    """Sites with no readable meter. Their cost is 0, and in no sum."""

    @property
    def is_unknown(self) -> bool:
        """Whether nothing is known of any site."""
        return bool(self.sites) and self.unknown == self.sites.keys()

    @property
    def expected(self) -> Decimal:
        return self.total.expected

    @property
    def report(self) -> "ForecastReport":
        total = RangeReport.of(None if self.is_unknown else self.total)
        return ForecastReport(
            low_usd=total.low_usd,
            expected_usd=total.expected_usd,
            high_usd=total.high_usd,
            month=self.month.name,
            at=self.at,
            sites={
                site: RangeReport.of(None if site in self.unknown else each)
                for site, each in self.sites.items()
            },
            rests_on=self.rests_on,
            early=self.early,
            free_tier_runs_out=tuple(
                FreeTierEnd(cloud, meter, day) for (cloud, meter), day in self.runs_out.items()
            ),
        )


@dataclass(frozen=True)
class RangeReport:
    """A range of dollars, as texts. None is unknown."""

    low_usd: str | None
    expected_usd: str | None
    high_usd: str | None

    @classmethod
    def of(cls, each: Range | None) -> "RangeReport":
        if each is None:
            return cls(None, None, None)
        return cls(*(to_text(round(value, 9) + ZERO) for value in each))


@dataclass(frozen=True)
class FreeTierEnd:
    cloud: Cloud
    meter: str
    on: str
    """Day on which the free tier will be used up."""


@dataclass(frozen=True)
class ForecastReport(RangeReport):
    """The answer of ``mcloud cost forecast -o json``."""

    month: str
    at: float
    sites: Mapping[str, RangeReport]
    rests_on: str
    early: bool
    free_tier_runs_out: tuple[FreeTierEnd, ...]


def forecast(
    usages: Sequence[SiteUsage], month: Month, now: float, *, free_tier: bool = True
) -> Forecast:
    """Return the month's cost at its end. For a past month, that is its actual cost."""
    until = month.until(now)
    known = [
        (usage, each)
        for usage in usages
        for each in usage.metered
        if each.units is not None and (usage.cloud, each.meter) in PRICES
    ]
    projected = [_project(usage, each, month, until) for usage, each in known]
    start = min((usage.start for usage in usages), default=month.start)
    dates = month.dates(start, month.end)
    scenarios = []
    for index in range(3):
        uses = [
            Use(
                *(usage.cloud, each.meter, units[index]),
                *(_days(each, units[index], month, until), each.has_free_tier),
            )
            for (usage, each), units in zip(known, projected, strict=True)
        ]
        scenarios.append([c.net for c in charge(uses, dates, free_tier=free_tier)])
    sites: dict[str, list[Decimal]] = {usage.site: [ZERO] * 3 for usage in usages}
    for number, (usage, _) in enumerate(known):
        for index in range(3):
            sites[usage.site][index] += scenarios[index][number]
    return Forecast(
        month,
        now,
        Range(*(sum(nets, ZERO) for nets in scenarios)),
        {site: Range(*sums) for site, sums in sites.items()},
        _basis(usages, known, month, until),
        _runs_out(known, projected, month, until) if free_tier else {},
        early=until < month.end and until - start < LITTLE,
        unknown=frozenset(usage.site for usage in usages if usage.is_unknown),
    )


def expected_units(usage: SiteUsage, month: Month, now: float) -> dict[str, Decimal]:
    """Return the units of every meter of a site at the end of the month, with or without a
    price.
    """
    until = month.until(now)
    return {
        each.meter: _project(usage, each, month, until).expected
        for each in usage.metered
        if each.units is not None
    }


def _project(usage: SiteUsage, metered: Metered, month: Month, until: float) -> Range:
    """Return a meter's units at the end of the month."""
    units = metered.units
    assert units is not None
    left = month.end - until
    past = until - usage.start
    if left <= 0 or past <= 0:
        return Range(units, units, units)
    whole = _whole_days(usage, month, until)
    price = PRICES.get((usage.cloud, metered.meter))
    unit = price.unit if price else ""
    if unit == "GiB-month" and (
        sizes := [metered.days[day] for day in whole if day in metered.days]
    ):
        return _stored(units, sizes, Decimal(left / DAY_SECONDS))
    if unit.endswith("-month"):
        more = units * Decimal(left) / Decimal(past)
        # Stored data stays and may grow. Alarms and keys stay as many as they are.
        return Range(units + more, units + more, units + more * (2 if unit == "GiB-month" else 1))
    if len(whole) >= ENOUGH and metered.days:
        counts = [metered.days.get(day, ZERO) for day in whole]
        mean = sum(counts, ZERO) / len(counts)
        variance = sum(((c - mean) ** 2 for c in counts), ZERO) / (len(counts) - 1)
        days = Decimal(left / DAY_SECONDS)
        # The variance of a sum of future days, plus that of a mean known from few days only.
        spread = SPREADS * (variance * (days + days * days / len(counts))).sqrt()
        more = mean * days
        return Range(max(units, units + more - spread), units + more, units + more + spread)
    more = units * Decimal(left) / Decimal(past)
    return Range(units, units + more, units + 2 * more)


def _stored(units: Decimal, sizes: Sequence[Decimal], left: Decimal) -> Range:
    """Return the units of stored data for ``left`` more days, from its whole days so far.

    Stored data stays: the last day says more than the mean of all days. It may continue to grow as
    it did, or twice as fast.
    """
    stays = units + sizes[-1] * left
    if len(sizes) == 1:
        return Range(stays, stays, stays + sizes[-1] * left)
    daily = max(ZERO, sizes[-1] - sizes[0]) / (len(sizes) - 1)
    grown = daily * left * (left + 1) / 2
    return Range(stays, stays + grown, stays + 2 * grown)


def _days(metered: Metered, units: Decimal, month: Month, until: float) -> Mapping[str, Decimal]:
    """Return the units by day, with the future units spread evenly over the rest of the month."""
    if not metered.days or metered.units is None:
        return {}
    days: dict[str, Decimal] = defaultdict(Decimal, metered.days)
    more, left = units - metered.units, Decimal(month.end - until)
    for date in month.dates(until, month.end):
        begin = datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp()
        days[date] += more * Decimal(begin + DAY_SECONDS - max(begin, until)) / left
    return days


def _whole_days(usage: SiteUsage, month: Month, until: float) -> list[str]:
    """Return the days that were measured from beginning to end."""
    first = -(-usage.start // DAY_SECONDS) * DAY_SECONDS
    return month.dates(first, until // DAY_SECONDS * DAY_SECONDS)


def _basis(
    usages: Sequence[SiteUsage],
    known: Sequence[tuple[SiteUsage, Metered]],
    month: Month,
    until: float,
) -> str:
    if until >= month.end:
        return "the month is over"
    if not known:
        return "nothing: no meter could be read"
    past = max(until - usage.start for usage in usages)
    daily = [
        usage
        for usage, each in known
        if each.days and len(_whole_days(usage, month, until)) >= ENOUGH
    ]
    if daily:
        whole = max(len(_whole_days(usage, month, until)) for usage in daily)
        return f"the daily figures of {whole} days, two standard deviations on either side"
    so_far = f"{past / 60:.0f} min"
    if past >= LITTLE:
        days = past / DAY_SECONDS
        so_far = f"{past / 3600:.1f} h" if days < 2 else f"{days:.1f} days"
    words = f"{so_far} of use, too few days to compare: from no further cost to twice the rate"
    return words + ("; that is too little to predict a month" if past < LITTLE else "")


def _runs_out(
    known: Sequence[tuple[SiteUsage, Metered]],
    projected: Sequence[Range],
    month: Month,
    until: float,
) -> dict[tuple[Cloud, str], str]:
    now: dict[tuple[Cloud, str], Decimal] = defaultdict(Decimal)
    then: dict[tuple[Cloud, str], Decimal] = defaultdict(Decimal)
    for (usage, each), units in zip(known, projected, strict=True):
        if not each.has_free_tier:
            continue
        now[usage.cloud, each.meter] += each.units or ZERO
        then[usage.cloud, each.meter] += units.expected
    found = {}
    for key, used in now.items():
        price = PRICES[key]
        if price.free_every == MONTH and used < price.free < then[key]:
            share = float((price.free - used) / (then[key] - used))
            moment = until + share * (month.end - until)
            found[key] = datetime.fromtimestamp(moment, UTC).date().isoformat()
    return found
