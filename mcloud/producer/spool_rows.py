"""The rows of the spool: how they change, and how to tell that one is not as it was written.

SQLite finds a torn page, a broken tree and an index that differs from its table. It has no checksum
of what a row holds, and a write-ahead log that was cut short just ends earlier. So every row has a
digest, and the ledger, a single row, holds the exclusive-or of them all, written in the same
transaction as the rows. A row that was altered, lost or brought back no longer adds up.
"""

import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from mcloud.producer.cursor import Hole, Position
from mcloud.producer.spool_message import MessageRow

APPLICATION_ID = 0x6D63_7370  # "mcsp"
VERSION = 1

_SCHEMA = f"""
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
CREATE TABLE site (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE message (
  id INTEGER PRIMARY KEY,
  symbol TEXT NOT NULL,
  first_id INTEGER NOT NULL,
  last_id INTEGER NOT NULL,
  trades INTEGER NOT NULL,
  received_at INTEGER NOT NULL,
  digest INTEGER NOT NULL,
  attributes TEXT NOT NULL,
  body BLOB NOT NULL
);
CREATE INDEX message_by_first_id ON message (symbol, first_id);
CREATE TABLE owed (site INTEGER, message INTEGER, PRIMARY KEY (site, message)) WITHOUT ROWID;
CREATE TABLE position (
  symbol TEXT PRIMARY KEY,
  start INTEGER NOT NULL,
  next_id INTEGER NOT NULL,
  holes TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE ledger (digest INTEGER NOT NULL);
INSERT INTO ledger VALUES (0);
"""

_VOIDS = """
CREATE TABLE IF NOT EXISTS void (symbol TEXT, id INTEGER, PRIMARY KEY (symbol, id)) WITHOUT ROWID
"""
"""Earlier versions do not have this table and do not read it. It is not part of the ledger: a row
too many has one trade sent again, which changes nothing."""

VOID_SIZE = 64
"""Maximum number of bytes that a row of this table takes, with its part of pages in use."""


class DamagedSpool(Exception):
    """The file is not a spool that can be trusted; the text says why."""


