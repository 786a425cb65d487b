"""The features of Firestore that the change feed needs, on ours and on Google's emulator.

These are stamps by transform under a precondition, pages by stamp and name, and the times in
answers.
"""

from datetime import datetime, timedelta
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import firestore
from google.cloud.firestore_v1.base_query import FieldFilter
from google.cloud.firestore_v1.bulk_batch import BulkWriteBatch

from .firestore_client import connect, fill, ids

NOW = firestore.SERVER_TIMESTAMP


@pytest.fixture
def client(firestore_host: str) -> firestore.Client:
    return connect(firestore_host)


@pytest.fixture
def rows(client: firestore.Client) -> firestore.CollectionReference:
    return client.collection("rows")


def test_a_server_timestamp_can_be_written_under_a_precondition(
    client: firestore.Client, rows: firestore.CollectionReference
) -> None:
    document = rows.document("a")
    document.create({"n": 1, "at": NOW})
    first = document.get()
    with pytest.raises(exceptions.AlreadyExists):
        document.create({"n": 2, "at": NOW})
    option = client.write_option(last_update_time=first.update_time)
    document.update({"n": 3, "at": NOW}, option=option)
    second = document.get()
    with pytest.raises(exceptions.FailedPrecondition):
        document.update({"n": 4, "at": NOW}, option=option)
    assert document.get().to_dict() == {"n": 3, "at": second.get("at")}
    for snapshot in (first, second):
        assert snapshot.get("at") <= snapshot.update_time <= snapshot.read_time
        # A stamp has milliseconds only.
        assert snapshot.update_time - snapshot.get("at") < timedelta(minutes=1)
    assert second.get("at") >= first.get("at")


def test_a_server_timestamp_can_be_written_in_a_bulk_write(
    client: firestore.Client, rows: firestore.CollectionReference
) -> None:
    rows.document("there").set({"n": 0})
    batch = BulkWriteBatch(client)
    batch.create(rows.document("new"), {"n": 1, "at": NOW})
    batch.create(rows.document("there"), {"n": 1, "at": NOW})
    answer = batch.commit()
    assert [status.code for status in answer.status] == [0, 6]
    new = rows.document("new").get()
    assert new.get("at") <= new.update_time
    assert rows.document("there").get().to_dict() == {"n": 0}


def test_pages_by_stamp_and_name(rows: firestore.CollectionReference) -> None:
    fill(rows, {name: {"at": NOW} for name in "cab"})
    fill(rows, {"unstamped": {"n": 1}})
    stamp = rows.document("a").get().get("at")
    later = stamp + timedelta(milliseconds=1)
    fill(rows, {"d": {"at": later}, "0": {"at": later}})
    fill(rows, {"not a time": {"at": "noon"}})

    def since(moment: datetime) -> Any:
        filtered = rows.where(filter=FieldFilter("at", ">=", moment))
        return filtered.order_by("at").order_by("__name__")

    assert ids(since(stamp)) == ["a", "b", "c", "0", "d"]
    assert ids(since(stamp).limit(2)) == ["a", "b"]
    assert ids(since(stamp).start_after([stamp, rows.document("b")]).limit(2)) == ["c", "0"]
    assert ids(since(stamp).start_after([stamp, rows.document("zzz")])) == ["0", "d"]
    assert ids(since(stamp + timedelta(microseconds=1))) == ["0", "d"]
    assert ids(since(later + timedelta(microseconds=1))) == []


def test_a_read_shows_all_that_was_done_before_its_time(
    rows: firestore.CollectionReference,
) -> None:
    times = [rows.document("none").get().read_time]
    for n in range(5):
        written = rows.document("a").set({"n": n, "at": NOW}).update_time
        (found,) = rows.order_by("at").stream()
        missing = rows.document("none").get()
        assert not missing.exists
        assert found.update_time == written
        times += [written, found.read_time, missing.read_time]
    assert times == sorted(times)
