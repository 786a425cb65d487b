"""The journal of a move: its order and the steps done, so that a move can be resumed.

A disk that refuses the journal does not stop a move. The entries are then kept in memory, so that
this process can still resume the move.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from mcloud import best_effort, files
from mcloud.clouds.ports import ControlRecord
from mcloud.documents import Count, Damaged, Seconds, Time, decode, load, set_aside
from mcloud.errors import McloudError

STEPS = ("recovery", "record", "debt", "arrival", "settlement")


@dataclass(frozen=True)
class MoveOrder:
    """A move of the traffic."""

    id: str
    target: str
    mode: str
    """Mode of the move, as in ``ControlRecord``."""
    reason: str
    by: str
    at: Time
    """Time of the order, in seconds since 1970."""
    epoch: Count
    """The epoch before the move; ``leads`` is its primary."""
    leads: str
    recover: bool = False
    """Whether a target with a debt is caught up before it leads."""
    wait: bool = False
    """Whether the debt of the old site is settled at once."""
    forced: tuple[str, ...] = ()
    """Checks that failed and were overridden."""
    lost: Seconds | None = None
    """Maximum number of seconds that the old site had been down at the time of the order."""

    def record(self, before: ControlRecord | None) -> ControlRecord:
        """Return the control record that follows ``before`` by this order."""
        epoch = before.epoch if before else 0
        return ControlRecord(epoch + 1, self.target, self.mode, self.reason, self.by, self.at)

    def is_mine(self, record: ControlRecord) -> bool:
        """Whether this move wrote the record."""
        return (record.primary, record.by, record.at) == (self.target, self.by, round(self.at, 3))


@dataclass(frozen=True)
class MoveProgress:
    order: MoveOrder
    done: Mapping[str, Any] = field(default_factory=dict)
    """Result of each finished step, by its name."""

    @property
    def is_over(self) -> bool:
        return all(step in self.done for step in STEPS)

    def with_step(self, step: str, result: Mapping[str, Any]) -> "MoveProgress":
        return replace(self, done={**self.done, step: dict(result)})


def read_journal(path: Path) -> MoveProgress | Damaged | None:
    """Return the progress in a journal, or None if there is no file."""
    document = load(path)
    if document is None or isinstance(document, Damaged):
        return document
    steps = document.get("done")
    if isinstance(steps, dict):
        document["done"] = {step: each for step, each in steps.items() if each is not None}
    found = decode(_File, document, str(path))
    return found if isinstance(found, Damaged) else MoveProgress(found.order, document["done"])


def _is_catch_up(value: Mapping[str, Any]) -> str:
    """Return why the result of a step that may have had nothing to do is invalid, or empty."""
    is_one = not value or not isinstance(decode(_CatchUp, value, ""), Damaged)
    return "" if is_one else "a catch-up"


@dataclass(frozen=True)
class _Recorded:
    record: ControlRecord
    begun: Seconds
    epoch: Count
    before: str
    is_moved: bool
    is_ours: bool
    away: Mapping[str, str]


@dataclass(frozen=True)
class _Arrival:
    arrived: Seconds | None = None
    follow: Mapping[str, Seconds | None] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True)
class _CatchUp:
    site: str
    ok: bool
    reason: str
    candles: Count
    objects: Count
    ids_missing: Count


@dataclass(frozen=True)
class _Settlement:
    owed: Mapping[str, str] = field(default_factory=dict)
    caught_up: tuple[_CatchUp, ...] = ()


@dataclass(frozen=True)
class _Done:
    """The results of earlier steps that later steps read."""

    recovery: Annotated[Mapping[str, Any], _is_catch_up] = field(default_factory=dict)
    record: _Recorded | None = None
    debt: Mapping[str, Any] = field(default_factory=dict)
    arrival: _Arrival = _Arrival()
    settlement: _Settlement = _Settlement()


@dataclass(frozen=True)
class _File:
    order: MoveOrder
    done: _Done


class Journal:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._unwritten: MoveProgress | None = None
        """The newest progress, if the disk did not accept it."""

    def read(self) -> MoveProgress | None:
        """Return the last move, finished or not. Return None if there is none, or if the file is
        damaged: no move can be resumed then.
        """
        if self._unwritten is not None:
            return self._unwritten
        found = self.found()
        return found if isinstance(found, MoveProgress) else None

    def found(self) -> MoveProgress | Damaged | None:
        """Return the progress in the file, or the damage of the file."""
        return read_journal(self._path)

    def forget(self) -> None:
        """Forget the move, so that it is not resumed."""
        self._unwritten = None
        best_effort.attempt(self._path, lambda: self._path.unlink(missing_ok=True))

    def write(self, progress: MoveProgress) -> None:
        """Store the progress of a move, on the disk if that is possible."""
        text = json.dumps({"order": asdict(progress.order), "done": progress.done})

        def write() -> None:
            self._make_way()
            files.make_private(self._path.parent)
            files.write(self._path, text)

        before = self.read()
        if best_effort.attempt(self._path, write):
            self._unwritten = None
            return
        if before is not None and before.order.id != progress.order.id:
            # Another process must not resume a move that this one has followed.
            best_effort.attempt(self._path, lambda: self._path.unlink(missing_ok=True))
        self._unwritten = progress

    def _make_way(self) -> None:
        """Set a damaged file aside. Raise if a newer mcloud wrote it; the move is then kept in
        memory.
        """
        found = self.found()
        if isinstance(found, Damaged):
            if found.is_newer:
                raise McloudError(str(found))
            set_aside(self._path)  # the caller has reported it
