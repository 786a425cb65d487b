"""Carries out a move of the traffic, step by step. An interrupted move can be resumed at any point.

0. recovery    a target that was replaced before gets the missing trades before it becomes primary
1. record      the next control record is written on every site that answers
2. debt        the trades that only the old site may have are noted on the sites as a debt
3. arrival     a canary arrives through the new primary, and the producers of this machine follow
4. settlement  debts of recovered sites are paid, if the order requests to wait for that

Every step may be repeated. An audit entry is on the disk before a step counts as done, if the disk
accepts it. If the disk refuses the entry, this causes a warning, but the traffic does not stay at a
dead site.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from mcloud import best_effort
from mcloud.canary import Canary, Flight
from mcloud.clock import Limit
from mcloud.clouds.ports import ControlRecord, MoveMode, Site
from mcloud.documents import OTHER_TEXTS, Count, Seconds, encode
from mcloud.errors import McloudError
from mcloud.failover import debts
from mcloud.failover import record as records
from mcloud.failover.audit import Audit, AuditEntry, AuditStep, audit_log
from mcloud.failover.catch_up import EVERYTHING, PAUSE, CatchUpReport, catch_up
from mcloud.failover.decide import Debt
from mcloud.failover.journal import (
    STEPS,
    DebtNoted,
    Journal,
    MoveArrival,
    MoveOrder,
    MoveProgress,
    MoveSettlement,
    MoveStep,
    Recorded,
    StepResult,
)
from mcloud.replication.repair import Fetch
from mcloud.replication.scope import Scope

DEADLINE = 3.0  # seconds for the sites to answer
FOLLOW = 15.0  # seconds that producers may take to follow
ARRIVE = 60.0  # seconds that a canary may take
MARGIN = 60.0  # seconds before the first failed check of a site that also count as down
POLL = 0.05

Routes = Mapping[str, tuple[str, ...]]
"""Sites that each running producer of this machine sends to, by the producer's name. Only producers
that follow the record are included.
"""


@dataclass(frozen=True)
class Tools:
    """The journal, the audit log and the settings of a move."""

    journal: Journal
    audit: Audit
    routes: Callable[[], Routes] = dict
    scope: Scope = EVERYTHING
    fetch: Fetch | None = None
    """The exchange, as the source of trades that no site has."""
    patience: float = ARRIVE
    pause: float = PAUSE
    """Seconds between two comparisons of the sites."""
    wall: Callable[[], float] = time.time
    tell: Callable[[str], None] = lambda words: None
    reach: Callable[[str], None] = lambda point: None
    """Callback before and after each action, with its name; the tests use it."""
    stop: threading.Event = field(default_factory=threading.Event)


def tools(
    state: Path,
    profile: str,
    name: str,
    sites: Mapping[str, Site],
    routes: Callable[[], Routes] = dict,
) -> Tools:
    """Return the tools with their files in the usual places. Moves with the same name can resume
    each other.
    """
    best_effort.hold_reserve(state)
    journal = Journal(state / "failover" / profile / f"{name}.json")
    return Tools(journal, audit_log(state, sites), routes)


@dataclass(frozen=True)
class MoveOutcome:
    """The result of a move, as reported and recorded."""

    order: MoveOrder
    record: ControlRecord
    before: str
    """The primary before the move."""
    is_moved: bool
    """Whether the target is the primary. False if somebody else has moved the traffic elsewhere
    meanwhile.
    """
    away: Mapping[str, str]
    """Sites without the record, and the reasons. They get it when they answer again."""
    arrived: float | None
    """Seconds from the record until a trade was stored at the new primary. None if none was."""
    follow: Mapping[str, float | None]
    """Seconds until each producer of this machine sent to the target. None if it did not."""
    owed: Mapping[str, str]
    """Sites with an unpaid debt, and the reasons."""
    caught_up: tuple[CatchUpReport, ...]
    problem: str = ""

    @property
    def rto(self) -> float | None:
        """Return the maximum number of seconds without a stored trade, counted from the last good
        check.
        """
        return None if self.arrived is None else (self.order.lost or 0.0) + self.arrived

    @property
    def missing(self) -> int | None:
        """Return the number of trade ids that no site has: the RPO. None while a debt is unpaid."""
        if self.owed:
            return None
        return sum(each.ids_missing for each in self.caught_up)

    @property
    def report(self) -> "MoveReport":
        return MoveReport(
            id=self.order.id,
            moved=self.is_moved,
            epoch=self.record.epoch,
            primary=self.record.primary,
            before=self.before,
            mode=self.record.mode,
            reason=self.record.reason,
            by=self.record.by,
            forced=self.order.forced,
            away=self.away,
            arrived_s=_rounded(self.arrived),
            producers={name: _rounded(seconds) for name, seconds in self.follow.items()},
            rto_s=_rounded(self.rto),
            rpo_ids_missing=self.missing,
            owed=self.owed,
            caught_up=self.caught_up,
            problem=self.problem,
        )


@dataclass(frozen=True)
class MoveReport:
    """The outcome of a move, in the state of a guard and in the answer of a command."""

    id: str
    moved: bool
    epoch: Count
    primary: str
    before: str
    mode: Annotated[MoveMode, OTHER_TEXTS]
    reason: str
    by: str
    forced: tuple[str, ...]
    away: Mapping[str, str]
    arrived_s: Seconds | None
    producers: Mapping[str, Seconds | None]
    rto_s: Seconds | None
    rpo_ids_missing: Count | None
    owed: Mapping[str, str]
    caught_up: tuple[CatchUpReport, ...]
    problem: str


def carry_out(order: MoveOrder, sites: Mapping[str, Site], use: Tools) -> MoveOutcome:
    """Carry out a move, or the rest of a move that was interrupted.

    ``sites`` are those that answer; the others get the record when they answer again.

    Raises:
        Unavailable: no site answers; nothing was changed.
        Contention: other writers changed the record during every attempt.
    """
    begun = time.monotonic()
    progress = use.journal.read()
    is_resumed = progress is not None and progress.order.id == order.id
    if progress is None or not is_resumed:
        _close(progress, sites, use)
        progress = MoveProgress(order)
        use.reach("begin")
        use.audit.write(_entry(order, "begin", use, after=order))
        use.journal.write(progress)
    # A jump of the clock does not affect a move that is not interrupted.
    age = max(0.0, use.wall() - order.at) if is_resumed else 0.0
    run = _MoveRun(order, sites, use, progress, lambda: age + time.monotonic() - begun)
    run.go(STEPS)
    run.share()
    return run.outcome()


def unfinished(use: Tools) -> MoveOrder | None:
    """Return the order of a move that was started and not finished."""
    progress = use.journal.read()
    return None if progress is None or progress.is_over else progress.order


def is_effective(use: Tools, record: ControlRecord | None) -> bool:
    """Return whether the unfinished move has written its record.

    Such a move must be finished, regardless of its age: the debt of the old site begins at its
    time. A move that has changed nothing must be decided again.
    """
    progress = use.journal.read()
    if progress is None or progress.is_over:
        return False
    is_mine = record is not None and progress.order.is_mine(record)
    return is_mine or progress.done.record is not None


def _close(progress: MoveProgress | None, sites: Mapping[str, Site], use: Tools) -> None:
    """Note the debt of an interrupted move before another move replaces its journal."""
    if progress is None or "debt" in progress.finished:
        return
    if is_effective(use, records.read(sites, DEADLINE).record):
        _MoveRun(progress.order, sites, use, progress, lambda: 0.0).go(
            STEPS[: STEPS.index("arrival")]
        )


@dataclass(frozen=True)
class _Before:
    """The state before a step, for the audit log."""

    before: str
    epoch: int


class _MoveRun:
    def __init__(
        self,
        order: MoveOrder,
        sites: Mapping[str, Site],
        use: Tools,
        progress: MoveProgress,
        elapsed: Callable[[], float],
    ) -> None:
        self._order = order
        self._sites = sites
        self._use = use
        self._elapsed = elapsed
        self.progress = progress

    def go(self, steps: Sequence[MoveStep]) -> None:
        """Carry out the unfinished steps, in this order."""
        use, order = self._use, self._order
        for step in steps:
            if step in self.progress.finished:
                continue
            recorded = self.progress.done.record
            if recorded is not None and not recorded.is_moved:
                self.note(step, None)  # another writer was first
                continue
            use.reach(f"before {step}")
            result = getattr(self, step)()
            use.reach(f"after {step}")
            use.audit.write(_entry(order, step, use, self.before(), result))
            use.reach(f"audited {step}")
            self.note(step, result)

    def note(self, step: MoveStep, result: StepResult | None) -> None:
        self.progress = self.progress.with_step(step, result)
        self._use.journal.write(self.progress)

    def before(self) -> _Before | None:
        recorded = self.progress.done.record
        return None if recorded is None else _Before(recorded.before, recorded.epoch)

    def recovery(self) -> CatchUpReport | None:
        target = self._order.target
        if not self._order.recover:
            return None
        debt = debts.read(self._sites, DEADLINE).get(target)
        if debt is None or debt.paid:
            return None
        self._use.tell(f"catching {target} up")
        came = pay(self._sites, debt, self._use)
        if not came.ok:
            raise McloudError(
                f"{target} has not caught up, and cannot lead before that: {came.reason}",
                remedy="run it again to continue, or with --force debt to override this",
            )
        return came

    def record(self) -> Recorded:
        order = self._order
        self._use.tell("writing the control record")
        begun = self._elapsed()

        def make(before: ControlRecord | None) -> ControlRecord | None:
            epoch = before.epoch if before else 0
            if before and before.primary == order.target:
                return None
            if order.mode == "automatic" and epoch != order.epoch:
                return None  # the basis of the decision no longer exists
            return order.record(before)

        done = records.advance(self._sites, make, seconds=DEADLINE)
        top = done.record
        before = done.before.primary if done.before else order.leads
        if done.before and order.is_mine(done.before):
            before = ""  # an earlier attempt wrote it, but its journal does not include that
        return Recorded(
            record=top,
            begun=begun,
            epoch=top.epoch,
            before=before,
            is_moved=top.primary == order.target,
            is_ours=done.is_ours or order.is_mine(top),
            away=done.away,
        )

    def debt(self) -> DebtNoted:
        order, now = self._order, self._use.wall()
        known = debts.read(self._sites, DEADLINE)
        recorded = self._recorded
        left = recorded.before
        # If the old primary is no longer known, every other site may be the replaced one.
        owed = [left] if left else [name for name in self._sites if name != order.target]
        since = order.at - (order.lost or 0.0) - MARGIN
        for site in owed:
            if site != order.target:
                debt = Debt(site, recorded.epoch, since, may_return=order.lost is not None)
                debts.note(self._sites, debt, at=now, seconds=DEADLINE)
        if order.target in known and known[order.target].paid:
            paid = known[order.target]
            debts.settle(self._sites, paid, over=True, at=now, seconds=DEADLINE)
        return DebtNoted(tuple(sorted(debts.read(self._sites, DEADLINE))))

    def arrival(self) -> MoveArrival:
        use, target = self._use, self._order.target
        use.tell(f"waiting for a trade to be stored at {target}")
        flights: list[tuple[Flight, float]] = []

        def fly() -> None:
            flight = Canary(self._sites[target]).fly(use.patience)
            flights.append((flight, self._since_record()))

        if target in self._sites:
            thread = threading.Thread(target=fly, name="canary", daemon=True)
            thread.start()
            follow = self._follow()
            thread.join(use.patience)
        else:
            follow = self._follow()
        if flights and flights[0][0].arrived is not None:
            return MoveArrival(flights[0][1], follow)
        why = flights[0][0].reason if flights else ""
        problem = f"no canary was stored at {target}: {why or 'none came through in time'}"
        return MoveArrival(None, follow, problem)

    def settlement(self) -> MoveSettlement:
        use = self._use
        owed = {n: d for n, d in debts.read(self._sites, DEADLINE).items() if not d.paid}
        if not self._order.wait:
            why = "it was not awaited; a guard does it, or the same command with --wait"
            return MoveSettlement(dict.fromkeys(owed, why))
        left: dict[str, str] = {}
        caught: list[CatchUpReport] = []
        for site, debt in owed.items():
            why = "it does not answer; a guard does it when it is back, or this command with --wait"
            if site not in self._sites:
                left[site] = why
                continue
            try:
                came = pay(self._sites, debt, use)
            except McloudError as error:
                left[site] = str(error)
                continue
            caught.append(came)
            if not came.ok:
                left[site] = came.reason
        return MoveSettlement(left, tuple(caught))

    def share(self) -> None:
        """Send the entries of this move to the sites. A guard repeats failed writes."""
        mine = [each for each in self._use.audit.read(200) if each.id == self._order.id]
        self._use.audit.share(mine, list(self._sites))

    def outcome(self) -> MoveOutcome:
        done, recorded = self.progress.done, self._recorded
        arrival, settled = done.arrival or MoveArrival(), done.settlement or MoveSettlement()
        return MoveOutcome(
            order=self._order,
            record=recorded.record,
            before=recorded.before,
            is_moved=recorded.is_moved,
            away=recorded.away,
            arrived=arrival.arrived,
            follow=arrival.follow,
            owed=settled.owed,
            caught_up=(*((done.recovery,) if done.recovery else ()), *settled.caught_up),
            problem=arrival.problem,
        )

    @property
    def _recorded(self) -> Recorded:
        """The result of the step ``record``, which every later step needs."""
        assert self.progress.done.record is not None
        return self.progress.done.record

    def _since_record(self) -> float:
        return self._elapsed() - self._recorded.begun

    def _follow(self) -> dict[str, float | None]:
        """Wait until the producers send to the target, and to no other site."""
        found: dict[str, float | None] = dict.fromkeys(self._use.routes())
        limit = Limit(FOLLOW)
        while any(seconds is None for seconds in found.values()):
            for name, sites in self._use.routes().items():
                if sites == (self._order.target,) and found.get(name) is None:
                    found[name] = self._since_record()
            if limit.is_over or self._use.stop.wait(POLL):
                break
        return found


def pay(sites: Mapping[str, Site], debt: Debt, use: Tools) -> CatchUpReport:
    """Catch a site up, and note its debt as paid if the sites are proven equal.

    Raises:
        Unavailable, Refused: a site cannot be read; the debt stays.
    """
    came = catch_up(
        sites,
        debt,
        use.scope,
        fetch=use.fetch,
        patience=use.patience,
        pause=use.pause,
        tell=use.tell,
        stop=use.stop,
    )
    if came.ok:
        over = not debt.may_return
        debts.settle(sites, debt, over=over, at=use.wall(), seconds=DEADLINE)
    return came.report


def reachable(sites: Mapping[str, Site], seconds: float = DEADLINE) -> dict[str, Site]:
    """Return the sites whose control store answers."""
    view = records.read(sites, seconds)
    return {name: sites[name] for name in view.answered}


def _entry(
    order: MoveOrder,
    step: AuditStep,
    use: Tools,
    before: _Before | None = None,
    after: MoveOrder | StepResult | None = None,
) -> AuditEntry:
    was, became = encode(before) or {}, encode(after) or {}
    return AuditEntry(order.id, step, order.by, order.reason, use.wall(), was, became)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
