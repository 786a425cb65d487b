"""The moves in the audit log: from where to where, by whom, why, and for how long no
site took the trades.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from mcloud.documents import Damaged, decode
from mcloud.failover.audit import AuditEntry, AuditStep
from mcloud.failover.journal import MoveArrival, MoveOrder, Recorded

Result = TypeVar("Result")


@dataclass(frozen=True)
class LoggedMove:
    """The entries of one move, or the single entry of another change, the oldest first."""

    entries: tuple[AuditEntry, ...]

    @property
    def first(self) -> AuditEntry:
        return self.entries[0]

    @property
    def is_move(self) -> bool:
        """Whether this is a move. Other changes, such as a pause of the guards, are one entry."""
        return any(each.step in ("begin", "record") for each in self.entries)

    @property
    def source(self) -> str:
        """Return the primary before the move, or an empty string if the log does not say it."""
        if self._recorded and self._recorded.before:
            return self._recorded.before
        return self._order.leads if self._order else ""

    @property
    def target(self) -> str:
        """Return the primary after the move, or an empty string if the log does not say it."""
        if self._order:
            return self._order.target
        return self._recorded.record.primary if self._recorded else ""

    @property
    def author(self) -> str:
        """Return the guard or the user. A guard also writes on which machine it runs, which is
        omitted.
        """
        name, _, rest = self.first.by.partition(", ")
        return "guard" if rest and name == "guard guard" else name

    @property
    def gap_s(self) -> float | None:
        """Return the maximum number of seconds in which no trade was stored at a primary. None if
        no trade has arrived, or if the log does not say it.
        """
        arrived = self._arrival.arrived if self._arrival else None
        if arrived is None:
            return None
        return arrived + ((self._order.lost if self._order else None) or 0.0)

    @property
    def problem(self) -> str:
        """Return why there is no time without a leader, or an empty string."""
        if self._recorded and not self._recorded.is_moved:
            return "another was first"
        if self._recorded is None or self._arrival is None:
            return "not finished"
        return "" if self._arrival.arrived is not None else "no trade stored"

    @cached_property
    def _order(self) -> MoveOrder | None:
        return self._after("begin", MoveOrder)

    @cached_property
    def _recorded(self) -> Recorded | None:
        return self._after("record", Recorded)

    @cached_property
    def _arrival(self) -> MoveArrival | None:
        return self._after("arrival", MoveArrival)

    def _after(self, step: AuditStep, shape: type[Result]) -> Result | None:
        for each in self.entries:
            if each.step == step:
                found = decode(shape, each.after, each.key)
                return None if isinstance(found, Damaged) else found
        return None


def logged_moves(entries: Iterable[AuditEntry]) -> list[LoggedMove]:
    """Return the moves and the other changes of an audit log, the oldest first."""
    by_id: dict[str, list[AuditEntry]] = {}
    for each in entries:
        by_id.setdefault(each.id, []).append(each)
    return [LoggedMove(tuple(found)) for found in by_id.values()]
