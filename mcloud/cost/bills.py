"""The clouds' own bills, each asked for at most every few hours: an answer costs money."""

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from mcloud import best_effort, files
from mcloud.clouds.billing import Bill, BillLine, open_billing
from mcloud.clouds.resources import Resources
from mcloud.config import LOCAL, Config
from mcloud.cost.month import Month, day_of
from mcloud.cost.settings import CostSettings
from mcloud.deadline import gather

DEADLINE = 60.0  # seconds
SETTLED = 7 * 86_400.0  # seconds after which the bill of a month hardly changes any more


def bills(
    config: Config,
    resources: Mapping[str, Resources],
    month: Month,
    now: float,
    settings: CostSettings,
) -> dict[str, Bill | str]:
    """The bill of every site, or why there is none."""
    if config.profile == LOCAL:
        return dict.fromkeys(resources, "the embedded clouds send no bill")
    if not settings.billed:
        return dict.fromkeys(resources, "switched off in [cost]")
    calls = {
        name: partial(_bill, config, name, each, month, now, settings)
        for name, each in resources.items()
    }
    return {
        name: (str(answer) or type(answer).__name__) if isinstance(answer, Exception) else answer
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
    """The bill as it is kept in ``path``, or asked for and kept, where that is too old.

    One that was asked for after ``settled`` is kept for good.
    """
    kept = _read(path)
    if kept is not None:
        asked, bill = kept
        # One that was asked for in the future was asked for by a clock that was wrong.
        if now - asked >= 0 and (now - asked < hours * 3600 or asked > settled):
            return bill
    bill = ask()
    best_effort.attempt(path, partial(_keep, path, {"asked": now, **_to_json(bill)}))
    return bill


def _keep(path: Path, document: Mapping[str, Any]) -> None:
    files.make_private(path.parent)
    files.write(path, json.dumps(document))


def _read(path: Path) -> tuple[float, Bill] | None:
    """None also for one that cannot be read: it is asked for again."""
    try:
        values = json.loads(path.read_text())
        return float(values.pop("asked")), _from_json(values)
    except (OSError, ValueError, KeyError, TypeError, ArithmeticError):
        return None


def _to_json(bill: Bill) -> dict[str, Any]:
    return {
        "source": bill.source,
        "scope": bill.scope,
        "as_of": bill.as_of,
        "lines": [
            [each.day, each.service, str(each.usd), str(each.credits), each.labelled]
            for each in bill.lines
        ],
    }


def _from_json(values: dict[str, Any]) -> Bill:
    lines = tuple(
        BillLine(str(day), str(service), Decimal(usd), Decimal(credits_), bool(labelled))
        for day, service, usd, credits_, labelled in values["lines"]
    )
    # What it cost to ask was paid then.
    return Bill(values["source"], values["scope"], lines, float(values["as_of"]), Decimal(0))
