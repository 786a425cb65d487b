"""The service through the real client: times, databases, state, limits and refusals."""

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import firestore
from google.cloud.firestore_v1 import types

from mcloud.local.gcp.firestore import Firestore

from .serving import Serving


class Server:
    """A Firestore on a gRPC server in a thread, with a clock that a test sets."""

    def __init__(self) -> None:
        self.nanoseconds = 1_700_000_000_123_456_789
        self.firestore = Firestore(lambda: self.nanoseconds)
        self._serving = Serving(self.firestore.services())
        self.host = self._serving.host
        self.stop = self._serving.stop


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def client(server: Server, monkeypatch: pytest.MonkeyPatch) -> firestore.Client:
    return connect(server, monkeypatch)


def connect(
    server: Server, monkeypatch: pytest.MonkeyPatch, database: str | None = None
) -> firestore.Client:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", server.host)
    return firestore.Client(project="p", database=database)


def microseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)


def test_commit_times_are_microseconds_and_strictly_increase(
    server: Server, client: firestore.Client
) -> None:
    document = client.document("c/a")
    times = [document.set({"n": number}).update_time for number in range(3)]
    server.nanoseconds -= 10**9
    times.append(document.set({"n": 3}).update_time)
    server.nanoseconds += 10**10
    times.append(document.set({"n": 4}).update_time)
    start = 1_700_000_000_123_456
    assert [microseconds(moment) - start for moment in times] == [0, 1, 2, 3, 9_000_000]
    snapshot = document.get()
    assert microseconds(snapshot.create_time) == start
    assert snapshot.update_time == times[-1]
    assert microseconds(snapshot.read_time) >= microseconds(times[-1])


def test_a_server_timestamp_is_the_commit_time_in_milliseconds(client: firestore.Client) -> None:
    client.document("c/a").set(
        {"at": firestore.SERVER_TIMESTAMP, "b": {"at": firestore.SERVER_TIMESTAMP}}
    )
    stored = client.document("c/a").get().to_dict()
    assert microseconds(stored["at"]) == 1_700_000_000_123_000
    assert stored["b"]["at"] == stored["at"]


