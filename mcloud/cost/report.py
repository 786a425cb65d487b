"""The cost of a month so far: an estimate from metered usage at list prices, line by line.

Pure: the clock is an argument.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from mcloud.clouds.billing import Bill
from mcloud.clouds.ports import Metered
from mcloud.clouds.resources import CLOUDS, Cloud
from mcloud.cost.charge import Use, charge
from mcloud.cost.forecast import Forecast, ForecastReport
from mcloud.cost.month import Month
from mcloud.cost.prices import PRICES, REGIONS, SERVICES, CostService
from mcloud.cost.settings import Money
from mcloud.cost.today import today
from mcloud.cost.usage import OWN_READS, SiteUsage
from mcloud.cost.words import percent, plain, usd

BY = ("service", "site", "symbol")

EMBEDDED = "embedded clouds cost nothing: these are the costs on real clouds"
"""A note of each report with an embedded site."""

COMPARED = ("functions", "storage", "database", "messaging")

MILLION = 10**6
ZERO = Decimal(0)


@dataclass(frozen=True)
class CostLine:
    """One meter of one site."""

    site: str
    cloud: Cloud
    service: CostService
    meter: str
    unit: str
    used: Decimal | None
    """Units used. None if unknown: the cost of the line is then 0, and the report says that it
    is missing.
    """
    free: Decimal
    gross: Decimal
    net: Decimal
    source: str
    as_of: float
    exact: bool
    doubt: str


@dataclass(frozen=True)
class Group:
    site: str
    name: str
    gross: Decimal
    net: Decimal
    share: Decimal | None
    """Share of the total net cost. None if that is zero."""
    per_million: Decimal | None
    """Cost in dollars of a million trades of the site. None if their number is unknown."""
    unknown: tuple[str, ...] = ()
    """Meters that could not be read and are not in the sums."""
    is_unknown: bool = False
    """Whether no meter could be read."""


@dataclass(frozen=True)
class Compared:
    """A row of the comparison of the clouds."""

    service: str
    aws_gross: Decimal | None
    aws_net: Decimal | None
    gcp_gross: Decimal | None
    gcp_net: Decimal | None

    @property
    def saving(self) -> Decimal | None:
        """Saving in dollars with Google's cloud. None if either cost is unknown."""
        if self.aws_net is None or self.gcp_net is None:
            return None
        return self.aws_net - self.gcp_net


