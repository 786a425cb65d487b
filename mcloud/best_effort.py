"""Local writes that only inform, and what happens when the disk refuses them.

There are two kinds of local writes. What has to be on the disk before the work may continue raises
its error: the spool, saved dead letters, Terraform's state. Everything else is a note: an audit
entry, a journal, a state document, a process id, a cache, a log. A note is written as a best
effort. If the disk refuses it (because it is full, over quota, read-only, failing, or owned by
somebody else), the work continues, a warning is logged once, and ``mcloud status`` reports it.

A file of ``RESERVE`` bytes is kept in the state folder for the moment when the disk is full: it is
deleted then, and the notes use its space. The spool leaves a margin, so that it does not use that
space itself.
"""

import errno
import logging
import os
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mcloud.errors import McloudError, reason_of

RESERVE = 1024**2  # bytes; a guard writes some 30 KB at a time, and an audit entry has 1 KB
RESERVE_NAME = "reserve"
MARGIN = 16 * 1024**2  # bytes that the spool leaves free, or a twentieth of a small disk

log = logging.getLogger(__name__)
"""Logger that gets one warning for each file that cannot be written, and a line once it can be
again."""
log.addHandler(logging.NullHandler())

_lock = threading.Lock()
_refused: dict[str, str] = {}


def attempt(path: Path, write: Callable[[], object]) -> bool:
    """Write a note to ``path``. Return False if the disk refuses it.

    ``write`` is called again after the reserve was released, so it must be repeatable.
    """
    try:
        try:
            write()
        except (OSError, McloudError) as error:
            if not (is_full(error) and _release_reserve(path)):
                raise
            write()
    except (OSError, McloudError) as error:
        note_refusal(path, error)
        return False
    note_success(path)
    return True


def note_refusal(path: Path, error: Exception, what: str = "written") -> None:
    """Record and log that ``path`` could not be written, or read, for code that handles that."""
    reason = _reason(error)
    with _lock:
        is_news = _refused.get(str(path)) != reason
        _refused[str(path)] = reason
    if is_news:
        log.warning("%s cannot be %s (%s); the work continues without it", path, what, reason)


def note_success(path: Path) -> None:
    """Record that ``path`` could be written, and log it if it was refused before."""
    with _lock:
        was_refused = _refused.pop(str(path), None)
    if was_refused is not None:
        log.warning("%s can be written again", path)


def refused() -> dict[str, str]:
    """Return why notes of this process could not be written last time, by path."""
    with _lock:
        return dict(_refused)


def is_full(error: BaseException) -> bool:
    """Return whether an error means that a disk or a quota is full."""
    return _errno(error) in (errno.ENOSPC, errno.EDQUOT)


def hold_reserve(state: Path) -> None:
    """Create the reserve in the state folder, unless it exists or would fill the disk."""
    path = state / RESERVE_NAME
    with suppress(OSError):
        if path.exists() or shutil.disk_usage(state).free < 4 * RESERVE:
            return
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file, 0, RESERVE)
            else:  # macOS
                os.write(file, bytes(RESERVE))
        except OSError:
            path.unlink()
        finally:
            os.close(file)


def margin(folder: Path) -> int:
    """Return the bytes that the spool leaves free on the disk of a folder.

    They exceed the reserve, so that the spool does not use its space.
    """
    return max(2 * RESERVE, min(MARGIN, shutil.disk_usage(folder).total // 20))


def _release_reserve(path: Path) -> bool:
    """Delete the reserve of the state folder of a note. Return False if there is none."""
    for folder in path.parents:
        with suppress(OSError):
            (folder / RESERVE_NAME).unlink()
            return True
    return False


def _errno(error: BaseException | None) -> int | None:
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__
    return error.errno if error is not None else None


def _reason(error: Exception) -> str:
    number = _errno(error)
    return os.strerror(number) if number else reason_of(error)
