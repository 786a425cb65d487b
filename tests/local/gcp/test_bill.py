"""Billing units of requests to Google Cloud. For the sources of the rules see ``bill``."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcloud.local.gcp.bill import FIRESTORE, InstanceTime, call, database, storage
from mcloud.local.gcp.firestore_protos import ListenResponse, TargetChange

OBJECT = "/storage/v1/b/raw/o/raw%2Fsymbol"


@pytest.mark.parametrize(
    ("method", "target", "billed"),
    [
        ("POST", "/upload/storage/v1/b/raw/o?uploadType=multipart", ("gcs_class_a", "raw")),
        ("POST", "/upload/storage/v1/b/raw/o?uploadType=resumable", ("gcs_class_a", "raw")),
        ("PUT", "/upload/storage/v1/b/raw/o?upload_id=7", (None, "raw")),
        ("GET", "/storage/v1/b/raw/o?prefix=raw/", ("gcs_class_a", "raw")),
        ("GET", "/storage/v1/b?project=p", ("gcs_class_a", "")),
        ("POST", "/storage/v1/b?project=p", ("gcs_class_a", "")),
        ("GET", "/storage/v1/b/raw", ("gcs_class_b", "raw")),
        ("GET", OBJECT, ("gcs_class_b", "raw")),
        ("GET", f"/download{OBJECT}?alt=media", ("gcs_class_b", "raw")),
        ("POST", f"{OBJECT}/rewriteTo/b/other/o/x", ("gcs_class_a", "raw")),
        ("DELETE", OBJECT, (None, "raw")),
        ("GET", "/raw/object", ("gcs_class_b", "raw")),
        ("GET", "/_internal/healthcheck", (None, "")),
    ],
)
def test_classes_of_cloud_storage(method: str, target: str, billed: tuple[str | None, str]) -> None:
    assert storage(method, target) == billed


def test_an_instance_that_serves_several_at_once_is_billed_once() -> None:
    time = InstanceTime()
    time.begin(10.0)
    time.begin(10.1)
    assert time.end(10.3) == 0
    assert time.end(10.35) == 400


def test_billed_time_is_not_billed_again() -> None:
    time = InstanceTime()
    time.begin(10.0)
    assert time.end(10.01) == 100
    time.begin(10.05)
    assert time.end(10.08) == 0
    time.begin(10.09)
    assert time.end(10.11) == 100


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 900)), min_size=1, max_size=30))
def test_the_billed_time_exceeds_the_busy_time_by_at_most_one_tick_per_stretch(
    requests: list[tuple[int, int]],
) -> None:
    """The result equals the union of the requests, counted by millisecond."""
    events = sorted(
        [(start, 0) for start, _ in requests] + [(start + long, 1) for start, long in requests]
    )
    time = InstanceTime()
    billed = 0
    for at, ends in events:
        if ends:
            billed += time.end(at / 1000)
        else:
            time.begin(at / 1000)
    busy = {ms for start, long in requests for ms in range(start, start + long)}
    stretches = sum(ms - 1 not in busy for ms in busy)
    assert len(busy) <= billed <= len(busy) + 100 * stretches


def test_a_listener_is_billed_for_documents_that_are_new_changed_or_no_longer_found() -> None:
    name = "projects/p/databases/d/documents/rows/a"
    changed, left, deleted, current = (ListenResponse() for _ in range(4))
    changed.document_change.document.name = name
    left.document_remove.document = name
    deleted.document_delete.document = name
    current.target_change.target_change_type = TargetChange.CURRENT
    billed = [
        list(call(FIRESTORE, "Listen", None, answer))
        for answer in (changed, left, deleted, current)
    ]
    assert billed == [[("firestore_reads", "rows", 1)], [("firestore_reads", "rows", 1)], [], []]
    assert database(None, changed) == name