@dataclass(frozen=True)
class CostReport:
    month: Month
    at: float
    until: float
    free_tier: bool
    by: str
    usages: tuple[SiteUsage, ...]
    lines: tuple[CostLine, ...]
    groups: tuple[Group, ...]
    comparison: tuple[Compared, ...]
    bills: Mapping[str, Bill | str] = field(default_factory=dict)
    """Bill of each site, or the reason why there is none."""
    money: Money = field(default_factory=Money)
    forecast: Forecast | None = None
    today: Mapping[str, Decimal | str] = field(default_factory=dict)
    """Net cost in dollars of each site since midnight UTC, or why it is unknown. Empty for a past
    month."""

    @property
    def subtotals(self) -> list[Group]:
        """Return the sum of each site."""
        return _grouped(self.lines, self.usages, "site")

    @property
    def today_total(self) -> Decimal | None:
        """Net cost in dollars of all sites since midnight UTC. None if it is unknown for any."""
        known = [each for each in self.today.values() if isinstance(each, Decimal)]
        return sum(known, ZERO) if known and len(known) == len(self.today) else None

    @property
    def gross(self) -> Decimal:
        return sum((line.gross for line in self.lines), ZERO)

    @property
    def net(self) -> Decimal:
        return sum((line.net for line in self.lines), ZERO)

    @property
    def is_unknown(self) -> bool:
        """Whether nothing is known of any site."""
        return bool(self.usages) and all(usage.is_unknown for usage in self.usages)

    def known_net_of(self, site: str) -> Decimal | None:
        """Return the net cost of a site, or None if no meter of it could be read."""
        is_unknown = any(usage.is_unknown for usage in self.usages if usage.site == site)
        return None if is_unknown else self.net_of(site)

    def net_of(self, site: str) -> Decimal:
        return sum((line.net for line in self.lines if line.site == site), ZERO)

    @property
    def over_budget(self) -> list[str]:
        """Return one sentence for each budget that is used up, or will be."""
        found = []
        checked = [(site, budget, self.net_of(site)) for site, budget in self.money.budgets.items()]
        if self.money.budget is not None:
            checked.append(("all sites", self.money.budget, self.net))
        for name, budget, net in checked:
            if net > budget:
                found.append(f"{name}: {usd(net)} of a budget of {usd(budget)}")
        ahead = self.forecast if self.forecast and not self.forecast.early else None
        if self.money.budget is not None and ahead and not found:
            expected = ahead.expected
            if expected > self.money.budget:
                found.append(
                    f"all sites: {usd(expected)} expected by the end of the month, of a budget of "
                    f"{usd(self.money.budget)}"
                )
        return found

    @property
    def unknown_sites(self) -> list[str]:
        """Sites whose cost is in no sum, with the reasons."""
        return [
            f"{usage.site}: {usage.problem or 'no meter could be read'}"
            for usage in self.usages
            if usage.is_unknown
        ]

    @property
    def own_cost(self) -> Decimal:
        """Cost in dollars of making this report, at list price without free tiers."""
        reads = sum(
            (
                (usage.units(OWN_READS) or ZERO) * PRICES[usage.cloud, "metric_reads"].each
                for usage in self.usages
            ),
            ZERO,
        )
        return reads + sum((b.cost for b in self.bills.values() if isinstance(b, Bill)), ZERO)

    @property
    def notes(self) -> list[str]:
        """Notes on the figures, for the reader."""
        return notes_on(self)

    @property
    def report(self) -> "CostReportDocument":
        """The document of ``mcloud cost report -o json``. Numbers are texts, and null is
        unknown.
        """
        return CostReportDocument(
            month=self.month.name,
            at=self.at,
            until=self.until,
            estimate=True,
            free_tier=self.free_tier,
            by=self.by,
            gross_usd=None if self.is_unknown else plain(self.gross),
            net_usd=None if self.is_unknown else plain(self.net),
            groups=tuple(map(_group, self.groups)),
            lines=tuple(map(_line, self.lines)),
            comparison=tuple(
                ComparedServices(
                    row.service,
                    plain(row.aws_gross),
                    plain(row.aws_net),
                    plain(row.gcp_gross),
                    plain(row.gcp_net),
                    plain(row.saving),
                )
                for row in self.comparison
            ),
            sites={usage.site: _site(self, usage) for usage in self.usages},
            budget=self._budget(),
            forecast=None if self.forecast is None else self.forecast.report,
            own_cost_usd=plain(self.own_cost),
            notes=tuple(self.notes),
        )

    def _budget(self) -> "BudgetUse | None":
        if self.money.budget is None:
            return None
        return BudgetUse(
            usd=plain(self.money.budget),
            used_percent=_used(None if self.is_unknown else self.net, self.money.budget),
            sites={
                site: SiteBudgetUse(plain(budget), _used(self.known_net_of(site), budget))
                for site, budget in self.money.budgets.items()
            },
            over=tuple(self.over_budget),
        )


@dataclass(frozen=True)
class GroupDocument:
    site: str
    name: str
    gross_usd: str | None
    net_usd: str | None
    share: str | None
    usd_per_million_trades: str | None
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class LineDocument:
    site: str
    cloud: Cloud
    service: CostService
    meter: str
    unit: str
    used: str | None
    free_tier_used: str | None
    gross_usd: str | None
    net_usd: str | None
    price_usd: str | None
    price_per: str | None
    price_date: str
    price_source: str
    source: str
    as_of: float | None
    exact: bool


@dataclass(frozen=True)
class ComparedServices:
    service: str
    aws_gross_usd: str | None
    aws_net_usd: str | None
    gcp_gross_usd: str | None
    gcp_net_usd: str | None
    saving_usd: str | None


