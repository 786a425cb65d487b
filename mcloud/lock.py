"""A lock that says who is alive: held by a process for as long as it lives, whatever ends it.

Process ids in files are used again by others; a lock ends with its process.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
        """True while a process holds it."""
        try:
            with self._path.open() as file:
                return not lock(file, fcntl.LOCK_SH)
        except FileNotFoundError:
            return False

    def holder(self) -> "psutil.Process | None":
        """The process that holds it; None where it is not to be seen, as in another container."""
        import psutil

        deadline = time.monotonic() + PATIENCE
        while self.is_held() and time.monotonic() < deadline:
            try:
                return psutil.Process(int(self._path.read_text()))
            except (ValueError, psutil.NoSuchProcess):
                time.sleep(0.01)  # it has just taken the lock, or just let go of it
        return None

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Hold it; False where another process does."""
        with _open(self._path) as file:
            if not _take(file):
                yield False
                return
            best_effort.attempt(self._path, partial(_note_holder, file.fileno()))
            yield True


def _open(path: Path) -> IO[str]:
    try:
        return path.open("a+")
    except OSError:
        return path.open()  # one that exists can be locked on a read-only disk


def _note_holder(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())


def lock(file: IO[str], kind: int = fcntl.LOCK_EX) -> bool:
    """Lock an open file; return False where another process holds the lock.

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
    """Lock a file; for a moment again and again, since ``is_held`` holds it for a moment too."""
    deadline = time.monotonic() + PATIENCE
    while not lock(file):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
