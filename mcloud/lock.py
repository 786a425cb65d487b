"""A lock that shows whether a process is running: it is held until the process exits, for any
reason.

A process ID in a file may be reused by another process; a lock is released with its process.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

from mcloud import best_effort
from mcloud.errors import McloudError

if TYPE_CHECKING:
    import psutil

PATIENCE = 0.5  # seconds


class Lock:
    def __init__(self, path: Path) -> None:
        self._path = path

    def is_held(self) -> bool:
        """Return whether a process holds the lock."""
        try:
            with self._path.open() as file:
                return not _lock(file, fcntl.LOCK_SH)
        except FileNotFoundError:
            return False

    def taken_at(self) -> float:
        """Return when the lock was last taken, in seconds since 1970, or 0.0 if that is unknown."""
        try:
            return self._path.stat().st_mtime
        except OSError:
            return 0.0

    def holder(self) -> "psutil.Process | None":
        """Return the process that holds the lock, or None if it is not visible, for example in
        another container."""
        import psutil

        deadline = time.monotonic() + PATIENCE
        while self.is_held() and time.monotonic() < deadline:
            try:
                return psutil.Process(int(self._path.read_text()))
            except (ValueError, psutil.NoSuchProcess):
                time.sleep(0.01)  # the process has just taken or just released the lock
        return None

    def holder_pid(self) -> str:
        """Return the process id of the holder for a message, or ``unknown``."""
        holder = self.holder()
        return str(holder.pid) if holder else "unknown"

    def take(self) -> IO[str] | None:
        """Hold the lock until the returned file is closed. Return None if another process holds it.

        Raises:
            OSError: there is no file, and none can be created.
            McloudError: the file system cannot lock.
        """
        with ExitStack() as stack:
            file = stack.enter_context(_open(self._path))
            if not _take(file):
                return None
            best_effort.attempt(self._path, partial(_note_holder, file.fileno()))
            stack.pop_all()
            return file

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Hold the lock. Yield False if another process holds it."""
        file = self.take()
        if file is None:
            yield False
            return
        with file:
            yield True


def _open(path: Path) -> IO[str]:
    try:
        return path.open("a+")
    except OSError:
        return path.open()  # an existing file can be locked on a read-only disk


def _note_holder(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())


def _lock(file: IO[str], kind: int = fcntl.LOCK_EX) -> bool:
    """Lock an open file. Return False if another process holds the lock.

    Raises:
        McloudError: the file system cannot lock, as NFS without its lock service.
    """
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise McloudError(
            f"the file system cannot lock {file.name}: {error.strerror}",
            remedy="keep .mcloud on a local disk: MCLOUD_STATE moves it",
        ) from error
    return True


def _take(file: IO[str]) -> bool:
    """Lock a file, with retries for a short time, since ``is_held`` also holds the lock briefly."""
    deadline = time.monotonic() + PATIENCE
    while not _lock(file):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
