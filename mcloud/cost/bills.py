"""The clouds' own bills. Each is requested once every few hours at most, since a request costs
money.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Self

from mcloud import best_effort, files
from mcloud.clouds.billing import Bill, BillLine
from mcloud.clouds.factory import open_billing
from mcloud.clouds.resources import Resources
from mcloud.config import LOCAL, Config
from mcloud.cost.month import Month, day_of
from mcloud.cost.settings import CostSettings
from mcloud.deadline import gather
from mcloud.documents import Damaged, Time, encode, read_file
from mcloud.errors import reason_of

DEADLINE = 60.0  # seconds
SETTLED = 7 * 86_400.0  # seconds after which the bill of a month hardly changes any more


def bills(
    config: Config,
    resources: Mapping[str, Resources],
    month: Month,
    now: float,
    settings: CostSettings,
) -> dict[str, Bill | str]:
    """Return the bill of every site, or the reason why there is none."""
    if config.profile == LOCAL:
        return dict.fromkeys(resources, "the embedded clouds send no bill")
    if not settings.billed:
        return dict.fromkeys(resources, "switched off in [cost]")
    calls = {
        name: partial(_bill, config, name, each, month, now, settings)
        for name, each in resources.items()
    }
    return {
        name: reason_of(answer) if isinstance(answer, Exception) else answer
        for name, answer in gather(calls, DEADLINE).items()
    }


def _bill(
    config: Config,
    site: str,
    resources: Resources,
    month: Month,
    now: float,
    settings: CostSettings,
) -> Bill:
    folder = config.state / "cost" / config.profile
    path = folder / f"bill-{site}-{month.name}.json"
    return remembered(
        path,
        now,
        lambda: open_billing(resources, config.sites[site].stack, settings.gcp_billing_table).bill(
            day_of(month.start), day_of(max(month.start, month.until(now) - 1))
        ),
        hours=settings.billed_hours,
        settled=month.end + SETTLED,
    )


def remembered(
    path: Path, now: float, ask: Callable[[], Bill], *, hours: float, settled: float
) -> Bill:
    """Return the bill that is stored in ``path``. Request and store a new one if that is too old.

    A bill that was requested after ``settled`` is kept permanently.
    """
    kept = _read(path)
    if kept is not None:
        asked, bill = kept
        # A time of request in the future comes from a clock that was wrong.
        if now - asked >= 0 and (now - asked < hours * 3600 or asked > settled):
            return bill
    bill = ask()
    best_effort.attempt(path, partial(_keep, path, _KeptBill.of(bill, now)))
    return bill


@dataclass(frozen=True)
class _KeptBill:
    """A bill as stored in a file."""

    asked: Time
    source: str
    scope: str
    as_of: Time
    lines: tuple[tuple[str, str, Decimal, Decimal, bool], ...]

    @classmethod
    def of(cls, bill: Bill, now: float) -> Self:
        lines = (
            (each.day, each.service, each.usd, each.credits, each.labelled) for each in bill.lines
        )
        return cls(now, bill.source, bill.scope, bill.as_of, tuple(lines))

    @property
    def bill(self) -> Bill:
        lines = tuple(BillLine(*each) for each in self.lines)
        # The cost of the request was paid at that time.
        return Bill(self.source, self.scope, lines, self.as_of, Decimal(0))


def _read(path: Path) -> tuple[float, Bill] | None:
    """Return the stored bill and its time. Return None if it cannot be read: it is then
    requested again.
    """
    kept = read_file(path, _KeptBill)
    return None if kept is None or isinstance(kept, Damaged) else (kept.asked, kept.bill)


def _keep(path: Path, kept: _KeptBill) -> None:
    files.make_private(path.parent)
    files.write(path, json.dumps(encode(kept)))
