"""The persistent state of a pair: one SQLite file for each pair.

The state is written after the target has the data. If the process is killed, work is repeated,
which changes nothing, and no work is skipped. If the file is damaged, the sites are compared again,
and no data is lost. For the same reason, the pair keeps working if the disk refuses a write: it
then uses a copy in memory, and writes it to the file as soon as the disk accepts a change.
"""

import errno
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

from mcloud import best_effort
from mcloud.documents import Between, Damaged, Time, decode, sound
from mcloud.errors import McloudError, Unavailable
from mcloud.market.ids import Ids
from mcloud.market.trade import MAX_TIME

VERSION = 0
"""SQLite's ``user_version`` of the file."""

_REFUSALS = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_IOERR: errno.EIO,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
    sqlite3.SQLITE_PERM: errno.EACCES,
}
"""Operating system errors for the SQLite errors that mean that a disk refuses a write."""

_SCHEMA = """
BEGIN;
CREATE TABLE IF NOT EXISTS checkpoint (
    scope TEXT PRIMARY KEY, position TEXT NOT NULL, as_of REAL NOT NULL, compared INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS compared (
    scope TEXT, symbol TEXT, until INTEGER NOT NULL, PRIMARY KEY (scope, symbol)
);
CREATE TABLE IF NOT EXISTS marks (
    scope TEXT, symbol TEXT, hour INTEGER, since REAL NOT NULL, PRIMARY KEY (scope, symbol, hour)
);
CREATE TABLE IF NOT EXISTS raw_compared (
    scope TEXT, symbol TEXT, at REAL NOT NULL, PRIMARY KEY (scope, symbol)
);
CREATE TABLE IF NOT EXISTS ids (
    scope TEXT, symbol TEXT, kind TEXT, first INTEGER, last INTEGER NOT NULL,
    PRIMARY KEY (scope, symbol, kind, first)
);
COMMIT;
"""


Marks = Mapping[tuple[str, int], float]
"""Hours whose raw trades the target may lack, by symbol and start (in ms).

The value is the time since which the source has had them, in seconds since 1970 by the clock of the
source, or 0 if they may be of any age."""


NO_MARKS: Marks = {}


@dataclass(frozen=True)
class Checkpoint:
    position: str
    """Position in the source's changes. The target has the candles of all changes before it."""
    as_of: Time
    """Time before which all changes are in the target, in seconds since 1970 by the source."""
    is_compared: bool
    """Whether the target also has the data from before the first position."""
    marks: Marks = field(default_factory=dict)


class SymbolIds(NamedTuple):
    """The ids of a symbol."""

    held: Ids
    """Ids in candles of either site."""
    disputed: Ids


class _Mark(NamedTuple):
    symbol: str
    hour: Annotated[int, Between(0, MAX_TIME)]
    since: Time


