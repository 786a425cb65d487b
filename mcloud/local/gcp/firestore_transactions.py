"""Transactions: optimistic, checked at commit, and one at a time where they have met before.

A read-write transaction reads the newest documents and remembers what it saw; its commit answers
ABORTED if any of those reads would now see something else. That alone is serialisable: a commit
happens as if the whole transaction ran in that instant. It is what the real service does in a
database whose concurrency mode is OPTIMISTIC.

Alone it would also let the slower of many transactions fail again and again, and the client gives
up after five attempts. So what an aborted transaction had read is contended for a second, and
whoever reads it then takes turns: there is one turn a database, in order of arrival, from that read
to the end of the transaction. No other transaction may write what the holder has read, so a second
attempt fails only if a plain write gets in between. One turn a database cannot deadlock.
(The id of the attempt that a retry repeats would not do: the client mixes these up when threads
share a function.)

A read-only transaction reads a snapshot and neither waits nor conflicts.
"""

import asyncio
import struct
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import grpc

from mcloud.local.gcp.firestore_documents import Documents
from mcloud.local.gcp.firestore_names import document_path, invalid
from mcloud.local.gcp.firestore_protos import DocumentMessage
from mcloud.local.gcp.firestore_query import Query, run_query
from mcloud.local.gcp.firestore_writes import version
from mcloud.local.gcp.rpc import Refusal

# https://cloud.google.com/firestore/quotas#writes_and_transactions
_IDLE_MICROSECONDS = 60 * 1_000_000
_LIFE_MICROSECONDS = 270 * 1_000_000

_CONTENDED_MICROSECONDS = 1_000_000

# A holder that has sent nothing for so long, while others wait, loses its turn. Nothing more: its
# commit is checked in any case.
_PATIENCE_SECONDS = 2.0

_ID = struct.Struct(">Q")

Versions: TypeAlias = list[tuple[str, int]]


@dataclass(eq=False)
class Transaction:
    """An open transaction. ``snapshot`` is set for a read-only one."""

    id: bytes
    database: str
    began: int
    last_used: int
    snapshot: Documents | None
    reads: dict[str, int] = field(default_factory=dict)
    queries: list[tuple[Query, Versions]] = field(default_factory=list)
    closed: bool = False


