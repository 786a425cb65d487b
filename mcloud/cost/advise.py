"""Advice on lower costs at the measured usage. Pure.

Every saving is for a whole month at the present rate, after free tiers if these count. Savings of
less than a cent are left out.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from mcloud.clouds.ports import Metered
from mcloud.config import LOCAL
from mcloud.cost.charge import Use, charge
from mcloud.cost.forecast import expected_units
from mcloud.cost.marginal import message_units
from mcloud.cost.month import Month
from mcloud.cost.prices import COMMITMENTS, PRICES
from mcloud.cost.usage import MESSAGES, SiteUsage
from mcloud.cost.words import plain, usd
from mcloud.market.envelope import SQS_CHUNK

LEAST = Decimal("0.01")  # dollars a month
ZERO = Decimal(0)

FRESHNESS = 5  # default of a producer, in seconds
COARSER = (10, 30, 60)  # larger values of the freshness, in seconds, that are considered
SMALL = 128 * 1024
"""Bytes from which the modules move an object to a colder class. The cost of the move is then saved
within a year."""
AGE = 90  # days after which the modules move an object
RETENTION = Decimal(7)  # days
SMALLEST_MEMORY = 256  # MB; the function uses 90 of them
SPARE = 2  # times the mean: room that provisioned capacity leaves for busy hours
HOURS = 730  # of a month, as AWS counts it
STEADY = Decimal("0.5")  # the least of the days' means against the largest, for a commitment

Units = Mapping[str, Decimal]
"""Units of a month, by meter."""


@dataclass(frozen=True)
class Advice:
    site: str
    title: str
    how: str
    """The command or the setting that makes the saving."""
    why: str
    saving: Decimal
    """Saving in dollars per month."""
    at_most: bool = False
    """Whether the saving depends on something unknown, so that it is a maximum."""

    @property
    def report(self) -> "AdviceReport":
        return AdviceReport(
            self.site, self.title, self.how, self.why, plain(self.saving, 4), self.at_most
        )


@dataclass(frozen=True)
class AdviceReport:
    """An advice of ``mcloud cost advise -o json``."""

    site: str
    title: str
    how: str
    why: str
    saving_usd_a_month: str | None
    at_most: bool


@dataclass(frozen=True)
class _Ground:
    """A site's month at the present rate."""

    usage: SiteUsage
    month: Month
    units: Units
    free_tier: bool

    def saving(self, less: Units) -> Decimal:
        """Return the saving of a month with fewer units."""
        after = {
            meter: max(ZERO, units - less.get(meter, ZERO)) for meter, units in self.units.items()
        }
        return self.cost(self.units) - self.cost(after)

    def cost(self, units: Units) -> Decimal:
        dates = self.month.dates(self.month.start, self.month.end)
        uses = [
            Use(self.usage.cloud, meter, each, has_free_tier=self.has_free_tier(meter))
            for meter, each in units.items()
            if (self.usage.cloud, meter) in PRICES
        ]
        return sum((c.net for c in charge(uses, dates, free_tier=self.free_tier)), ZERO)

    @property
    def trades_a_message(self) -> Decimal | None:
        trades = self.usage.trades
        return trades.total / trades.messages if trades.total and trades.messages else None

    def found(self, meter: str) -> Metered | None:
        return next((m for m in self.usage.metered if m.meter == meter and m.units), None)

    def has_free_tier(self, meter: str) -> bool:
        return all(m.has_free_tier for m in self.usage.metered if m.meter == meter)

    def value(self, meter: str) -> Decimal:
        found = self.found(meter)
        return found.units or ZERO if found else ZERO


def advise(
    usages: Sequence[SiteUsage],
    month: Month,
    now: float,
    *,
    profile: str,
    free_tier: bool = True,
) -> list[Advice]:
    """Return the advice that saves a cent per month or more, the largest saving first."""
    grounds = [
        _Ground(usage, month, _of_a_month(usage, month, now), free_tier)
        for usage in usages
        if not usage.problem
    ]
    found = [
        each
        for ground in grounds
        for advice in (_memory, _retention, _lifecycle, _provisioned, _commitment)
        for each in advice(ground, profile)
    ]
    found += [*_packing(grounds), *_cheapest(grounds)]
    return sorted((each for each in found if each.saving >= LEAST), key=lambda each: -each.saving)


def _of_a_month(usage: SiteUsage, month: Month, now: float) -> Units:
    """Return the units of a whole month, even if it was not measured from its first day."""
    share = Decimal((month.end - usage.start) / month.seconds)
    units = expected_units(usage, month, now)
    return {meter: each / share for meter, each in units.items()} if share > 0 else units