class PairState:
    """The state of one pair. Only one thread of one process may use it, but any may read
    ``checkpoint``.

    Each change is written to the file first, and then counts in this process.

    Args:
        path: the SQLite file. A file of a newer version of mcloud is left unchanged, and the state
            is then kept in memory only.
        scope: what is replicated, from where to where. Another scope (other symbols, another table
            behind the name of a site) has its own state, which starts empty.
    """

    def __init__(self, path: Path, scope: str) -> None:
        self._path = path
        self._scope = scope
        self.was_damaged = False
        self._checkpoint: Checkpoint | None = None
        self._ids: dict[str, SymbolIds] = {}
        self._pages: Counter[tuple[str, int]] = Counter()
        self._db: sqlite3.Connection
        self._is_in_memory = not best_effort.attempt(path, self._open)
        if self._is_in_memory:
            self._db = _connect(":memory:")

    def close(self) -> None:
        self._db.close()

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The current checkpoint. None until ``resume`` or ``begin``."""
        return self._checkpoint

    @property
    def is_compared(self) -> bool:
        """Whether the target has the data from before the first position."""
        return self._checkpoint is not None and self._checkpoint.is_compared

    @property
    def as_of(self) -> float:
        """Time of the last poll for changes, by the clock of the source, in seconds since 1970."""
        return self._current.as_of

    @property
    def marks(self) -> Marks:
        return self._checkpoint.marks if self._checkpoint else {}

    def pages(self, symbol: str, hour: int) -> int:
        """Return the number of pages with changes of a marked hour that this process has read."""
        return self._pages[symbol, hour]

    def saved(self) -> Checkpoint | None:
        """Return the checkpoint in the file, or None if the pair has never begun."""
        row = self._row("SELECT position, as_of, compared FROM checkpoint WHERE scope = ?")
        if row is None:
            return None
        position, as_of, compared = row
        values = {"position": position, "as_of": as_of, "is_compared": bool(compared)}
        found = decode(Checkpoint, values, str(self._path))
        if isinstance(found, Damaged):
            self.was_damaged = True
            return None
        return replace(found, marks=self._saved_marks())

    def resume(self, saved: Checkpoint) -> None:
        """Continue from the checkpoint in the file."""
        self._checkpoint = saved

    def begin(self, position: str) -> Checkpoint:
        """Start to follow from a position, with everything before it to be compared."""

        def change(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM compared WHERE scope = ?", (self._scope,))
            db.execute("REPLACE INTO checkpoint VALUES (?, ?, 0, 0)", (self._scope, position))

        self._change(change)
        self._checkpoint = Checkpoint(position, 0.0, False, self._saved_marks())
        return self._checkpoint

    def advance(self, position: str, as_of: float, marks: Marks) -> None:
        """Note that the target has the candles of a page, and mark hours to copy raw trades of.

        A page without changes is not written: after a restart, it is read again.
        """
        before = self._current

        def change(db: sqlite3.Connection) -> None:
            self._mark(db, marks)
            db.execute(
                "UPDATE checkpoint SET position = ?, as_of = ? WHERE scope = ?",
                (position, as_of, self._scope),
            )

        if marks or position != before.position:
            self._change(change)
        self._checkpoint = replace(
            before, position=position, as_of=as_of, marks={**marks, **before.marks}
        )
        self._pages.update(marks.keys())

    def compared_until(self, symbol: str) -> int:
        """Return the time (in ms) before which the symbol's candles are compared."""
        row = self._row("SELECT until FROM compared WHERE scope = ? AND symbol = ?", symbol)
        return 0 if row is None else int(row[0])

    def note_compared(self, symbol: str, until: int, marks: Marks) -> None:
        """Note that the target has the source's candles of a symbol before ``until`` (in ms)."""

        def change(db: sqlite3.Connection) -> None:
            self._mark(db, marks)
            db.execute("REPLACE INTO compared VALUES (?, ?, ?)", (self._scope, symbol, until))

        self._change(change)
        if marks:
            self._checkpoint = replace(self._current, marks={**marks, **self.marks})

    def raw_compared(self) -> dict[str, float]:
        """Return when the raw archives were compared last, in seconds since 1970, by symbol."""
        with self._translated():
            rows = self._db.execute(
                "SELECT symbol, at FROM raw_compared WHERE scope = ?", (self._scope,)
            )
            return {str(symbol): float(at) for symbol, at in rows}

    def note_raw_compared(self, symbol: str, at: float, marks: Marks = NO_MARKS) -> None:
        """Note when the raw archives of a symbol were compared, and mark what the target lacks."""

        def change(db: sqlite3.Connection) -> None:
            self._mark(db, marks)
            db.execute("REPLACE INTO raw_compared VALUES (?, ?, ?)", (self._scope, symbol, at))

        self._change(change)
        if marks:
            self._checkpoint = replace(self._current, marks={**marks, **self.marks})

    def finish_comparison(self) -> None:
        def change(db: sqlite3.Connection) -> None:
            db.execute("UPDATE checkpoint SET compared = 1 WHERE scope = ?", (self._scope,))
            db.execute("DELETE FROM compared WHERE scope = ?", (self._scope,))

        self._change(change)
        self._checkpoint = replace(self._current, is_compared=True)

    def ids(self, symbol: str) -> SymbolIds | None:
        """Return the ids of a symbol, or None if they are not known yet."""
        if symbol not in self._ids:
            saved = self._saved_ids(symbol)
            if not saved.held:
                return None
            self._ids[symbol] = saved
        return self._ids[symbol]

    def keep_ids(self, symbol: str, ids: SymbolIds) -> None:
        """Store the ids of a symbol."""

        def change(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM ids WHERE scope = ? AND symbol = ?", (self._scope, symbol))
            db.executemany(
                "INSERT INTO ids VALUES (?, ?, ?, ?, ?)",
                [
                    (self._scope, symbol, kind, *run)
                    for kind, of_kind in (("held", ids.held), ("disputed", ids.disputed))
                    for run in of_kind.runs
                ],
            )

        self._change(change)
        self._ids[symbol] = ids

    def clear(self, symbol: str, hour: int) -> None:
        """Remove the mark of an hour, since the target has its raw trades."""

        def change(db: sqlite3.Connection) -> None:
            db.execute(
                "DELETE FROM marks WHERE scope = ? AND symbol = ? AND hour = ?",
                (self._scope, symbol, hour),
            )

        self._change(change)
        left = dict(self.marks)
        del left[symbol, hour]
        del self._pages[symbol, hour]
        self._checkpoint = replace(self._current, marks=left)

    def note_copied(self, symbol: str, hour: int, until: float) -> None:
        """Note that the target has the raw trades of a marked hour that the source changed before a
        time, by its clock, in seconds since 1970. The hour stays marked for later ones."""
        if until <= self.marks[symbol, hour]:
            return

        def change(db: sqlite3.Connection) -> None:
            db.execute(
                "UPDATE marks SET since = ? WHERE scope = ? AND symbol = ? AND hour = ?",
                (until, self._scope, symbol, hour),
            )

        self._change(change)
        self._checkpoint = replace(self._current, marks={**self.marks, (symbol, hour): until})

    @property
    def _current(self) -> Checkpoint:
        assert self._checkpoint is not None  # the pair has begun before it changes anything
        return self._checkpoint

    def _saved_ids(self, symbol: str) -> SymbolIds:
        with self._translated():
            rows = self._db.execute(
                "SELECT kind, first, last FROM ids WHERE scope = ? AND symbol = ?",
                (self._scope, symbol),
            ).fetchall()
        of = {
            kind: Ids((first, last) for name, first, last in rows if name == kind)
            for kind in ("held", "disputed")
        }
        return SymbolIds(of["held"], of["disputed"])

    def _saved_marks(self) -> Marks:
        with self._translated():
            rows = self._db.execute(
                "SELECT symbol, hour, since FROM marks WHERE scope = ?", (self._scope,)
            )
            found = [decode(_Mark, row, str(self._path)) for row in rows]
        return {(each.symbol, each.hour): each.since for each in sound(found)}

    def _mark(self, db: sqlite3.Connection, marks: Marks) -> None:
        db.executemany(
            "INSERT OR IGNORE INTO marks VALUES (?, ?, ?, ?)",
            [(self._scope, *hour, since) for hour, since in marks.items()],
        )

    def _row(self, query: str, *values: object) -> tuple[str, float, int] | None:
        with self._translated():
            row: tuple[str, float, int] | None = self._db.execute(
                query, (self._scope, *values)
            ).fetchone()
        return row

    def _open(self) -> None:
        with self._translated():
            try:
                self._db = _connect(self._path)
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError:
                for suffix in ("", "-wal", "-shm"):
                    self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
                self._db = _connect(self._path)
                self.was_damaged = True

    def _change(self, change: Callable[[sqlite3.Connection], None]) -> None:
        """Make a change in the file or, if the disk refuses it, in a copy in memory."""
        if self._is_in_memory:
            self._transact(change)
            if best_effort.attempt(self._path, self._return_to_file):
                self._is_in_memory = False
        elif not best_effort.attempt(self._path, partial(self._transact, change)):
            copy = _connect(":memory:")
            with self._translated():
                self._db.backup(copy)
            self._db.close()
            self._db, self._is_in_memory = copy, True
            self._transact(change)

    def _transact(self, change: Callable[[sqlite3.Connection], None]) -> None:
        with self._translated(), self._db:
            self._db.execute("BEGIN")
            change(self._db)

    def _return_to_file(self) -> None:
        copy = self._db
        with self._translated():
            file = _connect(self._path)
            try:
                copy.backup(file)
            except sqlite3.Error:
                file.close()
                raise
        copy.close()
        self._db = file

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            # Errors that Python's own module raises have no code.
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if number := _REFUSALS.get(code):
                raise OSError(number, os.strerror(number), str(self._path)) from error
            raise Unavailable(f"{self._path} cannot be used: {error}") from error


def _connect(path: "Path | str") -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise McloudError(
                f"{path} was written by a newer mcloud: its version is {version}, and this mcloud"
                f" reads versions up to {VERSION}",
                remedy="upgrade this mcloud, or delete the file to compare the sites again",
            )
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.executescript(_SCHEMA)
        if db.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("quick_check")
    except (sqlite3.Error, McloudError):
        db.close()
        raise
    return db
