from functools import cached_property
from typing import Any

from mcloud.clouds.aws.archive import S3Archive
from mcloud.clouds.aws.candles import DynamoCandles
from mcloud.clouds.aws.client import ATTEMPTS, check_credentials, make_client
from mcloud.clouds.aws.control import DynamoControl
from mcloud.clouds.aws.logs import CloudWatchLogs
from mcloud.clouds.aws.metrics import CloudWatchMetrics
from mcloud.clouds.aws.probe import AwsProbe
from mcloud.clouds.aws.queue import SqsQueue
from mcloud.clouds.aws.usage import CloudWatchUsage
from mcloud.clouds.ports import Archive
from mcloud.clouds.resources import AwsResources, Cloud
from mcloud.clouds.staged import EMBEDDED_DELAY, UNCHANGED, StagedArchive


class AwsSite:
    """Implementation of ``ports.Site`` for AWS."""

    cloud: Cloud = "aws"

    def __init__(self, name: str, resources: AwsResources, attempts: int = ATTEMPTS) -> None:
        """``attempts`` is the number of attempts of the clients at each call."""
        self.name = name
        self.resources = resources
        self._attempts = attempts

    def sign_in(self, seconds: float) -> None:
        """Fetch the credentials, unless they are still valid; see ``check_credentials``."""
        if not self.resources.endpoint_url:
            check_credentials(self.resources.region, seconds)

    def __reduce__(self) -> tuple[Any, ...]:
        # A site that is sent to another process is opened again there.
        return type(self), (self.name, self.resources, self._attempts)

    @cached_property
    def queue(self) -> SqsQueue:
        to = self.resources
        return SqsQueue(self._client("sqs"), to.queue_url, to.dlq_url, self._sqs_once)

    @cached_property
    def candles(self) -> DynamoCandles:
        return DynamoCandles(
            self._dynamodb, self.resources.candles_table, lambda: self._client("dynamodbstreams")
        )

    @cached_property
    def archive(self) -> Archive:
        s3, to = self._client("s3"), self.resources
        archive = S3Archive(s3, to.raw_bucket)
        if not to.staging_bucket:
            return archive
        staging = S3Archive(s3, to.staging_bucket)
        if to.endpoint_url:
            return StagedArchive(archive, staging, delay=EMBEDDED_DELAY)
        return StagedArchive(archive, staging, unchanged=UNCHANGED)

    @cached_property
    def control(self) -> DynamoControl:
        return DynamoControl(self._dynamodb, self.resources.control_table)

    @cached_property
    def metrics(self) -> CloudWatchMetrics:
        to = self.resources
        return CloudWatchMetrics(
            self._client("cloudwatch"), to.function, to.queue_url, to.candles_table
        )

    @cached_property
    def logs(self) -> CloudWatchLogs:
        return CloudWatchLogs(self._client("logs"), self.resources.function)

    @cached_property
    def usage(self) -> CloudWatchUsage:
        return CloudWatchUsage(
            self._client("cloudwatch"),
            self._client("lambda"),
            self._dynamodb,
            self._client("logs"),
            self.resources,
        )

    @cached_property
    def probe(self) -> AwsProbe:
        # Calls are not retried, because a retry would hide the failures that a probe has to detect.
        lambda_, dynamodb, s3 = (
            self._client(name, attempts=1) for name in ("lambda", "dynamodb", "s3")
        )
        return AwsProbe(self._sqs_once, lambda_, dynamodb, s3, self.resources)

    @cached_property
    def _sqs_once(self) -> Any:
        return self._client("sqs", attempts=1)

    @cached_property
    def _dynamodb(self) -> Any:
        return self._client("dynamodb")

    def _client(self, service: str, attempts: int | None = None) -> Any:
        to, attempts = self.resources, attempts or self._attempts
        return make_client(service, to.region, to.endpoint_url, attempts=attempts)
