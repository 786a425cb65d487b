"""Data Firehose: every accepted line is staged, and every other line is reported."""

import base64
import json
import socket
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from patience import eventually

from mcloud.clouds.aws import delivery
from mcloud.clouds.aws.client import make_client
from mcloud.clouds.aws.delivery import MAX_LINE, Firehose
from mcloud.errors import Refused
from mcloud.local.state import State

from .web import Answer, serve


def client(url: str) -> Any:
    return make_client("firehose", "us-east-1", url, attempts=1)


def data(record: dict[str, str]) -> str:
    return base64.b64decode(record["Data"]).decode()


def answered(failed: Callable[[str], str | None]) -> Callable[[str, str], Answer]:
    """Return the answers of a Firehose that does not accept some records, each with a code."""

    def answer(method: str, path: str) -> Answer:
        records = json.loads(path.partition(" ")[2])["Records"]
        codes = [failed(data(record)) for record in records]
        responses = [
            {"ErrorCode": code, "ErrorMessage": "Slow down."} if code else {"RecordId": "1"}
            for code in codes
        ]
        # As documented, the count alone does not tell whether all records were accepted.
        return 200, {"FailedPutCount": 0, "RequestResponses": responses}

    return answer


def test_lines_arrive_in_few_records(embedded: State) -> None:
    to = embedded.outputs["aws"]
    s3 = make_client("s3", to["region"], to["endpoint_url"])
    firehose = client(to["endpoint_url"])
    name = f"lines-{uuid.uuid4().hex}"
    s3.create_bucket(Bucket=name)
    firehose.create_delivery_stream(
        DeliveryStreamName=name,
        ExtendedS3DestinationConfiguration={
            "RoleARN": "arn:aws:iam::000000000000:role/any",
            "BucketARN": f"arn:aws:s3:::{name}",
            "Prefix": "staged/!{timestamp:yyyy/MM/dd/HH/}",
        },
    )
    lines = [f"{n:04}" * (n % 40 + 1) for n in range(20_000)]
    assert Firehose(firehose, name).deliver([*lines, "x" * MAX_LINE]) == []

    def staged() -> list[str]:
        objects = s3.list_objects_v2(Bucket=name).get("Contents", [])
        assert all(each["Key"].startswith("staged/2") for each in objects)
        texts = [
            s3.get_object(Bucket=name, Key=each["Key"])["Body"].read().decode() for each in objects
        ]
        return [line for text in texts for line in text.splitlines()]

    eventually(lambda: sorted(staged()) == sorted([*lines, "x" * MAX_LINE]))
    firehose.delete_delivery_stream(DeliveryStreamName=name)


def test_records_that_were_not_accepted_are_sent_again() -> None:
    seen: list[str] = []

    def failed(text: str) -> str | None:
        seen.append(text)
        return "ServiceUnavailableException" if seen.count(text) <= len(text) % 3 else None

    lines = ["a" * n for n in range(4_000, 4_009)]
    pauses: list[float] = []
    with serve(answered(failed)) as url:
        assert Firehose(client(url), "trades", sleep=pauses.append).deliver(lines) == []
    assert {len(text) - 1: seen.count(text) for text in seen} == {
        len(line): (len(line) + 1) % 3 + 1 for line in lines
    }
    assert [0 < pause <= delivery.LONGEST_PAUSE for pause in pauses] == [True, True]


def test_records_that_are_never_accepted_are_reported() -> None:
    """Also if the number of errors in the answer is 0."""

    def failed(text: str) -> str | None:
        return {"b": "ServiceUnavailableException", "c": "InvalidArgumentException"}.get(text[0])

    lines = [letter * 4_000 for letter in "abac"]
    with serve(answered(failed)) as url:
        unsent = Firehose(client(url), "trades", sleep=lambda seconds: None).deliver(lines)
    assert [(each.index, each.permanent) for each in unsent] == [(1, False), (3, True)]
    assert unsent[0].reason == "Firehose trades: ServiceUnavailableException: Slow down."


