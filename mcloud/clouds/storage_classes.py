"""Usage of the colder storage class, which the metrics of both clouds tell only in part."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

from mcloud.clouds.days import Days
from mcloud.clouds.ports import Metered

ZERO = Decimal(0)


def share(stored: Mapping[str, Days], cold: str) -> Decimal:
    """Return the share of the class ``cold`` in what is stored of all classes."""
    sums = {name: sum(days.values(), ZERO) for name, days in stored.items()}
    total = sum(sums.values(), ZERO)
    return sums.get(cold, ZERO) / total if total else ZERO


def divided(reads: Metered, meter: str, part: Decimal | str) -> tuple[Metered, Metered]:
    """Divide reads between all other classes and the colder one, whose meter is ``meter``.

    Args:
        part: the share of the colder class, or the reason why it is unknown.
    """
    if isinstance(part, str):
        unknown = replace(reads, meter=meter, units=None, source=f"unknown: {part}", days={})
        return reads, replace(unknown, exact=False)
    if not part:
        return reads, _times(reads, ZERO, meter)
    source = f"{reads.source}; divided like what is stored of each class"
    estimated = replace(reads, source=source, exact=False)
    return _times(estimated, 1 - part, reads.meter), _times(estimated, part, meter)


def growth(stored: Days, reported: Iterable[str]) -> dict[str, Decimal]:
    """Return by how much more is stored each day than on the day before.

    Args:
        reported: days for which the sizes are known. A class without a size was empty.
    """
    return {
        day: max(ZERO, stored.get(day, ZERO) - stored.get(before, ZERO))
        for before, day in pairwise(sorted(reported))
    }


def _times(metered: Metered, factor: Decimal, meter: str) -> Metered:
    units = None if metered.units is None else metered.units * factor
    days = {day: each * factor for day, each in metered.days.items()}
    return replace(metered, meter=meter, units=units, days=days)
