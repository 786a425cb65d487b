"""What a move is to do and has done, noted before and after each step: it can be taken up.

A disk that refuses the journal does not stop a move. What it could not take is kept in memory, so
that this process can still take the move up.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from mcloud import best_effort, files
from mcloud.clouds.ports import ControlRecord

STEPS = ("recovery", "record", "debt", "arrival", "settlement")


@dataclass(frozen=True)
class Order:
    """A move of the traffic."""

    id: str
    target: str
    mode: str
    """See ``ControlRecord``."""
    reason: str
    by: str
    at: float
    """Seconds since 1970."""
    epoch: int
    """The one before it, and who leads in that."""
    leads: str
    recover: bool = False
    """Whether the target, where it is owed a catch-up, gets that before it leads."""
    wait: bool = False
    """Whether what the old site holds is settled at once."""
    forced: tuple[str, ...] = ()
    """Checks that failed and were overridden."""
    lost: float | None = None
    """Seconds, at most, that the old site had been down by then."""

    def record(self, before: ControlRecord | None) -> ControlRecord:
        """What it wants to be written."""
        epoch = before.epoch if before else 0
        return ControlRecord(epoch + 1, self.target, self.mode, self.reason, self.by, self.at)

    def is_mine(self, record: ControlRecord) -> bool:
        """True where the record was written by this move."""
        return (record.primary, record.by, record.at) == (self.target, self.by, round(self.at, 3))


@dataclass(frozen=True)
class Progress:
    order: Order
    done: Mapping[str, Any] = field(default_factory=dict)
    """What came of each step that is over, by its name."""

    @property
    def is_over(self) -> bool:
        return all(step in self.done for step in STEPS)

    def with_step(self, step: str, result: Mapping[str, Any]) -> "Progress":
        return replace(self, done={**self.done, step: dict(result)})


class Journal:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._unwritten: Progress | None = None
        """The newest progress, where the disk did not take it."""

    def read(self) -> Progress | None:
        """The move that was begun last, over or not; None where there is none."""
        if self._unwritten is not None:
            return self._unwritten
        try:
            document = json.loads(self._path.read_text())
            order = {**document["order"], "forced": tuple(document["order"]["forced"])}
            return Progress(Order(**order), document["done"])
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError):
            # It is written in one step, so somebody else wrote it: nothing can be taken up.
            return None
        except OSError as error:
            best_effort.note_refusal(self._path, error, "read")
            return None

    def forget(self) -> None:
        """Nothing is to be taken up."""
        self._unwritten = None
        best_effort.attempt(self._path, lambda: self._path.unlink(missing_ok=True))

    def write(self, progress: Progress) -> None:
        """Note how far a move is, on the disk if that takes it."""
        text = json.dumps({"order": asdict(progress.order), "done": progress.done})

        def write() -> None:
            files.make_private(self._path.parent)
            files.write(self._path, text)

        before = self.read()
        if best_effort.attempt(self._path, write):
            self._unwritten = None
            return
        if before is not None and before.order.id != progress.order.id:
            # Another process must not take up a move that this one has followed.
            best_effort.attempt(self._path, lambda: self._path.unlink(missing_ok=True))
        self._unwritten = progress
