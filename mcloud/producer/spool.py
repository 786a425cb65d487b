"""The spool: messages for any number of sites, on the disk before the first one is sent.

A message is written once and is pending for each of its sites. It is deleted when the last site has
accepted it. The positions of the cursor are written in the same transaction as the messages, so
that both agree after a crash: the cursor requests the trades that are not in the spool from the
exchange again.

One connection with a lock serves all threads. SQLite allows one writer at a time anyway, each read
is followed by a write, and the counters in memory always match the file. While a commit waits for
the disk, only the threads that need the spool wait.
"""

import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Self

from mcloud import best_effort
from mcloud.errors import McloudError, Unavailable
from mcloud.producer import spool_file
from mcloud.producer.cursor import Position
from mcloud.producer.outbox import Outbox
from mcloud.producer.spool_message import MessageRow, Spooled, SpoolEntry
from mcloud.producer.spool_rows import (
    VOID_SIZE,
    DamagedSpool,
    Rows,
    count_owed,
    count_voids,
    delivered_everywhere,
    read_message,
    read_positions,
    read_voids,
    transaction,
)

LIMIT = 1024**3  # bytes; about 100 million trades
SMALLEST_LIMIT = 1024**2  # bytes; an empty spool has 40 KiB, and a message up to 1 MiB
ROOM_AGAIN = 0.9  # share of the limit below which a full spool has room again
WATERMARK_PERIOD = 1.0  # seconds
FREE_PAGES = 1024  # number of free pages of 4 KiB that are kept for the next messages
GIVE_BACK = 1024  # number of pages that are released at a time, in about 20 ms


@dataclass(frozen=True, slots=True)
class Pending:
    """The messages that a site has not accepted yet, including those that are being sent."""

    messages: int
    trades: int
    bytes: int
    """Size of the bodies in bytes."""
    oldest_received_at: int | None
    """Time when the oldest one was received, in ms since 1970; None if nothing is pending."""