@dataclass(frozen=True)
class UnknownBill:
    unknown: str


@dataclass(frozen=True)
class BillDocument:
    usd: str | None
    labelled_usd: str | None
    source: str
    scope: str
    as_of: float
    services: Mapping[str, str | None]


@dataclass(frozen=True)
class SiteDocument:
    cloud: str
    region: str
    prices_of: str
    embedded: bool
    measured_from: float
    unknown: str | None
    net_usd: str | None
    today_usd: str | None
    """Net cost since midnight UTC."""
    trades: str | None
    trades_source: str
    billed: BillDocument | UnknownBill


@dataclass(frozen=True)
class SiteBudgetUse:
    usd: str | None
    used_percent: str | None


@dataclass(frozen=True)
class BudgetUse(SiteBudgetUse):
    sites: Mapping[str, SiteBudgetUse]
    over: tuple[str, ...]
    """One sentence for each budget that is used up, or will be."""


@dataclass(frozen=True)
class CostReportDocument:
    month: str
    at: float
    until: float
    estimate: bool
    free_tier: bool
    by: str
    gross_usd: str | None
    net_usd: str | None
    groups: tuple[GroupDocument, ...]
    lines: tuple[LineDocument, ...]
    comparison: tuple[ComparedServices, ...]
    sites: Mapping[str, SiteDocument]
    budget: BudgetUse | None
    forecast: ForecastReport | None
    own_cost_usd: str | None
    notes: tuple[str, ...]


def make_report(
    usages: Sequence[SiteUsage],
    month: Month,
    now: float,
    *,
    by: str = "service",
    free_tier: bool = True,
    bills: Mapping[str, Bill | str] | None = None,
    money: Money | None = None,
    forecast: Forecast | None = None,
) -> CostReport:
    """Return the report of a month at list prices. ``by`` is one of BY."""
    until = month.until(now)
    lines = price_usage(usages, month, until, free_tier=free_tier)
    return CostReport(
        month=month,
        at=now,
        until=until,
        free_tier=free_tier,
        by=by,
        usages=tuple(usages),
        lines=tuple(lines),
        groups=tuple(_grouped(lines, usages, by)),
        comparison=tuple(_compare(lines, usages)),
        bills=bills or {},
        money=money or Money(),
        forecast=forecast,
        today=today(usages, month, now, free_tier=free_tier),
    )


def price_usage(
    usages: Sequence[SiteUsage], month: Month, until: float, *, free_tier: bool
) -> list[CostLine]:
    """Return a line for every meter with a price, by site and service."""
    asked: list[tuple[SiteUsage, Metered]] = [
        (usage, each)
        for usage in usages
        for each in usage.metered
        if (usage.cloud, each.meter) in PRICES
    ]
    start = min((usage.start for usage in usages), default=month.start)
    charges = charge(
        [Use(u.cloud, m.meter, m.units or ZERO, m.days, m.has_free_tier) for u, m in asked],
        month.dates(start, until),
        free_tier=free_tier,
    )
    lines = []
    for (usage, metered), each in zip(asked, charges, strict=True):
        price = PRICES[usage.cloud, metered.meter]
        lines.append(
            CostLine(
                *(usage.site, usage.cloud, price.service, metered.meter, price.unit),
                *(metered.units, each.free, each.gross, each.net),
                *(metered.source, metered.as_of, metered.exact, price.doubt),
            )
        )
    sites = [usage.site for usage in usages]
    return sorted(lines, key=lambda x: (sites.index(x.site), SERVICES.index(x.service), x.meter))


