"""The guard: it checks the sites, decides, acts, and can explain every decision.

Several guards may run at once, on several machines. The guard that writes the next epoch first has
moved the traffic, and the others see that. A move or a catch-up takes long, so it runs in its own
thread while the checks continue.
"""

import logging
import os
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import inf

from mcloud.backoff import Backoff
from mcloud.clouds.observation import DOWN, UNKNOWN, UP, Availability
from mcloud.clouds.ports import Site
from mcloud.documents import Damaged, Kind
from mcloud.errors import McloudError
from mcloud.failover import audit, debts, events, pause, shared_notes, statement
from mcloud.failover import record as records
from mcloud.failover.audit import AuditEntry, new_id
from mcloud.failover.decide import (
    CATCH_UP,
    FAIL_BACK,
    NOTHING,
    Debt,
    Decision,
    DecisionState,
    GuardObservation,
    decide,
)
from mcloud.failover.execution import (
    DEADLINE,
    MoveOutcome,
    Tools,
    carry_out,
    is_effective,
    pay,
    unfinished,
)
from mcloud.failover.health import HealthWatch
from mcloud.failover.history import KEPT, Kept, remember
from mcloud.failover.journal import MoveOrder
from mcloud.failover.settings import GuardSettings
from mcloud.failover.shared_notes import AnyNote, Notes
from mcloud.failover.statement import GuardState
from mcloud.notify.event import Event

MOVE = "move"
HURRY = 60.0  # seconds of frequent checks during a suspicion; an outage may last for days
AGAIN, PATIENCE = 4.0, 30.0  # seconds until the first retry, doubled each time, and maximum
LAST_WORDS = 5.0  # seconds that a move may take to end
_SILENT = logging.getLogger("mcloud.failover")
_SILENT.addHandler(logging.NullHandler())


@dataclass(frozen=True)
class _GuardWork:
    what: str
    thread: threading.Thread
    stop: threading.Event


