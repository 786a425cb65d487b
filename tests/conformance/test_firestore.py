"""Writes, reads and limits, through the real client on our Firestore and on Google's emulator.

Each case requires the documented answer from both. Comments name the few places where Google's
emulator answers differently.
"""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import firestore
from google.cloud.firestore_v1 import types
from google.cloud.firestore_v1.bulk_writer import BulkWriterOptions
from google.cloud.firestore_v1.field_path import FieldPath
from google.cloud.firestore_v1.vector import Vector

from .firestore_client import fill, ids

LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)


class TestWrites:
    def test_create_read_delete(self, rows: firestore.CollectionReference) -> None:
        document = rows.document("a")
        assert not document.get().exists
        created = document.create({"n": 1, "m": {"s": "é"}})
        snapshot = document.get()
        assert snapshot.to_dict() == {"n": 1, "m": {"s": "é"}}
        assert snapshot.create_time == snapshot.update_time == created.update_time
        document.delete()
        assert not document.get().exists
        document.delete()

    def test_every_type_is_read_back(self, rows: firestore.CollectionReference) -> None:
        document = rows.document("types")
        stored = {
            "null": None,
            "bool": True,
            "int": -(2**63),
            "float": -1.5e300,
            "text": "\U0001f600\u0000é",
            "bytes": b"\x00\xff",
            "when": datetime(2024, 8, 8, 23, 54, 0, 123456, tzinfo=UTC),
            "point": firestore.GeoPoint(1.5, -2.5),
            "reference": rows.document("other"),
            "array": [1, "a", {"deep": [None]}],
            "map": {"a.b": {"`": 1}},
            "vector": Vector([1.0, 2.0]),
        }
        document.set(stored)
        assert document.get().to_dict() == stored

    def test_set_replaces_and_merges(self, rows: firestore.CollectionReference) -> None:
        document = rows.document("a")
        document.set({"a": 1, "m": {"x": 1, "y": 2}})
        document.set({"b": 2, "m": {"x": 3}}, merge=True)
        assert document.get().to_dict() == {"a": 1, "b": 2, "m": {"x": 3, "y": 2}}
        document.set({"a": 5, "b": 6}, merge=["b"])
        assert document.get().to_dict() == {"a": 1, "b": 6, "m": {"x": 3, "y": 2}}
        document.set({"c": 3})
        assert document.get().to_dict() == {"c": 3}

    def test_update_by_field_path(self, rows: firestore.CollectionReference) -> None:
        document = rows.document("a")
        document.set({"m": {"x": 1, "y": 2}, "n": 1, "a-b": {"c.d": 1}})
        odd = FieldPath("a-b", "c.d").to_api_repr()
        document.update({"m.x": firestore.DELETE_FIELD, "m.z.w": 4, "n": "s", odd: 2})
        assert document.get().to_dict() == {
            "m": {"y": 2, "z": {"w": 4}},
            "n": "s",
            "a-b": {"c.d": 2},
        }

    def test_an_update_through_a_scalar_makes_it_a_map(
        self, rows: firestore.CollectionReference
    ) -> None:
        document = rows.document("a")
        document.set({"n": 1})
        document.update({"n.x": 2})
        assert document.get().to_dict() == {"n": {"x": 2}}

    def test_a_write_that_changes_nothing_keeps_the_update_time(
        self, rows: firestore.CollectionReference
    ) -> None:
        document = rows.document("a")
        first = document.set({"n": 1}).update_time
        assert document.set({"n": 1}).update_time == first
        assert document.update({"n": 1}).update_time == first
        assert document.get().update_time == first
        changed = document.set({"n": 1.0}).update_time
        assert changed > first
        assert document.get().create_time == first

    def test_add_makes_an_id(self, rows: firestore.CollectionReference) -> None:
        _, reference = rows.add({"n": 1})
        assert reference.get().to_dict() == {"n": 1}

    def test_a_document_may_be_below_a_missing_one(self, client: firestore.Client) -> None:
        client.document("a/missing/b/c").set({"n": 1})
        assert not client.document("a/missing").get().exists
        assert client.document("a/missing/b/c").get().exists


