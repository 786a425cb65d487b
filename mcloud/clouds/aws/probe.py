"""Health checks that make one cheap read from each service."""

import base64
from collections.abc import Callable
from contextlib import closing
from typing import Any

from mcloud.clouds.aws.client import check_credentials, translated
from mcloud.clouds.ports import FunctionCode, SiteService
from mcloud.clouds.resources import AwsResources, deployed_functions
from mcloud.errors import Refused
from mcloud.workers import Workers


class AwsProbe:
    def __init__(self, sqs: Any, lambda_: Any, dynamodb: Any, s3: Any, to: AwsResources) -> None:
        self._to = to
        self._lambda = lambda_
        self._reads: dict[str, Callable[[], object]] = {
            "queue": lambda: sqs.get_queue_attributes(
                QueueUrl=to.queue_url, AttributeNames=["QueueArn"]
            ),
            "function": lambda: _active(
                lambda_.get_function_configuration(FunctionName=to.function)
            ),
            "candles": lambda: dynamodb.describe_table(TableName=to.candles_table),
            "archive": lambda: s3.head_bucket(Bucket=to.raw_bucket),
        }

    def check(self, service: SiteService, timeout: float) -> None:
        # A slow fetch of credentials must not count as a slow service.
        if not self._to.endpoint_url:
            check_credentials(self._to.region, timeout / 2)
        # The timeout is that of the client (see `make_client`), because botocore has none for one
        # call.
        with translated(f"the {service}"):
            self._reads[service]()

    def code(self, timeout: float) -> list[FunctionCode]:
        names = deployed_functions(self._to)
        with closing(Workers(len(names))) as workers:
            return workers.map(self._code, names)

    def _code(self, name: str) -> FunctionCode:
        with translated(f"the function {name}"):
            found = self._lambda.get_function_configuration(FunctionName=name)
        failure = ""
        if found.get("LastUpdateStatus") == "Failed":
            failure = found.get("LastUpdateStatusReason") or "no reason"
        return FunctionCode(name, base64.b64decode(found["CodeSha256"]).hex(), failure)


def _active(configuration: dict[str, Any]) -> None:
    state = configuration.get("State", "Active")
    if state not in ("Active", "Inactive"):  # the next call activates an Inactive function
        raise Refused(f"the function is {state}: {configuration.get('StateReason', 'no reason')}")
