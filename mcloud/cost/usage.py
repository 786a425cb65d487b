"""What every site used in a month: from its cloud's metrics, or the meters of the embedded one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial

from mcloud.clouds.ports import Heartbeat, Metered, Site
from mcloud.config import LOCAL, Config, resources
from mcloud.cost import embedded
from mcloud.cost.month import Month
from mcloud.cost.prices import PRICES, REGIONS
from mcloud.deadline import gather
from mcloud.documents import sound

DEADLINE = 30.0  # seconds; two clients are made and some thirty metrics read

MESSAGES = "messages"
"""The unpriced meter of messages that reached the function."""
OWN_READS = "own_metric_reads"
"""The unpriced meter of what reading the meters took."""


@dataclass(frozen=True)
class Trades:
    """How many trades a site processed in the month. Never exact: see ``ports.Heartbeat``."""

    by_symbol: Mapping[str, Decimal]
    messages: Decimal | None
    source: str
    """Also why there are none."""

    @property
    def total(self) -> Decimal | None:
        """None where it is not known."""
        return sum(self.by_symbol.values(), Decimal(0)) if self.by_symbol else None


@dataclass(frozen=True)
class SiteUsage:
    site: str
    cloud: str
    region: str
    start: float
    """From when on it was measured, seconds since 1970."""
    metered: tuple[Metered, ...] = ()
    trades: Trades = field(default_factory=lambda: Trades({}, None, "unknown"))
    problem: str = ""
    """Why nothing is known, or empty."""
    embedded: bool = False

    @property
    def estimated_region(self) -> bool:
        """True where the price book has another region than this site."""
        return self.region != REGIONS[self.cloud]

    @property
    def is_unknown(self) -> bool:
        """True where no meter that costs anything could be read, of one or more."""
        priced = [each for each in self.metered if (self.cloud, each.meter) in PRICES]
        return bool(self.problem) or (bool(priced) and all(each.units is None for each in priced))

    def units(self, meter: str) -> Decimal | None:
        """What a meter counted; None where it is unknown."""
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
    """Ask all sites at once; one that does not answer is there with the reason.

    With ``only_meters`` no store is asked for trades: for whoever asks often.
    """
    end = month.until(now)
    regions = {name: each.region for name, each in resources(config).items()}
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
    """The month's trades out of heartbeats, which count since the site was made.

    Where the month's messages are known, they are multiplied by the trades in one; otherwise all
    that was ever counted is taken, and the source says so.
    """
    if isinstance(beats, Exception):
        return Trades({}, messages, f"unknown: {beats}")
    if beats is None:
        return Trades({}, messages, "not asked for")
    assert isinstance(beats, list)
    known: list[Heartbeat] = [beat for beat in beats if beat.trades]
    if not known:
        return Trades({}, messages, "unknown: no heartbeat yet")
    ever = sum(beat.messages for beat in known)
    if messages is None or not ever:
        return Trades(
            {beat.symbol: Decimal(beat.trades) for beat in known},
            Decimal(ever) if ever else None,
            "heartbeats, since the site was made",
        )
    return Trades(
        {beat.symbol: beat.trades * messages / ever for beat in known},
        messages,
        "an estimate: the month's messages times the trades in one, by the heartbeats",
    )


def _site_usage(bare: SiteUsage, answer: object, beats: object) -> SiteUsage:
    if isinstance(answer, Exception):
        return replace(bare, problem=str(answer) or type(answer).__name__)
    assert isinstance(answer, list)
    usage = replace(bare, metered=tuple(answer))
    usage = replace(usage, trades=trades_of(beats, usage.units(MESSAGES)))
    if not usage.embedded or usage.trades.messages is None:
        return usage
    # No request tells how many messages it had; all of the site's are of its embedded cloud.
    as_of = max(each.as_of for each in usage.metered) if usage.metered else usage.start
    counted = Metered(MESSAGES, usage.trades.messages, "heartbeats", as_of, exact=False)
    return replace(usage, metered=(*usage.metered, counted))


def _extra(answer: object) -> list[Metered]:
    """What is stored is worth knowing, and the rest is no less right without it."""
    return answer if isinstance(answer, list) else []


def _ask(site: Site, start: float, end: float) -> list[Metered]:
    return site.usage.metered(start, end)


def _beats(site: Site) -> list[Heartbeat]:
    return sound(site.control.heartbeats())
