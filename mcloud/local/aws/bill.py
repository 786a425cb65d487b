"""Billed units of requests to AWS."""

import base64
import json
import re
from collections.abc import Mapping
from typing import Any

from mcloud.market.envelope import SQS_CHUNK

READ_UNIT, WRITE_UNIT = 4096, 1024  # bytes: https://aws.amazon.com/dynamodb/pricing/on-demand/

FIREHOSE_STEP = 5 * 1024  # bytes

# A quote inside a message is escaped as \", so this matches only the member of the request itself.
_QUEUE_URL = re.compile(rb'"QueueUrl"\s*:\s*"[^"]*?([^"/]+)"')
# Query parameters that make a GET of a bucket a listing, or accompany one.
_LISTING = {
    "list-type", "prefix", "delimiter", "marker", "max-keys", "encoding-type", "start-after",
    "continuation-token", "fetch-owner", "versions", "uploads", "key-marker", "version-id-marker",
    "upload-id-marker", "max-uploads", "x-id",
}  # fmt: skip


def sqs_requests(asked: bytes, answered: bytes) -> int:
    """Return the number of billed requests of one request: one for each 64 KiB of messages in
    either direction.
    """
    # A message is longer in JSON than on its own, so a short request needs no closer look.
    sizes = [
        _messages_size(text) if len(text) > SQS_CHUNK else len(text) for text in (asked, answered)
    ]
    return max(1, -(-max(sizes) // SQS_CHUNK))


def firehose_bytes(asked: bytes) -> tuple[str, int]:
    """Return the stream of a request, and the billed bytes of its records: each is rounded up to a
    multiple of 5 KB.

    https://aws.amazon.com/firehose/pricing/
    """
    request = json.loads(asked)
    # Requests about streams have no records.
    records = request.get("Records", [request["Record"]] if "Record" in request else [])
    sizes = [len(base64.b64decode(record["Data"])) for record in records]
    billed = sum(-(-size // FIREHOSE_STEP) * FIREHOSE_STEP for size in sizes)
    return request.get("DeliveryStreamName", ""), billed


def sqs_queue(asked: bytes) -> str:
    """Return the name of the queue of a request, or "" if it names none."""
    found = _QUEUE_URL.search(asked)
    return found[1].decode() if found else ""


def message_size(body: str, attributes: Mapping[str, Mapping[str, Any]]) -> int:
    """Return the size of a message in bytes, as SQS counts it: the body, and the name, type and
    value of its attributes.
    """
    size = len(body.encode())
    for name, value in attributes.items():
        size += len(name.encode()) + len(value.get("DataType", "").encode())
        size += len(str(value.get("StringValue", "")).encode())
        size += len(value.get("BinaryValue", "")) * 3 // 4  # base64
    return size


def s3_request(method: str, path: str, query: Mapping[str, object]) -> tuple[str | None, str]:
    """Return the meter of a request, or None if it is free, and the bucket.

    https://aws.amazon.com/s3/pricing/: PUT, COPY, POST and LIST have the same price; DELETE is
    free.
    """
    bucket, _, key = path.lstrip("/").partition("/")
    if method == "DELETE" or (method == "POST" and "delete" in query):
        return None, bucket
    if method in ("PUT", "POST"):
        return "s3_puts", bucket
    is_list = method == "GET" and not key and set(query) <= _LISTING
    return ("s3_puts" if is_list else "s3_gets"), bucket


def read_halves(size: int, *, consistent: bool) -> int:
    """Return the half read units of some bytes: one for each 4 KB, or two if the read is
    consistent.
    """
    return max(1, -(-size // READ_UNIT)) * (2 if consistent else 1)


def write_units(size: int) -> int:
    """Return the write units of an item. Its size is the larger of those before and after the
    write.
    """
    return max(1, -(-size // WRITE_UNIT))


def _messages_size(text: bytes) -> int:
    document = json.loads(text)
    if "MessageBody" in document:
        entries = [document]
    else:
        entries = document.get("Entries") or document.get("Messages") or []
    return sum(
        message_size(
            each.get("MessageBody", each.get("Body", "")), each.get("MessageAttributes", {})
        )
        for each in entries
    )
