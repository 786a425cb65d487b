"""Files that are there whole or not at all."""

import os
from contextlib import suppress
from pathlib import Path

from mcloud.errors import McloudError


def write(path: Path, content: str | bytes, *, mode: int = 0o600) -> None:
    """Write a file, or replace it, in one step; its folder is there.

    Raises:
        McloudError: it cannot be written; what was there before is as it was.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except OSError as error:
        raise McloudError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)


def make_private(*folders: Path) -> None:
    """Make folders that only their owner can enter, the outer ones first.

    Raises:
        McloudError: one of them cannot be made.
    """
    for folder in folders:
        try:
            # The mode is that of the last folder only.
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise McloudError(f"{folder} cannot be made: {error.strerror}") from error
