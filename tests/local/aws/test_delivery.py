"""Delivery streams of the embedded AWS, also while S3 is out and across restarts."""

import uuid
from pathlib import Path
from typing import Any

import pytest
from patience import eventually

from mcloud.clouds.aws.client import make_client
from mcloud.local import meter, outage
from mcloud.local.state import State


class Stream:
    """A stream of its own with a bucket of its own, both of one name."""

    def __init__(self, state: State, **configuration: Any) -> None:
        to = state.outputs["aws"]
        self.name = f"stream-{uuid.uuid4().hex}"
        self.firehose = make_client("firehose", to["region"], to["endpoint_url"])
        self.s3 = make_client("s3", to["region"], to["endpoint_url"])
        self.s3.create_bucket(Bucket=self.name)
        self.firehose.create_delivery_stream(
            DeliveryStreamName=self.name,
            ExtendedS3DestinationConfiguration={
                "RoleARN": "arn:aws:iam::000000000000:role/any",
                "BucketARN": f"arn:aws:s3:::{self.name}",
                **configuration,
            },
        )

    def put(self, *records: bytes) -> None:
        answer = self.firehose.put_record_batch(
            DeliveryStreamName=self.name, Records=[{"Data": record} for record in records]
        )
        assert answer["FailedPutCount"] == 0

    def objects(self) -> dict[str, bytes]:
        listed = self.s3.list_objects_v2(Bucket=self.name).get("Contents", [])
        keys = [each["Key"] for each in listed]
        return {key: self.s3.get_object(Bucket=self.name, Key=key)["Body"].read() for key in keys}


def test_records_of_one_request_are_one_object_without_delimiters(embedded: State) -> None:
    stream = Stream(embedded)
    stream.put(b"a\n", b"b\n", b"c")
    eventually(stream.objects)
    ((key, body),) = stream.objects().items()
    assert body == b"a\nb\nc"
    # https://docs.aws.amazon.com/firehose/latest/dev/s3-object-name.html
    assert f"{stream.name}-1-20" in key


def test_records_wait_for_s3_and_are_written_once(embedded: State) -> None:
    home = Path(embedded.options["home"])
    stream = Stream(embedded, Prefix="staged/!{timestamp:yyyy/MM/dd/HH/}")
    stream.s3.delete_bucket(Bucket=stream.name)
    stream.put(b"before\n")
    log = home / "logs" / "aws.log"
    eventually(lambda: f"the stream {stream.name} cannot write yet" in log.read_text())
    # Firehose is part of the service that is out.
    outage.begin(home, "aws", "archive", "refuse", None)
    try:
        with pytest.raises(stream.firehose.exceptions.ClientError, match="503"):
            stream.put(b"refused\n")
    finally:
        outage.end(home)
    stream.s3.create_bucket(Bucket=stream.name)
    stream.put(b"after\n")
    eventually(lambda: sorted(b"".join(stream.objects().values()).split()) == [b"after", b"before"])
    assert all(key.startswith("staged/2") for key in stream.objects())


def test_what_the_stream_writes_is_metered_like_on_aws(embedded: State) -> None:
    """Firehose is billed for records of 5 KB, and its objects as requests to S3."""
    home = Path(embedded.options["home"])
    stream = Stream(embedded)
    stream.put(b"x" * 100, b"y" * 5_121)
    eventually(stream.objects)
    eventually(
        lambda: meter.read_split(home)["aws"]["firehose_bytes"].get(stream.name) == 3 * 5 * 1024
    )
    written = meter.read_split(home)["aws"]["s3_puts"]
    assert written[stream.name] >= 2  # the bucket, the object and listings


def test_a_stream_that_transforms_its_records_is_left_to_ministack(embedded: State) -> None:
    stream = Stream(
        embedded,
        Prefix="of=!{partitionKeyFromQuery:of}/",
        DynamicPartitioningConfiguration={"Enabled": True},
        ProcessingConfiguration={
            "Enabled": True,
            "Processors": [
                {
                    "Type": "MetadataExtraction",
                    "Parameters": [
                        {"ParameterName": "MetadataExtractionQuery", "ParameterValue": "{of: .of}"},
                        {"ParameterName": "JsonParsingEngine", "ParameterValue": "JQ-1.6"},
                    ],
                }
            ],
        },
        ErrorOutputPrefix="errors/",
    )
    stream.put(b'{"of":"one"}', b'{"of":"two"}')
    eventually(lambda: len(stream.objects()) == 2)
    assert sorted(key.partition("/")[0] for key in stream.objects()) == ["of=one", "of=two"]
