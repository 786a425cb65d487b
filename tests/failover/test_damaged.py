"""Work continues without damaged documents of sites and of this machine, and reports them."""

import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from damage import damaged, texts
from hypothesis import given, settings
from hypothesis import strategies as st
from observing.sites import FakeSite
from rich.console import Console
from states import GUARD, PRODUCER, REPLICATOR, WATCHER
from test_documents import EXAMPLES, JOURNAL, TOLD

from mcloud.alerts.engine import AlertStates, step
from mcloud.alerts.rules import Rules
from mcloud.clouds.ports import LAST_EPOCH, ControlRecord, Heartbeat, Lag, Site
from mcloud.damage import on_disk, on_sites
from mcloud.documents import Damaged, decode
from mcloud.documents import encode as json_of
from mcloud.drawing.monitor import MonitorView, screen
from mcloud.drawing.ps import listing
from mcloud.drawing.status import everything, status
from mcloud.errors import McloudError, Refused, UsageError
from mcloud.failover import debts, pause
from mcloud.failover import record as records
from mcloud.failover.decide import Debt
from mcloud.market.envelope import encode
from mcloud.observing.alert_figures import alert_figures
from mcloud.observing.document import document
from mcloud.observing.exposition import exposition
from mcloud.observing.machine import machine
from mcloud.observing.problems import problems
from mcloud.observing.snapshot import Snapshot, collect
from mcloud.run_states import runs_of
from mcloud.runs import KINDS, Run

from .sites import LiveSite, made
from .test_guard import rig

BROKEN = Damaged("epoch is 'x', not a whole number", "the control record", found={"epoch": "x"})
RECORD = ControlRecord(7, "aws", "manual", "why", "me", 1e9)
STATES = {
    "producers": PRODUCER,
    "replicators": REPLICATOR,
    "guards": GUARD,
    "alerts": WATCHER,
}


def of_site(data: st.DataObject) -> FakeSite:
    """Draw a site of which any document may be damaged."""

    def maybe(kind: str) -> Any:
        return data.draw(damaged(json.loads(json.dumps(EXAMPLES[kind][1]))))

    def told(shape: Any, kind: str) -> Any:
        return decode(shape, maybe(kind), f"the {kind}")

    kept = {"guard": {"pause": maybe("pause")}, "debt": {"gcp": maybe("debt"), "x": maybe("debt")}}
    return FakeSite(
        "aws",
        record=told(ControlRecord, "record"),
        heartbeats=[told(Heartbeat, "heartbeat"), *FakeSite().answers["heartbeats"]],
        lags=[told(Lag, "lag")],
        kept=kept.get,
    )


def judged(snapshot: Snapshot, before: AlertStates) -> AlertStates:
    """Return the state of the built-in alerts after a check."""
    figures = alert_figures(snapshot, {}, None, {})
    state, _ = step(Rules(), figures, before, snapshot.at)
    return state


@pytest.mark.slow
@settings(max_examples=40)
@given(data=st.data())
def test_the_snapshot_of_a_site_works_and_names_damaged_documents(data: st.DataObject) -> None:
    site = of_site(data)
    snapshot = collect({"aws": cast(Site, site), "gcp": cast(Site, FakeSite("gcp"))})
    told = json_of(document(snapshot))
    assert json.loads(json.dumps(told, allow_nan=False)) == json.loads(json.dumps(told))
    lines = [str(each) for each in problems(snapshot)]
    broken = snapshot.sites["aws"].damaged
    for each in broken:
        assert f"aws: {each}" in lines
    assert told["sites"]["aws"]["damaged"]["count"] == len(broken)
    assert not snapshot.sites["gcp"].damaged
    drawn(status(snapshot))
    drawn(everything(snapshot))
    screen(snapshot, MonitorView(120, 40, 5.0))
    assert f'mcloud_damaged_documents{{site="aws"}} {len(broken)}' in exposition(snapshot)
    state = judged(snapshot, AlertStates())
    state = judged(replace(snapshot, at=snapshot.at + 60), state)
    fires = {alert.key for alert in state.firing}
    assert ("damaged-documents aws" in fires) == bool(broken)


