"""Problems with which ``mcloud status`` exits with 3, and others."""

import hashlib
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
from mcloud.infra.bundle import build
from mcloud.observing.machine import Machine, machine
from mcloud.observing.problems import causes, problems
from mcloud.observing.snapshot import collect
from mcloud.replication.progress import ReplicatorState
from mcloud.runs import Running, RunState, run_of, silence
from observing.sites import AT, BEATS, FakeSite
from observing.test_recent import candle

SEEN = GUARD["sites"]["aws"]


def lines(site: FakeSite, **runs: list[Running[Any]]) -> list[str]:
    here = Machine(**{kind: tuple(each) for kind, each in runs.items()})  # type: ignore[arg-type]
    return [str(each) for each in problems(collect({site.name: site}, lambda: here))]


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
        "aws: everything is down: gone; see `mcloud doctor aws`",
        "aws: 1,234 dead letters; see `mcloud dlq list aws`",
        "aws: BTCUSDT lacks 2 trades between 2 and 3; see `mcloud verify`",
    ]


def test_an_update_of_the_code_that_failed() -> None:
    good = FunctionCode("mcloud-processor", hashlib.sha256(build("aws")).hexdigest())
    bad = FunctionCode("mcloud-compact", "5f", "Build failed")
    assert lines(FakeSite(code=[good, bad])) == [
        "aws: the last update of mcloud-compact failed: Build failed; run `mcloud deploy aws`"
    ]


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_code_that_this_mcloud_does_not_deploy(cloud: str) -> None:
    assert lines(FakeSite(cloud, code=[FunctionCode("p", "5f"), FunctionCode("c", "5f")])) == [
        f"{cloud}: p, c run other code than this mcloud deploys; see `mcloud plan"
        f" {cloud}`, then run `mcloud deploy {cloud}`"
    ]
    # The embedded functions of Google Cloud do not say which code they run: it cannot be another.
    assert lines(FakeSite(cloud, code=[])) == []
    assert lines(FakeSite(cloud, code=[FunctionCode("p", "")])) == []


def test_one_dead_letter_is_one() -> None:
    assert lines(FakeSite(dead_letter_depth=Depth(1, 0, AT))) == [
        "aws: 1 dead letter; see `mcloud dlq list aws`"
    ]


def test_services_that_are_down_and_parts_without_news() -> None:
    def check(service: str) -> None:
        if service in ("queue", "archive"):
            raise Unavailable("gone")

    assert lines(FakeSite(check=check, lags=Unavailable("away"))) == [
        "aws: queue, archive are down: gone; see `mcloud doctor aws`"
    ]
    assert lines(FakeSite(lags=Unavailable("away"), record=Unavailable("away"))) == [
        "aws: no news of replication, control record: away; see `mcloud doctor aws`"
    ]