class Rows:
    """Writes the rows of one transaction, and the ledger when it ends."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._change = 0

    def create_tables(self) -> None:
        for statement in _SCHEMA.split(";"):
            self._db.execute(statement)

    def add_site(self, number: int, name: str) -> None:
        self._db.execute("INSERT INTO site VALUES (?, ?)", (number, name))
        self._change ^= _digest("site", number, name)

    def add_message(self, row: MessageRow, sites: Iterable[int]) -> None:
        *head, attributes, body = row
        digest = row.digest
        self._db.execute(
            "INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*head, digest, attributes, body),
        )
        self._change ^= digest
        for site in sites:
            self.owe(site, row.id)

    def owe(self, site: int, message: int) -> None:
        """Note that a site is to get a message; nothing changes where that is noted already."""
        added = self._db.execute("INSERT OR IGNORE INTO owed VALUES (?, ?)", (site, message))
        if added.rowcount:
            self._change ^= _digest("owed", site, message)

    def settle(self, site: int, message: int, digest: int) -> None:
        """A site has a message, or shall not get it; the last one to say so deletes it."""
        self._db.execute("DELETE FROM owed WHERE site = ? AND message = ?", (site, message))
        self._change ^= _digest("owed", site, message)
        deleted = self._db.execute(
            "DELETE FROM message WHERE id = ?1 AND NOT EXISTS"
            " (SELECT 1 FROM site JOIN owed ON site = number AND message = ?1)",
            (message,),
        )
        if deleted.rowcount:
            self._change ^= digest

    def move(self, before: Position | None, after: Position) -> None:
        """Write the position of a symbol in place of the one that is stored."""
        row = _position_row(after)
        self._db.execute("REPLACE INTO position VALUES (?, ?, ?, ?)", row)
        self._change ^= _digest("position", *row)
        if before is not None:
            self._change ^= _digest("position", *_position_row(before))

    def note_voids(self, changes: Mapping[tuple[str, int], bool]) -> int:
        """Add voids, or delete those whose value is false; return by how many their number grew."""
        added = [void for void, is_known in changes.items() if is_known]
        gone = [void for void, is_known in changes.items() if not is_known]
        before = self._db.total_changes
        self._db.executemany("INSERT OR IGNORE INTO void VALUES (?, ?)", added)
        between = self._db.total_changes
        self._db.executemany("DELETE FROM void WHERE symbol = ? AND id = ?", gone)
        return 2 * between - before - self._db.total_changes

    def write_ledger(self) -> None:
        # SQLite has no exclusive-or.
        self._db.execute(
            "UPDATE ledger SET digest = (digest | ?1) - (digest & ?1)", (self._change,)
        )


@contextmanager
def transaction(db: sqlite3.Connection, *, durable: bool) -> Iterator[Rows]:
    """All of what is written, or nothing of it.

    Where ``durable``, the log is on the disk before this returns (synchronous=FULL) and the rows
    survive a loss of power. Otherwise (NORMAL) they survive the death of the process, and a loss of
    power may undo the newest of them, never an older one that was durable; the file stays sound.
    """
    db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
    db.execute("BEGIN IMMEDIATE")
    try:
        rows = Rows(db)
        yield rows
        rows.write_ledger()
        db.execute("COMMIT")
    except BaseException:
        # SQLite itself rolls back what fails for want of room.
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def read_message(db: sqlite3.Connection, id_: int) -> MessageRow:
    """Raises Damaged where it is not as it was written."""
    row = db.execute("SELECT * FROM message WHERE id = ?", (id_,)).fetchone()
    if row is None:
        raise DamagedSpool(f"message {id_} is missing")
    return _message(row)


def read_positions(db: sqlite3.Connection) -> list[Position]:
    rows = db.execute("SELECT * FROM position")
    return [
        Position(symbol, start, next_id, tuple(Hole(*each) for each in json.loads(holes)))
        for symbol, start, next_id, holes in rows
    ]


def create_voids(db: sqlite3.Connection) -> None:
    """Add the table of voids to a spool that an earlier version began."""
    db.execute(_VOIDS)


def read_voids(db: sqlite3.Connection) -> list[tuple[str, int]]:
    """Symbol and id of each void that was noted, ascending."""
    return db.execute("SELECT symbol, id FROM void ORDER BY symbol, id").fetchall()


def count_voids(db: sqlite3.Connection) -> int:
    count: int = db.execute("SELECT COUNT(*) FROM void").fetchone()[0]
    return count


def count_owed(db: sqlite3.Connection) -> dict[int, tuple[int, int, int]]:
    """Messages, trades and bytes of the bodies, by the number of the site."""
    rows = db.execute(
        "SELECT site, COUNT(*), SUM(trades), SUM(LENGTH(body))"
        " FROM owed JOIN message ON message = id GROUP BY site"
    )
    return {number: (messages, trades, size) for number, messages, trades, size in rows}


def delivered_everywhere(db: sqlite3.Connection, positions: Iterable[Position]) -> list[Position]:
    """The positions, drawn back to below whatever some site still has to get."""
    query = "SELECT MIN(first_id) FROM message WHERE symbol = ?"
    oldest = ((each, *db.execute(query, (each.symbol,)).fetchone()) for each in positions)
    return [each if first is None else _cut(each, first) for each, first in oldest]


def check(db: sqlite3.Connection) -> None:
    """Read everything; raises Damaged where the rows differ from what was written."""
    # The quick check does not hold the index against its table.
    (verdict,) = db.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise DamagedSpool(verdict)
    total = 0
    for digest in _digests(db):
        total ^= digest
    if db.execute("SELECT digest FROM ledger").fetchall() != [(total,)]:
        raise DamagedSpool("its rows do not add up")


def _digests(db: sqlite3.Connection) -> Iterator[int]:
    for row in db.execute("SELECT * FROM message"):
        yield _message(row).digest
    for table in ("site", "owed", "position"):
        for row in db.execute(f"SELECT * FROM {table}"):
            yield _digest(table, *row)


def _message(row: Sequence[object]) -> MessageRow:
    *head, digest, attributes, body = row
    message = MessageRow._make((*head, attributes, body))
    if not isinstance(body, bytes) or message.digest != digest:
        raise DamagedSpool(f"message {message.id} is not as it was written")
    return message


def _cut(position: Position, end: int) -> Position:
    """The part of a position that is below an id."""
    symbol, start, next_id, holes = position
    below = [hole._replace(last=min(hole.last, end - 1)) for hole in holes if hole.first < end]
    return Position(symbol, min(start, end), min(next_id, end), tuple(below))


def _position_row(position: Position) -> tuple[str, int, int, str]:
    symbol, start, next_id, holes = position
    return symbol, start, next_id, json.dumps(holes)


def _digest(*fields: object) -> int:
    return zlib.crc32(ascii(fields).encode())
