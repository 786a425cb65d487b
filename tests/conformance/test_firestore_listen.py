"""Listeners, through the real client on our Firestore and on Google's emulator.

Google's emulator sends a whole query again after each write; the real service and ours send only
what has changed. The client makes the same snapshots of both.
"""

import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from google.cloud import firestore
from google.cloud.firestore_v1 import types
from google.cloud.firestore_v1.base_query import FieldFilter
from patience import PATIENCE

from .firestore_client import fill

Changes = list[tuple[str, str]]
Snapshots = Callable[[], tuple[list[str], Changes]]


class TestListeners:
    def test_a_document(self, rows: firestore.CollectionReference) -> None:
        document = rows.document("a")
        with listening(document) as snapshot:
            assert snapshot()[0] == []
            document.set({"n": 1})
            assert snapshot() == (["a"], [("ADDED", "a")])
            rows.document("b").set({"n": 1})
            document.update({"n": 2})
            assert snapshot() == (["a"], [("MODIFIED", "a")])
            document.delete()
            assert snapshot() == ([], [("REMOVED", "a")])

    def test_a_query(self, rows: firestore.CollectionReference) -> None:
        fill(rows, {"a": {"n": 1}, "b": {"n": 2}, "none": {}})
        with listening(rows.where(filter=FieldFilter("n", ">", 1))) as snapshot:
            assert snapshot() == (["b"], [("ADDED", "b")])
            rows.document("a").update({"n": 5})
            assert snapshot() == (["a", "b"], [("ADDED", "a")])
            rows.document("b").update({"n": 9})
            assert snapshot() == (["a", "b"], [("MODIFIED", "b")])
            rows.document("a").update({"n": 0})
            assert snapshot() == (["b"], [("REMOVED", "a")])
            rows.document("b").delete()
            assert snapshot() == ([], [("REMOVED", "b")])

    def test_a_limited_query(self, rows: firestore.CollectionReference) -> None:
        fill(rows, {"a": {"n": 1}, "b": {"n": 2}, "c": {"n": 3}})
        newest = rows.order_by("n", direction="DESCENDING").limit(2)
        with listening(newest) as snapshot:
            assert snapshot()[0] == ["b", "c"]
            rows.document("d").set({"n": 4})
            assert snapshot() == (["c", "d"], [("ADDED", "d"), ("REMOVED", "b")])
            rows.document("c").delete()
            assert snapshot() == (["b", "d"], [("ADDED", "b"), ("REMOVED", "c")])

    def test_a_commit_is_one_snapshot(self, rows: firestore.CollectionReference) -> None:
        with listening(rows) as snapshot:
            assert snapshot() == ([], [])
            fill(rows, {f"{number:02}": {"n": number} for number in range(20)})
            names = [f"{number:02}" for number in range(20)]
            assert snapshot() == (names, [("ADDED", name) for name in names])

    def test_a_collection_group(self, client: firestore.Client) -> None:
        client.document("a/1/rows/x").set({})
        with listening(client.collection_group("rows")) as snapshot:
            assert snapshot()[0] == ["x"]
            client.document("other/y").set({})
            client.document("b/1/rows/y").set({})
            assert snapshot() == (["x", "y"], [("ADDED", "y")])

    def test_listeners_side_by_side(self, rows: firestore.CollectionReference) -> None:
        high = rows.where(filter=FieldFilter("n", ">", 0))
        with listening(rows.document("a")) as one, listening(high) as many:
            assert (one()[0], many()[0]) == ([], [])
            rows.document("a").set({"n": 1})
            assert (one()[0], many()[0]) == (["a"], ["a"])


