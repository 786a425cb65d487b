"""A move of the traffic that a person orders: its checks, and its order."""

from collections.abc import Mapping
from dataclasses import dataclass

from mcloud.clouds.ports import ControlRecord, Site
from mcloud.documents import Damaged
from mcloud.errors import McloudError
from mcloud.failover import debts, record
from mcloud.failover.audit import new_id, operator
from mcloud.failover.execution import DEADLINE, Tools, is_effective, unfinished
from mcloud.failover.journal import MoveOrder
from mcloud.failover.preflight import Preflight, Quotas, preflight
from mcloud.failover.settings import GuardSettings


@dataclass(frozen=True)
class PreparedMove:
    preflight: Preflight
    sites: Mapping[str, Site]
    """Sites that answer."""
    unfinished: MoveOrder | None = None
    """An earlier move to the same site, which is to be completed."""
    ineffective: MoveOrder | None = None
    """An earlier move that changed nothing, so that it is not resumed."""
    journal_damage: Damaged | None = None


def prepare(
    sites: Mapping[str, Site],
    target: str,
    use: Tools,
    settings: GuardSettings,
    *,
    forced: tuple[str, ...],
    quotas: Quotas,
    following: float,
) -> PreparedMove:
    """Run the checks before a move to the target, and look for an unfinished move.

    Args:
        forced: names of the checks that are overridden.
        following: seconds until producers notice the new primary.

    Raises:
        McloudError: the target does not answer, and its health is not overridden.
    """
    view = record.read(sites, record.DEADLINE)
    there = {name: sites[name] for name in view.answered}
    away = {n: str(told) for n, told in view.by_site.items() if isinstance(told, Exception)}
    if target not in there and "health" not in forced:
        raise McloudError(
            f"{target} does not answer: {away[target]}",
            remedy="a site that does not answer cannot become the primary",
        )
    owed = debts.read(there, DEADLINE) if there else {}
    checked = {**there, target: sites[target]}
    found = preflight(checked, target, view.record, away, owed, settings, quotas, following)
    journal = use.journal.found()
    damage = journal if isinstance(journal, Damaged) else None
    order = unfinished(use)
    if order is None:
        return PreparedMove(found, there, journal_damage=damage)
    if not is_effective(use, view.record):
        return PreparedMove(found, there, ineffective=order, journal_damage=damage)
    if order.target != target or found.primary != target:
        # It is another move, or the traffic has been moved since.
        return PreparedMove(found, there, journal_damage=damage)
    return PreparedMove(found, there, unfinished=order, journal_damage=damage)


def leading(sites: Mapping[str, Site], target: str, use: Tools) -> ControlRecord | None:
    """Return the control record if the target is the primary already, and no move to it has to be
    completed. None if a site does not answer, because it may have a newer record.
    """
    view = record.read(sites, record.DEADLINE)
    if len(view.readable) < len(sites) or view.is_split:
        return None
    found = view.record
    is_done = found is not None and found.primary == target and unfinished(use) is None
    return found if is_done else None


def new_order(
    found: Preflight, reason: str, *, wait: bool, forced: tuple[str, ...], at: float
) -> MoveOrder:
    """Return the order of this user for a move that was checked."""
    at = round(at, 3)
    overridden = {each.subject for each in found.failed(())} & set(forced)
    return MoveOrder(
        id=new_id(at),
        target=found.target,
        mode="manual",
        reason=reason or "by hand",
        by=operator(),
        at=at,
        epoch=found.epoch,
        leads=found.primary,
        recover="debt" not in forced,
        wait=wait,
        forced=tuple(sorted(overridden)),
    )