def _packing(grounds: Sequence[_Ground]) -> Iterator[Advice]:
    """Advise more trades per message, since the cost of a message hardly depends on its size.

    The advice is the shortest wait with at least four fifths of the largest saving.
    """
    savings: dict[int, Decimal] = dict.fromkeys(COARSER, ZERO)
    least: Decimal | None = None
    for ground in grounds:
        messages, each = ground.units.get(MESSAGES) or ZERO, ground.trades_a_message
        if not messages or each is None:
            continue
        least = each if least is None else min(least, each)
        for freshness in COARSER:
            # Twice the wait makes half as many messages, until they are full.
            fewer = messages - max(
                messages * FRESHNESS / freshness, messages * _size(each) / SQS_CHUNK
            )
            per_message = message_units(ground.usage.cloud, _size(each))
            savings[freshness] += ground.saving(
                {m: u * max(ZERO, fewer) for m, u in per_message.items()}
            )
    enough = max(savings.values()) * Decimal("0.8")
    freshness = next(freshness for freshness in COARSER if savings[freshness] >= enough)
    if least is not None:
        yield Advice(
            ", ".join(ground.usage.site for ground in grounds),
            f"let candles be up to {freshness} s old",
            f"mcloud produce --freshness {freshness}",
            f"a message has {least:.0f} trades, and has room for more; candles come up to "
            f"{freshness - FRESHNESS} s later than now, if producers have the default freshness of "
            f"{FRESHNESS} s",
            savings[freshness],
            at_most=True,
        )


def _size(trades: Decimal) -> int:
    """Return the bytes of a message: about 8 per trade, compressed."""
    return max(200, int(8 * trades))


def _memory(ground: _Ground, profile: str) -> Iterator[Advice]:
    """Advise less memory: a function pays for it while it waits, which is most of its time."""
    memory = ground.value("function_memory_mb")
    if ground.usage.cloud != "aws" or memory <= SMALLEST_MEMORY:
        return
    calls, seconds = ground.value("lambda_requests"), ground.value("function_seconds")
    less = ground.units.get("lambda_gb_s", ZERO) * (1 - SMALLEST_MEMORY / memory)
    yield Advice(
        ground.usage.site,
        f"give the function {SMALLEST_MEMORY} MB instead of {memory}",
        _setting(profile, ground.usage.site, f"function_memory = {SMALLEST_MEMORY}"),
        f"a call takes {1000 * seconds / calls if calls else 0:.0f} ms; the saving holds if it "
        "takes no longer with the smaller share of a CPU: compare after a day",
        ground.saving({"lambda_gb_s": less}),
        at_most=True,
    )


def _retention(ground: _Ground, profile: str) -> Iterator[Advice]:
    days = ground.value("log_retention_days")
    if days <= RETENTION:
        return
    less = ground.units.get("log_gib_months", ZERO) * (1 - RETENTION / days)
    yield Advice(
        ground.usage.site,
        f"keep logs for {RETENTION} days instead of {days}",
        _setting(profile, ground.usage.site, f"log_retention = {RETENTION}"),
        "all trades are in the raw archive; the logs are needed only to investigate faults",
        ground.saving({"log_gib_months": less}),
        at_most=True,
    )


def _lifecycle(ground: _Ground, profile: str) -> Iterator[Advice]:
    """Advise a colder class if old raw trades are still in the most expensive one.

    Small objects cost more to move than they save, and should be compacted first.
    """
    hot, cold, move = {
        "aws": ("s3_gib_months", "s3_glacier_ir_gib_months", "s3_glacier_ir_transitions"),
        "gcp": ("gcs_gib_months", "gcs_coldline_gib_months", "gcs_coldline_transitions"),
    }[ground.usage.cloud]
    metered = ground.found(hot)
    if metered is None or len(metered.days) < 2:
        return
    # The share of a whole day in a month. The objects of the first day are as old as the month.
    days = sorted(metered.days)
    old = metered.days[days[0]] * len(ground.month.dates(ground.month.start, ground.month.end))
    grown = max(ZERO, metered.days[days[-2]] - metered.days[days[0]]) / max(1, len(days) - 2)
    old -= grown * AGE * len(ground.month.dates(ground.month.start, ground.month.end))
    objects = ground.value("stored_objects")
    if old <= 0:
        return
    # Compare the bills of both classes: units that are free in one are paid for in the other.
    moved = min(old, ground.units[hot])
    colder = {hot: ground.units[hot] - moved, cold: ground.units.get(cold, ZERO) + moved}
    saving = ground.cost(ground.units) - ground.cost({**ground.units, **colder})
    moving = (objects or ZERO) * PRICES[ground.usage.cloud, move].each
    if objects and old * 2**30 / objects < SMALL:
        yield Advice(
            ground.usage.site,
            "pack raw trades into larger objects",
            f"mcloud compact {ground.usage.site}",
            "objects below 128 KiB stay in the most expensive class: moving them would cost "
            f"{usd(moving)}, once",
            saving,
            at_most=True,
        )
    else:
        yield Advice(
            ground.usage.site,
            f"move raw trades older than {AGE} days to a colder class",
            f"mcloud deploy {ground.usage.site}",
            f"{old:.1f} GiB are old and in the most expensive class: the stack's lifecycle rules "
            f"are not in effect; moving the objects costs {usd(moving)}, once",
            saving,
            at_most=True,
        )


