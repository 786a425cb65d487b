"""Writes files completely or not at all, and explains the errors of the disk."""

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path

from mcloud.errors import McloudError

_ELSEWHERE = "check its owner, or set MCLOUD_STATE to another folder"
_REMEDIES = {
    errno.EACCES: _ELSEWHERE,
    errno.EPERM: _ELSEWHERE,
    errno.EROFS: _ELSEWHERE,
    errno.ENOTDIR: "a folder of that path is a file",
    errno.EISDIR: "a folder has that name: move it away",
    errno.ENAMETOOLONG: "work in a folder with a shorter path",
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EMFILE: "raise the limit, as with `ulimit -n 4096`",
    errno.ENFILE: "stop the processes that have too many files open",
}


def write(path: Path, content: str | bytes, *, mode: int = 0o600, durable: bool = True) -> None:
    """Write a file, or replace it, in one step. Its folder exists.

    Args:
        durable: whether the file is on the disk when this returns. If not, a power failure may
            destroy both the new and the old content; this suits files that are rewritten within
            seconds.

    Raises:
        McloudError: it cannot be written. The old content, if any, is unchanged.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(fresh, path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)


def append(path: Path, lines: str, *, durable: bool = True) -> None:
    """Add whole lines to a file, or create it. Its folder exists.

    The lines are written at once, so that lines of two processes do not mix. If an earlier write
    was cut short, they start on a new line.

    Args:
        durable: whether the lines are on the disk on return.

    Raises:
        McloudError: they cannot be written. A part of them may be in the file.
    """
    try:
        target = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            size = os.fstat(target).st_size
            if size and os.pread(target, 1, size - 1) != b"\n":
                lines = f"\n{lines}"
            content = lines.encode()
            if os.write(target, content) < len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if durable:
                os.fsync(target)
        finally:
            os.close(target)
    except OSError as error:
        raise _unwritable(path, error) from error


def make_private(*folders: Path) -> None:
    """Create folders that only their owner can enter, with their missing parents.

    Raises:
        McloudError: one of them cannot be made.
    """
    # mkdir(parents=True) would apply the mode to the last folder only, so each is created
    # separately.
    for folder in (each for last in folders for each in (*reversed(last.parents), last)):
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise McloudError(
                f"{folder} cannot be made: {error.strerror}", remedy=_remedy(error)
            ) from error


def check_room(folder: Path, least: int) -> None:
    """Raise McloudError where the disk of a folder has no ``least`` bytes left."""
    free = shutil.disk_usage(folder).free
    if free < least:
        raise McloudError(
            f"the disk of {folder} is full: {free // 1024:,} KiB are left",
            remedy="free some space, or set MCLOUD_STATE to another folder",
        )


def refusal(error: Exception) -> McloudError | None:
    """Return the error for a problem of this machine (a folder, a disk, a limit), or None for other
    errors."""
    if not isinstance(error, OSError) or not (remedy := _remedy(error)):
        return None
    if remedy == _ELSEWHERE and not error.filename:
        return None  # the error is about a port or a process
    what = f"{error.filename}: " if error.filename else ""
    return McloudError(f"{what}{error.strerror}", remedy=remedy)


def _unwritable(path: Path, error: OSError) -> McloudError:
    return McloudError(f"{path} cannot be written: {error.strerror}", remedy=_remedy(error))


def _remedy(error: OSError) -> str:
    return _REMEDIES.get(error.errno or 0, "")
