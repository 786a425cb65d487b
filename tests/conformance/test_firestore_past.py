"""Reads in the past, through the real client on our Firestore and on Google's emulator."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import firestore
from google.cloud.firestore_v1.base_query import FieldFilter

from .firestore_client import fill


class TestReadsInThePast:
    def test_a_document(self, rows: firestore.CollectionReference) -> None:
        document = rows.document("a")
        before = rows.document("b").set({}).update_time
        times = [document.set({"n": number}).update_time for number in range(3)]
        document.delete()
        assert not document.get(read_time=before).exists
        assert [document.get(read_time=time).get("n") for time in times] == [0, 1, 2]
        just_before = times[1] - timedelta(microseconds=1)
        assert document.get(read_time=just_before).get("n") == 0
        assert document.get(read_time=times[1]).update_time == times[1]
        assert not document.get().exists

    def test_queries_and_lists(self, client: firestore.Client) -> None:
        rows = client.collection("rows")
        fill(rows, {"a": {"n": 1}, "b": {"n": 2}})
        time = rows.document("c").set({"n": 3}).update_time
        rows.document("a").update({"n": 9})
        rows.document("b").delete()
        client.document("rows/c/later/d").set({})
        query = rows.where(filter=FieldFilter("n", "<", 3))

        def ids(documents: Any) -> list[str]:
            return sorted(document.id for document in documents)

        assert ids(query.stream(read_time=time)) == ["a", "b"]
        assert ids(query.stream()) == []
        assert query.count().get(read_time=time)[0][0].value == 2
        assert rows.sum("n").get(read_time=time)[0][0].value == 6
        assert ids(rows.list_documents(read_time=time)) == ["a", "b", "c"]
        assert ids(rows.document("c").collections(read_time=time)) == []
        documents = [rows.document(name) for name in "ab"]
        found = client.get_all(documents, read_time=time)
        assert sorted(document.get("n") for document in found) == [1, 2]

    def test_a_transaction(self, client: firestore.Client) -> None:
        document = client.document("rows/a")
        time = document.set({"n": 1}).update_time
        document.update({"n": 2})
        api = client._firestore_api
        database = client._database_string
        options = {"read_only": {"read_time": time}}
        begun = api.begin_transaction(request={"database": database, "options": options})
        name = f"{database}/documents/rows/a"
        request = {"name": name, "transaction": begun.transaction}
        assert api.get_document(request=request).fields["n"].integer_value == 1

    @pytest.mark.parametrize(
        "read",
        [
            lambda document, time: document.get(read_time=time),
            lambda document, time: document.parent.get(read_time=time),
            lambda document, time: document.parent.count().get(read_time=time),
        ],
    )
    def test_the_future_is_refused(
        self, rows: firestore.CollectionReference, read: Callable[..., Any]
    ) -> None:
        with pytest.raises(exceptions.InvalidArgument):
            read(rows.document("a"), datetime.now(UTC) + timedelta(hours=1))

    def test_more_than_an_hour_ago_is_forgotten(
        self, rows: firestore.CollectionReference, request: pytest.FixtureRequest
    ) -> None:
        if request.node.callspec.params["firestore_host"] != "ours":
            pytest.skip("Google's emulator forgets nothing; the service needs recovery for it")
        with pytest.raises(exceptions.FailedPrecondition):
            rows.document("a").get(read_time=datetime.now(UTC) - timedelta(minutes=61))