def _provisioned(ground: _Ground, profile: str) -> Iterator[Advice]:
    """Advise provisioned capacity, which is cheaper than requests if these come evenly."""
    if ground.usage.cloud != "aws":
        return
    kinds = {"dynamodb_writes": "dynamodb_wcu_hours", "dynamodb_reads": "dynamodb_rcu_hours"}
    now = {meter: ground.units.get(meter, ZERO) for meter in kinds}
    if not now["dynamodb_writes"]:
        return
    busiest = max(_unevenness(ground.found(meter)) for meter in kinds)
    capacity = {}
    for meter, hours in kinds.items():
        mean = now[meter] / Decimal(ground.month.seconds)
        capacity[hours] = Decimal(max(1, math.ceil(mean * SPARE * busiest)))
    hourly = {hours: each * HOURS for hours, each in capacity.items()}
    saving = ground.cost(now) - ground.cost(hourly)
    write, read = capacity.values()
    yield Advice(
        ground.usage.site,
        f"provision the candle table: {write} write and {read} read units",
        _setting(
            profile, ground.usage.site, f"candles_capacity = {{ write = {write}, read = {read} }}"
        ),
        f"{SPARE} times the mean of the busiest day; requests above that are throttled, and the "
        "queue retries them",
        saving,
        at_most=True,
    )


def _unevenness(metered: Metered | None) -> Decimal:
    """Return the largest day divided by the mean."""
    days = list(metered.days.values()) if metered else []
    mean = sum(days, ZERO) / len(days) if days else ZERO
    return max(days) / mean if mean else Decimal(1)


def _commitment(ground: _Ground, profile: str) -> Iterator[Advice]:
    """Advise reserved capacity for usage that is steady every day of the month."""
    for (cloud, meters), each in COMMITMENTS.items():
        if cloud != ground.usage.cloud:
            continue
        steady = [_least_day(ground.found(meter)) for meter in meters]
        units = {meter: ground.units.get(meter, ZERO) for meter in meters}
        if not any(units.values()) or min(steady) < STEADY:
            continue
        yield Advice(
            ground.usage.site,
            f"commit to the usage of every day: {each.name}",
            each.how,
            f"{100 * each.share:.0f}% cheaper with a commitment of one year, which costs the "
            "same if it is not used",
            ground.cost(units) * each.share * min(steady),
            at_most=True,
        )


def _least_day(metered: Metered | None) -> Decimal:
    """Return the smallest whole day divided by the mean, or 0 for less than a week of days."""
    days = [metered.days[day] for day in sorted(metered.days)[1:-1]] if metered else []
    mean = sum(days, ZERO) / len(days) if days else ZERO
    return min(days) / mean if len(days) >= 7 and mean else ZERO


def _cheapest(grounds: Sequence[_Ground]) -> Iterator[Advice]:
    """Advise sending to one site while its free tiers last, instead of to all."""
    costs = {}
    for ground in grounds:
        messages, each = ground.units.get(MESSAGES) or ZERO, ground.trades_a_message
        if not messages or each is None:
            return
        per_message = message_units(ground.usage.cloud, _size(each))
        less = {meter: units * messages for meter, units in per_message.items()}
        costs[ground.usage.site] = ground.saving(less)
    if len(costs) < 2:
        return
    best = min(costs, key=lambda site: costs[site])
    rest = sum((cost for site, cost in costs.items() if site != best), ZERO)
    yield Advice(
        best,
        f"send trades to {best} only, while it is the cheapest",
        f"mcloud failover {best}, with mcloud produce --mode primary; or --mode cheapest",
        "the others then get their data from `mcloud replicate`, which costs reads here and "
        "writes there, and are behind by its lag",
        rest,
        at_most=True,
    )


def _setting(profile: str, site: str, words: str) -> str:
    # The local profile has no variables: advice from it is for another profile.
    where = "PROFILE" if profile == LOCAL else profile
    return f"[profiles.{where}.sites.{site}.variables] {words}, then mcloud deploy {site}"
