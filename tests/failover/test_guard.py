"""Guards of sites that fail and recover: one, several at once, and beside an operator."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import cast

import pytest
from patience import eventually

from mcloud.clouds.observation import DOWN, UP, Observation
from mcloud.clouds.ports import ControlRecord, Lag, Site
from mcloud.drawing.band import canaries
from mcloud.errors import Unavailable
from mcloud.failover import debts, pause, record, statement
from mcloud.failover.audit import Audit
from mcloud.failover.decide import NOTHING, Debt, Decision
from mcloud.failover.execution import Tools
from mcloud.failover.guard import Guard
from mcloud.failover.health import HealthWatch
from mcloud.failover.journal import Journal, MoveOrder, MoveProgress
from mcloud.failover.settings import GuardSettings
from mcloud.market.envelope import encode
from mcloud.notify.event import RESOLVED, Event
from mcloud.observing.machine import Machine
from mcloud.observing.snapshot import Snapshot
from mcloud.replication.scope import Scope
from mcloud.replication.verify import verify
from mcloud.runs import Running

from .sites import LiveSite, made

RULES = GuardSettings(goods=4, dwell=0, look_every=4, services_every=4, canary_every=60)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Rig:
    """Two sites and some guards, with a clock that the test advances."""

    def __init__(
        self,
        folder: Path,
        guards: int = 1,
        rules: GuardSettings = RULES,
        were_down: tuple[str, ...] = (),
    ) -> None:
        self.aws, self.gcp = LiveSite("aws"), LiveSite("gcp", "gcp")
        self.sites = {"aws": cast(Site, self.aws), "gcp": cast(Site, self.gcp)}
        self.clock = Clock()
        self.told: list[Event] = []
        self.watches = [
            HealthWatch(self.sites, rules, clock=self.clock, wall=self._wall) for _ in range(guards)
        ]
        self.guards = [
            Guard(
                self.sites,
                rules,
                Tools(
                    Journal(folder / f"{number}.json"),
                    Audit(folder / "audit.jsonl", self.sites),
                    wall=self._wall,
                    patience=5.0,
                    pause=0.0,
                ),
                by=f"guard {number}",
                watch=watch,
                were_down=were_down,
                notify=self.told.append,
                clock=self.clock,
                wall=self._wall,
            )
            for number, watch in enumerate(self.watches)
        ]

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            self.clock.now += 2
            for guard in self.guards:
                guard.step()
            # A canary is awaited by the clock of the machine, not by that of the test.
            eventually(lambda: all(self._has_landed(watch) for watch in self.watches))

    def _has_landed(self, watch: HealthWatch) -> bool:
        sites = {"aws": self.aws, "gcp": self.gcp}
        flights = watch.flights().items()
        return all(flight.is_over or sites[name].dead for name, flight in flights)

    def settle(self) -> None:
        """Wait until no guard is working, and let each observe the outcome."""
        eventually(lambda: not any(guard.is_working for guard in self.guards))
        self.step()

    def _wall(self) -> float:
        return 1e9 + self.clock.now


@contextmanager
def rig(
    folder: Path,
    guards: int = 1,
    rules: GuardSettings = RULES,
    were_down: tuple[str, ...] = (),
) -> Iterator[Rig]:
    made_ = Rig(folder, guards, rules, were_down)
    with ExitStack() as ends:
        for watch in made_.watches:
            ends.callback(watch.close)
        yield made_


@pytest.mark.slow
def test_a_move_is_not_repeated_while_the_control_record_is_read_slowly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Probes of the site that hangs are late before the other site has told the record."""
    with rig(tmp_path) as it:
        read = it.gcp.control.record

        def read_slowly() -> object:
            time.sleep(0.4)
            return read()

        it.step(4)
        monkeypatch.setattr(it.gcp.control, "record", read_slowly)
        it.aws.hangs = threading.Event()
        it.aws.die()
        try:
            for _ in range(40):
                it.step()
                eventually(lambda: not it.guards[0].is_working)
                if it.guards[0].moves:
                    break
            it.step(4)
            eventually(lambda: not it.guards[0].is_working)
            assert [each.record.epoch for each in it.guards[0].moves] == [1]
        finally:
            it.aws.hangs.set()


def test_a_document_that_a_failing_site_does_not_return_delays_no_probe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    with rig(tmp_path, rules=replace(RULES, timeout=60, look_every=600)) as it:
        it.step(4)
        monkeypatch.setattr(it.aws.control, "record", lambda: release.wait(60))
        it.aws.dead = {"queue"}
        begun = time.monotonic()
        try:
            it.step(3)
            # The record is read at the second failure, and 42 s are patience enough to wait for it.
            assert time.monotonic() - begun < 30
        finally:
            release.set()


