"""Billed units of requests to Google Cloud."""

import math
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import unquote

Billed = Iterable[tuple[str, str, int]]
"""Meter, resource and units."""

PUBSUB_MINIMUM: Final = 1000
"""Minimum number of billed bytes of a publish, push or pull request:
https://cloud.google.com/pubsub/pricing
"""
INDEX_ENTRIES: Final = 1000
"""Number of index entries that an aggregation reads for the price of one document:
https://cloud.google.com/firestore/pricing
"""
FIRESTORE: Final = "google.firestore.v1.Firestore"
# seconds; an instance's time is billed in started units of this length:
# https://cloud.google.com/run/pricing
TICK: Final = 0.1
FUNCTION_VCPU, FUNCTION_MIB = 1, 512
"""CPU and memory of a function instance, with the defaults of ``terraform/gcp``."""


def call(service: str, method: str, request: Any, answer: Any) -> Billed:
    """Yield the billed units of one answer to a gRPC call. A stream has many answers."""
    if service == "google.pubsub.v1.Publisher" and method == "Publish":
        size = sum(map(message_bytes, request.messages))
        yield "pubsub_bytes", _last(request.topic), max(PUBSUB_MINIMUM, size)
    elif method in ("Pull", "StreamingPull"):
        size = sum(message_bytes(each.message) for each in answer.received_messages)
        # The first request of a stream is not available here.
        name = _last(getattr(request, "subscription", ""))
        yield "pubsub_bytes", name, max(PUBSUB_MINIMUM, size)
    elif service == FIRESTORE:
        yield from _firestore(method, request, answer)
    elif method == "ListTimeSeries":
        yield "metric_reads", "", len(answer.time_series)


def message_bytes(message: Any) -> int:
    """Return the size of a message as Pub/Sub bills it: data, attributes, ordering key, ID, and 20
    bytes for its time."""
    attributes = sum(len(k.encode()) + len(v.encode()) for k, v in message.attributes.items())
    return len(message.data) + attributes + len(message.ordering_key) + len(message.message_id) + 20


def database(request: Any, answer: Any) -> str:
    """Return the part of a Firestore call that names its database, and perhaps more."""
    for field in ("database", "parent", "name"):
        if text := getattr(request, field, ""):
            return str(text)
    return _listened(answer)  # the requests of a stream are not available here


def storage(method: str, target: str) -> tuple[str | None, str]:
    """Return the class of a request to Cloud Storage, or None if it is free, and the bucket.

    https://cloud.google.com/storage/pricing#operations-by-class
    """
    path, _, query = target.partition("?")
    parts = path.lstrip("/").split("/")
    if parts[0] in ("upload", "download", "batch"):
        parts = parts[1:]
    if parts[:2] != ["storage", "v1"]:
        # A path of the XML API is /bucket/object. Paths that do not belong to Cloud Storage begin
        # with an underscore.
        bucket = "" if parts[0].startswith("_") else parts[0]
        return ("gcs_class_b" if bucket and method in ("GET", "HEAD") else None), unquote(bucket)
    bucket = unquote(parts[3]) if len(parts) > 3 else ""
    if method == "DELETE" or (method == "PUT" and "upload_id=" in query):
        return None, bucket  # the upload was counted when it began
    if method in ("GET", "HEAD"):
        is_listing = parts[2:3] == ["b"] and len(parts) in (3, 5)
        return ("gcs_class_a" if is_listing else "gcs_class_b"), bucket
    return "gcs_class_a", bucket


class InstanceTime:
    """The time during which an instance processes at least one request, as Cloud Run bills it."""

    def __init__(self) -> None:
        self._requests = 0
        self._began = 0.0
        self._billed_until = 0.0

    def begin(self, now: float) -> None:
        if not self._requests:
            self._began = max(now, self._billed_until)
        self._requests += 1

    def end(self, now: float) -> int:
        """Return the milliseconds to bill after a request has ended."""
        self._requests -= 1
        if self._requests or now <= self._began:
            return 0
        ticks = math.ceil(round((now - self._began) / TICK, 6))
        self._billed_until = self._began + ticks * TICK
        return round(ticks * TICK * 1000)


def _firestore(method: str, request: Any, answer: Any) -> Iterator[tuple[str, str, int]]:
    """Yield the billed operations. A read of a missing document is billed too:
    https://cloud.google.com/firestore/pricing
    """
    if method == "BatchGetDocuments":
        name = answer.missing or answer.found.name
        if name:  # otherwise the answer only names the transaction that has begun
            yield "firestore_reads", _collection(name), 1
    elif method == "GetDocument":
        yield "firestore_reads", _collection(answer.name), 1
    elif method == "RunQuery":
        if answer.document.name or answer.done:  # a query without results is billed as one read
            yield "firestore_reads", _queried(request), 1
    elif method == "RunAggregationQuery":
        counts = [each.integer_value for each in answer.result.aggregate_fields.values()]
        entries = max(counts, default=0)
        yield "firestore_reads", _queried(request), max(1, -(-entries // INDEX_ENTRIES))
    elif method == "Listen":
        if name := _listened(answer):
            yield "firestore_reads", _collection(name), 1
    elif method == "ListDocuments":
        yield "firestore_reads", request.collection_id, max(1, len(answer.documents))
    elif method == "ListCollectionIds":
        yield "firestore_reads", "", 1
    elif method in ("Commit", "BatchWrite"):
        codes = [each.code for each in answer.status] if method == "BatchWrite" else ()
        for number, write in enumerate(request.writes):
            if codes and codes[number]:
                continue  # refused, so it was not written
            if write.delete:
                yield "firestore_deletes", _collection(write.delete), 1
            else:
                name = write.update.name or write.transform.document
                yield "firestore_writes", _collection(name), 1


def _listened(answer: Any) -> str:
    """Return the document that a listener is billed for: one that is new, changed or no longer in
    its query.

    https://cloud.google.com/firestore/pricing#listens
    """
    return str(answer.document_change.document.name or answer.document_remove.document)


def _queried(request: Any) -> str:
    query = (
        request.structured_query
        if hasattr(request, "structured_query")
        else request.structured_aggregation_query.structured_query
    )
    sources = query.from_
    return sources[0].collection_id if sources else ""


def _collection(document: str) -> str:
    return document.split("/")[-2]


def _last(name: str) -> str:
    return name.rpartition("/")[2]
