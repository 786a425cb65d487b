"""Delivery streams of Data Firehose, which ministack implements without buffers.

ministack writes each record as an object of its own, at once. Here the records of a stream are
collected and written together, as AWS does it, but by default after a second instead of a few
minutes. They are ministack's own list of received records, which it saves with its state when it
stops.

The objects are written by requests to S3 like any other, so that outages and meters apply to them.
A stream that transforms its records is left to ministack.
"""

import base64
import time
from collections.abc import Callable
from typing import Any

from ministack.core import responses
from ministack.services import firehose

from mcloud.clouds.aws.client import make_client, translated
from mcloud.local.deployment import ACCOUNT

LOOK = 0.2  # seconds between two checks of what is due
# https://docs.aws.amazon.com/firehose/latest/dev/data-delivery-failure-handling.html
KEPT = 24 * 3600.0
"""Seconds for which a record that cannot be written is kept. After that it is lost."""
# https://docs.aws.amazon.com/firehose/latest/APIReference/API_BufferingHints.html
DEFAULT_SECONDS, DEFAULT_MB = 300, 5
TRANSFORMING = (
    "ProcessingConfiguration",
    "DynamicPartitioningConfiguration",
    "DataFormatConversionConfiguration",
)

Describe = Callable[[dict[str, Any]], dict[str, Any]]
Deliver = Callable[[dict[str, Any], dict[str, Any], Any], None]


class Deliveries:
    """Writes what streams received.

    Args:
        endpoint_url: URL of this embedded AWS.
        longest: seconds after which records are written, if the stream allows more; None if only
            the stream decides.
        clock: returns the time in seconds since 1970, like the times of ministack's records.
    """

    def __init__(
        self,
        endpoint_url: str,
        longest: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._endpoint_url = endpoint_url
        self._longest = longest
        self._clock = clock
        self._clients: dict[str, Any] = {}
        """Clients of S3, by region."""
        self._problems: dict[str, str] = {}
        """Why streams cannot write, by name."""

    def install(self) -> None:
        """Patch ministack to leave the records of a stream in its list."""
        firehose._deliver_records_to_s3 = _unless_collected(firehose._deliver_records_to_s3)
        firehose._dest_description = _in_full(firehose._dest_description)

    def deliver_forever(self) -> None:
        """Write the records of all streams when they are due, again and again."""
        while True:
            time.sleep(LOOK)
            for (account, region, _), stream in firehose._streams.all_items():
                if account != ACCOUNT:
                    continue
                for destination in filter(_is_collected, stream["destinations"]):
                    if destination["records"] and self._is_due(destination):
                        self._write_or_keep(region, stream, destination)

    def _write_or_keep(
        self, region: str, stream: dict[str, Any], destination: dict[str, Any]
    ) -> None:
        name = stream["name"]
        try:
            self._write(region, stream, destination)
        except Exception as error:  # noqa: BLE001 - the other streams are written after any error
            if self._problems.get(name) != str(error):
                print(f"the stream {name} cannot write yet: {error}", flush=True)
            self._problems[name] = str(error)
            # The age counts only then: while these clouds are stopped, no service can write.
            self._lose(name, destination)
        else:
            self._problems.pop(name, None)

    def _lose(self, name: str, destination: dict[str, Any]) -> None:
        with firehose._lock:
            kept = [each for each in destination["records"] if self._clock() - each["ts"] <= KEPT]
            lost = len(destination["records"]) - len(kept)
            destination["records"][:] = kept
        if lost:
            print(f"the stream {name} lost {lost} records after 24 hours", flush=True)

    def _is_due(self, destination: dict[str, Any]) -> bool:
        hints = destination["config"].get("BufferingHints", {})
        seconds = hints.get("IntervalInSeconds", DEFAULT_SECONDS)
        if self._longest is not None:
            seconds = min(seconds, self._longest)
        with firehose._lock:
            oldest = destination["records"][0]["ts"]
            size = sum(len(record["data"]) for record in destination["records"]) * 3 / 4  # base64
        most = hints.get("SizeInMBs", DEFAULT_MB) * 1024 * 1024
        return bool(self._clock() - oldest >= seconds or size >= most)

    def _write(self, region: str, stream: dict[str, Any], destination: dict[str, Any]) -> None:
        with firehose._lock:
            records = list(destination["records"])
        config = destination["config"]
        bucket = firehose._s3_bucket_from_arn(config["BucketARN"])
        now = firehose._arrival_time(config)
        # https://docs.aws.amazon.com/firehose/latest/dev/s3-object-name.html
        stamp = firehose._java_time("yyyy-MM-dd-HH-mm-ss", now)
        name = f"{stream['name']}-{stream['version']}-{stamp}-{responses.new_uuid()}"
        key = firehose._evaluate_prefix(config.get("Prefix", ""), now) + name
        body = b"".join(base64.b64decode(record["data"]) for record in records)
        if region not in self._clients:
            self._clients[region] = make_client("s3", region, self._endpoint_url, attempts=1)
        with translated(f"S3 {bucket}"):
            self._clients[region].put_object(Bucket=bucket, Key=key, Body=body)
        with firehose._lock:
            # Records that came meanwhile are behind these.
            del destination["records"][: len(records)]


def _unless_collected(deliver: Deliver) -> Deliver:
    def deliver_unless_collected(
        stream: dict[str, Any], destination: dict[str, Any], records: Any
    ) -> None:
        if responses.get_account_id() != ACCOUNT or not _is_collected(destination):
            deliver(stream, destination, records)

    return deliver_unless_collected


def _in_full(describe: Describe) -> Describe:
    """Describe a destination with its time zone, which Terraform compares with its own default."""

    def describe_in_full(destination: dict[str, Any]) -> dict[str, Any]:
        found = describe(destination)
        if details := found.get("ExtendedS3DestinationDescription"):
            details["CustomTimeZone"] = destination["config"].get("CustomTimeZone", "UTC")
        return found

    return describe_in_full


def _is_collected(destination: dict[str, Any]) -> bool:
    """Return whether a destination gets the records as they are."""
    config = destination["config"]
    return destination["type"] in ("ExtendedS3", "S3") and not any(
        config.get(name, {}).get("Enabled") for name in TRANSFORMING
    )
