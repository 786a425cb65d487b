"""The producers, replicators, guards and watchers on this machine, and their disk."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mcloud.best_effort import margin
from mcloud.damage import files_beside
from mcloud.documents import damaged
from mcloud.run_states import Runs, runs_of


@dataclass(frozen=True)
class Machine(Runs):
    disk: str = ""
    """Why notes such as audit entries and logs are not written here, or soon will not be."""
    damaged: tuple[str, ...] = ()
    """Damaged files of this machine, other than the states of the runs."""


def machine(state: Path) -> Machine:
    """Read the state of this machine from a ``.mcloud`` folder."""
    runs = runs_of(state)
    return Machine(
        producers=runs.producers,
        replicators=runs.replicators,
        guards=runs.guards,
        alerts=runs.alerts,
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
