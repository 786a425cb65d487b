"""Problems with which ``mcloud status`` exits with 3, and others."""

import time
from typing import Any

import pytest
from drawing.test_produce import HOLE, SITE, STATE
from states import GUARD, REPLICATOR, WATCHER, replicator, watcher
from states import guard as guard_state
from states import producer as producer_state

from mcloud.clouds.ports import Depth, FunctionCode
from mcloud.documents import encode
from mcloud.errors import Unavailable
from mcloud.observing.machine import Machine, machine
from mcloud.observing.problems import problems
from mcloud.observing.snapshot import collect
from mcloud.replication.progress import ReplicatorState
from mcloud.runs import Running, RunState, run_of, silence
from observing.sites import AT, BEATS, FakeSite
from observing.test_recent import candle

SEEN = GUARD["sites"]["aws"]


def lines(site: FakeSite, **runs: list[Running[Any]]) -> list[str]:
    here = Machine(**{kind: tuple(each) for kind, each in runs.items()})  # type: ignore[arg-type]
    return problems(collect({site.name: site}, lambda: here))


def producer(**state: Any) -> list[Running[Any]]:
    return [Running("default", True, producer_state(**{**STATE, "at": time.time(), **state}))]


def test_a_healthy_snapshot_has_no_problems() -> None:
    assert lines(FakeSite(), producers=producer()) == []


def test_a_site_in_trouble() -> None:
    fake = FakeSite(
        check=Unavailable("gone"),
        heartbeats=BEATS[:1],
        dead_letter_depth=Depth(1_234, 0, AT),
        range=[candle(0, 1), candle(1, 4, 5)],
    )
    assert lines(fake) == [
        "aws: everything is down: gone",
        "aws: 1,234 dead letters; see `mcloud dlq list aws`",
        "aws: BTCUSDT lacks 2 trades between 2 and 3; see `mcloud verify`",
    ]


def test_an_update_of_the_code_that_failed() -> None:
    assert lines(FakeSite(code=FunctionCode("5f", "Build failed"))) == [
        "aws: the last update of the function's code failed: Build failed; run `mcloud deploy aws`"
    ]


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_code_that_this_mcloud_does_not_deploy(cloud: str) -> None:
    assert lines(FakeSite(cloud, code=FunctionCode("5f"))) == [
        f"{cloud}: the function runs other code than this mcloud deploys; see `mcloud plan"
        f" {cloud}`, then run `mcloud deploy {cloud}`"
    ]
    # The embedded function of Google Cloud does not say which code it runs: it cannot be another.
    assert lines(FakeSite(cloud, code=FunctionCode(""))) == []


def test_one_dead_letter_is_one() -> None:
    assert lines(FakeSite(dead_letter_depth=Depth(1, 0, AT))) == [
        "aws: 1 dead letter; see `mcloud dlq list aws`"
    ]


def test_services_that_are_down_and_parts_without_news() -> None:
    def check(service: str) -> None:
        if service in ("queue", "archive"):
            raise Unavailable("gone")

    assert lines(FakeSite(check=check, lags=Unavailable("away"))) == [
        "aws: queue, archive are down: gone"
    ]
    assert lines(FakeSite(lags=Unavailable("away"), record=Unavailable("away"))) == [
        "aws: no news of replication, control record: away"
    ]


def test_unknown_dead_letters_are_not_wrong() -> None:
    assert lines(FakeSite(dead_letter_depth=Depth(None, None, AT))) == []


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"holes": [HOLE]}, "producer default: 1,200 trades are missing; see `mcloud ps`"),
        ({"spool_full": True}, "producer default: its spool is full, so it has stopped reading"),
        ({"problem": "no room"}, "producer default: no room"),
        (
            {"stalled": ["BTCUSDT.um"]},
            "producer default: the exchange has trades of BTCUSDT.um that its stream does not"
            " deliver; see `mcloud ps`",
        ),
        (
            {"sites": {"gcp": {**SITE, "breaker": "open", "error": "away"}}},
            "producer default: gcp does not accept messages: away",
        ),
        (
            {"sites": {"gcp": {**SITE, "refused": True, "error": "no access"}}},
            "producer default: gcp refuses messages: no access",
        ),
    ],
)
def test_a_producer_in_trouble(state: dict[str, Any], said: str) -> None:
    assert lines(FakeSite(), producers=producer(**state)) == [said]


def test_an_ended_producer_is_a_problem_only_for_missing_trades() -> None:
    ended = [
        Running("default", False, producer_state(**STATE | {"spool_full": True, "problem": "no"}))
    ]
    assert lines(FakeSite(), producers=ended) == []
    ended = [Running("default", False, producer_state(**STATE | {"holes": [HOLE]}))]
    assert len(lines(FakeSite(), producers=ended)) == 1