class TestPreconditions:
    def test_create_of_an_existing_document(self, rows: firestore.CollectionReference) -> None:
        rows.document("a").create({"n": 1})
        with pytest.raises(exceptions.AlreadyExists):
            rows.document("a").create({"n": 2})
        assert rows.document("a").get().to_dict() == {"n": 1}

    def test_update_of_a_missing_document(self, rows: firestore.CollectionReference) -> None:
        with pytest.raises(exceptions.NotFound):
            rows.document("a").update({"n": 1})

    def test_delete_of_a_missing_document(self, rows: firestore.CollectionReference) -> None:
        with pytest.raises(exceptions.NotFound):
            rows.document("a").delete(rows._client.write_option(exists=True))

    @pytest.mark.parametrize("exists", [True, False])
    def test_a_stale_update_time(self, rows: firestore.CollectionReference, exists: bool) -> None:
        document = rows.document("a")
        if exists:
            document.set({"n": 1})
        stale = rows._client.write_option(last_update_time=LONG_AGO)
        with pytest.raises(exceptions.FailedPrecondition):
            document.update({"n": 2}, stale)
        with pytest.raises(exceptions.FailedPrecondition):
            document.delete(stale)
        assert document.get().exists is exists

    def test_an_update_time_later_than_the_stored_one(
        self, rows: firestore.CollectionReference
    ) -> None:
        document = rows.document("a")
        stored = document.set({"n": 1}).update_time
        later = rows._client.write_option(last_update_time=stored + timedelta(milliseconds=1))
        with pytest.raises(exceptions.InvalidArgument):
            document.update({"n": 2}, later)
        with pytest.raises(exceptions.InvalidArgument):
            document.delete(later)
        with pytest.raises(exceptions.FailedPrecondition):
            rows.document("missing").delete(later)
        assert document.get().to_dict() == {"n": 1}

    def test_the_current_update_time(self, rows: firestore.CollectionReference) -> None:
        document = rows.document("a")
        version = document.set({"n": 1}).update_time
        option = rows._client.write_option(last_update_time=version)
        newer = document.update({"n": 2}, option).update_time
        with pytest.raises(exceptions.FailedPrecondition):
            document.update({"n": 3}, option)
        document.delete(rows._client.write_option(last_update_time=newer))
        assert not document.get().exists

    def test_one_of_many_conditional_writers_wins(
        self, rows: firestore.CollectionReference
    ) -> None:
        document = rows.document("a")
        version = document.set({"n": 0}).update_time
        option = rows._client.write_option(last_update_time=version)

        def write(number: int) -> bool:
            try:
                document.update({"n": number}, option)
            # Google's emulator also aborts some while it waits for a lock.
            except (exceptions.FailedPrecondition, exceptions.Aborted):
                return False
            return True

        with ThreadPoolExecutor(8) as threads:
            won = list(threads.map(write, range(1, 9)))
        assert sum(won) == 1
        assert document.get().get("n") == won.index(True) + 1


class TestTransforms:
    def test_server_timestamps_of_one_commit_are_equal(
        self, rows: firestore.CollectionReference
    ) -> None:
        now = firestore.SERVER_TIMESTAMP
        batch = rows._client.batch()
        batch.set(rows.document("a"), {"at": now, "deep": {"at": now}})
        batch.set(rows.document("b"), {"at": now})
        batch.commit()
        a, b = (rows.document(name).get().to_dict() for name in "ab")
        assert a["at"] == a["deep"]["at"] == b["at"]
        assert abs(a["at"] - datetime.now(UTC)) < timedelta(minutes=1)
        assert a["at"].microsecond % 1000 == 0

    @pytest.mark.parametrize(
        ("old", "by", "new"),
        [
            (1, 2, 3),
            (1, 0.5, 1.5),
            (0.5, 1, 1.5),
            (None, 2, 2),
            ("text", 2, 2),
            (2**63 - 1, 5, 2**63 - 1),
            (-(2**63), -5, -(2**63)),
        ],
    )
    def test_increment(
        self, rows: firestore.CollectionReference, old: Any, by: Any, new: Any
    ) -> None:
        document = rows.document("a")
        document.set({"n": old})
        document.update({"n": firestore.Increment(by), "deep.m": firestore.Increment(by)})
        assert document.get().to_dict() == {"n": new, "deep": {"m": by}}

    @pytest.mark.parametrize(
        ("old", "maximum", "minimum"),
        [(1, 3, 1), (5, 5, 3), (3.0, 3.0, 3.0), (3.5, 3.5, 3), ("text", 3, 3), (None, 3, 3)],
    )
    def test_maximum_and_minimum_with_three(
        self, rows: firestore.CollectionReference, old: Any, maximum: Any, minimum: Any
    ) -> None:
        document = rows.document("a")
        document.set({"a": old, "b": old})
        document.update({"a": firestore.Maximum(3), "b": firestore.Minimum(3)})
        stored = document.get().to_dict()
        assert [stored["a"], stored["b"]] == [maximum, minimum]
        assert [type(stored["a"]), type(stored["b"])] == [type(maximum), type(minimum)]

    def test_array_union_and_remove(self, rows: firestore.CollectionReference) -> None:
        document = rows.document("a")
        document.set({"n": [1, 2.0, "a", 1], "text": "x"})
        union = firestore.ArrayUnion
        document.update({"n": union([1.0, 9, 9, None]), "new": union([1])})
        assert document.get().to_dict() == {"n": [1, 2.0, "a", 1, 9, None], "new": [1], "text": "x"}
        document.update({"n": firestore.ArrayRemove([1, 2]), "text": firestore.ArrayRemove([1])})
        assert document.get().to_dict() == {"n": ["a", 9, None], "new": [1], "text": []}

    def test_transforms_alone_make_the_document(self, rows: firestore.CollectionReference) -> None:
        rows.document("a").set({"n": firestore.Increment(1)}, merge=True)
        assert rows.document("a").get().to_dict() == {"n": 1}
        with pytest.raises(exceptions.NotFound):
            rows.document("b").update({"n": firestore.Increment(1)})

    def test_results_of_transforms(self, client: firestore.Client) -> None:
        name = f"{client._database_string}/documents/rows/a"
        transforms = [
            {"field_path": "n", "increment": {"integer_value": 4}},
            {"field_path": "n", "increment": {"double_value": 0.5}},
            {"field_path": "l", "append_missing_elements": {"values": [{"integer_value": 1}]}},
        ]
        write = types.Write(transform={"document": name, "field_transforms": transforms})
        answer = client._firestore_api.commit(
            request={"database": client._database_string, "writes": [write]}
        )
        first, second, third = answer.write_results[0].transform_results
        assert (first.integer_value, second.double_value) == (4, 4.5)
        assert "null_value" in third


