"""Debts: after a site was replaced as primary, it may have trades that no other site has, and lacks
later ones.

A debt is noted on the sites when a site is replaced. It is paid when the sites are equal again over
the time in question: differences are repaired in both directions and then verified. See
``catch_up``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mcloud.clouds.ports import Site
from mcloud.documents import Count, Kind, Time
from mcloud.errors import UsageError
from mcloud.failover import shared_notes
from mcloud.failover.audit import audit_log, own_entry
from mcloud.failover.decide import Debt


@dataclass(frozen=True)
class DebtNote(shared_notes.Note):
    """A debt as the sites store it. The fields are those of ``Debt``."""

    site: str
    epoch: Count
    since: Time
    paid: bool
    may_return: bool
    over: bool
    """Whether the debt has no further effect."""

    @property
    def debt(self) -> Debt:
        return Debt(self.site, self.epoch, self.since, self.paid, self.may_return)


KIND = Kind("debt", DebtNote)


def note(sites: Mapping[str, Site], debt: Debt, *, at: float, seconds: float) -> dict[str, str]:
    """Note a debt. If the site already has an unpaid one, the earlier start is kept."""

    def change(before: DebtNote | None) -> DebtNote:
        since = debt.since
        if before and not before.over and not before.paid:
            since = min(since, before.since)
        return _note(replace(debt, since=since), over=False, at=at)

    return shared_notes.write(sites, KIND, debt.site, change, seconds)


def settle(
    sites: Mapping[str, Site], debt: Debt, *, over: bool, at: float, seconds: float
) -> dict[str, str]:
    """Note that a debt is paid. Set ``over`` if it has no further effect, for example because the
    site is the primary again.

    If the site was replaced again in the meantime, its newer debt stays.
    """

    def change(before: DebtNote | None) -> DebtNote:
        if before and before.epoch > debt.epoch:
            return before
        return _note(replace(debt, paid=True), over=over, at=at)

    return shared_notes.write(sites, KIND, debt.site, change, seconds)


def read(sites: Mapping[str, Site], seconds: float) -> dict[str, Debt]:
    """Return the open debts, by site.

    Raises:
        Unavailable: no site answers.
    """
    return debts(shared_notes.read(sites, KIND, seconds))


def abandoned(sites: Mapping[str, Site], site: str, profile: str, seconds: float) -> Debt:
    """Return the debt of a site that no longer exists.

    Raises:
        UsageError: the site has no debt, or can still be caught up.
        Unavailable: no site answers.
    """
    owed = read(sites, seconds)
    if site not in owed:
        known = ", ".join(owed) or "no site"
        raise UsageError(f"no catch-up is due for {site!r}; one is due for {known}")
    if site in sites:
        raise UsageError(
            f"{site} is a site of the profile {profile}, and can still be caught up",
            remedy="run `mcloud failover SITE --wait` with the current primary, or remove"
            f" {site} from the configuration first",
        )
    return owed[site]


def forget(sites: Mapping[str, Site], debt: Debt, *, at: float, seconds: float) -> dict[str, str]:
    """Note that a debt will never be paid, since its site no longer exists."""

    def change(before: DebtNote | None) -> DebtNote:
        return _note(debt, over=True, at=at)

    return shared_notes.write(sites, KIND, debt.site, change, seconds)


def forget_and_record(
    sites: Mapping[str, Site], state: Path, debt: Debt, *, why: str, at: float, seconds: float
) -> dict[str, str]:
    """Forget a debt in the name of this user, and record it in the audit log."""
    audit = audit_log(state, sites)
    was = {"epoch": debt.epoch, "since": debt.since, "paid": debt.paid}
    why = why or f"{debt.site} no longer exists"
    entry = own_entry("forget debt", why, at, before=was)
    # On this machine, the entry is written before its effect.
    audit.write(entry)
    away = forget(sites, debt, at=at, seconds=seconds)
    audit.note_on_sites(entry, away=away)
    return away


def debts(found: Mapping[str, DebtNote]) -> dict[str, Debt]:
    """Return the open debts among the documents that ``shared_notes`` read."""
    # A debt is stored under the name of its site, so the key is used as the name.
    return {key: replace(each.debt, site=key) for key, each in found.items() if not each.over}


def _note(debt: Debt, *, over: bool, at: float) -> DebtNote:
    return DebtNote(
        site=debt.site,
        epoch=debt.epoch,
        since=debt.since,
        paid=debt.paid,
        may_return=debt.may_return,
        over=over,
        at=at,
    )