def test_a_running_process_without_reports_hangs() -> None:
    (said,) = lines(FakeSite(), producers=producer(at=AT))
    assert said.startswith("default is running, but has reported nothing for ")


def test_notes_that_the_disk_refuses() -> None:
    unwritten = {"/x/audit.jsonl": "No space left on device"}
    guard = [Running("guard", True, guard_state(at=time.time(), sites={}, unwritten=unwritten))]
    assert lines(FakeSite(), guards=guard) == [
        "guard: /x/audit.jsonl is not written: No space left on device"
    ]
    here = Machine(guards=tuple(guard), disk="the disk of /x is full")
    (line,) = problems(collect({"aws": FakeSite()}, lambda: here))
    assert line.startswith("the disk of /x is full; free some space, or set MCLOUD_STATE")


def test_problems_that_a_guard_reports() -> None:
    def guard(**state: Any) -> list[Running[Any]]:
        return [Running("guard", True, guard_state(**{"at": time.time(), "sites": {}, **state}))]

    assert lines(FakeSite(), guards=guard(sites={"aws": {**SEEN, "verdict": "up"}})) == []
    assert lines(
        FakeSite(), guards=guard(sites={"aws": {**SEEN, "verdict": "down"}}, problem="oh")
    ) == [
        "guard: aws is down",
        "guard: oh",
    ]


def test_a_guard_that_disappeared_without_a_stop() -> None:
    def ended(**state: Any) -> list[str]:
        return lines(FakeSite(), guards=[Running("guard", False, guard_state(at=AT, **state))])

    assert ended(ended=True) == []
    (said,) = ended()
    assert said.startswith("guard: its process has died, and last reported ")
    assert said.endswith("start it again, or run `mcloud stop guard`")


def test_the_allowed_silence_depends_on_the_intervals() -> None:
    slow = guard_state(at=1000.0, settings={"interval": 60.0, "timeout": 1.0})
    plain = RunState(pid=7, at=1000.0)
    ended = RunState(pid=7, at=1000.0, ended=True)
    assert silence(True, slow, 1305.0) == 0
    assert silence(True, slow, 1306.0) == 306
    assert silence(True, plain, 1015.0) == 0
    assert silence(True, plain, 1016.0) == 16
    # A restarting run has not written its state yet, and a run without any state is not missed.
    assert silence(True, ended, 1016.0) == 16
    assert silence(False, ended, 1016.0) == 0
    assert silence(False, None, 1016.0) == 0


def test_a_site_that_was_left_and_not_caught_up() -> None:
    def owed(**change: Any) -> list[str]:
        debt = {"site": "gcp", "epoch": 3, "since": AT, "may_return": True, "at": AT, "written": 1}
        told = {"debt": {"gcp": {**debt, "paid": False, "over": False, **change}}}
        return lines(FakeSite(kept=lambda kind: told.get(kind, {})))

    assert owed() == [
        "gcp was replaced as primary in epoch 3, and has not been proven equal since"
        " 2024-08-08 23:55 UTC: "
        "`mcloud failover aws --wait` or a guard catches it up; if gcp no longer exists, run "
        "`mcloud failover --forget gcp`"
    ]
    assert owed(paid=True) == owed(over=True) == []


def test_a_pair_that_is_not_replicated() -> None:
    pair = {**REPLICATOR["pairs"][0], "error": "gcp is away"}
    states = [Running("replicator", True, replicator(at=time.time(), pairs=[pair]))]
    assert lines(FakeSite(), replicators=states) == ["aws to gcp is not replicated: gcp is away"]


def test_a_firing_alert_is_a_problem_while_a_watcher_runs() -> None:
    firing = {**WATCHER["firing"][0], "title": "dead letters on aws", "silenced": None}
    state = watcher(at=time.time(), firing=[firing])
    assert lines(FakeSite(), alerts=[Running("alerts", True, state)]) == [
        "alert: dead letters on aws"
    ]
    assert lines(FakeSite(), alerts=[Running("alerts", False, state)]) == []


def test_local_processes_are_read_from_their_folders(tmp_path: Any) -> None:
    assert machine(tmp_path) == Machine()
    run = run_of(tmp_path / "replicators", "default")
    run.create()
    state = ReplicatorState(pid=7, at=1.0, pairs=())
    run.write(state)
    run_of(tmp_path / "guards", "guard").create()
    with run.lock.held():
        seen = machine(tmp_path)
    assert seen.replicators == (Running("default", True, state),)
    assert seen.guards == (Running("guard", False),)
    assert encode(seen.replicators[0].document) == {
        **encode(state),
        "name": "",
        "running": True,
    }