def _grouped(lines: Sequence[CostLine], usages: Sequence[SiteUsage], by: str) -> list[Group]:
    total = sum((line.net for line in lines), ZERO)
    found = []
    for usage in usages:
        mine = [line for line in lines if line.site == usage.site]
        trades = usage.trades.total
        if by == "symbol":
            found += _by_symbol(usage, mine, total)
            continue
        names = list(dict.fromkeys(line.service for line in mine)) if by == "service" else [""]
        for name in names:
            those = [line for line in mine if not name or line.service == name]
            net = sum((line.net for line in those), ZERO)
            found.append(
                Group(
                    site=usage.site,
                    name=name or usage.site,
                    gross=sum((line.gross for line in those), ZERO),
                    net=net,
                    share=net / total if total else None,
                    per_million=net * MILLION / trades if trades else None,
                    unknown=tuple(line.meter for line in those if line.used is None),
                    is_unknown=all(line.used is None for line in those),
                )
            )
    return found


def _by_symbol(usage: SiteUsage, lines: Sequence[CostLine], total: Decimal) -> list[Group]:
    """Split the site's cost in proportion to the trades of each symbol."""
    gross, net = (sum((getattr(x, each) for x in lines), ZERO) for each in ("gross", "net"))
    trades = usage.trades.total
    unknown = tuple(line.meter for line in lines if line.used is None)
    if not trades:
        share = net / total if total else None
        whole = Group(usage.site, "unknown", gross, net, share, None, unknown, usage.is_unknown)
        return [whole]
    return [
        Group(
            site=usage.site,
            name=symbol,
            gross=gross * count / trades,
            net=net * count / trades,
            share=net * count / trades / total if total else None,
            per_million=net * MILLION / trades,
            unknown=unknown,
            is_unknown=usage.is_unknown,
        )
        for symbol, count in sorted(usage.trades.by_symbol.items())
    ]


def _compare(lines: Sequence[CostLine], usages: Sequence[SiteUsage]) -> list[Compared]:
    """Return the cost of each service of the pipeline on each cloud."""
    clouds = {usage.cloud for usage in usages if not usage.is_unknown}
    sums: dict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
    for line in lines:
        sums[line.service, line.cloud, "gross"] += line.gross
        sums[line.service, line.cloud, "net"] += line.net

    # A service with no readable meter has an unknown cost, not a cost of zero.
    named = [(line.service if line.service in COMPARED else "other", line) for line in lines]
    told = {(name, line.cloud) for name, line in named if line.used is not None}
    untold = {(name, line.cloud) for name, line in named} - told

    def of(service: str, cloud: str, what: str) -> Decimal | None:
        is_known = cloud in clouds and (service, cloud) not in untold
        return sums[service, cloud, what] if is_known else None

    def row(service: str) -> Compared:
        return Compared(
            service,
            *(of(service, cloud, what) for cloud in CLOUDS for what in ("gross", "net")),
        )

    rows = [row(service) for service in COMPARED]
    for service, cloud, what in list(sums):
        if service not in COMPARED:
            sums["other", cloud, what] += sums[service, cloud, what]
        sums["total", cloud, what] += sums[service, cloud, what]
    return [*rows, row("other"), row("total")]


def _used(net: Decimal | None, budget: Decimal) -> str | None:
    return None if net is None else plain(percent(net, budget), 1)


def _group(group: Group) -> GroupDocument:
    return GroupDocument(
        site=group.site,
        name=group.name,
        gross_usd=None if group.is_unknown else plain(group.gross),
        net_usd=None if group.is_unknown else plain(group.net),
        share=None if group.is_unknown else plain(group.share, 4),
        usd_per_million_trades=None if group.is_unknown else plain(group.per_million),
        unknown=tuple(group.unknown),
    )


def _line(line: CostLine) -> LineDocument:
    price = PRICES[line.cloud, line.meter]
    return LineDocument(
        site=line.site,
        cloud=line.cloud,
        service=line.service,
        meter=line.meter,
        unit=line.unit,
        used=plain(line.used, 6),
        free_tier_used=plain(line.free, 6),
        gross_usd=plain(line.gross) if line.used is not None else None,
        net_usd=plain(line.net) if line.used is not None else None,
        price_usd=plain(price.usd),
        price_per=plain(price.per),
        price_date=price.date,
        price_source=price.source,
        source=line.source,
        as_of=line.as_of,
        exact=line.exact,
    )


