"""The cost of the month so far and the present cost per hour, for frequent readers."""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path

from mcloud import best_effort, files
from mcloud.clouds.ports import Site
from mcloud.config import LOCAL, Config
from mcloud.cost.forecast import forecast
from mcloud.cost.month import Month
from mcloud.cost.report import price_usage
from mcloud.cost.settings import money
from mcloud.cost.usage import SiteUsage, collect
from mcloud.documents import Damaged, Time, encode, read_file

FRESH = 1800.0  # seconds; at this interval, CloudWatch costs forty cents per month
FRESH_LOCAL = 5.0
LOOK_BACK = 7200.0  # seconds over which the cost per hour is measured
SPACING = 60.0  # seconds between two stored samples; a rate needs two samples at least as far apart

ZERO = Decimal(0)
Sample = tuple[float, Decimal]
"""A time, and the cost of the month up to it."""

Ask = Callable[[Config, Mapping[str, Site], Month, float], Sequence[SiteUsage]]


@dataclass(frozen=True)
class CostFigure:
    month_to_date: Decimal | None
    """Cost in dollars, estimated at list prices after free tiers. None if unknown."""
    per_hour_now: Decimal | None
    """Cost in dollars per hour over the last two hours of samples. None before there are two."""
    expected: Decimal | None
    """Expected cost at the end of the month. None if unknown, as in the first hour of use."""
    budget: Decimal | None
    """Budget of all sites together in dollars per month. None if there is none."""
    as_of: float
    source: str
    """Source of the figures, or the reason why they are unknown."""
    by_site: Mapping[str, Decimal] = field(default_factory=dict)
    """Cost of the month so far by site. Empty if unknown."""
    per_hour_by_site: Mapping[str, Decimal] = field(default_factory=dict)
    """Cost per hour by site, without sites for which it is unknown."""


def current(
    config: Config,
    sites: Mapping[str, Site],
    *,
    clock: Callable[[], float] = time.time,
    ask: Ask = partial(collect, only_meters=True),  # noqa: B008
) -> CostFigure:
    """Return the cost of all sites. The meters are read once every half hour at most, and cached.

    Raises:
        ConfigError: something is wrong in ``[cost]``.
    """
    now = clock()
    settings = money(config)
    month = Month.of(now)
    path = config.state / "cost" / config.profile / "current.json"
    kept = _read(path, month, sorted(sites))
    fresh = FRESH_LOCAL if config.profile == LOCAL else FRESH
    if kept is None or not 0 <= now - kept.as_of < fresh:
        usages = ask(config, sites, month, now)
        samples = kept.samples if kept else ()
        kept = _look(usages, sites, month, now, samples, settings.settings.free_tier)
        best_effort.attempt(path, partial(_keep, path, kept))
    # Each sample has the cost of each site.
    by_site = {
        site: per_hour([(at, nets[site]) for at, nets in kept.samples if site in nets])
        for site in sites
    }
    return CostFigure(
        month_to_date=kept.net,
        per_hour_now=per_hour([(at, sum(nets.values(), ZERO)) for at, nets in kept.samples]),
        expected=kept.expected,
        budget=settings.budget,
        as_of=kept.as_of,
        source=kept.source,
        by_site=kept.by_site,
        per_hour_by_site={site: rate for site, rate in by_site.items() if rate is not None},
    )


def _keep(path: Path, kept: "_KeptReading") -> None:
    files.make_private(path.parent)
    files.write(path, json.dumps(encode(kept)))


def per_hour(samples: Sequence[Sample]) -> Decimal | None:
    """Return the rate between the first and the last sample, or None if they do not make one."""
    if len(samples) < 2:
        return None
    (began, first), (ended, last) = samples[0], samples[-1]
    # A lower total means that an estimate was corrected in between.
    if ended - began < SPACING or last < first:
        return None
    return (last - first) * 3600 / Decimal(ended - began)


_Sample = tuple[Time, Mapping[str, Decimal]]
"""A time, and the cost of each site in the month until then."""


@dataclass(frozen=True)
class _KeptReading:
    """The content of the cache file."""

    month: str
    sites: tuple[str, ...]
    as_of: Time
    net: Decimal | None
    expected: Decimal | None
    by_site: Mapping[str, Decimal]
    samples: tuple[_Sample, ...]
    source: str


def _look(
    usages: Sequence[SiteUsage],
    sites: Iterable[str],
    month: Month,
    now: float,
    before: Sequence[_Sample],
    free_tier: bool,
) -> _KeptReading:
    names = tuple(sorted(sites))
    samples = [each for each in before if 0 <= now - each[0] < LOOK_BACK]
    problems = [f"{usage.site}: {usage.problem}" for usage in usages if usage.problem]
    if problems:
        # Without one of the sites, the sum would seem to fall.
        source = f"unknown: {'; '.join(problems)}"
        return _KeptReading(month.name, names, now, None, None, {}, tuple(samples), source)
    lines = price_usage(usages, month, month.until(now), free_tier=free_tier)
    if len(samples) >= 2 and samples[-1][0] - samples[-2][0] < SPACING:
        samples.pop()
    by_site = {
        usage.site: sum((x.net for x in lines if x.site == usage.site), ZERO) for usage in usages
    }
    missing = sorted({line.meter for line in lines if line.used is None})
    ahead = forecast(usages, month, now, free_tier=free_tier)
    return _KeptReading(
        month=month.name,
        sites=names,
        as_of=now,
        net=sum((line.net for line in lines), ZERO),
        # What the first minutes come to in a month would change with each reading.
        expected=None if ahead.early else ahead.expected,
        by_site=by_site,
        samples=(*samples, (now, by_site)),
        source="an estimate from metered usage at list prices"
        + (f", without {', '.join(missing)}" if missing else ""),
    )


def _read(path: Path, month: Month, sites: list[str]) -> _KeptReading | None:
    """Return the cache, or None if it is of another month or other sites, or cannot be read."""
    kept = read_file(path, _KeptReading)
    if kept is None or isinstance(kept, Damaged):
        return None
    return kept if (kept.month, list(kept.sites)) == (month.name, sites) else None