def test_databases_are_separate(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (connect(server, monkeypatch, name) for name in (None, "other"))
    one.document("c/a").set({"n": 1})
    assert not other.document("c/a").get().exists
    assert list(other.collections()) == []
    other.document("c/a").set({"n": 2})
    assert one.document("c/a").get().get("n") == 1


def test_a_write_to_another_database_is_refused(client: firestore.Client) -> None:
    name = "projects/p/databases/other/documents/c/a"
    with pytest.raises(exceptions.InvalidArgument):
        commit(client, types.Write(update={"name": name}))


def commit(client: firestore.Client, *writes: types.Write) -> Any:
    return client._firestore_api.commit(
        request={"database": client._database_string, "writes": list(writes)}
    )


def test_state_survives_as_json(
    server: Server, client: firestore.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.document("c/a/d/é").set({"b": b"\xff", "f": 1.5, "n": None})
    connect(server, monkeypatch, "other").document("c/x").set({})
    before = client.document("c/a/d/é").get()
    transaction = client.transaction()
    transaction._begin()
    dump = json.loads(json.dumps(server.firestore.dump()))

    successor = Server()
    try:
        successor.nanoseconds = 5
        successor.firestore.load(dump)
        again = connect(successor, monkeypatch)
        after = again.document("c/a/d/é").get()
        assert (after.to_dict(), after.create_time, after.update_time) == (
            before.to_dict(),
            before.create_time,
            before.update_time,
        )
        assert connect(successor, monkeypatch, "other").document("c/x").get().exists
        # Its clock is behind, but its commits are not. It knows that the old transaction is closed.
        assert again.document("c/a").set({}).update_time > before.update_time
        revived = again.transaction()
        revived._id = transaction._id
        with pytest.raises(exceptions.InvalidArgument, match="invalid or closed"):
            again.document("c/a").get(transaction=revived)
        revived._rollback()
        assert successor.firestore.dump()["last_serial"] == dump["last_serial"]
    finally:
        successor.stop()


@pytest.mark.parametrize("document", ["%", "AAAA", ""], ids=["not base64", "not ours", "nameless"])
def test_damaged_state_is_refused(document: str) -> None:
    dump = Firestore(lambda: 0).dump()
    dump["documents"].append(document)
    with pytest.raises(ValueError, match=r"\S"):
        Firestore(lambda: 0).load(dump)


def test_a_refused_commit_changes_nothing(client: firestore.Client) -> None:
    client.document("c/a").set({"n": 1})
    batch = client.batch()
    batch.set(client.document("c/a"), {"n": 2})
    batch.delete(client.document("c/b"))
    batch.create(client.document("c/c"), {})
    batch.update(client.document("c/missing"), {"n": 1})
    with pytest.raises(exceptions.NotFound):
        batch.commit()
    assert client.document("c/a").get().to_dict() == {"n": 1}
    assert not client.document("c/c").get().exists


def test_a_request_may_have_ten_mebibytes(client: firestore.Client) -> None:
    def send(size: int) -> None:
        batch = client.batch()
        for number in range(11):
            batch.set(client.document(f"c/{number}"), {"s": "x" * (size // 11)})
        batch.commit()

    send(10 * 1024 * 1024 - 4_096)
    with pytest.raises(exceptions.InvalidArgument, match="10485760 bytes"):
        send(10 * 1024 * 1024)


def test_five_hundred_transforms_of_one_document(client: firestore.Client) -> None:
    def increment(count: int) -> None:
        client.document("c/a").set({f"n{i}": firestore.Increment(1) for i in range(count)})

    increment(500)
    with pytest.raises(exceptions.InvalidArgument, match="500 transforms"):
        increment(501)


def test_an_unsupported_feature_is_reported(client: firestore.Client) -> None:
    client.document("c/a").set({})
    with pytest.raises(exceptions.MethodNotImplemented, match="PartitionQuery"):
        list(client.collection_group("c").get_partitions(3))
    with pytest.raises(exceptions.MethodNotImplemented, match="explain_options"):
        list(client.collection("c").stream(explain_options=firestore.ExplainOptions(analyze=True)))


def test_key_scans_are_ascending_only(client: firestore.Client) -> None:
    for document_id in "ab":
        client.collection("c").document(document_id).set({"n": 1})
    downward = client.collection("c").order_by("__name__", direction="DESCENDING")
    with pytest.raises(exceptions.FailedPrecondition):
        downward.get()
    by_number = client.collection("c").order_by("n", direction="DESCENDING")
    assert [found.id for found in by_number.get()] == ["b", "a"]


def test_concurrent_increments_of_a_document_are_all_counted(client: firestore.Client) -> None:
    document = client.document("c/counter")
    document.set({"n": 0})

    @firestore.transactional  # type: ignore[untyped-decorator]
    def increment(transaction: firestore.Transaction) -> None:
        number = document.get(transaction=transaction).get("n")
        transaction.update(document, {"n": number + 1})

    with ThreadPoolExecutor(16) as threads:
        runs = [threads.submit(increment, client.transaction()) for _ in range(160)]
        assert [run.result() for run in runs] == [None] * 160
    assert document.get().get("n") == 160


def test_transactions_with_queries_are_serialisable(client: firestore.Client) -> None:
    """Write skew: each transaction adds a row only while there are fewer than five."""
    rows = client.collection("rows")

    @firestore.transactional  # type: ignore[untyped-decorator]
    def add(transaction: firestore.Transaction, number: int) -> bool:
        if len(rows.get(transaction=transaction)) >= 5:
            return False
        transaction.create(rows.document(str(number)), {})
        return True

    with ThreadPoolExecutor(8) as threads:
        added = list(threads.map(lambda number: add(client.transaction(), number), range(24)))
    assert sum(added) == 5 == len(rows.get())


def test_the_async_client_works_too(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", server.host)

    async def scenario() -> list[Any]:
        client = firestore.AsyncClient(project="p", credentials=AnonymousCredentials())
        document = client.document("c/a")
        await document.set({"n": 0})

        @firestore.async_transactional  # type: ignore[untyped-decorator]
        async def increment(transaction: firestore.AsyncTransaction) -> None:
            number = (await document.get(transaction=transaction)).get("n")
            transaction.update(document, {"n": number + 1})

        await asyncio.gather(*(increment(client.transaction()) for _ in range(20)))
        return [found.to_dict() async for found in client.collection("c").stream()]

    assert asyncio.run(scenario()) == [{"n": 20}]
