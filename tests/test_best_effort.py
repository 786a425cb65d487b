"""Notes that the disk refuses stop nothing, are reported once, and use the reserved space."""

import errno
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from small_disk import EMPTY, FULL, READ_ONLY, call

from mcloud import best_effort, files
from mcloud.errors import McloudError
from mcloud.failover.audit import Audit, AuditEntry
from mcloud.failover.journal import DebtNoted, Journal, MoveOrder, MoveProgress
from mcloud.notify.event import FIRING, Event
from mcloud.notify.memory import SentMemory
from mcloud.runs import Run

REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EFBIG)


def refusing(number: int, times: int) -> Callable[[], None]:
    """Return a write that the disk refuses ``times`` times."""
    left = [number] * times

    def write() -> None:
        if left:
            raise OSError(left[0], os.strerror(left.pop()), "/x")

    return write


@pytest.mark.parametrize("number", REFUSALS)
def test_a_refused_file_is_logged_once_until_it_can_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    path = tmp_path / "note"
    write = refusing(number, 3)
    with caplog.at_level(logging.INFO, best_effort.log.name):
        assert [best_effort.attempt(path, write) for _ in range(5)] == [False] * 3 + [True] * 2
    reason = os.strerror(number)
    assert caplog.messages == [
        f"{path} cannot be written ({reason}); the work continues without it",
        f"{path} can be written again",
    ]
    assert str(path) not in best_effort.refused()


def test_an_mcloud_error_counts_as_the_refusal_that_caused_it(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    assert not best_effort.attempt(path, lambda: files.write(path, "text"))
    assert best_effort.refused()[str(path)] == os.strerror(errno.EISDIR)


def test_an_unexpected_exception_is_not_hidden(tmp_path: Path) -> None:
    def write() -> None:
        raise TypeError("what nobody thought of")

    with pytest.raises(TypeError):
        best_effort.attempt(tmp_path / "note", write)


@pytest.mark.parametrize("number", REFUSALS)
def test_the_reserve_is_released_only_on_a_full_disk(tmp_path: Path, number: int) -> None:
    best_effort.hold_reserve(tmp_path)
    reserve = tmp_path / best_effort.RESERVE_NAME
    assert reserve.stat().st_blocks * 512 >= best_effort.RESERVE
    note = tmp_path / "guards" / "guard" / "state.json"
    is_full = number in (errno.ENOSPC, errno.EDQUOT)
    assert best_effort.attempt(note, refusing(number, 1)) == is_full
    assert reserve.exists() != is_full


def test_a_line_that_was_cut_spoils_no_later_entry(tmp_path: Path) -> None:
    audit = Audit(tmp_path / "audit.jsonl", {})
    (tmp_path / "audit.jsonl").write_text('{"id": "cut sh')
    audit.write(entry("a"))
    assert [each.id for each in audit.read(9)] == ["a"]


def test_an_older_move_is_not_resumed_instead_of_an_unwritten_one(
    tmp_path: Path,
) -> None:
    path = tmp_path / "move.json"
    Journal(path).write(MoveProgress(order("old")))
    path.chmod(0o600)
    journal = Journal(path)
    (tmp_path / f".move.json.{os.getpid()}").mkdir()  # in the way of the next write
    journal.write(MoveProgress(order("new")))
    assert journal.read() == MoveProgress(order("new"))
    assert Journal(path).read() is None  # another process knows neither of the notes
    (tmp_path / f".move.json.{os.getpid()}").rmdir()
    journal.write(MoveProgress(order("new")).with_step("debt", DebtNoted()))
    assert Journal(path).read() == MoveProgress(order("new")).with_step("debt", DebtNoted())


@pytest.mark.parametrize("how", [FULL, READ_ONLY])
def test_every_kind_of_note_may_be_refused_by_a_real_disk(tmp_path: Path, how: str) -> None:
    told = json.loads(
        call(tmp_path / "disk", "test_best_effort", "_write_notes", how, folders=["guards/guard"])
    )
    reason = os.strerror(errno.ENOSPC if how == FULL else errno.EROFS)
    assert set(told["refused"].values()) == {reason}
    assert len(told["refused"]) == 5
    assert told["journal"] == "a"
    assert told["audit"] == ["a", "b"]
    assert told["is_news"] is False
    assert "cannot be written to" in told["disk"]


def test_the_reserve_makes_room_for_notes_on_a_full_disk(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    told = json.loads(call(disk, "test_best_effort", "_fill_and_write", EMPTY, mebibytes=8))
    assert told["reserved"]
    assert told["refused"] == {}
    assert told["on_disk"] == ["a", "b"]
    assert "is full: " in told["disk"]


def order(id_: str) -> MoveOrder:
    return MoveOrder(id_, "gcp", "manual", "a test", "me", 1.0, 0, "aws")


def entry(id_: str) -> AuditEntry:
    return AuditEntry(id_, "begin", "me", "a test", 1.0)


def _write_notes(folder: str) -> None:
    """Write each kind of note in a process whose disk refuses them."""
    from mcloud.observing.machine import disk_problem

    state = Path(folder)
    journal, audit = Journal(state / "failover" / "x.json"), Audit(state / "audit.jsonl", {})
    memory, run = SentMemory(state / "told.json"), Run(state / "guards" / "guard")
    event = Event("k", "t", "", "warning", FIRING, 1.0)
    run.create()
    logger = run.logger()
    for _ in range(2):
        logger.info("a line %s", "x" * 10_000)
    run.write({"at": 1.0})
    run.note_end()
    journal.write(MoveProgress(order("a")))
    for id_ in "ab":
        audit.write(entry(id_))
    memory.note("desk", event, 1.0)
    progress = journal.read()
    print(
        json.dumps(
            {
                "refused": {
                    path: why
                    for path, why in best_effort.refused().items()
                    if not path.endswith("guards/guard")
                },
                "journal": progress.order.id if progress else None,
                "audit": [each.id for each in audit.read(9)],
                "is_news": memory.is_news("desk", event, 60.0, 1.0),
                "disk": disk_problem(state),
            }
        )
    )


def _fill_and_write(folder: str) -> None:
    from mcloud.observing.machine import disk_problem

    state = Path(folder)
    run = Run(state / "guards" / "guard")
    run.create()
    reserved = (state / best_effort.RESERVE_NAME).exists()
    try:
        with (state / "filler").open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
    except OSError:
        pass  # full
    audit = Audit(state / "audit.jsonl", {})
    for id_ in "ab":
        audit.write(entry(id_))
    run.write({"at": 1.0})
    told = Audit(state / "audit.jsonl", {}).read(9)
    print(
        json.dumps(
            {
                "reserved": reserved,
                "refused": best_effort.refused(),
                "on_disk": [each.id for each in told],
                "disk": disk_problem(state),
            }
        )
    )


def test_durable_writes_raise_on_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    with pytest.raises(McloudError):
        files.write(path, "text")
