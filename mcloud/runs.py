"""Long-running processes on this machine: their folders, states and logs, and how to stop them.

A run has a folder, such as ``.mcloud/producers/NAME``, with its lock, its log, its other files and
``state.json``. The state is written every second and stays after the run. ``ended`` is set in it if
the run ended by itself or was stopped.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO, Generic, Literal, Self, TypeVar

from mcloud import best_effort, files, processes
from mcloud.documents import INLINED, OMITTED, Count, Damaged, Time, decode, encode, load, read_file
from mcloud.errors import McloudError, UsageError
from mcloud.lock import Lock

RunKind = Literal["producer", "replicator", "guard", "watcher"]

KINDS: Mapping[str, RunKind] = {
    "producers": "producer",
    "replicators": "replicator",
    "guards": "guard",
    "alerts": "watcher",
}
"""Kinds of runs, by folder."""

FRESH = 15.0  # seconds; a run writes its state every few seconds

FOLLOW_PAUSE = 0.2  # seconds between two checks of a log for new lines
ROOM = 2**18  # bytes; with less free space a run could not even write its last state
LOG_BYTES, LOG_FILES = 5_000_000, 3


@dataclass(frozen=True, kw_only=True)
class RunState:
    pid: Count
    at: Time
    """When the run wrote it, seconds since 1970."""
    ended: bool = field(default=False, metadata=OMITTED)
    """Whether the run ended by itself or was stopped, and was not killed."""
    unwritten: Mapping[str, str] = field(default_factory=dict, metadata=OMITTED)
    """Files that the disk refused, and the reasons."""

    @property
    def usual(self) -> float:
        """Maximum age in seconds that the intervals of the run explain."""
        return FRESH


State_co = TypeVar("State_co", bound=RunState, covariant=True)


@dataclass(frozen=True)
class Running(Generic[State_co]):
    """A run, with the last state that it wrote."""

    name: str
    runs: bool
    state: State_co | None = None
    """The last state. None if there is none yet, or if it is damaged."""
    damaged: str = ""
    """Why the state cannot be read, or an empty string if it can."""

    @property
    def document(self) -> "RunDocument[State_co]":
        return RunDocument(self.name, self.runs, self.state, self.damaged)


@dataclass(frozen=True)
class RunDocument(Generic[State_co]):
    """A run in JSON: the fields of its state follow its name."""

    name: str
    running: bool
    state: State_co | None = field(metadata=INLINED)
    damaged: str = field(default="", metadata=OMITTED)


@dataclass(frozen=True)
class Run:
    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def kind(self) -> RunKind:
        return KINDS[self.folder.parent.name]

    @property
    def log(self) -> Path:
        return self.folder / f"{self.kind}.log"

    @property
    def path(self) -> Path:
        """File with the last state."""
        return self.folder / "state.json"

    @property
    def lock(self) -> Lock:
        return Lock(self.folder / "lock")

    @property
    def needs_disk(self) -> bool:
        """Whether the run needs the disk for its work, and not only for its state and log."""
        return self.folder.parent.name not in ("replicators", "guards", "alerts")

    def create(self) -> None:
        """Create the folder.

        Raises:
            McloudError: the run needs the disk, and the folder cannot be created or the disk is
                full.
        """
        if self.needs_disk:
            files.make_private(self.folder)
            files.check_room(self.folder, ROOM)
        else:
            best_effort.attempt(self.folder, lambda: files.make_private(self.folder))
        self._hold_reserve()

    def write(self, state: object) -> None:
        """Replace the state, and add the files that could not be written."""
        path = self.path
        refused = {name: why for name, why in best_effort.refused().items() if name != str(path)}
        said = {key: value for key, value in encode(state).items() if key != "unwritten"}
        text = json.dumps({**said, "unwritten": refused} if refused else said)

        def write() -> None:
            files.make_private(self.folder)
            files.write(path, text, durable=False)

        if best_effort.attempt(path, write):
            self._hold_reserve()

    def _hold_reserve(self) -> None:
        if self.folder.parent.name in KINDS:
            best_effort.hold_reserve(self.folder.parents[1])

    @property
    def is_lost(self) -> bool:
        """Whether the process stopped without setting ``ended``: it was killed, or its machine
        went down."""
        state = load(self.path)
        if not isinstance(state, dict) or not state:
            return False
        return not state.get("ended") and not self.lock.is_held()

    def note_end(self) -> None:
        """Set ``ended`` in the last state, so that the run does not count as lost."""
        state = load(self.path)
        if not isinstance(state, dict) or not state:
            return
        found = decode(RunState, state, str(self.path))
        if not (isinstance(found, Damaged) and found.is_newer):
            self.write({**state, "ended": True})

    def logger(self) -> logging.Logger:
        """Return a logger that writes to the log file, with rotation."""
        logger = logging.getLogger(f"mcloud.{self.kind}.{self.name}")
        handler = _LogFile(
            self.log, maxBytes=LOG_BYTES, backupCount=LOG_FILES, encoding="utf-8", delay=True
        )
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        best_effort.log.addHandler(handler)
        return logger


class _LogFile(RotatingFileHandler):
    """A log file that ignores write errors, because log lines are best effort."""

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError) and record.name != best_effort.log.name:
            best_effort.note_refusal(Path(self.baseFilename), error)


def run_of(folder: Path, name: str) -> Run:
    """Return the run called ``name``.

    Raises:
        UsageError: the name is not valid.
    """
    if not name.replace("-", "").replace("_", "").isalnum():
        raise UsageError(f"invalid name {name!r}; use letters, digits, - and _")
    return Run(folder / name)


def all_runs(folder: Path) -> list[Run]:
    """Return every run that has a folder, by name."""
    if not folder.is_dir():
        return []
    return [Run(each) for each in sorted(folder.iterdir()) if each.is_dir()]


def runs_called(state: Path, name: str | None, *kinds: str) -> list[Run]:
    """Return the runs of some kinds (default: all) that have a folder, or those called ``name``.

    Raises:
        UsageError: the name is not valid.
    """
    folders = [state / kind for kind in kinds or KINDS]
    if name is None:
        return [run for folder in folders for run in all_runs(folder)]
    return [run for run in (run_of(folder, name) for folder in folders) if run.folder.is_dir()]


def silence(runs: bool, state: RunState | None, now: float) -> float:
    """Return the seconds since the last state of a process, if its intervals do not explain them.
    Return 0 otherwise, and for a process that was not killed.

    A state from the future was written before the clock was set back, and none has been written
    since.
    """
    if state is None or (state.ended and not runs):
        return 0.0
    silent = abs(now - state.at)
    return silent if silent > state.usual or not runs else 0.0


def detach(run: Run, arguments: Sequence[str], patience: float) -> int:
    """Start ``mcloud`` with these arguments in a new session, and return its process ID.

    Raises:
        McloudError: the process failed within ``patience`` seconds, before it was running.
    """
    run.create()
    console = run.folder / "console.log"
    if not best_effort.attempt(console, console.touch):
        console = Path(os.devnull)
    # As with nohup, closing the terminal does not stop the run; only `stop` does.
    hang_up = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with console.open("wb") as output:
        process = processes.start(
            (sys.executable, "-m", "mcloud", *arguments),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    signal.signal(signal.SIGHUP, hang_up)
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if process.poll():
            said = console.read_text(errors="replace").strip().splitlines()
            why = said[-1].removeprefix("error: ") if said else "it printed nothing"
            raise McloudError(f"the {run.kind} ended at once: {why}")
        # A run with little work may already have finished.
        state = read_file(run.path, RunState)
        is_running = isinstance(state, RunState) and state.pid == process.pid
        if process.returncode == 0 or is_running:
            break
        time.sleep(0.05)
    return process.pid


def stop(run: Run, *, now: bool, patience: float) -> bool:
    """Stop a run, or kill it with ``now``. Return False if it is not running.

    A run that stopped without setting ``ended`` is marked as ended, so that it is no longer
    reported as lost.

    Raises:
        McloudError: the run is still running after ``patience`` seconds.
    """
    import psutil

    process = run.lock.holder()
    if process is None:
        run.note_end()
        return False
    with suppress(psutil.NoSuchProcess):  # it has just ended
        (process.kill if now else process.terminate)()
    deadline = time.monotonic() + patience
    while run.lock.is_held():
        if time.monotonic() >= deadline:
            raise McloudError(
                f"the {run.kind} {run.name} (pid {process.pid}) is still delivering",
                remedy=f"wait, or end it with `mcloud stop {run.name} --now`: the next run"
                " continues from there",
            )
        time.sleep(0.05)
    run.note_end()
    return True


class LogTail:
    """The last lines of a log, and the lines that are added, across rotations."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb")
        self._rest = b""
        """Start of a line that is not complete yet."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def last(self, lines: int) -> list[str]:
        """Read to the end of the log, and return the last lines."""
        return [_text(line) for line in deque(self._file, lines)]

    def added(self) -> Iterator[str]:
        """Yield the complete lines that were added since the last call."""
        # Check before reading, so that the last lines of a rotated file are read first.
        is_rotated = _is_rotated(self._path, self._file)
        yield from self._complete()
        if is_rotated:
            self._file.close()
            self._file = self._path.open("rb")
            yield from self._complete()

    def _complete(self) -> Iterator[str]:
        for line in self._file:
            self._rest += line
            if self._rest.endswith(b"\n"):
                yield _text(self._rest)
                self._rest = b""


def _is_rotated(path: Path, file: IO[bytes]) -> bool:
    try:
        return path.stat().st_ino != os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False  # not yet: the new file is just being created


def _text(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\n")