class TestStreams:
    """The documented protocol, which Google's emulator keeps only in part."""

    @pytest.fixture(autouse=True)
    def _ours(self, request: pytest.FixtureRequest) -> None:
        if request.node.callspec.params["firestore_host"] != "ours":
            pytest.skip("Google's emulator sends everything again after each write")

    def test_a_resumed_target_gets_what_it_has_missed(
        self, rows: firestore.CollectionReference
    ) -> None:
        fill(rows, {"a": {"n": 1}, "b": {"n": 1}, "c": {"n": 1}})
        with streaming(rows._client) as stream:
            token = stream.until_quiet(add_target=query_target(rows.order_by("n")))[-1].resume_token
        rows.document("b").delete()
        rows.document("c").update({"n": 2})
        with streaming(rows._client) as stream:
            target = query_target(rows.order_by("n")) | {"resume_token": token}
            assert told(stream.until_quiet(add_target=target)) == [
                "ADD",
                "delete b",
                "change c",
                "CURRENT",
                "NO_CHANGE",
            ]

    def test_an_unknown_token_starts_again(self, rows: firestore.CollectionReference) -> None:
        fill(rows, {"a": {"n": 1}})
        with streaming(rows._client) as stream:
            target = query_target(rows.order_by("n")) | {"resume_token": b"unknown"}
            assert told(stream.until_quiet(add_target=target)) == [
                "ADD",
                "RESET",
                "change a",
                "CURRENT",
                "NO_CHANGE",
            ]

    def test_only_changes_are_sent(self, rows: firestore.CollectionReference) -> None:
        fill(rows, {"a": {"n": 1}, "b": {"n": 1}})
        with streaming(rows._client) as stream:
            stream.until_quiet(add_target=query_target(rows.order_by("n")))
            rows.document("b").update({"n": 2})
            assert told(stream.until_quiet()) == ["change b", "NO_CHANGE"]

    def test_a_refused_target_is_removed_with_the_cause(
        self, rows: firestore.CollectionReference
    ) -> None:
        with streaming(rows._client) as stream:
            target = query_target(rows.offset(-1))
            added, removed, _ = stream.until_quiet(add_target=target)
            assert told([added, removed]) == ["ADD", "REMOVE"]
            assert (removed.cause.code, list(removed.target_ids)) == (3, [1])

    def test_a_target_that_is_wanted_once(self, rows: firestore.CollectionReference) -> None:
        with streaming(rows._client) as stream:
            answers = stream.until_quiet(
                add_target=query_target(rows.order_by("n")) | {"once": True}
            )
            assert told(answers) == ["ADD", "CURRENT", "REMOVE", "NO_CHANGE"]

    def test_a_removed_target(self, rows: firestore.CollectionReference) -> None:
        with streaming(rows._client) as stream:
            stream.until_quiet(add_target=query_target(rows.order_by("n")))
            assert told(stream.until_quiet(remove_target=1)) == ["REMOVE", "NO_CHANGE"]


@contextmanager
def listening(watched: Any) -> Iterator[Snapshots]:
    """Listen to a document or a query; the function gives the next snapshot's ids and changes.

    Both are sorted, because the client orders them in its own way.
    """
    snapshots: queue.Queue[tuple[list[str], Changes]] = queue.Queue()

    def note(documents: Any, changes: Any, _read_time: Any) -> None:
        found = sorted(document.id for document in documents if document.exists)
        changed = sorted((change.type.name, change.document.id) for change in changes)
        snapshots.put((found, changed))

    watch = watched.on_snapshot(note)
    try:
        yield lambda: snapshots.get(timeout=PATIENCE)
    finally:
        watch.unsubscribe()


class Stream:
    """A bare Listen stream, without the client's own view of the documents."""

    def __init__(self, client: firestore.Client) -> None:
        self._database = client._database_string
        self._requests: queue.Queue[Any] = queue.Queue()
        listen = client._firestore_api.transport.listen
        self._call = listen(iter(self._requests.get, None), timeout=PATIENCE)

    def until_quiet(self, **request: Any) -> list[Any]:
        """Send a request, if there is one, and return the answers up to the next NO_CHANGE."""
        if request:
            self._requests.put(types.ListenRequest(database=self._database, **request))
        answers = []
        for response in self._call:
            kind = types.ListenResponse.pb(response).WhichOneof("response_type")
            answers.append(getattr(response, kind))
            if told(answers)[-1] == "NO_CHANGE":
                break
        return answers

    def close(self) -> None:
        self._requests.put(None)
        self._call.cancel()


@contextmanager
def streaming(client: firestore.Client) -> Iterator[Stream]:
    stream = Stream(client)
    try:
        yield stream
    finally:
        stream.close()


def query_target(query: Any) -> dict[str, Any]:
    """Return a target, whose id is 1, with everything that a query finds."""
    parent, _ = query._parent._parent_info()
    structured = query._to_protobuf()
    return {"target_id": 1, "query": {"parent": parent, "structured_query": structured}}


def told(answers: list[Any]) -> list[str]:
    """Describe answers of a stream in a word or two each."""
    words = {
        types.DocumentDelete: lambda answer: f"delete {answer.document[-1]}",
        types.DocumentRemove: lambda answer: f"remove {answer.document[-1]}",
        types.DocumentChange: lambda answer: f"change {answer.document.name[-1]}",
        types.TargetChange: lambda answer: answer.target_change_type.name,
    }
    return [words[type(answer)](answer) for answer in answers]
