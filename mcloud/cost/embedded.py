"""Usage from the meters of the embedded clouds, which count every request as a real cloud bills
it.
"""

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

from mcloud.clouds.ports import Metered, Site
from mcloud.cost.month import Month, day_of
from mcloud.local import meter

SOURCE = "embedded meter"

GIB = 2**30
STORED = {"aws": "s3_gib_months", "gcp": "gcs_gib_months"}


def read(
    home: Path, sites: Iterable[str], month: Month, now: float
) -> dict[str, tuple[float, list[Metered]]]:
    """Return the start of the count in the month, and the units, by site."""
    counted = meter.read(home, month.name)
    found = {}
    for site in sites:
        start = max(month.start, min(meter.since(home, site) or now, now))
        end = month.until(now)
        first, last = day_of(start), day_of(max(start, end - 1))
        found[site] = (
            start,
            [
                Metered(
                    *(name, Decimal(units), SOURCE, end),
                    exact=True,
                    # The meter keeps totals by month. If it counted on one day only, the total
                    # is that day's.
                    days={first: Decimal(units)} if first == last else {},
                )
                for name, units in sorted(counted.get(site, {}).items())
            ],
        )
    return found


def stored(site: Site, month: Month, start: float, now: float) -> list[Metered]:
    """Return the size of the raw archive, which no request counts, as if constant since
    ``start``.
    """
    sizes = [item.size for item in site.archive.list("raw/")]
    share = Decimal(max(0.0, month.until(now) - start)) / Decimal(month.seconds)
    return [
        Metered(
            *(STORED[site.cloud], sum(sizes) * share / GIB),
            *("a listing, assumed to be unchanged since the start", now),
            exact=False,
        ),
        Metered("stored_objects", Decimal(len(sizes)), "a listing", now, exact=True),
    ]
