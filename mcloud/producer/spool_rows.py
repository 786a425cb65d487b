"""The rows of the spool: their changes, and the check that no row was altered.

SQLite detects a torn page, a broken tree and an index that differs from its table. It has no
checksum of the content of a row, and cannot detect that a write-ahead log was truncated. Therefore
every row has a digest, and the ledger, a single row, holds the exclusive-or of all digests. It is
written in the same transaction as the rows, and no longer matches if a row was altered, lost or
restored.
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
"""Earlier versions do not have this table and do not read it. It is not part of the ledger: an
extra row only causes a trade to be sent again, which has no effect.
"""

VOID_SIZE = 64
"""Maximum number of bytes that a row of this table takes, with its share of the pages in use."""


class DamagedSpool(Exception):
    """Raised for a file that is not a valid spool, with the reason."""


class Rows:
    """Writes the rows of one transaction, and the ledger at its end."""

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
        """Make a message pending for a site. If it already is, nothing changes."""
        added = self._db.execute("INSERT OR IGNORE INTO owed VALUES (?, ?)", (site, message))
        if added.rowcount:
            self._change ^= _digest("owed", site, message)

    def settle(self, site: int, message: int, digest: int) -> None:
        """End the pending state of a message for a site. After the last site it is deleted."""
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
        """Replace the stored position of a symbol."""
        row = _position_row(after)
        self._db.execute("REPLACE INTO position VALUES (?, ?, ?, ?)", row)
        self._change ^= _digest("position", *row)
        if before is not None:
            self._change ^= _digest("position", *_position_row(before))

    def note_voids(self, changes: Mapping[tuple[str, int], bool]) -> int:
        """Add voids, or delete those whose value is false. Return the growth of their number."""
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
    """Write all rows of the block, or none of them.

    With ``durable``, the log is on the disk before this returns (synchronous=FULL), and the rows
    survive a loss of power. Otherwise (NORMAL) they survive the death of the process. A loss of
    power may undo the newest of them, but never an older durable one, and the file stays valid.
    """
    db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
    db.execute("BEGIN IMMEDIATE")
    try:
        rows = Rows(db)
        yield rows
        rows.write_ledger()
        db.execute("COMMIT")
    except BaseException:
        # SQLite itself rolls back a transaction that fails because the disk is full.
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def read_message(db: sqlite3.Connection, id_: int) -> MessageRow:
    """Return a message. Raise DamagedSpool if it differs from what was written."""
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
    """Add the table of voids to a spool of an earlier version."""
    db.execute(_VOIDS)


def read_voids(db: sqlite3.Connection) -> list[tuple[str, int]]:
    """Return the symbol and id of each stored void, in ascending order."""
    return db.execute("SELECT symbol, id FROM void ORDER BY symbol, id").fetchall()


def count_voids(db: sqlite3.Connection) -> int:
    count: int = db.execute("SELECT COUNT(*) FROM void").fetchone()[0]
    return count


def count_owed(db: sqlite3.Connection) -> dict[int, tuple[int, int, int]]:
    """Return the pending messages, trades and bytes of bodies, by number of the site."""
    rows = db.execute(
        "SELECT site, COUNT(*), SUM(trades), SUM(LENGTH(body))"
        " FROM owed JOIN message ON message = id GROUP BY site"
    )
    return {number: (messages, trades, size) for number, messages, trades, size in rows}


def delivered_everywhere(db: sqlite3.Connection, positions: Iterable[Position]) -> list[Position]:
    """Return the positions, moved back to before the first message that is still pending."""
    query = "SELECT MIN(first_id) FROM message WHERE symbol = ?"
    oldest = ((each, *db.execute(query, (each.symbol,)).fetchone()) for each in positions)
    return [each if first is None else _cut(each, first) for each, first in oldest]


def check(db: sqlite3.Connection) -> None:
    """Read everything. Raise DamagedSpool if the rows differ from what was written."""
    # The quick check does not compare the index with its table.
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
    """Return the part of a position that is below an id."""
    symbol, start, next_id, holes = position
    below = [hole._replace(last=min(hole.last, end - 1)) for hole in holes if hole.first < end]
    return Position(symbol, min(start, end), min(next_id, end), tuple(below))


def _position_row(position: Position) -> tuple[str, int, int, str]:
    symbol, start, next_id, holes = position
    return symbol, start, next_id, json.dumps(holes)


def _digest(*fields: object) -> int:
    return zlib.crc32(ascii(fields).encode())
