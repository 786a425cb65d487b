"""Transactions with a simulated clock: conflicts, queues and expiry."""

import asyncio

import grpc
import pytest

from mcloud.local.gcp import firestore_transactions
from mcloud.local.gcp.firestore_documents import Documents
from mcloud.local.gcp.firestore_protos import Document, StructuredQuery, timestamp
from mcloud.local.gcp.firestore_query import Query, parse_query, run_query
from mcloud.local.gcp.firestore_transactions import Transaction, Transactions
from mcloud.local.gcp.rpc import Refusal

DATABASE = "projects/p/databases/(default)"


class Database:
    """Documents, their transactions, and a clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_000_000
        self.documents = Documents()
        self.transactions = Transactions(lambda: self.now)

    def name(self, document_id: str) -> str:
        return f"{DATABASE}/documents/c/{document_id}"

    def write(self, document_id: str, *, remove: bool = False) -> None:
        self.now += 1
        document = Document(name=self.name(document_id), update_time=timestamp(self.now))
        self.documents.put("c", document_id, None if remove else document)

    def begin(self) -> Transaction:
        return self.transactions.begin(DATABASE)

    async def read(self, transaction: Transaction, document_id: str) -> None:
        await self.transactions.before_get(transaction, self.name(document_id))
        self.transactions.note_read(
            transaction, self.name(document_id), self.documents.get("c", document_id)
        )

    async def query(self, transaction: Transaction) -> None:
        everything = whole_collection()
        await self.transactions.before_query(transaction, everything)
        self.transactions.note_query(transaction, everything, run_query(self.documents, everything))

    async def write_in(self, transaction: Transaction, *written: str) -> bool:
        """Commit these documents. Return False if the commit was ABORTED."""
        try:
            await self.transactions.before_commit(transaction, [*map(self.name, written)])
            self.transactions.check(transaction, self.documents)
        except Refusal as refusal:
            if refusal.code is not grpc.StatusCode.ABORTED:
                raise
            return False
        for document_id in written:
            self.write(document_id)
        self.transactions.close(transaction)
        return True

    def commit(self, transaction: Transaction, *written: str) -> bool:
        """Commit documents that no other transaction holds, as ``write_in`` does."""
        return asyncio.run(self.write_in(transaction, *written))

    async def contend(self, *document_ids: str) -> None:
        """Make a transaction that has read these documents abort."""
        transaction = self.begin()
        for document_id in document_ids:
            await self.read(transaction, document_id)
            self.write(document_id)
        assert not await self.write_in(transaction)


def whole_collection() -> Query:
    query = StructuredQuery()
    query.from_.add(collection_id="c")
    return parse_query("", query)


@pytest.fixture
def database() -> Database:
    return Database()


async def let_others_run() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize("existed", [True, False])
@pytest.mark.parametrize("remove", [True, False])
def test_a_changed_read_aborts(database: Database, existed: bool, remove: bool) -> None:
    if existed:
        database.write("a")
    transaction = database.begin()
    asyncio.run(database.read(transaction, "a"))
    database.write("a", remove=remove)
    assert database.commit(transaction) is (remove and not existed)


def test_an_unchanged_read_commits(database: Database) -> None:
    database.write("a")
    transaction = database.begin()
    asyncio.run(database.read(transaction, "a"))
    database.write("b")
    assert database.commit(transaction)


def test_a_document_that_appears_in_a_query_aborts(database: Database) -> None:
    database.write("a")
    transaction = database.begin()
    asyncio.run(database.query(transaction))
    database.write("b")
    assert not database.commit(transaction)


def test_a_document_that_leaves_a_query_aborts(database: Database) -> None:
    database.write("a")
    transaction = database.begin()
    asyncio.run(database.query(transaction))
    database.write("a", remove=True)
    assert not database.commit(transaction)


def test_the_first_read_of_a_document_counts(database: Database) -> None:
    transaction = database.begin()
    asyncio.run(database.read(transaction, "a"))
    database.write("a")
    asyncio.run(database.read(transaction, "a"))
    assert not database.commit(transaction)


def test_first_attempts_do_not_wait_for_each_other(database: Database) -> None:
    one, other = database.begin(), database.begin()
    asyncio.run(database.read(one, "a"))
    asyncio.run(database.read(other, "a"))
    assert database.commit(one, "a")
    assert not database.commit(other, "a")


def test_after_a_conflict_everyone_takes_turns_and_nobody_aborts(database: Database) -> None:
    async def scenario() -> list[bool]:
        await database.contend("a")
        retry = database.begin()
        await database.read(retry, "a")
        order = []

        async def increment(number: int) -> bool:
            transaction = database.begin()
            await database.read(transaction, "a")
            order.append(number)
            await let_others_run()
            return await database.write_in(transaction, "a")

        waiting = [asyncio.create_task(increment(number)) for number in range(10)]
        await let_others_run()
        assert order == []
        assert await database.write_in(retry, "a")
        committed = await asyncio.gather(*waiting)
        assert order == [*range(10)]
        return committed

    assert asyncio.run(scenario()) == [True] * 10


def test_transactions_without_contention_do_not_wait(database: Database) -> None:
    async def scenario() -> None:
        await database.contend("a")
        holder, other = database.begin(), database.begin()
        await database.read(holder, "a")
        await database.read(other, "b")
        assert await database.write_in(other, "b")
        assert await database.write_in(holder, "a")

    asyncio.run(scenario())


def test_contention_is_forgotten_after_a_second(database: Database) -> None:
    async def scenario() -> None:
        await database.contend("a")
        database.now += 1_000_000
        await database.read(database.begin(), "a")
        await database.read(database.begin(), "a")

    asyncio.run(asyncio.wait_for(scenario(), timeout=60))


def test_queries_of_a_contended_collection_take_turns(database: Database) -> None:
    async def scenario() -> tuple[bool, bool]:
        aborted = database.begin()
        await database.query(aborted)
        database.write("a")
        assert not await database.write_in(aborted)
        one, other = database.begin(), database.begin()
        await database.query(one)
        second = asyncio.create_task(database.query(other))
        await let_others_run()
        assert not second.done()
        first = await database.write_in(one, "b")
        await second
        return first, await database.write_in(other, "c")

    assert asyncio.run(scenario()) == (True, True)


@pytest.mark.parametrize("by_query", [True, False])
def test_others_do_not_write_what_the_holder_of_the_turn_has_read(
    database: Database, by_query: bool
) -> None:
    async def scenario() -> None:
        reader, blind = database.begin(), database.begin()
        await database.read(reader, "b")
        await database.contend("a")
        holder = database.begin()
        await database.read(holder, "a")
        if by_query:
            await database.query(holder)
        written = "new" if by_query else "a"
        assert not await database.write_in(reader, written)
        waiting = asyncio.create_task(database.write_in(blind, written))
        await let_others_run()
        assert not waiting.done()
        assert await database.write_in(holder, "a")
        assert await waiting

    asyncio.run(scenario())


def test_crossed_reads_do_not_deadlock(database: Database) -> None:
    async def scenario() -> list[bool]:
        await database.contend("a", "b")

        async def run(*document_ids: str) -> bool:
            transaction = database.begin()
            for document_id in document_ids:
                await database.read(transaction, document_id)
                await let_others_run()
            return await database.write_in(transaction, *document_ids)

        return await asyncio.gather(*(run(*ids) for ids in ["ab", "ba"] * 5))

    assert asyncio.run(scenario()) == [True] * 10


@pytest.mark.parametrize("leave", ["roll back", "cancel"])
def test_a_client_that_disconnected_while_waiting_is_skipped(
    database: Database, leave: str
) -> None:
    async def scenario() -> bool:
        await database.contend("a")
        holder, gone, patient = database.begin(), database.begin(), database.begin()
        await database.read(holder, "a")
        leaving = asyncio.create_task(database.read(gone, "a"))
        waiting = asyncio.create_task(database.read(patient, "a"))
        await let_others_run()
        if leave == "cancel":
            leaving.cancel()
            await let_others_run()
        else:
            database.transactions.roll_back(gone.id, DATABASE)
        assert await database.write_in(holder, "a")
        await waiting
        leaving.cancel()
        return await database.write_in(patient, "a")

    assert asyncio.run(scenario())


def test_a_silent_holder_loses_its_turn(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firestore_transactions, "_PATIENCE_SECONDS", 0.01)

    async def scenario() -> None:
        await database.contend("a")
        silent = database.begin()
        await database.read(silent, "a")
        waiting = database.begin()
        read = asyncio.create_task(database.read(waiting, "a"))
        await asyncio.sleep(0.03)
        assert not read.done(), "by its own clock the holder has not been silent for long"
        database.now += 10_001
        await read
        assert await database.write_in(waiting, "a")
        assert not await database.write_in(silent, "a")

    asyncio.run(scenario())


@pytest.mark.parametrize(("idle", "uses"), [(61, 0), (50, 5)])
def test_transactions_expire_when_idle_and_when_old(
    database: Database, idle: int, uses: int
) -> None:
    transaction = database.begin()
    for _ in range(uses):
        database.now += idle * 1_000_000
        assert database.transactions.get(transaction.id, DATABASE) is transaction
    database.now += idle * 1_000_000
    with pytest.raises(Refusal) as refused:
        database.transactions.get(transaction.id, DATABASE)
    assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("transaction_id", [b"x", b"", bytes(8), b"\xff" * 8])
def test_ids_that_were_never_given_are_refused(database: Database, transaction_id: bytes) -> None:
    for use in (database.transactions.get, database.transactions.roll_back):
        with pytest.raises(Refusal) as refused:
            use(transaction_id, DATABASE)
        assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT


def test_a_closed_transaction_may_be_rolled_back_but_not_used(database: Database) -> None:
    transaction = database.begin()
    assert database.commit(transaction)
    database.transactions.roll_back(transaction.id, DATABASE)
    with pytest.raises(Refusal):
        database.transactions.get(transaction.id, DATABASE)


def test_a_transaction_belongs_to_its_database(database: Database) -> None:
    transaction = database.begin()
    with pytest.raises(Refusal):
        database.transactions.get(transaction.id, "projects/p/databases/other")
