"""The journal of a move: its order and the steps done, so that a move can be resumed.

A disk that refuses the journal does not stop a move. The entries are then kept in memory, so that
this process can still resume the move.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal, get_args

from mcloud import best_effort, files
from mcloud.clouds.ports import ControlRecord, MoveMode
from mcloud.documents import (
    OTHER_TEXTS,
    Count,
    Damaged,
    Seconds,
    Time,
    decode,
    encode,
    load,
    set_aside,
)
from mcloud.errors import McloudError
from mcloud.failover.catch_up import CatchUpReport

MoveStep = Literal["recovery", "record", "debt", "arrival", "settlement"]
STEPS: tuple[MoveStep, ...] = get_args(MoveStep)


@dataclass(frozen=True)
class MoveOrder:
    """A move of the traffic."""

    id: str
    target: str
    mode: Annotated[MoveMode, OTHER_TEXTS]
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
class Recorded:
    """The result of the step ``record``."""

    record: ControlRecord
    begun: Seconds
    """Seconds from the order to the step."""
    epoch: Count
    before: str
    """The primary before the move."""
    is_moved: bool
    """Whether the target leads. False if somebody else has moved the traffic meanwhile."""
    is_ours: bool
    away: Mapping[str, str]
    """Sites without the record, and the reasons."""


@dataclass(frozen=True)
class DebtNoted:
    """The result of the step ``debt``."""

    owed: tuple[str, ...] = ()


@dataclass(frozen=True)
class MoveArrival:
    """The result of the step ``arrival``."""

    arrived: Seconds | None = None
    """Seconds from the record until a trade was stored. None if none was."""
    follow: Mapping[str, Seconds | None] = field(default_factory=dict)
    """Seconds until each producer of this machine sent to the target. None if it did not."""
    problem: str = ""


@dataclass(frozen=True)
class MoveSettlement:
    """The result of the step ``settlement``."""

    owed: Mapping[str, str] = field(default_factory=dict)
    """Sites with an unpaid debt, and the reasons."""
    caught_up: tuple[CatchUpReport, ...] = ()


StepResult = CatchUpReport | Recorded | DebtNoted | MoveArrival | MoveSettlement


@dataclass(frozen=True)
class StepResults:
    """The result of each step. None if the step is not finished or had nothing to do."""

    recovery: CatchUpReport | None = None
    record: Recorded | None = None
    debt: DebtNoted | None = None
    arrival: MoveArrival | None = None
    settlement: MoveSettlement | None = None


@dataclass(frozen=True)
class MoveProgress:
    """The order of a move and its finished steps."""

    order: MoveOrder
    done: StepResults = StepResults()
    finished: frozenset[str] = frozenset()
    """Names of the finished steps."""

    @property
    def is_over(self) -> bool:
        return self.finished.issuperset(STEPS)

    def with_step(self, step: MoveStep, result: StepResult | None) -> "MoveProgress":
        done: StepResults = replace(self.done, **{step: result})  # type: ignore[arg-type]
        return replace(self, done=done, finished=self.finished | {step})

    @property
    def document(self) -> "JournalDocument":
        done = {step: getattr(self.done, step) or NoResult() for step in STEPS}
        return JournalDocument(
            self.order, {step: each for step, each in done.items() if step in self.finished}
        )


@dataclass(frozen=True)
class NoResult:
    """The result of a step that had nothing to do."""


@dataclass(frozen=True)
class JournalDocument:
    order: MoveOrder
    done: Mapping[str, StepResult | NoResult]
    """The results of the finished steps."""


def read_journal(path: Path) -> MoveProgress | Damaged | None:
    """Return the progress in a journal, or None if there is no file."""
    document = load(path)
    if document is None or isinstance(document, Damaged):
        return document
    steps = document.get("done")
    finished: frozenset[str] = frozenset()
    if isinstance(steps, dict):
        finished = frozenset(step for step, each in steps.items() if each is not None)
        document["done"] = {step: each for step, each in steps.items() if each != {}}
    found = decode(_File, document, str(path))
    return found if isinstance(found, Damaged) else MoveProgress(found.order, found.done, finished)


@dataclass(frozen=True)
class _File:
    order: MoveOrder
    done: StepResults


class Journal:
    """The file with the progress of the last move, from which another process can resume it."""

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
        text = json.dumps(encode(progress.document))

        def write() -> None:
            self._make_way()
            files.make_private(self._path.parent)
            files.write(self._path, text)

        before = self.read()
        if best_effort.attempt(self._path, write):
            self._unwritten = None
            return
        if before is not None and before.order.id != progress.order.id:
            # Another process must not resume a move that this process has already continued.
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
            set_aside(self._path)  # the caller has reported the error
