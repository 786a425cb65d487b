"""Made-up usage of months."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

from mcloud.clouds.ports import Metered
from mcloud.cost.month import Month
from mcloud.cost.usage import SiteUsage, Trades

MONTH = Month(2026, 11)


def at(text: str) -> float:
    """Return a UTC time in seconds since 1970."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


NOW = at("2026-11-16T00:00")


def metered(meter: str, units: object, **given: object) -> Metered:
    number = None if units is None else Decimal(str(units))
    return Metered(
        meter,
        number,
        str(given.get("source", "CloudWatch")),
        float(str(given.get("as_of", NOW))),
        exact=bool(given.get("exact", True)),
        days=dict(given.get("days", {})),  # type: ignore[call-overload]
    )


def usage(
    site: str,
    counts: Mapping[str, object],
    *,
    cloud: str = "",
    trades: Mapping[str, int] | None = None,
    messages: int | None = None,
    more: tuple[Metered, ...] = (),
    region: str = "",
    start: float = MONTH.start,
    embedded: bool = False,
    problem: str = "",
) -> SiteUsage:
    cloud = cloud or site
    return SiteUsage(
        site,
        cloud,
        region or {"aws": "us-east-1", "gcp": "us-central1"}[cloud],
        start,
        (*(metered(meter, units) for meter, units in counts.items()), *more),
        Trades(
            {symbol: Decimal(count) for symbol, count in (trades or {}).items()},
            None if messages is None else Decimal(messages),
            "heartbeats",
        ),
        problem,
        embedded,
    )


def daily(meter: str, counts: list[object], first: int = 1) -> Metered:
    """Return the usage of whole days from ``first`` on."""
    days = {f"2026-11-{first + n:02}": Decimal(str(count)) for n, count in enumerate(counts)}
    return metered(meter, sum(days.values()), days=days)
