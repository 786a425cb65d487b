"""The files of the spool: the database, its lock and its watermark.

One process uses the database. It is checked when it is opened, and set aside if it is damaged.

The watermark has the positions up to which every site had all trades. It outlives a damaged spool.
An old watermark is still true, because delivered trades stay delivered. It only causes the cursor
to fetch more trades again.
"""

import json
import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import IO, NamedTuple

from mcloud import files
from mcloud.documents import Damaged, read_text
from mcloud.errors import McloudError, Unavailable
from mcloud.lock import Lock
from mcloud.producer.cursor import Position
from mcloud.producer.spool_rows import (
    APPLICATION_ID,
    VERSION,
    DamagedSpool,
    check,
    create_voids,
    transaction,
)

_LOG_LIMIT = 16 * 1024 * 1024  # bytes to which the log shrinks after a larger transaction


def lock(path: Path) -> IO[str]:
    """Lock a spool until the returned file is closed or the process ends.

    Raises:
        McloudError: another process uses it.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = Lock(path.with_name(f"{path.name}.lock"))
    file = lock.take()
    if file is None:
        raise McloudError(
            f"the spool {path} is in use by another producer (pid {lock.holder_pid()})",
            remedy="stop that producer, or use another --name",
        )
    return file


class OpenedSpool(NamedTuple):
    db: sqlite3.Connection
    set_aside: Path | None
    """Path of a damaged file."""
    damage: str
    """The damage of that file."""


def connect(path: Path, begin_at: Iterable[Position]) -> OpenedSpool:
    """Open a spool after a full check, or create one with these positions.

    A file that is damaged or not a spool is set aside, and a new one is created.

    Raises:
        McloudError: a newer mcloud wrote it. The file stays as it is.
        Unavailable: it cannot be opened.
    """
    db = _connect(path)
    try:
        _prepare(db, begin_at)
        return OpenedSpool(db, None, "")
    except (sqlite3.Error, DamagedSpool) as caught:
        error = translated(path, caught)
        with closing(db):
            if not isinstance(error, DamagedSpool):
                raise error from caught
            # The file is set aside before it is closed, because closing would delete the log.
            aside = _set_aside(path)
    except McloudError:
        db.close()
        raise
    fresh = connect(path, begin_at)
    return fresh._replace(set_aside=aside, damage=str(error))


def translated(path: Path, error: sqlite3.Error | DamagedSpool) -> DamagedSpool | Unavailable:
    """Distinguish damage from a temporary problem: a full disk, a permission, an I/O error."""
    if isinstance(error, DamagedSpool):
        return error
    # An error that the Python module itself raises, such as for text that is not UTF-8, has no
    # code.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR):
        return DamagedSpool(str(error))
    if code == sqlite3.SQLITE_FULL:
        return Unavailable(
            f"no room for the spool {path} ({error})", remedy="free some space on its disk"
        )
    return Unavailable(
        f"the spool {path} cannot be used ({error})", remedy="check its disk and permissions"
    )


def write_watermark(path: Path, positions: Sequence[Position]) -> None:
    """Replace the watermark as a whole, or raise McloudError and leave the old file unchanged."""
    text = json.dumps(positions)
    files.write(path, f"{_checksum(text)} {text}\n")


def read_watermark(path: Path) -> list[Position]:
    """Return the positions that were last written, or none if the watermark is missing or
    damaged.
    """
    try:
        checksum, _, text = path.read_text(errors="replace").rstrip("\n").partition(" ")
    except FileNotFoundError:
        return []
    if checksum != _checksum(text):
        return []
    found = read_text(tuple[Position, ...], text, str(path))
    return [] if isinstance(found, Damaged) else list(found)


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def _connect(path: Path) -> sqlite3.Connection:
    try:
        # Any thread may use it, because the spool has a lock.
        return sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise translated(path, error) from error


def _set_aside(path: Path) -> Path:
    """Rename a spool together with its log, so that SQLite can still open them."""
    aside = next(
        path.with_name(f"{path.name}.corrupt-{number}")
        for number in count(1)
        if not any(path.parent.glob(f"{path.name}.corrupt-{number}*"))
    )
    # The file itself is renamed last, because SQLite deletes a log without its file.
    for suffix in ("-shm", "-wal", ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside


def _prepare(db: sqlite3.Connection, begin_at: Iterable[Position]) -> None:
    # This must be set before the first table is created. The pages of delivered messages are
    # reused, and returned to the disk if there are many.
    db.execute("PRAGMA auto_vacuum = INCREMENTAL")
    # SQLite on Debian overwrites deleted data with zeros by default.
    db.execute("PRAGMA secure_delete = OFF")
    application, version = _ask(db, "application_id"), _ask(db, "user_version")
    is_new = application == 0 and _ask(db, "schema_version") == 0
    if application != APPLICATION_ID and not is_new:
        raise DamagedSpool("it is not a spool of mcloud")
    if version > VERSION:
        raise McloudError(
            f"the spool was written by a newer mcloud: its version is {version}, and this one reads"
            f" up to {VERSION}",
            remedy="upgrade this mcloud, or use another --name",
        )
    db.execute("PRAGMA journal_mode = WAL").fetchone()
    db.execute(f"PRAGMA journal_size_limit = {_LOG_LIMIT}").fetchone()
    if is_new:
        with transaction(db, durable=True) as rows:
            rows.create_tables()
            for position in begin_at:
                rows.move(None, position)
    else:
        check(db)
    create_voids(db)


def _ask(db: sqlite3.Connection, pragma: str) -> int:
    found: int = db.execute(f"PRAGMA {pragma}").fetchone()[0]
    return found