def test_unknown_dead_letters_are_not_wrong() -> None:
    assert lines(FakeSite(dead_letter_depth=Depth(None, None, AT))) == []


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"holes": [HOLE]}, "producer default: 1,200 trades are missing; see `mcloud ps`"),
        (
            {"spool_full": True},
            "producer default: its spool is full, so it has stopped reading;"
            " see `mcloud logs default`",
        ),
        ({"problem": "no room"}, "producer default: no room; see `mcloud logs default`"),
        (
            {"stalled": ["BTCUSDT.um"]},
            "producer default: the exchange has trades of BTCUSDT.um that its stream does not"
            " deliver; see `mcloud ps`",
        ),
        (
            {"sites": {"gcp": {**SITE, "breaker": "open", "error": "away"}}},
            "producer default: gcp does not accept messages: away; see `mcloud logs default`",
        ),
        (
            {"sites": {"gcp": {**SITE, "refused": True, "error": "no access"}}},
            "producer default: gcp refuses messages: no access; see `mcloud logs default`",
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
    (found,) = problems(collect({"aws": FakeSite()}, lambda: here))
    assert str(found).startswith("the disk of /x is full; free some space, or set MCLOUD_STATE")


def test_problems_that_a_guard_reports() -> None:
    def guard(**state: Any) -> list[Running[Any]]:
        return [Running("guard", True, guard_state(**{"at": time.time(), "sites": {}, **state}))]

    assert lines(FakeSite(), guards=guard(sites={"aws": {**SEEN, "verdict": "up"}})) == []
    assert lines(
        FakeSite(), guards=guard(sites={"aws": {**SEEN, "verdict": "down"}}, problem="oh")
    ) == [
        "guard: aws is down; see `mcloud guard explain --name guard`",
        "guard: oh; see `mcloud logs guard`",
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
        " 2024-08-08 23:55 UTC; "
        "`mcloud failover aws --wait` or a guard catches it up; if gcp no longer exists, run "
        "`mcloud failover --forget gcp`"
    ]
    assert owed(paid=True) == owed(over=True) == []


def test_a_pair_that_is_not_replicated() -> None:
    pair = {**REPLICATOR["pairs"][0], "error": "gcp is away"}
    states = [Running("replicator", True, replicator(at=time.time(), pairs=[pair]))]
    assert lines(FakeSite(), replicators=states) == [
        "aws to gcp is not replicated: gcp is away; see `mcloud logs replicator`"
    ]


def test_a_firing_alert_is_a_problem_while_a_watcher_runs() -> None:
    firing = {**WATCHER["firing"][0], "title": "dead letters on aws", "silenced": None}
    state = watcher(at=time.time(), firing=[firing])
    assert lines(FakeSite(), alerts=[Running("alerts", True, state)]) == [
        "alert: dead letters on aws; see `mcloud alerts list`"
    ]
    assert lines(FakeSite(), alerts=[Running("alerts", False, state)]) == []


def test_local_processes_are_read_from_their_folders(tmp_path: Any) -> None:
    assert machine(tmp_path) == Machine()
    run = run_of(tmp_path / "replicators", "default")
    run.create()
    state = ReplicatorState(pid=7, at=time.time(), pairs=())
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


def test_a_primary_that_is_down_without_a_guard_names_the_way_out() -> None:
    sites = {"aws": FakeSite(check=Unavailable("gone")), "gcp": FakeSite("gcp")}
    guard = Running("guard", True, guard_state(at=time.time(), sites={}, paused=""))

    def remedy(**runs: tuple[Running[Any], ...]) -> str:
        return problems(collect(sites, lambda: Machine(**runs)))[0].remedy  # type: ignore[arg-type]

    assert remedy() == "move the traffic with `mcloud failover gcp`"
    assert remedy(guards=(guard,)) == "see `mcloud doctor aws`"


def test_the_outage_of_a_site_explains_what_follows_from_it() -> None:
    sites = {"aws": FakeSite(check=Unavailable("gone")), "gcp": FakeSite("gcp")}
    pair = {**REPLICATOR["pairs"][0], "source": "aws", "target": "gcp", "error": "aws is away"}
    here = Machine(
        producers=tuple(producer(sites={"aws": {**SITE, "breaker": "open", "error": "away"}})),
        replicators=(Running("r", True, replicator(at=time.time(), pairs=[pair])),),
    )
    snapshot = collect(sites, lambda: here)
    assert len(problems(snapshot)) == 3
    assert [each.message for each in causes(snapshot)] == ["aws: everything is down: gone"]


def test_runs_that_ended_long_ago_are_left_out() -> None:
    def run(name: str, at: float, **state: Any) -> Running[Any]:
        return Running(name, name == "runs", producer_state(**{**STATE, "at": at, **state}))

    here = Machine(
        producers=(
            run("old", AT - 601),
            run("left holes", AT - 601, holes=[HOLE]),
            run("recent", AT - 599),
            run("runs", AT),
        )
    )
    assert [each.name for each in here.recent(AT).producers] == ["runs", "left holes", "recent"]
