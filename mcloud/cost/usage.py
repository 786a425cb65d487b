"""The usage of every site in a month: from its cloud's metrics, or from the embedded meters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial

from mcloud.clouds.ports import Heartbeat, Metered, Site
from mcloud.clouds.resources import Cloud
from mcloud.config import LOCAL, Config
from mcloud.cost import embedded
from mcloud.cost.month import Month
from mcloud.cost.prices import PRICES, REGIONS
from mcloud.deadline import gather
from mcloud.documents import sound
from mcloud.errors import reason_of
from mcloud.sites.resources import site_resources

DEADLINE = 30.0  # seconds; two clients are made and some thirty-five metrics read

MESSAGES = "messages"
"""An unpriced meter: messages that reached the function."""
OWN_READS = "own_metric_reads"
"""An unpriced meter: the number of reads that this report itself caused."""


@dataclass(frozen=True)
class Trades:
    """Number of trades that a site processed in the month. Never exact: see ``ports.Heartbeat``."""

    by_symbol: Mapping[str, Decimal]
    messages: Decimal | None
    source: str
    """Source of the numbers, or the reason why there are none."""

    @property
    def total(self) -> Decimal | None:
        """Number of all trades. None if unknown."""
        return sum(self.by_symbol.values(), Decimal(0)) if self.by_symbol else None


@dataclass(frozen=True)
class SiteUsage:
    site: str
    cloud: Cloud
    region: str
    start: float
    """Start of the measurement, in seconds since 1970."""
    metered: tuple[Metered, ...] = ()
    trades: Trades = field(default_factory=lambda: Trades({}, None, "unknown"))
    problem: str = ""
    """Reason why nothing is known, or empty."""
    embedded: bool = False

    @property
    def estimated_region(self) -> bool:
        """Whether the price book has another region than this site."""
        return self.region != REGIONS[self.cloud]

    @property
    def is_unknown(self) -> bool:
        """Whether nothing is known: the site failed, or none of its meters with a price could be
        read.
        """
        priced = [each for each in self.metered if (self.cloud, each.meter) in PRICES]
        return bool(self.problem) or (bool(priced) and all(each.units is None for each in priced))

    def units(self, meter: str) -> Decimal | None:
        """Return the units of a meter, or None if unknown."""
        found = [each.units for each in self.metered if each.meter == meter]
        known = [units for units in found if units is not None]
        return sum(known, Decimal(0)) if known else None


def collect(
    config: Config,
    sites: Mapping[str, Site],
    month: Month,
    now: float,
    *,
    deadline: float = DEADLINE,
    only_meters: bool = False,
) -> list[SiteUsage]:
    """Read the usage of all sites at once. A site that does not answer is included with the reason.

    With ``only_meters`` no store is read for trades, for frequent callers.
    """
    end = month.until(now)
    regions = {name: each.region for name, each in site_resources(config).items()}
    local = embedded.read(config.local, sites, month, now) if config.profile == LOCAL else {}
    calls: dict[tuple[str, str], Callable[[], object]] = {}
    for name, site in sites.items():
        if not only_meters:
            calls[name, "beats"] = partial(_beats, site)
        if name in local and not only_meters:
            calls[name, "stored"] = partial(embedded.stored, site, month, local[name][0], now)
        if name not in local:
            calls[name, "meters"] = partial(_ask, site, month.start, end)
    answers = gather(calls, deadline)
    return [
        _site_usage(
            SiteUsage(
                *(name, site.cloud, regions[name]),
                local[name][0] if name in local else month.start,
                embedded=name in local,
            ),
            [*local[name][1], *_extra(answers.get((name, "stored")))]
            if name in local
            else answers[name, "meters"],
            answers.get((name, "beats")),
        )
        for name, site in sites.items()
    ]


def trades_of(beats: object, messages: Decimal | None) -> Trades:
    """Return the month's trades from heartbeats, which count since the site was created.

    If the month's messages are known, they are multiplied by the mean number of trades in a
    message. Otherwise the total count is used, and the source says so.
    """
    if isinstance(beats, Exception):
        return Trades({}, messages, f"unknown: {beats}")
    if beats is None:
        return Trades({}, messages, "not requested")
    assert isinstance(beats, list)
    known: list[Heartbeat] = [beat for beat in beats if beat.trades]
    if not known:
        return Trades({}, messages, "unknown: no heartbeat yet")
    ever = sum(beat.messages for beat in known)
    if messages is None or not ever:
        return Trades(
            {beat.symbol: Decimal(beat.trades) for beat in known},
            Decimal(ever) if ever else None,
            "heartbeats, since the site was created",
        )
    return Trades(
        {beat.symbol: beat.trades * messages / ever for beat in known},
        messages,
        "an estimate: the month's messages times the trades in one, by the heartbeats",
    )


def _site_usage(bare: SiteUsage, answer: object, beats: object) -> SiteUsage:
    if isinstance(answer, Exception):
        return replace(bare, problem=reason_of(answer))
    assert isinstance(answer, list)
    usage = replace(bare, metered=tuple(answer))
    usage = replace(usage, trades=trades_of(beats, usage.units(MESSAGES)))
    if not usage.embedded or usage.trades.messages is None:
        return usage
    # No request shows its number of messages; all of them come from the site's embedded cloud.
    as_of = max(each.as_of for each in usage.metered) if usage.metered else usage.start
    counted = Metered(MESSAGES, usage.trades.messages, "heartbeats", as_of, exact=False)
    return replace(usage, metered=(*usage.metered, counted))


def _extra(answer: object) -> list[Metered]:
    """Return the usage of storage, or nothing if it failed: the rest is valid without it."""
    return answer if isinstance(answer, list) else []


def _ask(site: Site, start: float, end: float) -> list[Metered]:
    return site.usage.metered(start, end)


def _beats(site: Site) -> list[Heartbeat]:
    return sound(site.control.heartbeats())