def test_no_further_attempt_is_made_without_time() -> None:
    seen: list[str] = []

    def failed(text: str) -> str:
        seen.append(text)
        return "ServiceUnavailableException"

    with serve(answered(failed)) as url:
        (unsent,) = Firehose(client(url), "trades").deliver(["a"], lambda: False)
    assert (unsent.index, seen) == (0, ["a\n"])


@pytest.mark.parametrize("code", ["ResourceNotFoundException", "AccessDeniedException"])
def test_a_refused_request_is_an_error(code: str) -> None:
    with (
        serve(lambda method, path: (400, {"__type": code, "message": "no"})) as url,
        pytest.raises(Refused, match="Firehose trades"),
    ):
        Firehose(client(url), "trades").deliver(["a"])


@pytest.mark.parametrize(
    ("status", "code"), [(503, "ServiceUnavailableException"), (400, "ThrottlingException")]
)
def test_a_request_that_fails_is_sent_again(status: int, code: str) -> None:
    failures = delivery.ATTEMPTS - 1
    requests: list[str] = []

    def answer(method: str, path: str) -> Answer:
        requests.append(path)
        if len(requests) <= failures:
            return status, {"__type": code, "message": "no"}
        return 200, {"FailedPutCount": 0, "RequestResponses": [{"RecordId": "1"}]}

    with serve(answer) as url:
        firehose = Firehose(client(url), "trades", sleep=lambda seconds: None)
        assert firehose.deliver(["a"]) == []
        assert len(requests) == delivery.ATTEMPTS
        del requests[:]
        failures = delivery.ATTEMPTS
        (unsent,) = firehose.deliver(["a"])
    assert (unsent.index, unsent.permanent) == (0, False)
    assert f"Firehose trades: {code}" in unsent.reason


def test_an_answer_that_does_not_come_is_waited_for_only_briefly() -> None:
    """A request in a function must end before the timeout of the function."""
    silent = socket.create_server(("127.0.0.1", 0))
    with silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        waiting = make_client("firehose", "us-east-1", url, attempts=1, read_timeout=0.1)
        (unsent,) = Firehose(waiting, "trades").deliver(["a"], lambda: False)
    assert "Read timeout" in unsent.reason


def test_no_request_begins_without_time() -> None:
    """Neither after a pause, nor for lines that do not fit into the first request."""
    seen: list[int] = []
    is_time_left = True

    def answer(method: str, path: str) -> Answer:
        records = json.loads(path.partition(" ")[2])["Records"]
        seen.append(len(records))
        return 200, {
            "FailedPutCount": 1,
            "RequestResponses": [{"ErrorCode": "ServiceUnavailableException"}] * len(records),
        }

    def sleep(seconds: float) -> None:
        nonlocal is_time_left
        is_time_left = False

    lines = ["x" * 900_000] * 4
    with serve(answer) as url:
        unsent = Firehose(client(url), "trades", sleep=sleep).deliver(lines, lambda: is_time_left)
    assert seen == [3]
    assert [each.index for each in unsent] == [0, 1, 2, 3]
    assert "no time left" in unsent[3].reason


@given(st.lists(st.integers(1, 1_500_000), max_size=30) | st.lists(st.integers(1, 9_000)))
def test_requests_keep_within_the_limits(sizes: list[int]) -> None:
    records = delivery.combine(["x" * min(size, MAX_LINE) for size in sizes])
    batches = list(delivery.requests(records))
    assert [record for batch in batches for record in batch] == records
    for batch in batches:
        assert len(batch) <= 500
        encoded = sum(4 * -(-len(record.text) // 3) + 20 for record in batch)
        assert encoded <= 4 * 1024 * 1024
        assert all(len(record.text) <= 1_000 * 1024 for record in batch)