@pytest.mark.slow
@settings(max_examples=40)
@given(data=st.data())
def test_local_processes_work_and_name_damaged_documents(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for kind, state in STATES.items():
            run = Run(home / kind / "one")
            run.folder.mkdir(parents=True)
            run.path.write_bytes(data.draw(texts(state)))
        (home / "guards" / "one" / "told.json").write_bytes(data.draw(texts(TOLD)))
        journal = home / "failover" / "local" / "manual.json"
        journal.parent.mkdir(parents=True)
        journal.write_bytes(data.draw(texts(JOURNAL)))
        snapshot = collect({"aws": cast(Site, FakeSite())}, lambda: machine(home))
        lines = "\n".join(map(str, problems(snapshot)))
        for found in on_disk(home):
            assert str(found.damaged) in lines
        json.dumps(json_of(document(snapshot)), allow_nan=False)
        drawn(status(snapshot))
        drawn(everything(snapshot))
        screen(snapshot, MonitorView(120, 40, 5.0))
        exposition(snapshot)
        judged(snapshot, AlertStates())
        drawn(listing(runs_of(home)))
        for run in (Run(home / kind / "one") for kind in KINDS):
            assert run.is_lost in (True, False)
            run.note_end()


def drawn(what: Any) -> str:
    console = Console(width=200, file=None, record=True, quiet=False, force_terminal=False)
    with console.capture() as capture:
        console.print(what)
    text = capture.get()
    text.encode()
    return text


@pytest.mark.slow
@settings(max_examples=15)
@given(data=st.data())
def test_a_guard_fails_over_despite_damaged_documents_at_the_target(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, rig(Path(folder)) as it:
        it.aws.queue.send([encode(made(range(5)))])
        it.gcp.control.documents["guard", "pause"] = data.draw(
            damaged({"paused": False, "by": "me", "why": "", "at": 1.0, "written": 1})
        )
        for key in ("aws", "gone"):
            it.gcp.control.documents["debt", key] = data.draw(damaged(EXAMPLES["debt"][1]))
        found = pause.KIND.decode("pause", it.gcp.control.documents["guard", "pause"])
        if not isinstance(found, Damaged) and found.paused:
            return
        it.aws.control.stored = BROKEN
        it.gcp.control.broken = [Damaged("at is missing", "the heartbeat ETHUSDT")]
        it.step(4)
        it.aws.die()
        it.step(4)
        it.settle()
        assert isinstance(it.gcp.control.stored, ControlRecord)
        assert it.gcp.control.stored.primary == "gcp"
        said = list(it.guards[0].state().unreadable)
        assert any("the control record is damaged" in line for line in said)
        # It comes back with a damaged record, which stays until somebody repairs it.
        it.aws.live()
        it.step(4)
        it.settle()
        assert it.aws.control.stored is BROKEN
        assert it.guards[0].state().blind_s == 0.0


def pair() -> tuple[LiveSite, LiveSite, dict[str, Site]]:
    aws, gcp = LiveSite("aws"), LiveSite("gcp", "gcp")
    return aws, gcp, {"aws": cast(Site, aws), "gcp": cast(Site, gcp)}


def next_(before: ControlRecord | None) -> ControlRecord:
    return ControlRecord(0, "gcp", "manual", "why", "me", 2e9)


def test_a_record_is_written_to_the_other_sites_and_the_damage_is_reported() -> None:
    aws, gcp, sites = pair()
    aws.control.stored, gcp.control.stored = BROKEN, RECORD
    done = records.advance(sites, next_)
    assert gcp.control.stored == done.record == replace(next_(None), epoch=8)
    assert aws.control.stored is BROKEN
    assert list(done.away) == ["aws"]
    assert "`mcloud documents repair` repairs it" in done.away["aws"]
    view = records.read(sites)
    assert (view.answered, view.readable, view.behind) == (["aws", "gcp"], ["gcp"], [])


def test_nothing_is_written_if_every_record_is_damaged() -> None:
    aws, gcp, sites = pair()
    aws.control.stored = gcp.control.stored = BROKEN
    with pytest.raises(McloudError, match=r"no site has a control record .*documents repair"):
        records.advance(sites, next_)
    assert aws.control.stored is gcp.control.stored is BROKEN


def test_the_highest_epoch_is_refused() -> None:
    aws, _, sites = pair()
    aws.control.stored = replace(RECORD, epoch=LAST_EPOCH)
    with pytest.raises(McloudError, match="is the highest possible: it was edited"):
        records.advance(sites, next_)


@pytest.mark.parametrize("over", [{"since": "x"}, {"epoch": 10**30}, {"version": 2}])
def test_a_damaged_debt_is_not_overwritten(over: dict[str, Any]) -> None:
    aws, gcp, sites = pair()
    broken = {**EXAMPLES["debt"][1], **over}
    aws.control.documents["debt", "gcp"] = broken
    assert debts.read(sites, 1.0) == {}
    away = debts.note(sites, Debt("gcp", 5, 1e9), at=1e9, seconds=1.0)
    assert list(away) == ["aws"]
    assert aws.control.documents["debt", "gcp"] == broken
    assert debts.read(sites, 1.0)["gcp"].epoch == 5
    gcp.control.documents["debt", "gcp"] = broken
    with pytest.raises(McloudError, match="no site could store the debt gcp: aws: the debt gcp"):
        debts.note(sites, Debt("gcp", 6, 1e9), at=1e9, seconds=1.0)


def test_a_debt_is_found_by_the_name_it_is_kept_under() -> None:
    aws, _, sites = pair()
    aws.control.documents["debt", "gcp"] = {**EXAMPLES["debt"][1], "site": "nowhere"}
    assert debts.read(sites, 1.0)["gcp"].site == "gcp"


def test_forgetting_a_debt_ends_it_on_all_sites() -> None:
    aws, gcp, sites = pair()
    debt = Debt("gone", 3, 1e9)
    debts.note(sites, debt, at=1e9, seconds=1.0)
    assert debts.forget(sites, debt, at=2e9, seconds=1.0) == {}
    assert debts.read(sites, 1.0) == {}
    assert aws.control.documents["debt", "gone"]["over"] is True
    assert gcp.control.documents == aws.control.documents


def test_forgetting_the_catch_up_of_a_removed_site_is_recorded_in_the_audit_log(
    tmp_path: Path,
) -> None:
    _, gcp, sites = pair()
    debts.note(sites, Debt("gone", 3, 1e9), at=1e9, seconds=1.0)
    debts.note(sites, Debt("gcp", 4, 1e9), at=1e9, seconds=1.0)
    with pytest.raises(
        UsageError, match="no catch-up is due for 'other'; one is due for gcp, gone"
    ):
        debts.abandoned(sites, "other", "prod", 1.0)
    with pytest.raises(UsageError, match="gcp is a site of the profile prod, and can still be"):
        debts.abandoned(sites, "gcp", "prod", 1.0)
    debt = debts.abandoned(sites, "gone", "prod", 1.0)
    assert debts.forget_and_record(sites, tmp_path, debt, why="", at=2e9, seconds=1.0) == {}
    assert list(debts.read(sites, 1.0)) == ["gcp"]
    (entry,) = gcp.control.kept("audit").values()
    assert (entry["step"], entry["why"]) == ("forget debt", "gone no longer exists")
    assert json.loads((tmp_path / "audit.jsonl").read_text())["before"]["epoch"] == 3


def test_repair_uses_the_valid_copy_of_another_site_and_keeps_the_damaged_one(
    tmp_path: Path,
) -> None:
    aws, gcp, sites = pair()
    aws.control.stored, gcp.control.stored = BROKEN, RECORD
    pause.change(sites, paused=True, by="me", why="", at=1e9, seconds=1.0)
    good = gcp.control.documents["guard", "pause"]
    aws.control.documents["guard", "pause"] = {"paused": "perhaps"}
    aws.control.documents["debt", "gone"] = {"epoch": 1}
    aws.control.documents["audit", "x"] = {"version": 9}
    found, away = on_sites(sites, tmp_path)
    assert away == {}
    assert [(each.damaged.where, each.damaged.is_newer) for each in found] == [
        ("the control record", False),
        ("the guard pause", False),
        ("the debt gone", False),
        ("the audit x", True),
    ]
    assert [each.repair is None for each in found] == [False, False, False, True]
    for each in found:
        if each.repair:
            each.repair()
    assert aws.control.stored == RECORD
    assert aws.control.documents["guard", "pause"] == good
    assert ("debt", "gone") not in aws.control.documents
    assert aws.control.documents["audit", "x"] == {"version": 9}
    kept = [json.loads(path.read_text()) for path in (tmp_path / "damaged").iterdir()]
    assert sorted(each["found"] for each in kept) == [
        '{"epoch": "x"}',
        '{"epoch": 1}',
        '{"paused": "perhaps"}',
    ]
    assert [each.damaged.where for each in on_sites(sites, tmp_path)[0]] == ["the audit x"]


def test_a_document_that_an_unavailable_site_may_have_is_not_deleted(
    tmp_path: Path,
) -> None:
    """Without this, the first site would lead, even if the other one knows better."""
    aws, gcp, sites = pair()
    aws.control.stored, gcp.control.stored = BROKEN, RECORD
    aws.control.documents["debt", "gone"] = {"epoch": 1}
    aws.control.documents["lag", "gcp aws all"] = {}
    gcp.die()
    found, away = on_sites(sites, tmp_path)
    assert list(away) == ["gcp"]
    assert {each.damaged.where: each.repair is None for each in found} == {
        "the control record": True,
        "the debt gone": True,
        "the lag gcp aws all": False,
    }
    assert "gcp does not answer, and may have the valid document" in found[0].plan


def test_a_guard_whose_checks_all_fail_is_lost(tmp_path: Path) -> None:
    """It runs and writes its state, but would not fail over."""
    with rig(tmp_path) as it:
        it.step(2)
        guard, watch = it.guards[0], it.watches[0]
        run = Run(tmp_path / "guards" / "guard")
        run.create()

        def fires(passed: float) -> list[str]:
            it.clock.now += passed
            try:
                guard.step()
            except ZeroDivisionError as error:
                guard.problem = f"a check failed: {error}"
            run.write(replace(guard.state(), at=time.time()))
            with run.lock.held():
                snapshot = collect({"aws": cast(Site, FakeSite())}, lambda: machine(tmp_path))
            state = judged(snapshot, AlertStates())
            state = judged(_a_minute_later(snapshot), state)
            lines = [each for each in problems(snapshot) if "has not seen" in each.message]
            names = [alert.why for alert in state.firing if alert.rule == "guard-lost"]
            assert len(lines) == len(names)
            return names

        assert fires(2) == []
        watch.observe = lambda **_: 1 // 0  # type: ignore[method-assign]
        assert fires(2) == []
        (why,) = fires(600)
        assert why.startswith(
            "it is running, but every check fails: a check failed: integer division"
        )


def _a_minute_later(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot of a minute later, with a guard that keeps writing its state."""
    assert snapshot.machine.value is not None
    (guard,) = snapshot.machine.value.guards
    assert guard.state is not None
    guard = replace(guard, state=replace(guard.state, at=guard.state.at + 60))
    machine = replace(snapshot.machine, value=replace(snapshot.machine.value, guards=(guard,)))
    return replace(snapshot, at=snapshot.at + 60, machine=machine)


def test_a_guard_that_cannot_judge_any_queue_counts_as_lost(tmp_path: Path) -> None:
    with rig(tmp_path) as it:
        it.step(2)
        for site in (it.aws, it.gcp):
            site.need = lambda service: (_ for _ in ()).throw(  # type: ignore[method-assign]
                Refused("the credentials have run out")
            )
        it.clock.now += 300
        it.guards[0].step()
        assert it.guards[0].state().blind_s >= 300
