"""Notes on the figures of a report: what is missing, uncertain or different."""

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from mcloud.clouds.billing import Bill
from mcloud.cost.prices import PRICES, REGIONS
from mcloud.cost.usage import SiteUsage
from mcloud.cost.words import usd

if TYPE_CHECKING:
    from mcloud.cost.report import Line, Report

ZERO = Decimal(0)


def notes_on(report: "Report") -> list[str]:
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
        notes.append("embedded clouds cost nothing: this is what real ones would cost")
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


def _differences(report: "Report", usage: SiteUsage) -> list[str]:
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


def _prices_date(lines: "Sequence[Line]") -> str:
    dates = {PRICES[line.cloud, line.meter].date for line in lines}
    return min(dates, default=next(iter(PRICES.values())).date)
