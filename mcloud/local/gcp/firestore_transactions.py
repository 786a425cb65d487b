"""Transactions: optimistic, checked at commit, and executed in turn after a conflict.

A read-write transaction reads the newest documents and remembers its reads. Its commit returns
ABORTED if any of those reads would now have another result. This alone makes transactions
serialisable: a commit has the same effect as running the whole transaction at that instant. The
real service does the same in a database whose concurrency mode is OPTIMISTIC.

However, the slower of many transactions could then fail repeatedly, and the client gives up after
five attempts. The reads of an aborted transaction are therefore contended for a second, and
transactions that read the same data in that time take turns: there is one turn per database, in
order of arrival, from that read to the end of the transaction. No other transaction may write the
data that the holder has read, so a second attempt fails only because of a write outside of
transactions. With a single turn per database there is no deadlock. (The id of the attempt that a
retry repeats cannot be used for this: the client mixes these ids up when threads share a function.)

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

# A holder that has sent nothing for this time, while others wait, loses its turn. Its commit is
# still checked.
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
    """The open transactions of all databases. ``now`` returns microseconds since the epoch."""

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
            database: name of the database.
            snapshot: the documents that a read-only transaction reads.
            retry: the id of the attempt that this one repeats, if any.
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
        """Return the open transaction with that id, or raise INVALID_ARGUMENT."""
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
        """Record the version of a document that was read. The first read counts."""
        transaction.reads.setdefault(name, version(document))

    def note_query(
        self, transaction: Transaction, query: Query, found: list[DocumentMessage]
    ) -> None:
        """Record the result of a query."""
        transaction.queries.append((query, _versions(found)))

    async def before_commit(self, transaction: Transaction, written: list[str]) -> None:
        """Prevent a transaction from writing data that the holder of the turn has read.

        A transaction that has read something itself is ABORTED and will wait for a turn in its next
        attempt. A transaction that only writes waits now.
        """
        holder = self._turns[transaction.database].holder
        if holder is None or holder is transaction or not written:
            return
        if holder.queries or any(name in holder.reads for name in written):
            if transaction.reads or transaction.queries:
                raise self._aborted(transaction)
            await self._take_turn(transaction)

    def check(self, transaction: Transaction, documents: Documents) -> None:
        """Close the transaction and raise ABORTED, unless all of its reads are still valid."""
        if transaction.closed or not _still_holds(transaction, documents):
            raise self._aborted(transaction)

    def roll_back(self, transaction_id: bytes, database: str) -> None:
        """Close a transaction. A closed one stays closed."""
        self._check_id(transaction_id)
        transaction = self._open.get(transaction_id)
        if transaction is not None and transaction.database == database:
            self.close(transaction)

    def close(self, transaction: Transaction) -> None:
        """Remove a transaction, and pass on its turn if it has it."""
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
            granted.cancel()  # leave the queue if the client no longer waits
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
    """The transaction that has the turn in a database, and those that wait for it in the order of
    arrival.
    """

    def __init__(self) -> None:
        self.holder: Transaction | None = None
        self._waiting: deque[tuple[Transaction, asyncio.Future[None]]] = deque()

    def join(self, transaction: Transaction) -> asyncio.Future[None]:
        """Take the turn or a place in the queue. The future is done when the transaction has the
        turn.
        """
        granted = asyncio.get_running_loop().create_future()
        if self.holder is None or self.holder is transaction:
            self.holder = transaction
            granted.set_result(None)
        else:
            self._waiting.append((transaction, granted))
        return granted

    def leave(self, transaction: Transaction) -> None:
        """Pass the turn, if the transaction has it, to the next transaction that still waits."""
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
