"""The queue of one site in the spool: the number of pending messages, and the messages taken for
sending.
"""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from mcloud.producer.spool_message import MessageRow


class Taken(NamedTuple):
    """Data of a taken message that is needed when it is settled."""

    trades: int
    size: int
    digest: int


@dataclass(slots=True)
class Outbox:
    number: int
    messages: int = 0
    trades: int = 0
    bytes: int = 0
    taken: dict[int, Taken] = field(default_factory=dict)
    position: int = 0
    """All pending messages up to this one are taken."""
    has_moved: bool = False
    """Whether messages of another site were moved to this one."""

    @property
    def untaken(self) -> int:
        return self.messages - len(self.taken)

    def next(self, db: sqlite3.Connection, limit: int) -> list[int]:
        """Return the oldest messages that are not taken."""
        query = "SELECT message FROM owed WHERE site = ? AND message > ? ORDER BY message"
        # The cursor is closed immediately, because an unfinished statement prevents the write-ahead
        # log from being emptied.
        with closing(db.execute(query, (self.number, self.position))) as owed:
            return list(islice((id_ for (id_,) in owed if id_ not in self.taken), limit))

    def take(self, rows: Iterable[MessageRow]) -> None:
        """Take the messages that ``next`` returned."""
        for row in rows:
            self.taken[row.id] = Taken(row.trades, len(row.body), row.digest)
            self.position = row.id

    def release(self, ids: Iterable[int]) -> None:
        for id_ in ids:
            if self.taken.pop(id_, None):
                self.position = min(self.position, id_ - 1)

    def add(self, row: MessageRow) -> None:
        self.messages += 1
        self.trades += row.trades
        self.bytes += len(row.body)

    def remove(self, id_: int) -> None:
        """Remove a taken message, which is no longer pending."""
        taken = self.taken.pop(id_)
        self.messages -= 1
        self.trades -= taken.trades
        self.bytes -= taken.size