class Guard:
    """Checks the sites, decides, and carries out moves and catch-ups."""

    def __init__(
        self,
        sites: Mapping[str, Site],
        settings: GuardSettings,
        use: Tools,
        *,
        by: str,
        watch: HealthWatch,
        were_down: Collection[str] = (),
        notify: Callable[[Event], None] = lambda event: None,
        log: logging.Logger | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """``by`` identifies this guard in records and in the audit log. ``were_down`` are the sites
        that an earlier run has reported as down, so that this run reports when they are up.
        """
        self._sites = sites
        self._settings = settings
        self._use = use
        self._by = by
        self._watch = watch
        self._were_down = set(were_down)
        self._notify = notify
        self._log = log or _SILENT
        self._clock = clock
        self._wall = wall
        self._state = DecisionState()
        self._seen = GuardObservation({})
        self._begun = clock()
        self._is_suspicious = False
        self._suspicious_since = inf
        self._work: dict[str, _GuardWork] = {}
        """A move, a catch-up, or both: a site that fails is replaced immediately, regardless of
        other work in progress.
        """
        self._not_before: dict[str, float] = {}
        self._backoffs: defaultdict[str, Backoff] = defaultdict(partial(Backoff, AGAIN, PATIENCE))
        """Pauses after failures, by the kind of work."""
        self.history: deque[Kept] = deque(maxlen=KEPT)
        self.moves: deque[MoveOutcome] = deque(maxlen=KEPT)
        self._looked = self._begun
        """Time of the last check that had data on the sites, by the clock of the checks."""
        self._reported: set[str] = set()
        self.problem = ""
        """The last error; its action is retried."""
        self._check_problem = ""
        """The error of the last check, if it failed."""

    def run(self, stop: threading.Event, each: Callable[[], None] = lambda: None) -> None:
        """Watch until ``stop``, and call ``each`` after every check."""
        while not stop.is_set():
            begun = self._clock()
            try:
                self.step()
                if self.problem == self._check_problem:
                    self.problem = ""
                self._check_problem = ""
            except Exception as error:  # noqa: BLE001 - a guard must keep running after any error
                self.problem = self._check_problem = (
                    f"a check failed: {type(error).__name__}: {error}"
                )
                self._log.error("%s", self.problem, exc_info=True)
            each()
            stop.wait(max(0.0, begun + self._pause() - self._clock()))
        self._use.stop.set()
        for work in self._work.values():
            work.stop.set()
        for work in self._work.values():
            work.thread.join(LAST_WORDS)
        self._watch.close()

    def step(self) -> Decision:
        """Check once, decide, and start the action."""
        if any(not work.thread.is_alive() for work in self._work.values()):
            self._work = {n: work for n, work in self._work.items() if work.thread.is_alive()}
            self._watch.refresh()
        hurries = self._is_suspicious and self._clock() - self._suspicious_since < HURRY
        doing = {kind: work.what for kind, work in self._work.items()}
        seen = self._seen = self._watch.observe(
            is_suspicious=hurries,
            moving=doing.get(MOVE, ""),
            catching_up=doing.get(CATCH_UP, ""),
        )
        if not self._watch.is_blind:
            self._looked = self._clock()
        self._report_damage()
        if self._watch.is_fresh and not self._work:
            try:
                self._level(seen)
            except McloudError as error:
                # The checks continue if a site fails meanwhile.
                self._log.warning("the sites have different control records: %s", error)
        self._take_up(seen)
        before = self._state
        decision = decide(seen, before, self._settings, self._clock())
        self._state = decision.state
        is_suspicious = decision.is_suspicious or self._watch.is_late
        if not is_suspicious:
            self._suspicious_since = inf
        elif not self._is_suspicious:
            self._suspicious_since = self._clock()
        self._is_suspicious = is_suspicious
        if remember(self.history, decision, self._wall()):
            what = f"{decision.action} {decision.site}".strip()
            self._log.info("%s: %s", what, decision.reason)
        for event in events.changes(before, decision, self._were_down, self._wall()):
            self._log.warning("%s", event.title)
            self._notify(event)
        if decision.action != NOTHING:
            self._act(decision, seen)
        return decision

    def state(self) -> GuardState:
        """Return the guard's own state, for ``state.json``."""
        record = self._seen.record
        return GuardState(
            pid=os.getpid(),
            at=self._wall(),
            by=self._by,
            primary=record.primary if record else None,
            epoch=record.epoch if record else None,
            record=record,
            paused=self._seen.paused,
            doing=tuple(work.what for work in self._work.values()),
            problem=self.problem,
            blind_s=round(max(0.0, self._clock() - self._looked), 1),
            unreadable=tuple(f"{site}: {each}" for site, each in self._watch.damaged()),
            sites={
                name: statement.site(seen, self._state.sites.get(name), self._clock())
                for name, seen in self._seen.sites.items()
            },
            debts=self._seen.debts,
            decision=self.history[-1] if self.history else None,
            history=tuple(self.history),
            moves=tuple(each.report for each in list(self.moves)[-10:]),
            cost=statement.cost(self._watch.calls, (self._clock() - self._begun) / 3600),
            settings=self._settings,
        )

    @property
    def is_working(self) -> bool:
        """Whether a move or a catch-up is in progress."""
        return any(work.thread.is_alive() for work in self._work.values())

    def verdict(self, site: str) -> Availability:
        """Return the current verdict on a site."""
        state = self._state.sites.get(site)
        return state.verdict if state else UNKNOWN

    def age_of_record(self) -> float:
        """Return the age of the record in seconds, or infinity if there is none."""
        return self._state.age(self._clock())

    # Actions

    def _take_up(self, seen: GuardObservation) -> None:
        """Resume a move that an earlier run or a failed attempt left unfinished."""
        if MOVE in self._work or seen.paused or self._clock() < self._not_before.get(MOVE, -inf):
            return
        order = unfinished(self._use)
        if order is not None:
            self._begin(MOVE, f"moving to {order.target}", partial(self._resume, order))

    def _resume(self, order: MoveOrder, stop: threading.Event) -> None:
        if not is_effective(self._use, records.read(self._sites, DEADLINE).record):
            # The move has changed nothing, and the outage may be over, so the decision is made
            # again.
            self._log.warning("abandons an unfinished move: %s to %s", order.id, order.target)
            self._use.journal.forget()
            return
        self._log.warning("resumes an unfinished move: %s to %s", order.id, order.target)
        self._move(order, self._sites, stop)

    def _act(self, decision: Decision, seen: GuardObservation) -> None:
        site = decision.site
        kind = CATCH_UP if decision.action == CATCH_UP else MOVE
        if kind in self._work or self._clock() < self._not_before.get(kind, -inf):
            return
        if kind == CATCH_UP:
            self._begin(CATCH_UP, site, partial(self._catch_up, seen.debts[site]))
            return
        if CATCH_UP in self._work:
            self._work.pop(CATCH_UP).stop.set()
        is_back = decision.action == FAIL_BACK
        now = self._clock()
        record = seen.record
        primary = record.primary if record else next(iter(seen.sites))
        bad_since = self._state.sites[primary].bad_since
        # The site may have failed right after the last good check.
        since_bad = now - bad_since if bad_since is not None else 0.0
        at = round(self._wall(), 3)
        order = MoveOrder(
            id=new_id(at),
            target=site,
            mode="automatic",
            reason=decision.reason,
            by=self._by,
            at=at,
            epoch=record.epoch if record else 0,
            leads=primary,
            lost=None if is_back else since_bad + self._settings.interval + self._settings.timeout,
        )
        alive = {n: s for n, s in self._sites.items() if self._state.sites[n].verdict != DOWN}
        self._begin(MOVE, f"moving to {site}", partial(self._move, order, alive))

    def _begin(self, kind: str, what: str, work: Callable[[threading.Event], None]) -> None:
        stop = threading.Event()

        def run() -> None:
            try:
                work(stop)
                self.problem = ""
                self._backoffs[kind].succeeded()
            except Exception as error:  # noqa: BLE001 - the checks continue after any error
                if stop.is_set():
                    return  # it was replaced by other work
                self.problem = f"{kind}, {what}: {error}"
                self._backoffs[kind].failed()
                self._not_before[kind] = self._clock() + self._backoffs[kind].pause()
                self._log.error("%s", self.problem, exc_info=not isinstance(error, McloudError))

        self._log.info("%s: %s", kind, what)
        thread = threading.Thread(target=run, name=f"guard {kind}", daemon=True)
        self._work[kind] = _GuardWork(what, thread, stop)
        thread.start()

    def _move(self, order: MoveOrder, sites: Mapping[str, Site], stop: threading.Event) -> None:
        # A pause may have begun within the last minute.
        if paused := pause.paused(shared_notes.read(sites, pause.KIND, DEADLINE)):
            self._log.info("does not move to %s: paused %s", order.target, paused)
            return
        came = carry_out(order, sites, replace(self._use, stop=stop))
        self.moves.append(came)
        if not came.is_moved:
            self._log.info("another failover was first: epoch %s", came.record.epoch)
            return
        rto = "unknown" if came.rto is None else f"at most {came.rto:.1f} s"
        text = f"{order.reason}. Without a trade stored: {rto}. Catch-up due: " + (
            ", ".join(came.owed) or "none"
        )
        self._log.warning(
            "%s is the primary in epoch %s. %s", order.target, came.record.epoch, text
        )
        self._notify(events.moved(came, text))
        if came.problem:
            raise McloudError(came.problem)

    def _catch_up(self, debt: Debt, stop: threading.Event) -> None:
        came = pay(self._sites, debt, replace(self._use, stop=stop))
        at = self._wall()
        what = {
            "ok": came.ok,
            "reason": came.reason,
            "candles": came.candles,
            "objects": came.objects,
            "ids_missing": came.ids_missing,
        }
        why = f"{debt.site} was left in epoch {debt.epoch}"
        entry = AuditEntry(new_id(at), "catch up", self._by, why, at, {}, what)
        self._use.audit.write(entry)
        self._use.audit.share([entry], list(self._sites))
        audit.level(self._sites)
        if not came.ok:
            raise McloudError(came.reason)
        event = events.caught_up(came, debt, at)
        self._log.info("%s: %s", event.title, event.text)
        self._notify(event)

    def _report_damage(self) -> None:
        found = {f"{site}: {each}" for site, each in self._watch.damaged()}
        journal = self._use.journal.found()
        found |= {str(journal)} if isinstance(journal, Damaged) else set()
        for line in sorted(found - self._reported):
            self._log.warning("ignores a document that it cannot read: %s", line)
        self._reported = found

    def _level(self, seen: GuardObservation) -> None:
        """Send the current record and documents to sites that were away."""
        view = self._watch.view
        if view.behind or view.is_split:
            there = {name: self._sites[name] for name in view.readable}
            if view.is_split:
                self._log.warning("one epoch has two primaries; %s is written again", view.record)
                records.advance(there, lambda record: None, seconds=DEADLINE)
            else:
                self._log.info("the record goes to %s", ", ".join(view.behind))
                self._watch.view = records.spread(there, view, DEADLINE)
        shared_notes.level(self._sites, pause.KIND, self._notes_of_those_up(pause.KIND), DEADLINE)
        shared_notes.level(self._sites, debts.KIND, self._notes_of_those_up(debts.KIND), DEADLINE)

    def _notes_of_those_up(self, kind: Kind[AnyNote]) -> dict[str, Notes[AnyNote]]:
        """Return the notes of each site that can be written to. A site that has just failed is not
        down yet, and a write to it would delay the next probe.
        """
        notes = self._watch.notes(kind).items()
        return {n: its for n, its in notes if self._is_up(n) and self._watch.answers(n, kind)}

    def _is_up(self, name: str) -> bool:
        site = self._state.sites.get(name)
        return site is not None and site.verdict == UP

    def _pause(self) -> float:
        settings = self._settings
        if not (self._is_suspicious and self._clock() - self._suspicious_since < HURRY):
            return settings.interval
        is_late = self._watch.is_late
        return (
            max(settings.late, settings.suspect_interval) if is_late else settings.suspect_interval
        )
