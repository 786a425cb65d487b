"""What the meters of the embedded clouds counted: every request, as a real cloud would bill it."""

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

from mcloud.clouds.ports import Metered
from mcloud.cost.month import Month, day_of
from mcloud.local import meter

SOURCE = "meter of the embedded cloud"


def read(
    home: Path, sites: Iterable[str], month: Month, now: float
) -> dict[str, tuple[float, list[Metered]]]:
    """From when on it counted, and what, by site."""
    counted = meter.read(home)
    return {
        site: (
            month.start,
            [
                Metered(
                    name,
                    Decimal(units),
                    SOURCE,
                    now,
                    exact=True,
                    days={day_of(now): Decimal(units)},
                )
                for name, units in sorted(counted.get(site, {}).items())
            ],
        )
        for site in sites
    }
