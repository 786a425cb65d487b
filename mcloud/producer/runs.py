"""Producers that run on this machine: what each says of itself, and how it is stopped.

A run is a folder, ``.mcloud/producers/NAME``: its lock, its spool, its log, and ``state.json``,
written every second and left behind at the end.
"""

import json
import logging
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO, Any

from mcloud.errors import McloudError, UsageError
from mcloud.lock import Lock

LOG_BYTES, LOG_FILES = 5_000_000, 3


@dataclass(frozen=True)
class Run:
    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def spool(self) -> Path:
        return self.folder / "spool.sqlite"

    @property
    def log(self) -> Path:
        return self.folder / "producer.log"

    @property
    def lock(self) -> Lock:
        return Lock(self.folder / "lock")

    def create(self) -> None:
        for folder in (self.folder.parent.parent, self.folder.parent, self.folder):
            folder.mkdir(mode=0o700, exist_ok=True)

    def read(self) -> dict[str, Any]:
        """What it last said of itself; empty before that."""
        try:
            state: dict[str, Any] = json.loads((self.folder / "state.json").read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return state

    def write(self, state: dict[str, Any]) -> None:
        fresh = self.folder / "state.tmp"
        fresh.write_text(json.dumps(state))
        os.replace(fresh, self.folder / "state.json")

    def follow_exchange(self, url: str) -> None:
        """Bind the run, and with it the positions in its spool, to one exchange.

        Raises:
            UsageError: it has followed another, whose trade ids are other trades.
        """
        path = self.folder / "exchange"
        before = path.read_text() if path.exists() else url
        if before != url:
            raise UsageError(
                f"the producer {self.name!r} has followed {before}, and its trade ids mean nothing"
                f" at {url}",
                remedy="give this one another --name",
            )
        path.write_text(url)

    def logger(self) -> logging.Logger:
        """Writes to the log, which is rotated."""
        logger = logging.getLogger(f"mcloud.producer.{self.name}")
        handler = RotatingFileHandler(self.log, maxBytes=LOG_BYTES, backupCount=LOG_FILES)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        return logger


def run_of(producers: Path, name: str) -> Run:
    """The run called ``name``; UsageError for a name that is none."""
    if not name.replace("-", "").replace("_", "").isalnum():
        raise UsageError(f"not a name: {name!r}; letters, digits, - and _ make one")
    return Run(producers / name)


def all_runs(producers: Path) -> list[Run]:
    """Every run that left something, by name."""
    if not producers.is_dir():
        return []
    return [Run(folder) for folder in sorted(producers.iterdir()) if folder.is_dir()]


def detach(run: Run, arguments: Sequence[str], patience: float) -> int:
    """Start ``mcloud`` with these arguments in a session of its own; returns its process id.

    Raises:
        McloudError: it ended within ``patience`` seconds, before it was running.
    """
    run.create()
    console = run.folder / "console.log"
    with console.open("wb") as output:
        process = subprocess.Popen(
            (sys.executable, "-m", "mcloud", *arguments),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if process.poll():
            words = console.read_text(errors="replace").strip().splitlines()
            raise McloudError(
                f"the producer ended at once: {words[-1] if words else 'it said nothing'}"
            )
        # One that has little to do may have done it by now.
        if process.returncode == 0 or run.read().get("pid") == process.pid:
            break
        time.sleep(0.05)
    return process.pid


def stop(run: Run, *, now: bool, patience: float) -> bool:
    """Ask a run to drain and end, or end it at once; False where it does not run.

    Raises:
        McloudError: it still runs after ``patience`` seconds.
    """
    import psutil

    process = run.lock.holder()
    if process is None:
        return False
    with suppress(psutil.NoSuchProcess):  # it has just ended
        (process.kill if now else process.terminate)()
    deadline = time.monotonic() + patience
    while run.lock.is_held():
        if time.monotonic() >= deadline:
            raise McloudError(
                f"{run.name} (pid {process.pid}) still drains",
                remedy="wait, or end it with `mcloud stop --now`: its spool keeps what is left",
            )
        time.sleep(0.05)
    return True


def tail(path: Path, lines: int, *, follow: bool) -> Iterator[str]:
    """The last lines of a log and, with ``follow``, those that are added, across rotations."""
    with ExitStack() as files:
        file = files.enter_context(path.open("rb"))
        yield from map(_text, deque(file, lines))
        rest = b""
        while follow:
            # Looked at before reading: what the old file got before it was rotated comes first.
            is_rotated = _is_rotated(path, file)
            for line in file:
                rest += line
                if rest.endswith(b"\n"):
                    yield _text(rest)
                    rest = b""
            if is_rotated:
                files.close()
                file = files.enter_context(path.open("rb"))
            else:
                time.sleep(0.2)


def _is_rotated(path: Path, file: IO[bytes]) -> bool:
    try:
        return path.stat().st_ino != os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False  # not yet: the new one is just being made


def _text(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\n")