class Spool:
    """A spool, used by a single process. It is thread-safe.

    Every call may raise Unavailable (the disk is full or fails; nothing has changed, and the call
    can be repeated) and McloudError (the file was damaged while it was open).
    """

    def __init__(
        self,
        path: Path,
        db: sqlite3.Connection,
        sites: Collection[str],
        limit_bytes: int,
        clock: Callable[[], float],
    ) -> None:
        """Use ``open`` instead."""
        self.set_aside: Path | None = None
        """Path of a damaged file. Trades that only it held have to be fetched again."""
        self.damage = ""
        """The damage of that file."""
        self.watermark_error = ""
        """Reason why the last update of the watermark failed; empty if it succeeded."""
        self._path = path
        self._db = db
        self._sites = frozenset(sites)
        self._limit = limit_bytes
        self._clock = clock
        self._changed = threading.Condition()
        self._resources = ExitStack()
        self._closed = False
        self._bytes = 0
        self._full = False
        self._outboxes = self._open_outboxes()
        self._positions = {each.symbol: each for each in read_positions(db)}
        self._voids = count_voids(db)
        self._next_message = self._ask("SELECT IFNULL(MAX(id), 0) FROM message") + 1
        self._watermark_due = clock()
        self._recount()
        self._measure()

    @classmethod
    def open(
        cls,
        path: Path,
        sites: Collection[str],
        *,
        limit_bytes: int = LIMIT,
        clock: Callable[[], float] = time.monotonic,
    ) -> "Spool":
        """Open the spool at ``path`` or create it, and check all of it.

        A file that is damaged or not a spool is renamed, never deleted; see ``set_aside``. A new
        file starts at the watermark, if there is one.

        Raises:
            McloudError: another process uses it, or a newer mcloud wrote it.
            Unavailable: it cannot be opened.
        """
        if limit_bytes < SMALLEST_LIMIT:
            raise ValueError(f"a spool needs at least {SMALLEST_LIMIT} bytes")
        try:
            with ExitStack() as resources:
                resources.enter_context(spool_file.lock(path))
                begin_at = spool_file.read_watermark(_watermark(path))
                db, aside, damage = spool_file.connect(path, begin_at)
                resources.callback(db.close)
                spool = cls(path, db, sites, limit_bytes, clock)
                spool.set_aside, spool.damage = aside, damage
                spool._resources = resources.pop_all()
        except OSError as error:
            reason = f"{error.strerror}: {error.filename}"
            raise Unavailable(f"the spool {path} cannot be opened ({reason})") from error
        return spool

    def close(self) -> None:
        """Renew the watermark and close the file. Taken messages stay in it."""
        with self._changed:
            if not self._closed:
                self._write_watermark()
            self._closed = True
            self._resources.close()
            self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def resume_points(self) -> list[Position]:
        """Return the positions from which the cursor continues.

        They are those of the last append; in a new file, those up to which every site had
        everything.
        """
        with self._changed:
            return list(self._positions.values())

    def voids(self) -> list[tuple[str, int]]:
        """Return the symbol and the id of each void that ``append`` has added, in ascending
        order.
        """
        with self._changed, self._errors():
            return read_voids(self._db)

    def append(
        self,
        entries: Sequence[SpoolEntry],
        positions: Iterable[Position] = (),
        voids: Mapping[tuple[str, int], bool] | None = None,
    ) -> None:
        """Write messages, positions and voids in one transaction. They are on the disk on return.

        ``voids`` are the ``Cursor.void_changes`` of the symbols whose positions are given.

        Every trade below a position must be in these messages or in earlier ones, because the
        cursor starts at the positions after a crash. A full spool still accepts messages, so that
        trades that were read are not lost; see ``wait_for_room``.
        """
        for entry in entries:
            if not entry.sites or not entry.sites <= self._sites:
                raise ValueError(f"not sites of this spool: {sorted(entry.sites)}")
        with self._changed:
            moved = {
                each.symbol: each for each in positions if self._positions.get(each.symbol) != each
            }
            rows = [
                MessageRow.of(id_, entry) for id_, entry in enumerate(entries, self._next_message)
            ]
            with self._transaction(durable=True) as writing:
                for row, entry in zip(rows, entries, strict=True):
                    outboxes = [self._outboxes[site] for site in entry.sites]
                    writing.add_message(row, [outbox.number for outbox in outboxes])
                for symbol, position in moved.items():
                    writing.move(self._positions.get(symbol), position)
                more_voids = writing.note_voids(voids or {})
            self._voids += more_voids
            self._next_message += len(rows)
            for row, entry in zip(rows, entries, strict=True):
                for site in entry.sites:
                    self._outboxes[site].add(row)
            # Without a watermark, the symbol would start after the trades of a damaged file, which
            # would stay missing.
            if moved.keys() - self._positions.keys():
                self._watermark_due = self._clock()
            self._positions |= moved
            self._after_change()

    def take(
        self, site: str, limit: int, timeout: float = 0.0, *, trades: float = inf
    ) -> list[Spooled]:
        """Take the oldest pending messages of a site, at most ``limit``.

        It stops after the message with which they have at least ``trades`` trades. It waits up to
        ``timeout`` seconds for the first one, and returns nothing if the spool is closing. Messages
        stay taken until they are settled or released, or the process ends.
        """
        with self._changed:
            outbox = self._outbox(site)
            self._changed.wait_for(lambda: outbox.untaken or self._closed, timeout)
            if self._closed:
                return []
            rows: list[MessageRow] = []
            with self._errors():
                for id_ in outbox.next(self._db, limit):
                    rows.append(read_message(self._db, id_))
                    trades -= rows[-1].trades
                    if trades <= 0:
                        break
            outbox.take(rows)
            return [row.spooled() for row in rows]

    def settle(self, site: str, ids: Iterable[int]) -> None:
        """Mark taken messages as accepted by a site. Ids that are not taken are ignored.

        The write is not synced: after a loss of power the messages may be sent again. If this
        raises, they stay taken and can be settled later.
        """
        with self._changed:
            outbox = self._outbox(site)
            settled = outbox.taken.keys() & set(ids)
            with self._transaction(durable=False) as writing:
                for id_ in settled:
                    writing.settle(outbox.number, id_, outbox.taken[id_].digest)
            for id_ in settled:
                outbox.remove(id_)
            self._after_change()
            self._give_back()

    def release(self, site: str, ids: Iterable[int]) -> None:
        """Put back taken messages that were not accepted. They are taken again first, oldest
        first.
        """
        with self._changed:
            self._outbox(site).release(ids)
            self._changed.notify_all()

    def is_taken(self, site: str, id_: int) -> bool:
        """Return whether the sender of a site still has a message."""
        with self._changed:
            return id_ in self._outbox(site).taken

    def unconfigured(self) -> list[str]:
        """Return the sites with pending messages that are no longer configured."""
        with self._changed:
            return [
                name
                for name, outbox in self._outboxes.items()
                if outbox.messages and name not in self._sites
            ]

    def reassign(self, from_site: str, to_site: str) -> None:
        """Move the pending messages of a site to another one, which may get some of them twice."""
        if to_site not in self._sites or from_site == to_site:
            raise ValueError(f"{to_site} cannot take over from {from_site}")
        with self._changed:
            outbox, heir = self._outbox(from_site), self._outbox(to_site)
            with self._transaction(durable=True) as writing:
                query = "SELECT id, digest FROM owed JOIN message ON message = id WHERE site = ?"
                for id_, digest in self._db.execute(query, (outbox.number,)).fetchall():
                    writing.owe(heir.number, id_)
                    writing.settle(outbox.number, id_, digest)
            outbox.taken.clear()
            # The messages from the other site may be older than those that this site has taken.
            heir.position = 0
            heir.has_moved = True
            with self._errors():
                self._recount()
            self._after_change()

    def has_moved(self, site: str) -> bool:
        """Return whether messages of another site were moved to this one since the last call."""
        with self._changed:
            outbox = self._outbox(site)
            has_moved, outbox.has_moved = outbox.has_moved, False
            return has_moved

    def pending_symbols(self) -> set[str]:
        """Return the symbols of the messages that some site has not accepted yet."""
        with self._changed, self._errors():
            return {symbol for (symbol,) in self._db.execute("SELECT DISTINCT symbol FROM message")}

    def pending(self, site: str) -> Pending:
        with self._changed, self._errors():
            outbox = self._outbox(site)
            first = self._db.execute(
                "SELECT received_at FROM owed JOIN message ON message = id"
                " WHERE site = ? ORDER BY message LIMIT 1",
                (outbox.number,),
            ).fetchone()
            return Pending(outbox.messages, outbox.trades, outbox.bytes, first and first[0])

    @property
    def bytes(self) -> int:
        """Return the size on the disk, without free pages and the log (at most 16 MiB)."""
        return self._bytes

    @property
    def is_full(self) -> bool:
        """Return whether the limit is reached, until a tenth of it is free again."""
        return self._full

    def wait_for_room(self, timeout: float) -> bool:
        """Wait until the spool has room. Return False if it stays full for ``timeout`` seconds."""
        with self._changed:
            if self._full:
                with suppress(sqlite3.Error):
                    self._measure()  # the disk may have room again even if nothing was sent
            return self._changed.wait_for(lambda: not self._full, timeout)

    def _open_outboxes(self) -> dict[str, Outbox]:
        """Return an outbox for each stored or given site."""
        stored = dict(self._db.execute("SELECT name, number FROM site"))
        fresh = sorted(self._sites - stored.keys())
        added = {name: number for number, name in enumerate(fresh, len(stored) + 1)}
        if added:
            with self._transaction(durable=True) as writing:
                for name, number in added.items():
                    writing.add_site(number, name)
        return {name: Outbox(number) for name, number in (stored | added).items()}

    def _outbox(self, site: str) -> Outbox:
        if site not in self._outboxes:
            raise ValueError(f"no site {site!r} in this spool")
        return self._outboxes[site]

    def _recount(self) -> None:
        counts = count_owed(self._db)
        for outbox in self._outboxes.values():
            outbox.messages, outbox.trades, outbox.bytes = counts.get(outbox.number, (0, 0, 0))

    def _after_change(self) -> None:
        # The change itself is written. It must not be repeated because of an error in measuring the
        # size, which the next change repeats.
        with suppress(sqlite3.Error):
            self._measure()
        if self._clock() >= self._watermark_due:
            self._write_watermark()
        self._changed.notify_all()

    def _measure(self) -> None:
        used = self._ask("PRAGMA page_count") - self._ask("PRAGMA freelist_count")
        self._bytes = used * self._ask("PRAGMA page_size")
        again = ROOM_AGAIN if self._full else 1
        # Sending messages frees no voids, so voids do not count. Otherwise a full spool could stay
        # full.
        messages = self._bytes - self._voids * VOID_SIZE
        self._full = messages >= self._limit * again or self._crowds_disk()

    def _crowds_disk(self) -> bool:
        """Return whether the spool must not grow, so that other programs can still write to the
        disk.

        Up to the smallest limit it may always grow. Otherwise a disk that is full of other data
        would stop a producer from reading, although its trades are sent immediately.
        """
        if self._bytes < SMALLEST_LIMIT:
            return False
        unused = self._ask("PRAGMA freelist_count") * self._ask("PRAGMA page_size")
        try:
            free = unused + shutil.disk_usage(self._path.parent).free
            least = best_effort.margin(self._path.parent) * (2 if self._full else 1)
        except OSError:
            return False
        return free < least

    def _give_back(self) -> None:
        """Shorten the file in small steps if most of it is free.

        Half of it may stay free, so that each page is moved at most once while the file shrinks to
        half its size.
        """
        # A failed attempt is repeated after another change.
        with suppress(sqlite3.Error):
            free = self._ask("PRAGMA freelist_count")
            if free > max(FREE_PAGES, self._ask("PRAGMA page_count") // 2):
                # Each step frees one page, and `execute` makes only one step.
                self._db.executescript(f"PRAGMA incremental_vacuum({GIVE_BACK})")

    def _write_watermark(self) -> None:
        self._watermark_due = self._clock() + WATERMARK_PERIOD
        try:
            delivered = delivered_everywhere(self._db, self._positions.values())
            spool_file.write_watermark(_watermark(self._path), delivered)
        except (McloudError, sqlite3.Error) as error:
            # The change itself is written. It must not be repeated because of this error.
            self.watermark_error = str(error)
            best_effort.note_refusal(_watermark(self._path), error)
        else:
            self.watermark_error = ""
            best_effort.note_success(_watermark(self._path))

    def _ask(self, query: str) -> int:
        """Return the number that a query finds."""
        found: int = self._db.execute(query).fetchone()[0]
        return found

    @contextmanager
    def _transaction(self, *, durable: bool) -> Iterator[Rows]:
        with self._errors(), transaction(self._db, durable=durable) as rows:
            yield rows

    @contextmanager
    def _errors(self) -> Iterator[None]:
        if self._closed:
            raise ValueError("the spool is closed")
        try:
            yield
        except (sqlite3.Error, DamagedSpool) as caught:
            error = spool_file.translated(self._path, caught)
            if isinstance(error, DamagedSpool):
                raise McloudError(
                    f"the spool {self._path} was damaged while it was open: {error}",
                    remedy="start again: the spool is set aside, and its trades are fetched again",
                ) from caught
            raise error from caught


def _watermark(path: Path) -> Path:
    return path.with_name(f"{path.name}.delivered")
