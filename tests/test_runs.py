"""Runs as other processes see them: locks, states, logs, and how they end."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from producer.sources import PATIENCE
from producer.spools import environment
from states import stored

from mcloud import runs as module
from mcloud.errors import McloudError, UsageError
from mcloud.lock import Lock
from mcloud.run_states import running
from mcloud.runs import (
    LogTail,
    Run,
    Running,
    RunState,
    all_runs,
    detach,
    run_of,
    runs_called,
    stop,
)

# Holds the lock of a run, and ends when asked to, or refuses to end.
HOLDER = """
import signal, sys, time
from pathlib import Path
from mcloud.runs import Run

if sys.argv[2] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
with Run(Path(sys.argv[1])).lock.held() as mine:
    print(mine, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = run_of(tmp_path / "producers", "default")
    made.create()
    return made


@contextmanager
def holding(run: Run, how: str = "polite") -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLDER, str(run.folder), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stdout
        assert process.stdout.readline() == "True\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("name", ["", "..", "a/b", "a b", "-_", "a.b"])
def test_an_invalid_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="invalid name"):
        run_of(tmp_path, name)


def test_runs_are_listed_by_name(tmp_path: Path) -> None:
    assert all_runs(tmp_path / "none") == []
    for name in ("b-2", "a_1"):
        run_of(tmp_path, name).create()
    (tmp_path / "stray").write_text("")
    assert [run.name for run in all_runs(tmp_path)] == ["a_1", "b-2"]
    assert (tmp_path / "a_1").stat().st_mode & 0o777 == 0o700


def test_runs_of_any_kind_are_found_by_name(tmp_path: Path) -> None:
    for kind, name in (("producers", "a"), ("replicators", "a"), ("replicators", "b")):
        run_of(tmp_path / kind, name).create()
    assert [(run.kind, run.name) for run in runs_called(tmp_path, None)] == [
        ("producer", "a"),
        ("replicator", "a"),
        ("replicator", "b"),
    ]
    assert [run.kind for run in runs_called(tmp_path, "b")] == ["replicator"]
    assert runs_called(tmp_path, "b", "producers") == []
    with pytest.raises(UsageError, match="invalid name"):
        runs_called(tmp_path, "../b")


def test_a_state_is_stored_as_it_was_written(run: Run) -> None:
    run.write({"read": 7})
    assert stored(run) == {"read": 7}


def test_a_damaged_state_is_neither_lost_nor_written_over(run: Run) -> None:
    run.path.write_text('{"read": ')
    assert not run.is_lost
    run.note_end()
    assert run.path.read_text() == '{"read": '


def test_a_run_that_ended_without_a_final_state_is_lost(run: Run) -> None:
    assert not run.is_lost  # it has never written a state
    with run.lock.held():
        run.write({"at": 1.0})
        assert not run.is_lost
    assert run.is_lost
    assert stop(run, now=False, patience=1.0) is False
    assert not run.is_lost
    with holding(run):
        run.write({"at": 2.0})
        assert stop(run, now=True, patience=PATIENCE)
    assert not run.is_lost
    assert stored(run) == {"at": 2.0, "ended": True}


def test_a_held_lock_shows_that_its_process_runs(run: Run) -> None:
    assert not run.lock.is_held()
    with run.lock.held() as mine:
        assert mine
        assert run.lock.is_held()
    with holding(run) as process:
        holder = run.lock.holder()
        assert holder is not None
        assert holder.pid == process.pid
        with run.lock.held() as mine:
            assert not mine
    # A killed run holds no lock, whatever its file says, even if another process has its id.
    assert not run.lock.is_held()
    (run.folder / "lock").write_text(str(os.getpid()))
    assert run.lock.holder() is None