class Transactions:
    """The open transactions of all databases. ``now`` gives microseconds since the epoch."""

    def __init__(self, now: Callable[[], int]) -> None:
        self.last_serial = 0
        self._now = now
        self._open: dict[bytes, Transaction] = {}
        self._turns: defaultdict[str, _Turn] = defaultdict(_Turn)
        self._contended: dict[str, int] = {}

    def begin(
        self, database: str, snapshot: Documents | None = None, *, retry: bytes = b""
    ) -> Transaction:
        """Open a transaction.

        Args:
            database: Name of the database.
            snapshot: What a read-only transaction reads.
            retry: The id of the attempt that this one repeats, if any.
        """
        if retry:
            self._check_id(retry)
        self._forget_expired()
        self.last_serial += 1
        now = self._now()
        transaction = Transaction(
            id=_ID.pack(self.last_serial),
            database=database,
            began=now,
            last_used=now,
            snapshot=snapshot,
        )
        self._open[transaction.id] = transaction
        return transaction

    def get(self, transaction_id: bytes, database: str) -> Transaction:
        """The open transaction of that id, or INVALID_ARGUMENT."""
        self._check_id(transaction_id)
        transaction = self._open.get(transaction_id)
        if transaction is not None and self._has_expired(transaction):
            self.close(transaction)
            transaction = None
        if transaction is None or transaction.database != database:
            raise invalid("Transaction is invalid or closed.")
        transaction.last_used = self._now()
        return transaction

    async def before_get(self, transaction: Transaction, name: str) -> None:
        """Wait for a turn if the document is contended."""
        if self._contended.get(name, 0) > self._now():
            await self._take_turn(transaction)

    async def before_query(self, transaction: Transaction, query: Query) -> None:
        """Wait for a turn if queries of these collections are contended."""
        await self.before_get(transaction, _queried(transaction, query))

    def note_read(
        self, transaction: Transaction, name: str, document: DocumentMessage | None
    ) -> None:
        """Remember the version of a document that was read; the first read counts."""
        transaction.reads.setdefault(name, version(document))

    def note_query(
        self, transaction: Transaction, query: Query, found: list[DocumentMessage]
    ) -> None:
        """Remember what a query found."""
        transaction.queries.append((query, _versions(found)))

    async def before_commit(self, transaction: Transaction, written: list[str]) -> None:
        """Keep a transaction from writing what the holder of the turn has read.

        One that has read something itself is ABORTED and will queue when it is run again; one that
        only writes waits.
        """
        holder = self._turns[transaction.database].holder
        if holder is None or holder is transaction or not written:
            return
        if holder.queries or any(name in holder.reads for name in written):
            if transaction.reads or transaction.queries:
                raise self._aborted(transaction)
            await self._take_turn(transaction)

    def check(self, transaction: Transaction, documents: Documents) -> None:
        """ABORTED, and closed, unless every read of the transaction still holds."""
        if transaction.closed or not _still_holds(transaction, documents):
            raise self._aborted(transaction)

    def roll_back(self, transaction_id: bytes, database: str) -> None:
        """Close a transaction; one that is closed already stays so."""
        self._check_id(transaction_id)
        transaction = self._open.get(transaction_id)
        if transaction is not None and transaction.database == database:
            self.close(transaction)

    def close(self, transaction: Transaction) -> None:
        """Forget a transaction and pass on its turn if it has it."""
        self._open.pop(transaction.id, None)
        transaction.closed = True
        self._turns[transaction.database].leave(transaction)

    async def _take_turn(self, transaction: Transaction) -> None:
        turn = self._turns[transaction.database]
        granted = turn.join(transaction)
        try:
            while not granted.done() and not transaction.closed:
                if turn.holder is not None and self._is_silent(turn.holder):
                    turn.leave(turn.holder)
                else:
                    await asyncio.wait([granted], timeout=_PATIENCE_SECONDS)
        finally:
            granted.cancel()  # out of the line, if the client no longer waits
        transaction.last_used = self._now()

    def _is_silent(self, transaction: Transaction) -> bool:
        return self._now() - transaction.last_used > _PATIENCE_SECONDS * 1_000_000

    def _aborted(self, transaction: Transaction) -> Refusal:
        self.close(transaction)
        until = self._now() + _CONTENDED_MICROSECONDS
        self._contended.update(dict.fromkeys(transaction.reads, until))
        for query, _ in transaction.queries:
            self._contended[_queried(transaction, query)] = until
        return Refusal(
            grpc.StatusCode.ABORTED, "Too much contention on these documents. Please try again."
        )

    def _check_id(self, transaction_id: bytes) -> None:
        known = len(transaction_id) == _ID.size
        if not known or not 0 < _ID.unpack(transaction_id)[0] <= self.last_serial:
            raise invalid("Invalid transaction.")

    def _has_expired(self, transaction: Transaction) -> bool:
        now = self._now()
        return (
            now - transaction.last_used > _IDLE_MICROSECONDS
            or now - transaction.began > _LIFE_MICROSECONDS
        )

    def _forget_expired(self) -> None:
        for transaction in [*self._open.values()]:
            if self._has_expired(transaction):
                self.close(transaction)
        now = self._now()
        for name in [name for name, until in self._contended.items() if until <= now]:
            del self._contended[name]


class _Turn:
    """Who has the turn in a database, and who waits for it, first come first."""

    def __init__(self) -> None:
        self.holder: Transaction | None = None
        self._waiting: deque[tuple[Transaction, asyncio.Future[None]]] = deque()

    def join(self, transaction: Transaction) -> asyncio.Future[None]:
        """Take the turn, or a place in the line; done when the transaction has the turn."""
        granted = asyncio.get_running_loop().create_future()
        if self.holder is None or self.holder is transaction:
            self.holder = transaction
            granted.set_result(None)
        else:
            self._waiting.append((transaction, granted))
        return granted

    def leave(self, transaction: Transaction) -> None:
        """Give the turn, if the transaction has it, to the next who is still there."""
        if self.holder is not transaction:
            return
        self.holder = None
        while self._waiting and self.holder is None:
            successor, granted = self._waiting.popleft()
            if not successor.closed and not granted.done():
                self.holder = successor
                granted.set_result(None)


def _queried(transaction: Transaction, query: Query) -> str:
    return f"{transaction.database}/{query.parent}/{query.collection_id}"


def _still_holds(transaction: Transaction, documents: Documents) -> bool:
    for name, seen in transaction.reads.items():
        path = document_path(name)
        if version(documents.get(path.collection, path.id)) != seen:
            return False
    return all(
        _versions(run_query(documents, query)) == seen for query, seen in transaction.queries
    )


def _versions(found: list[DocumentMessage]) -> Versions:
    return [(document.name, version(document)) for document in found]
