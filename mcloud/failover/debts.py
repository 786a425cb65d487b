"""What is owed to a site that was left: trades it holds alone, and trades it never got.

A debt is noted on the sites when one is left, and paid when the sites are equal again over the
time in question: what differs is mended in both directions, and then verified. See ``catch_up``.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace

from mcloud.clouds.ports import Site
from mcloud.failover import notes
from mcloud.failover.decide import Debt

KIND = "debt"


def note(sites: Mapping[str, Site], debt: Debt, *, at: float, seconds: float) -> dict[str, str]:
    """Note a debt; one that is owed already goes back as far as it did."""

    def change(before: notes.Document | None) -> notes.Document:
        since = debt.since
        if before and not before["over"] and not before["paid"]:
            since = min(since, float(before["since"]))
        return {**asdict(replace(debt, since=since)), "over": False, "at": at}

    return notes.write(sites, KIND, debt.site, change, seconds)


def settle(
    sites: Mapping[str, Site], debt: Debt, *, over: bool, at: float, seconds: float
) -> dict[str, str]:
    """It is paid; ``over`` where nothing is to follow, such as that the site leads again.

    A site that was left once more meanwhile goes on to owe that.
    """

    def change(before: notes.Document | None) -> notes.Document:
        if before and int(before["epoch"]) > debt.epoch:
            return before
        return {**asdict(replace(debt, paid=True)), "over": over, "at": at}

    return notes.write(sites, KIND, debt.site, change, seconds)


def read(sites: Mapping[str, Site], seconds: float) -> dict[str, Debt]:
    """What is not over, by site.

    Raises:
        Unavailable: no site answers.
    """
    return debts(notes.read(sites, KIND, seconds))


def debts(documents: Mapping[str, notes.Document]) -> dict[str, Debt]:
    """The same, out of what ``notes`` read."""
    return {
        key: Debt(
            each["site"],
            int(each["epoch"]),
            float(each["since"]),
            bool(each["paid"]),
            bool(each["may_return"]),
        )
        for key, each in documents.items()
        if not each["over"]
    }