def test_checking_a_lock_does_not_block_it(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock")
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            lock.is_held()

    lookers = [threading.Thread(target=look) for _ in range(2)]
    for each in lookers:
        each.start()
    taken = []
    for _ in range(200):
        with lock.held() as mine:
            taken.append(mine)
    done.set()
    for each in lookers:
        each.join()
    assert all(taken)


def test_a_holder_that_cannot_be_seen_is_not_waited_for(run: Run) -> None:
    with run.lock.held():
        (run.folder / "lock").write_text("4194305")  # above any process id of Linux
        assert run.lock.holder() is None


@pytest.mark.parametrize("now", [False, True])
def test_stop_ends_a_run(run: Run, now: bool) -> None:
    with holding(run, "stubborn" if now else "polite") as process:
        assert stop(run, now=now, patience=PATIENCE)
        assert process.wait(PATIENCE) == (-9 if now else -15)
    assert not stop(run, now=now, patience=0)


def test_a_run_that_keeps_draining_is_reported_with_a_remedy(run: Run) -> None:
    with (
        holding(run, "stubborn") as process,
        pytest.raises(McloudError, match=f"\\(pid {process.pid}\\) is still delivering; wait"),
    ):
        stop(run, now=False, patience=0.1)


def test_a_detached_run_that_ends_at_once_reports_the_reason(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", environment() | {"MCLOUD_STATE": str(tmp_path)})
    with pytest.raises(McloudError) as caught:
        detach(run, ["produce", "--source", "nowhere"], PATIENCE)
    assert str(caught.value).startswith("the producer ended at once: unknown source 'nowhere'")
    # A run that had nothing more to do has not failed.
    assert detach(run, ["--version"], PATIENCE) > 0


def test_the_log_is_rotated(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOG_BYTES", 1_000)
    logger = run.logger()
    for number in range(200):
        logger.warning("line %s", number)
    assert sorted(path.name for path in run.folder.glob("producer.log*")) == [
        "producer.log", "producer.log.1", "producer.log.2", "producer.log.3"
    ]  # fmt: skip
    assert run.log.read_text().endswith(" WARNING line 199\n")
    assert all(path.stat().st_size <= 1_000 for path in run.folder.glob("producer.log*"))


@pytest.mark.parametrize(
    ("count", "shown"), [(0, []), (2, ["three", "four"]), (9, ["one", "two", "three", "four"])]
)
def test_the_end_of_a_log(tmp_path: Path, count: int, shown: list[str]) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\ntwo\nthree\nfour\n")
    with LogTail(path) as log:
        assert list(log.last(count)) == shown


def test_new_lines_are_followed_across_rotations(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("one\n")
    shown: list[str] = []

    def follow() -> None:
        with LogTail(path) as log:
            shown.extend(log.last(1))
            while "end" not in shown:
                shown.extend(log.added())
                time.sleep(0.05)

    thread = threading.Thread(target=follow)
    thread.start()
    eventually(lambda: shown == ["one"])
    with path.open("a") as file:
        file.write("two\nhalf of a ")
        file.flush()
        eventually(lambda: shown[-1] == "two")
        file.write("line\nlast of the old\n")
    path.rename(tmp_path / "log.1")
    time.sleep(0.3)  # it polls while there is no log
    # The new log is longer than the old one, so that the length does not reveal the change.
    path.write_text("".join(f"new {number}\n" for number in range(100)) + "end\n")
    thread.join(PATIENCE)
    assert shown[2:4] == ["half of a line", "last of the old"]
    assert shown[4:] == [*(f"new {number}" for number in range(100)), "end"]


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


@pytest.mark.parametrize("ended", [True, False])
def test_a_run_that_starts_again_is_not_silent(run: Run, ended: bool) -> None:
    now = time.time()
    run.write(RunState(pid=7, at=now - 900, ended=ended))
    with run.lock.held():
        assert running(run, RunState) == Running(run.name, True)
        # One that writes no state at all is silent after a while.
        os.utime(run.folder / "lock", (now - 600, now - 600))
        assert running(run, RunState).state == RunState(pid=7, at=now - 900, ended=ended)
    assert running(run, RunState).state is not None
