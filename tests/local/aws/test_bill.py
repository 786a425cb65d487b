"""Billing units of requests to AWS. For the sources of the rules see ``bill``."""

import base64
import json

import pytest

from mcloud.local.aws.bill import (
    firehose_bytes,
    message_size,
    read_halves,
    s3_request,
    sqs_queue,
    sqs_requests,
    write_units,
)

URL = "http://127.0.0.1:1/000000000000/trades"


def send(body: str, count: int = 1) -> bytes:
    entries = [{"Id": str(n), "MessageBody": body} for n in range(count)]
    return json.dumps({"QueueUrl": URL, "Entries": entries}).encode()


@pytest.mark.parametrize(
    ("asked", "requests"),
    [
        (b"{}", 1),
        (send("x"), 1),
        (send("x" * 64 * 1024), 1),
        (send("x" * (64 * 1024 + 1)), 2),
        (send("x" * 32 * 1024, 10), 5),
        (send('"' * 60 * 1024), 1),  # twice as long in JSON
        (send("é" * 60 * 1024), 2),  # in bytes, not in characters
    ],
)
def test_a_request_is_billed_by_64_kib(asked: bytes, requests: int) -> None:
    assert sqs_requests(asked, b"{}") == requests


def test_an_answer_is_billed_as_a_request_is() -> None:
    messages = [{"Body": "x" * 64 * 1024}] * 3
    assert sqs_requests(b"{}", json.dumps({"Messages": messages}).encode()) == 3


@pytest.mark.parametrize(
    ("sizes", "billed"), [([1], 5120), ([5120], 5120), ([5121], 10_240), ([10, 6000, 0], 15_360)]
)
def test_each_record_of_firehose_is_billed_by_5_kib(sizes: list[int], billed: int) -> None:
    records = [{"Data": base64.b64encode(bytes(size)).decode()} for size in sizes]
    batch = json.dumps({"DeliveryStreamName": "staging", "Records": records}).encode()
    assert firehose_bytes(batch) == ("staging", billed)


def test_requests_of_firehose_without_records_are_free() -> None:
    one = {"DeliveryStreamName": "staging", "Record": {"Data": base64.b64encode(b"x").decode()}}
    assert firehose_bytes(json.dumps(one).encode()) == ("staging", 5120)
    assert firehose_bytes(b'{"DeliveryStreamName": "staging"}') == ("staging", 0)


def test_attributes_count_towards_the_size_of_a_message() -> None:
    attribute = {"DataType": "String", "StringValue": "BTCUSDT"}
    assert message_size("body", {"symbol": attribute}) == 4 + 6 + 6 + 7


def test_the_queue_is_read_from_the_request_and_not_from_the_message() -> None:
    body = json.dumps({"QueueUrl": "http://elsewhere/1/other"})
    assert sqs_queue(json.dumps({"MessageBody": body, "QueueUrl": URL}).encode()) == "trades"
    assert sqs_queue(b'{"QueueName": "trades"}') == ""


@pytest.mark.parametrize(
    ("method", "path", "query", "billed"),
    [
        ("PUT", "/bucket/raw/a/b", {}, ("s3_puts", "bucket")),
        ("PUT", "/bucket", {}, ("s3_puts", "bucket")),
        ("GET", "/bucket", {"list-type": "2", "prefix": "raw/"}, ("s3_puts", "bucket")),
        ("GET", "/bucket", {"location": ""}, ("s3_gets", "bucket")),
        ("GET", "/", {}, ("s3_puts", "")),
        ("GET", "/bucket/raw/a", {}, ("s3_gets", "bucket")),
        ("HEAD", "/bucket/raw/a", {}, ("s3_gets", "bucket")),
        ("HEAD", "/bucket", {}, ("s3_gets", "bucket")),
        ("DELETE", "/bucket/raw/a", {}, (None, "bucket")),
        ("POST", "/bucket", {"delete": ""}, (None, "bucket")),
        ("POST", "/bucket/a", {"uploads": ""}, ("s3_puts", "bucket")),
    ],
)
def test_requests_of_s3_are_billed_by_their_class(
    method: str, path: str, query: dict[str, str], billed: tuple[str | None, str]
) -> None:
    assert s3_request(method, path, query) == billed


def test_units_of_dynamodb() -> None:
    assert [write_units(size) for size in (0, 1, 1024, 1025, 400_000)] == [1, 1, 1, 2, 391]
    assert [read_halves(size, consistent=False) for size in (0, 4096, 4097)] == [1, 1, 2]
    assert [read_halves(size, consistent=True) for size in (0, 4096, 4097)] == [2, 2, 4]
