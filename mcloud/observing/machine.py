"""The producers, replicators, guards and watchers on this machine, and their disk."""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcloud.best_effort import margin
from mcloud.damage import files_beside
from mcloud.documents import damaged
from mcloud.run_states import shown_state
from mcloud.runs import all_runs


@dataclass(frozen=True)
class Running:
    """A run of a process, with the last state that it wrote."""

    name: str
    runs: bool
    state: Mapping[str, Any]
    """The state. Empty if it never wrote one; ``{"damaged": why}`` if the state cannot be read."""

    @property
    def damaged(self) -> str:
        """Return why the state cannot be read, or an empty string if it can."""
        return str(self.state.get("damaged", ""))

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "running": self.runs, **self.state}


@dataclass(frozen=True)
class Machine:
    producers: tuple[Running, ...] = ()
    replicators: tuple[Running, ...] = ()
    guards: tuple[Running, ...] = ()
    alerts: tuple[Running, ...] = ()
    disk: str = ""
    """Why notes such as audit entries and logs are not written here, or soon will not be."""
    damaged: tuple[str, ...] = ()
    """Damaged files of this machine, other than the states of the runs."""


def machine(state: Path) -> Machine:
    """Read the state of this machine from a ``.mcloud`` folder."""
    return Machine(
        producers=running(state / "producers"),
        replicators=running(state / "replicators"),
        guards=running(state / "guards"),
        alerts=running(state / "alerts"),
        disk=disk_problem(state),
        damaged=tuple(map(str, damaged(files_beside(state)))),
    )


def disk_problem(state: Path) -> str:
    """Return what prevents notes on the disk of a ``.mcloud`` folder, or an empty string."""
    if not state.is_dir():
        return ""
    try:
        with tempfile.TemporaryFile(dir=state) as file:
            file.write(b"mcloud")
            file.flush()
        usage = shutil.disk_usage(state)
    except OSError as error:
        return f"{state} cannot be written to: {error.strerror}"
    if usage.free < margin(state):
        left = usage.free // 1024
        return f"the disk of {state} is full: {left:,} KiB of {usage.total // 1024:,} are left"
    return ""


def running(folder: Path) -> tuple[Running, ...]:
    """Return every run of a kind, by name."""
    return tuple(
        Running(run.name, run.lock.is_held(), shown_state(run)) for run in all_runs(folder)
    )