class TestBatches:
    def test_a_batch_is_atomic(self, rows: firestore.CollectionReference) -> None:
        rows.document("a").set({"n": 1})
        batch = rows._client.batch()
        batch.set(rows.document("b"), {"n": 1})
        batch.update(rows.document("a"), {"n": 2})
        batch.create(rows.document("taken"), {"n": 1})
        rows.document("taken").set({})
        with pytest.raises(exceptions.AlreadyExists):
            batch.commit()
        stored = {document.id: document.to_dict() for document in rows.stream()}
        assert stored == {"a": {"n": 1}, "taken": {}}

    def test_writes_of_a_batch_see_the_ones_before(
        self, rows: firestore.CollectionReference
    ) -> None:
        batch = rows._client.batch()
        batch.create(rows.document("a"), {"n": 1})
        batch.update(rows.document("a"), {"n": firestore.Increment(1)})
        batch.delete(rows.document("a"))
        batch.create(rows.document("a"), {"m": 1})
        results = batch.commit()
        assert len(results) == 4
        assert rows.document("a").get().to_dict() == {"m": 1}
        assert rows.document("a").get().update_time == batch.commit_time

    def test_five_hundred_writes(self, rows: firestore.CollectionReference) -> None:
        fill(rows, {f"{number:03}": {"n": number} for number in range(500)})
        assert rows.count().get()[0][0].value == 500

    def test_an_empty_batch_is_committed(self, client: firestore.Client) -> None:
        assert client.batch().commit() == []

    def test_bulk_writer(self, rows: firestore.CollectionReference) -> None:
        rows.document("5").set({"n": "old"})
        failures: list[tuple[str, int]] = []

        def give_up(failure: Any, _writer: Any) -> bool:
            failures.append((failure.operation.reference.id, failure.code))
            return False

        writer = rows._client.bulk_writer(BulkWriterOptions(initial_ops_per_second=100_000))
        writer.on_write_error(give_up)
        for number in range(100):
            writer.create(rows.document(str(number)), {"n": number})
        writer.update(rows.document("missing"), {"n": 1})
        writer.close()
        assert sorted(failures) == [("5", 6), ("missing", 5)]
        stored = {document.id: document.get("n") for document in rows.stream()}
        assert stored == {str(n): n for n in range(100)} | {"5": "old"}

    def test_a_batch_write_has_each_document_once(self, client: firestore.Client) -> None:
        write = types.Write(update={"name": f"{client._database_string}/documents/rows/a"})
        with pytest.raises(exceptions.InvalidArgument):
            client._firestore_api.batch_write(
                request={"database": client._database_string, "writes": [write, write]},
                metadata=client._rpc_metadata,
            )

    def test_recursive_delete(self, client: firestore.Client) -> None:
        for path in ["rows/a", "rows/a/sub/b", "rows/c", "other/d"]:
            client.document(path).set({})
        assert client.recursive_delete(client.collection("rows")) == 3
        assert [collection.id for collection in client.collections()] == ["other"]


