"""Transactions, through the real client on our Firestore and on Google's emulator.

Each case requires the documented answer from both. Comments name the few places where Google's
emulator answers differently.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from google.api_core import exceptions
from google.cloud import firestore
from google.cloud.firestore_v1 import types
from google.cloud.firestore_v1.base_query import FieldFilter

from .firestore_client import fill, ids


def which_commit(*writers: Callable[[], object]) -> int:
    """Let conflicting writers commit one after the other. Return the number of the only success.

    Google's emulator locks documents that are read, so there the first writer waits and aborts.
    Ours checks at commit, like the real service in its optimistic mode, so the second one aborts.
    """
    done = []
    for number, write in enumerate(writers):
        try:
            write()
        except exceptions.Aborted:
            continue
        done.append(number)
    assert len(done) == 1
    return done[0]


class TestTransactions:
    def test_read_then_write(self, rows: firestore.CollectionReference) -> None:
        rows.document("a").set({"n": 1})

        @firestore.transactional  # type: ignore[untyped-decorator]
        def move(transaction: firestore.Transaction) -> int:
            a, b = transaction.get_all([rows.document("a"), rows.document("b")])
            found = {document.id: document for document in (a, b)}
            assert not found["b"].exists
            transaction.delete(rows.document("a"))
            transaction.create(rows.document("b"), found["a"].to_dict())
            return int(found["a"].get("n"))

        assert move(rows._client.transaction()) == 1
        assert ids(rows) == ["b"]

    def test_one_of_two_conflicting_transactions_commits(
        self, rows: firestore.CollectionReference
    ) -> None:
        document = rows.document("a")
        document.set({"n": 9})
        one, other = rows._client.transaction(), rows._client.transaction()
        for number, transaction in enumerate((one, other)):
            transaction._begin()
            document.get(transaction=transaction)
            transaction.update(document, {"n": number})
        done = which_commit(one._commit, other._commit)
        assert document.get().get("n") == done

    def test_a_write_from_outside_conflicts(self, rows: firestore.CollectionReference) -> None:
        document = rows.document("a")
        document.set({"n": 9})
        transaction = rows._client.transaction()
        transaction._begin()
        document.get(transaction=transaction)
        transaction.update(document, {"n": 1})
        done = which_commit(lambda: document.update({"n": 0}), transaction._commit)
        assert document.get().get("n") == done

    def test_a_row_that_appears_in_a_query_conflicts(
        self, rows: firestore.CollectionReference
    ) -> None:
        fill(rows, {"a": {"n": 1}, "b": {"n": 2}})
        transaction = rows._client.transaction()
        transaction._begin()
        query = rows.where(filter=FieldFilter("n", ">=", 2))
        assert len(query.get(transaction=transaction)) == 1
        transaction.set(rows.document("seen"), {})
        done = which_commit(lambda: rows.document("b").update({"n": 3}), transaction._commit)
        assert rows.document("seen").get().exists is (done == 1)

    def test_increments_from_threads_are_not_lost(
        self, rows: firestore.CollectionReference
    ) -> None:
        document = rows.document("a")
        document.set({"n": 0})
        starts = threading.Barrier(2)

        @firestore.transactional  # type: ignore[untyped-decorator]
        def increment(transaction: firestore.Transaction) -> None:
            number = document.get(transaction=transaction).get("n")
            transaction.update(document, {"n": number + 1})

        def run() -> int:
            starts.wait()
            done = 0
            while done < 2:
                # On Google's emulator each waits for the other's lock until the client gives up.
                try:
                    increment(rows._client.transaction(max_attempts=2))
                except ValueError:
                    continue
                done += 1
            return done

        with ThreadPoolExecutor(2) as threads:
            runs = [threads.submit(run) for _ in range(2)]
            assert sum(run.result() for run in runs) == 4
        assert document.get().get("n") == 4

    def test_a_read_only_transaction_sees_one_moment(
        self, rows: firestore.CollectionReference
    ) -> None:
        fill(rows, {"a": {"n": 1}, "b": {"n": 1}})
        transaction = rows._client.transaction(read_only=True)
        transaction._begin()
        assert rows.document("a").get(transaction=transaction).get("n") == 1
        fill(rows, {"a": {"n": 2}, "b": {"n": 2}, "c": {"n": 2}})
        assert rows.document("b").get(transaction=transaction).get("n") == 1
        seen = {found.id: found.get("n") for found in rows.stream(transaction=transaction)}
        assert seen == {"a": 1, "b": 1}
        transaction._commit()

    def test_a_read_only_transaction_cannot_write(self, client: firestore.Client) -> None:
        transaction = client.transaction(read_only=True)
        transaction._begin()
        write = types.Write(update={"name": f"{client._database_string}/documents/rows/a"})
        with pytest.raises(exceptions.InvalidArgument):
            client._firestore_api.commit(
                request={
                    "database": client._database_string,
                    "writes": [write],
                    "transaction": transaction._id,
                }
            )

    def test_rolled_back_and_unknown_transactions(
        self, rows: firestore.CollectionReference
    ) -> None:
        transaction = rows._client.transaction()
        transaction._begin()
        transaction_id = transaction._id
        transaction.set(rows.document("a"), {})
        transaction._rollback()
        assert not rows.document("a").get().exists
        for bad in (transaction_id, b"nonsense"):
            transaction._id = bad
            with pytest.raises(exceptions.InvalidArgument):
                rows.document("a").get(transaction=transaction)

    def test_an_error_in_a_transaction_rolls_it_back(
        self, rows: firestore.CollectionReference
    ) -> None:
        @firestore.transactional  # type: ignore[untyped-decorator]
        def fail(transaction: firestore.Transaction) -> None:
            transaction.set(rows.document("a"), {})
            raise LookupError

        with pytest.raises(LookupError):
            fail(rows._client.transaction())
        assert not rows.document("a").get().exists
