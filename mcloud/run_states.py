"""Reads the last state of each kind of run on this machine."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from mcloud.alerts.watch import WatcherState
from mcloud.documents import INLINED, Damaged, read_file, set_aside
from mcloud.errors import McloudError
from mcloud.failover.execution import Routes
from mcloud.failover.statement import GuardState
from mcloud.producer.reported_state import ProducerState
from mcloud.replication.progress import ReplicatorState
from mcloud.runs import Run, RunDocument, RunKind, Running, RunState, runs_called

State = TypeVar("State", bound=RunState)

STATES: Mapping[RunKind, type[RunState]] = {
    "producer": ProducerState,
    "replicator": ReplicatorState,
    "guard": GuardState,
    "watcher": WatcherState,
}
"""Class of the state of each kind of run."""


@dataclass(frozen=True)
class RunRow:
    """A run in the list of all kinds."""

    kind: RunKind
    run: RunDocument[RunState] = field(metadata=INLINED)


@dataclass(frozen=True)
class Runs:
    """The runs of each kind, by name."""

    producers: tuple[Running[ProducerState], ...] = ()
    replicators: tuple[Running[ReplicatorState], ...] = ()
    guards: tuple[Running[GuardState], ...] = ()
    alerts: tuple[Running[WatcherState], ...] = ()

    @property
    def by_kind(self) -> Mapping[RunKind, tuple[Running[RunState], ...]]:
        return {
            "producer": self.producers,
            "replicator": self.replicators,
            "guard": self.guards,
            "watcher": self.alerts,
        }

    @property
    def document(self) -> tuple[RunRow, ...]:
        return tuple(
            RunRow(kind, each.document) for kind, runs in self.by_kind.items() for each in runs
        )

    @property
    def routes(self) -> Routes:
        """Routes of the running producers that follow the control record."""
        return {
            each.name: each.state.route.sites
            for each in self.producers
            if each.runs and each.state and each.state.mode == "primary"
        }


def runs_of(state: Path, name: str | None = None) -> Runs:
    """Return the runs that have a folder in a ``.mcloud`` folder, or those called ``name``.

    Raises:
        UsageError: the name is not valid.
    """

    def found(folder: str, kind: type[State]) -> tuple[Running[State], ...]:
        return tuple(running(run, kind) for run in runs_called(state, name, folder))

    return Runs(
        producers=found("producers", ProducerState),
        replicators=found("replicators", ReplicatorState),
        guards=found("guards", GuardState),
        alerts=found("alerts", WatcherState),
    )


def running(run: Run, kind: type[State]) -> Running[State]:
    """Return a run with its last state."""
    is_held, state = run.lock.is_held(), read_file(run.path, kind)
    if isinstance(state, Damaged):
        return Running(run.name, is_held, None, str(state))
    if is_held and state is not None and _is_of_the_run_before(run, state, time.time()):
        return Running(run.name, is_held)
    return Running(run.name, is_held, state)


def _is_of_the_run_before(run: Run, state: RunState, now: float) -> bool:
    """Return whether a process has just started, and has not written its first state yet."""
    begun = run.lock.taken_at()
    is_over = state.ended or now - state.at > state.usual
    return is_over and state.at < begun and now - begun < state.usual


def previous_state(run: Run, kind: type[State], warn: Callable[[str], None]) -> State | None:
    """Return the state of the previous run. A new run calls this before it writes its own.

    A damaged file is set aside, and ``warn`` is called with a message about it.

    Raises:
        McloudError: a newer mcloud wrote the state, and this run would overwrite it.
    """
    state = read_file(run.path, kind)
    if not isinstance(state, Damaged):
        return state
    if state.is_newer:
        raise McloudError(str(state), remedy="or use another --name, which has its own folder")
    warn(f"{state.where} is damaged ({state.what}); it is kept as {set_aside(run.path)}")
    return None
