"""The producers, replicators, guards and watchers on this machine, and their disk."""

import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self, TypeVar

from mcloud.best_effort import margin
from mcloud.clouds.observation import DOWN
from mcloud.damage import files_beside
from mcloud.documents import damaged
from mcloud.producer.breaker import CLOSED
from mcloud.producer.reported_state import ProducerState
from mcloud.run_states import Runs, runs_of
from mcloud.runs import Running, RunState

REMEMBERED = 600.0  # seconds for which a run that has ended is shown
LAST_TRADES = 600.0  # seconds until a function has processed what a producer sent last

State = TypeVar("State", bound=RunState)


@dataclass(frozen=True)
class Machine(Runs):
    disk: str = ""
    """Why notes such as audit entries and logs are not written here, or soon will not be."""
    damaged: tuple[str, ...] = ()
    """Damaged files of this machine, other than the states of the runs."""

    @property
    def failing_sites(self) -> set[str]:
        """Sites that fail according to a guard or a producer which runs here."""
        guards = [guard.state for guard in self.guards if guard.runs and guard.state]
        senders = [each.state for each in self.producers if each.runs and each.state]
        found = {
            name
            for state in guards
            for name, site in state.sites.items()
            if site.bad or site.verdict == DOWN
        }
        return found | {
            name
            for state in senders
            for name, site in state.sites.items()
            if site.breaker != CLOSED and not site.refused
        }

    def has_ended(self, symbol: str, newest: float) -> bool:
        """Return whether a symbol has no trades because its source has ended.

        ``newest`` is the time at which a function last processed a trade of the symbol. A live
        source does not end, even if somebody stops its producer.
        """
        known = [
            (each.runs, each.state)
            for each in self.producers
            if each.state and symbol in each.state.symbols
        ]
        if any(runs or state.live or not state.ended for runs, state in known):
            return False
        # Another source may have been read under the same name since.
        before = [each.state.replayed for each in self.producers if each.state]
        ends = [state.at for _, state in known] + [e[symbol] for e in before if symbol in e]
        return any(newest <= end + LAST_TRADES for end in ends)

    def recent(self, now: float) -> Self:
        """Return the machine with only those runs that are active, ended recently, or left
        something behind. The active ones come first.
        """
        return replace(
            self,
            producers=_recent(self.producers, now),
            replicators=_recent(self.replicators, now),
            guards=_recent(self.guards, now),
            alerts=_recent(self.alerts, now),
        )


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


def _recent(runs: Iterable[Running[State]], now: float) -> tuple[Running[State], ...]:
    shown = [each for each in runs if each.runs or each.damaged or _is_of_note(each.state, now)]
    return tuple(sorted(shown, key=lambda each: not each.runs))


def _is_of_note(state: RunState | None, now: float) -> bool:
    if state is None:
        return False
    left_holes = isinstance(state, ProducerState) and bool(state.holes)
    return left_holes or now - state.at < REMEMBERED