class TestReads:
    def test_get_all(self, rows: firestore.CollectionReference) -> None:
        fill(rows, {"a": {"n": 1, "m": 2}, "b": {"n": 3}})
        wanted = [rows.document(name) for name in ("a", "missing", "b", "a")]
        found = {document.id: document.to_dict() for document in rows._client.get_all(wanted)}
        assert found == {"a": {"n": 1, "m": 2}, "missing": None, "b": {"n": 3}}
        part = {d.id: d.to_dict() for d in rows._client.get_all(wanted, field_paths=["m"])}
        assert part == {"a": {"m": 2}, "missing": None, "b": {}}

    def test_get_document(self, rows: firestore.CollectionReference) -> None:
        rows.document("a").set({"n": 1})
        parent, _ = rows._parent_info()
        api = rows._client._firestore_api
        found = api.get_document(request={"name": f"{parent}/rows/a"})
        assert found.fields["n"].integer_value == 1
        with pytest.raises(exceptions.NotFound):
            api.get_document(request={"name": f"{parent}/rows/b"})

    def test_list_documents(self, client: firestore.Client) -> None:
        rows = client.collection("rows")
        fill(rows, {f"{number:02}": {} for number in range(25)})
        client.document("rows/x-missing/sub/y").set({})
        listed = [document.id for document in rows.list_documents(page_size=10)]
        assert listed == [f"{number:02}" for number in range(25)] + ["x-missing"]

    def test_pages_of_documents(self, rows: firestore.CollectionReference) -> None:
        fill(rows, {name: {"n": 1} for name in "abcde"})
        parent, _ = rows._parent_info()
        list_documents = rows._client._firestore_api.transport.list_documents
        request: dict[str, Any] = {"parent": parent, "collection_id": "rows", "page_size": 2}
        pages: list[Any] = []
        while not pages or pages[-1].next_page_token:
            pages.append(list_documents(types.ListDocumentsRequest(request)))
            request["page_token"] = pages[-1].next_page_token
        names = [[document.name[-1] for document in page.documents] for page in pages]
        assert names == [["a", "b"], ["c", "d"], ["e"]]

    def test_list_collections(self, client: firestore.Client) -> None:
        for path in ["b/1", "a/1/sub/1", "a/1/tub/1/deep/1", "a/1/sub/2"]:
            client.document(path).set({})
        assert [collection.id for collection in client.collections()] == ["a", "b"]
        assert [collection.id for collection in client.document("a/1").collections()] == [
            "sub",
            "tub",
        ]
        client.document("b/1").delete()
        assert [collection.id for collection in client.collections()] == ["a"]


class TestLimits:
    def test_large_documents(self, rows: firestore.CollectionReference) -> None:
        document = rows.document("a")
        large = "x" * 1_048_000
        document.set({"s": large})
        assert document.get().get("s") == large
        with pytest.raises(exceptions.InvalidArgument):
            document.set({"s": "x" * 1_048_600})
        with pytest.raises(exceptions.InvalidArgument):
            document.update({"t": "x" * 600_000})
        assert list(document.get().to_dict()) == ["s"]

    @pytest.mark.parametrize(
        "document_id",
        [".", "..", "__x__", "é" * 751, "__id0__", "__id07__", f"__id{2**63}__"],
    )
    def test_refused_ids(self, rows: firestore.CollectionReference, document_id: str) -> None:
        with pytest.raises(exceptions.InvalidArgument):
            rows.document(document_id).set({})

    def test_numeric_ids_of_datastore_come_first_in_the_order_of_numbers(
        self, rows: firestore.CollectionReference
    ) -> None:
        wanted = ["__id-3__", "__id7__", "__id10__", "__other", "a"]
        for document_id in reversed(wanted):
            rows.document(document_id).set({"n": 1})
        assert ids(rows) == wanted
        assert rows.document("__id7__").collection("inner").document("b").set({})
        with pytest.raises(exceptions.InvalidArgument):
            rows.document("a").collection("__id7__").document("b").set({})

    @pytest.mark.parametrize("document_id", ["é" * 750, "...", "BTC_2024-08-08T23:54:00Z", " "])
    def test_odd_ids(self, rows: firestore.CollectionReference, document_id: str) -> None:
        rows.document(document_id).set({"n": 1})
        assert ids(rows) == [document_id]
        assert rows.document(document_id).get().get("n") == 1

    @pytest.mark.parametrize(
        "field",
        [{"__x__": 1}, {"n" * 1_501: 1}, {"a": [[1]]}],
        ids=["reserved name", "long name", "array in array"],
    )
    def test_refused_fields(self, rows: firestore.CollectionReference, field: Any) -> None:
        with pytest.raises(exceptions.InvalidArgument):
            rows.document("a").set(field)

    @pytest.mark.parametrize("depth", [20, 21])
    def test_depth(self, rows: firestore.CollectionReference, depth: int) -> None:
        nested: Any = 1
        for _ in range(depth):
            nested = {"m": nested}
        if depth == 20:
            rows.document("a").set({"a": nested})
            assert rows.document("a").get().to_dict() == {"a": nested}
        else:
            with pytest.raises(exceptions.InvalidArgument):
                rows.document("a").set({"a": nested})