def test_nothing_is_written_to_a_site_that_has_just_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write would take seconds, and the next probe waits for it."""
    with rig(tmp_path) as it:
        it.step(5)
        only = {"gcp": it.sites["gcp"]}
        pause.change(only, paused=True, by="a test", why="a test", at=1e9, seconds=60)
        written: list[object] = []
        monkeypatch.setattr(it.aws.control, "add", lambda *each: written.append(each))
        it.aws.die()
        it.step(2)
        assert not written
        assert it.guards[0].verdict("aws") == UP
        monkeypatch.undo()
        it.aws.live()
        it.step(4)
        assert it.aws.control.kept(pause.KIND.name) == it.gcp.control.kept(pause.KIND.name)


def test_sites_become_equal_after_an_outage(tmp_path: Path) -> None:
    with rig(tmp_path) as it:
        it.aws.queue.send([encode(made(range(20)))])
        it.step(4)
        it.aws.die()
        it.step(3)
        it.settle()
        assert record.read({"gcp": it.sites["gcp"]}).record is not None
        assert it.guards[0].moves[-1].record.primary == "gcp"
        it.gcp.queue.send([encode(made(range(20, 40)))])
        it.aws.live()
        it.step(4)
        it.settle()
        it.step(3)
        it.settle()
        assert debts.read(it.sites, 1.0)["aws"].paid
        assert verify(it.sites, Scope(), pause=0).ok
        # The site that was unavailable has the record and the log as well.
        assert it.aws.control.stored == it.gcp.control.stored
        keys = [{k for kind, k in s.control.documents if kind == "audit"} for s in (it.aws, it.gcp)]
        assert keys[0] == keys[1] != set()
        titles = [event.title for event in it.told]
        assert titles == [
            "aws is down",
            "gcp is now the primary, in place of aws",
            "aws is up",
            "aws has caught up",
        ]


def test_many_guards_and_an_operator_move_once(tmp_path: Path) -> None:
    with rig(tmp_path, guards=3) as it:
        it.step(4)
        it.aws.die()
        it.step(2)

        def make(before: ControlRecord | None) -> ControlRecord | None:
            return ControlRecord(0, "gcp", "manual", "by hand", "me", 1.0)

        it.step()  # all three guards and a person begin to move
        record.advance({"gcp": it.sites["gcp"]}, make)
        it.settle()
        it.step(5)
        it.settle()
        stored = it.gcp.control.stored
        assert stored is not None
        assert stored.primary == "gcp"
        assert [each.epoch for each in it.gcp.control.epochs] == list(
            range(1, len(it.gcp.control.epochs) + 1)
        )
        assert len([each for each in it.gcp.control.epochs if each.mode == "automatic"]) <= 1


def test_a_pause_is_obeyed_although_it_was_not_seen_yet(tmp_path: Path) -> None:
    with rig(tmp_path) as it:
        it.step(4)
        it.aws.die()
        it.step(2)
        there = {"gcp": it.sites["gcp"]}
        pause.change(there, paused=True, by="me", why="a test", at=1.0, seconds=1.0)
        it.step()
        it.settle()
        assert it.gcp.control.stored is None
        pause.change(there, paused=False, by="me", why="", at=2.0, seconds=1.0)
        it.step(3)
        it.settle()
        assert it.gcp.control.stored is not None


def test_a_move_that_failed_in_the_middle_is_ended(tmp_path: Path) -> None:
    """Otherwise the debt of the site that was left would be unknown."""
    with rig(tmp_path) as it:
        it.step(4)
        it.aws.die()

        def fails(call: str) -> None:
            if call == "add":
                raise Unavailable("it keeps nothing just now")

        it.gcp.control.faults.before = fails
        it.step(3)
        it.settle()
        assert it.guards[0].state().primary == "gcp"
        assert debts.read({"gcp": it.sites["gcp"]}, 1.0) == {}
        it.gcp.control.faults.before = lambda call: None
        it.step(20)
        it.settle()
        assert debts.read({"gcp": it.sites["gcp"]}, 1.0)["aws"].may_return


def test_an_order_without_effect_is_not_executed_by_a_later_run(tmp_path: Path) -> None:
    """Its outage may have ended long ago."""
    with rig(tmp_path) as it:
        order = MoveOrder("a move", "gcp", "automatic", "it was down", "guard 0", 1e9, 0, "aws")
        Journal(tmp_path / "0.json").write(MoveProgress(order))
        it.step()
        it.settle()
        it.step(4)
        it.settle()
        assert it.gcp.control.stored is None
        assert not it.guards[0].moves


def test_a_failure_while_an_epoch_is_corrected_does_not_end_the_guard(tmp_path: Path) -> None:
    with rig(tmp_path) as it:
        for site, primary in ((it.aws, "aws"), (it.gcp, "gcp")):
            site.control.stored = ControlRecord(4, primary, "manual", "a test", "me", 1e9)

        def fails(call: str) -> None:
            if call == "write_record":
                raise Unavailable("it went")

        it.aws.control.faults.before = it.gcp.control.faults.before = fails
        it.step(2)
        it.aws.control.faults.before = it.gcp.control.faults.before = lambda call: None
        it.step(3)
        assert it.aws.control.stored == it.gcp.control.stored


def test_an_unexpected_error_does_not_end_the_guard(tmp_path: Path) -> None:
    with rig(tmp_path) as it:
        guard, stop = it.guards[0], threading.Event()
        looks: list[str] = []
        step = guard.step

        def first_fails() -> Decision:
            if len(looks) < 2:
                raise KeyError("what nobody thought of")
            return step()

        def each() -> None:
            looks.append(guard.problem)
            it.clock.now += 600  # so that there is nothing to wait for
            if len(looks) == 3:
                stop.set()

        guard.step = first_fails  # type: ignore[method-assign]
        guard.run(stop, each)
        assert looks[0] == "a check failed: KeyError: 'what nobody thought of'"
        assert looks[2] == ""
        assert guard.history


def test_a_site_that_is_replaced_again_keeps_its_debt(tmp_path: Path) -> None:
    with rig(tmp_path) as it:
        first, second = Debt("aws", 1, 10.0, may_return=True), Debt("aws", 3, 20.0)
        for debt in (first, second):
            debts.note(it.sites, debt, at=1.0, seconds=1.0)
        debts.settle(it.sites, first, over=True, at=2.0, seconds=1.0)
        left = debts.read(it.sites, 1.0)["aws"]
        assert (left.epoch, left.since, left.paid) == (3, 10.0, False)


def test_a_site_reported_down_by_an_earlier_run_is_reported_up(tmp_path: Path) -> None:
    with rig(tmp_path, were_down=("aws",)) as it:
        it.step(6)
        assert [(event.title, event.state) for event in it.told] == [("aws is up", RESOLVED)]


def test_an_old_pause_does_not_return_with_a_site_that_was_unavailable(tmp_path: Path) -> None:
    with rig(tmp_path) as it:
        pause.change(it.sites, paused=True, by="me", why="", at=1.0, seconds=1.0)
        it.aws.die()
        pause.change({"gcp": it.sites["gcp"]}, paused=False, by="me", why="", at=2.0, seconds=1.0)
        it.aws.live()
        it.step(8)
        assert not it.aws.control.kept("guard")["pause"]["paused"]


def test_a_site_with_a_wrong_record_is_corrected(tmp_path: Path) -> None:
    with rig(tmp_path) as it:
        it.gcp.control.stored = ControlRecord(9, "gcp", "manual", "a test", "me", 1e9)
        it.aws.control.stored = ControlRecord(4, "aws", "manual", "long ago", "me", 1.0)
        it.step(4)
        assert it.aws.control.stored == it.gcp.control.stored
        assert it.guards[0].state().primary == "gcp"


def test_a_dead_function_is_a_backlog_and_then_an_outage(tmp_path: Path) -> None:
    with rig(tmp_path) as it:
        it.step(4)
        it.aws.die("function")
        it.step(20)
        assert it.guards[0].verdict("aws") == UP
        assert not it.guards[0].moves
        it.step(60)
        it.settle()
        assert it.guards[0].verdict("aws") == DOWN
        assert it.guards[0].moves[-1].record.primary == "gcp"


def test_the_lag_counts_from_when_the_primary_was_last_up(tmp_path: Path) -> None:
    with rig(tmp_path) as it:
        at = 1e9 + it.clock.now
        it.gcp.control.note_lag(Lag("aws", "gcp", "all", 400.0, 9, None, 0, at))
        it.step(4)
        it.aws.die()
        it.step(6)
        last = it.guards[0].history[-1]
        assert last.action == NOTHING
        assert any("behind" in line for line in last.lines)


def test_every_decision_can_be_explained(tmp_path: Path) -> None:
    with rig(tmp_path) as it:
        it.step(4)
        it.aws.die()
        it.step(3)
        it.settle()
        history = it.guards[0].state().history
        assert all(each.reason and each.lines for each in history)
        assert "fail over" in [each.action for each in history]


def test_the_dashboards_read_the_guards_state_document(tmp_path: Path) -> None:
    with rig(tmp_path) as it:
        it.step(3)
        guard = Running("guard", True, it.guards[0].state())
    seen = Snapshot(
        1.0, {"aws": None, "gcp": None}, machine=Observation(Machine(guards=(guard,)), 1.0)
    )  # type: ignore[dict-item]
    shown = canaries(seen)
    assert shown is not None
    assert "aws" in shown.plain
    assert "gcp" in shown.plain


def test_a_month_of_watching_costs_less_than_a_dollar(tmp_path: Path) -> None:
    """Requests are counted for half an hour of a guard with default settings, at list price."""
    with rig(tmp_path, rules=GuardSettings()) as it:
        watch = it.watches[0]
        for _ in range(1000):  # in steps of 1.8 s instead of 2
            it.clock.now -= 2 - GuardSettings().interval
            it.step()
        a_month = statement.dollars(watch.calls) * 2 * 24 * 30
        assert Decimal("0.3") < a_month < 1, dict(watch.calls)
        guide = (Path(__file__).resolve().parents[2] / "docs/guide/failover.md").read_text()
        said = f"at the default intervals costs ${a_month:.2f} a month at list price"
        assert said in " ".join(guide.split())