def _site(report: CostReport, usage: SiteUsage) -> SiteDocument:
    bill = report.bills.get(usage.site, "not requested")
    change = report.today.get(usage.site)
    return SiteDocument(
        cloud=usage.cloud,
        region=usage.region,
        prices_of=REGIONS[usage.cloud],
        embedded=usage.embedded,
        measured_from=usage.start,
        unknown=usage.problem or None,
        net_usd=plain(report.known_net_of(usage.site)),
        today_usd=None if isinstance(change, str) else plain(change),
        trades=plain(usage.trades.total, 0),
        trades_source=usage.trades.source,
        billed=UnknownBill(bill) if isinstance(bill, str) else _bill(bill),
    )


def _bill(bill: Bill) -> BillDocument:
    return BillDocument(
        usd=plain(bill.net),
        labelled_usd=plain(sum((x.usd + x.credits for x in bill.lines if x.labelled), ZERO)),
        source=bill.source,
        scope=bill.scope,
        as_of=bill.as_of,
        services={
            name: plain(sum((x.usd + x.credits for x in bill.lines if x.service == name), ZERO))
            for name in sorted({line.service for line in bill.lines})
        },
    )


def notes_on(report: CostReport) -> list[str]:
    """Return notes on the figures of a report: what is missing, uncertain or different."""
    notes = [
        "an estimate: metered usage at list prices of "
        + _prices_date(report.lines)
        + ("" if report.free_tier else ", without free tiers")
    ]
    for usage in report.usages:
        if usage.problem:
            notes.append(f"{usage.site}: unknown: {usage.problem}")
        elif usage.estimated_region:
            notes.append(
                f"{usage.site} is in {usage.region}; the prices are those of "
                f"{REGIONS[usage.cloud]}, which may be lower"
            )
    if any(usage.embedded for usage in report.usages):
        notes.append(EMBEDDED)
    missing = {
        line.meter: f"{line.site} {line.meter}: {line.source}"
        for line in report.lines
        if line.used is None
    }
    notes += [f"not in the sums: {each}" for each in missing.values()]
    doubts = sorted({(x.cloud, x.meter, x.doubt) for x in report.lines if x.doubt and x.gross})
    notes += [f"price of {cloud} {meter}: {doubt}" for cloud, meter, doubt in doubts]
    if report.free_tier and any(x.service == "database" and x.cloud == "gcp" for x in report.lines):
        notes.append(
            "Firestore's free tier is by the day, and of one database a project: one that is not "
            "(default) may have none"
        )
    if report.by == "symbol":
        notes.append("symbols: an allocation of the site's cost by trades, not a measurement")
    for usage in report.usages:
        notes += _differences(report, usage)
    return notes


def _differences(report: CostReport, usage: SiteUsage) -> list[str]:
    """Return the reasons for a difference between the bill and the estimate."""
    bill = report.bills.get(usage.site)
    if not isinstance(bill, Bill):
        return []
    gap = report.net_of(usage.site) - bill.net
    reasons = ["the bill lags by up to a day"]
    credit = sum((line.credits for line in bill.lines), ZERO)
    if credit:
        reasons.append(f"it has {usd(credit)} of credits")
    if report.free_tier:
        reasons.append("others on the account may have used the free tiers")
    else:
        reasons.append("it has the free tiers")
    if usage.estimated_region:
        reasons.append(f"it has the prices of {usage.region}")
    if any(line.used is None or not line.exact for line in report.lines if line.site == usage.site):
        reasons.append("some meters are estimates or unknown")
    reasons += [f"it covers {bill.scope}", "it rounds every line"]
    side = "above" if gap >= 0 else "below"
    return [f"{usage.site}: the estimate is {usd(abs(gap))} {side} the bill: {'; '.join(reasons)}"]


def _prices_date(lines: Sequence[CostLine]) -> str:
    dates = {PRICES[line.cloud, line.meter].date for line in lines}
    return min(dates, default=next(iter(PRICES.values())).date)
