"""The anomaly and the compaction function on the embedded AWS, and the schedules that call them.

ministack's EventBridge Scheduler makes the calls itself. On the Google side the supervisor runs the
functions, like the processor (see ``mcloud.local``).
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mcloud.clouds.aws.client import make_client, translated
from mcloud.clouds.resources import AwsResources
from mcloud.infra.bundle import build
from mcloud.local.deployment import ACCOUNT, PREFIX, StackPart

TIMEOUT = 60  # seconds
WHERE = "the embedded AWS"


@dataclass(frozen=True)
class ScheduledFunction:
    component: str
    """Its name in ``terraform/aws``, as the last part of the names of its resources."""
    handler: str
    rate: str
    """Expression of its schedule, as in ``terraform/aws``."""

    @property
    def name(self) -> str:
        return f"{PREFIX}-{self.component}"


ANOMALY = ScheduledFunction("anomaly", "anomalies.handler", "rate(1 minute)")
COMPACT = ScheduledFunction("compact", "compaction.handler", "rate(1 hour)")
SCHEDULED = (ANOMALY, COMPACT)


def deploy(to: AwsResources, *, scheduled: bool = True) -> None:
    """Create or complete the functions and their schedules. Existing schedules are left
    unchanged.
    """
    variables = {
        ANOMALY: {"CONTROL_TABLE": to.control_table},
        COMPACT: {
            "RAW_BUCKET": to.raw_bucket,
            "STAGING_BUCKET": to.staging_bucket,
            "CONTROL_TABLE": to.control_table,
        },
    }
    lambda_, scheduler = _client(to, "lambda"), _client(to, "scheduler")
    for function in SCHEDULED:
        with translated(WHERE):
            arn = _deploy_function(lambda_, function, variables[function])
            _deploy_schedule(scheduler, function, arn, scheduled)


def parts(to: AwsResources) -> list[StackPart]:
    """Return the functions and their schedules as parts, with whether each exists."""
    with translated(WHERE):
        functions = _client(to, "lambda").list_functions()["Functions"]
        schedules = {
            each["Name"] for each in _client(to, "scheduler").list_schedules()["Schedules"]
        }
    code = {each["FunctionName"]: each["CodeSha256"] for each in functions}
    ours = base64.b64encode(hashlib.sha256(build("aws")).digest()).decode()
    return [
        part
        for each in SCHEDULED
        for part in (
            StackPart(
                f"aws_lambda_function.{each.component}",
                each.name,
                each.name in code,
                code.get(each.name, ours) != ours,
            ),
            StackPart(
                f"aws_scheduler_schedule.{each.component}", each.name, each.name in schedules
            ),
        )
    ]


def destroy(to: AwsResources) -> None:
    """Delete the functions and their schedules, if they exist."""
    there = [part for part in parts(to) if part.there]
    with translated(WHERE):
        for part in there:
            if part.kind == "aws_scheduler_schedule":
                _client(to, "scheduler").delete_schedule(Name=part.name)
            else:
                _client(to, "lambda").delete_function(FunctionName=part.name)


def _deploy_function(
    lambda_: Any, function: ScheduledFunction, variables: Mapping[str, str]
) -> str:
    code = build("aws")
    try:
        made = lambda_.create_function(
            FunctionName=function.name,
            Runtime="python3.13",
            Role=f"arn:aws:iam::{ACCOUNT}:role/{function.name}",
            Handler=function.handler,
            Code={"ZipFile": code},
            Timeout=TIMEOUT,
            MemorySize=512,  # as in terraform/aws, except for the compaction function
            Environment={"Variables": variables},
        )
    except lambda_.exceptions.ResourceConflictException:
        made = lambda_.update_function_code(FunctionName=function.name, ZipFile=code)
        if made.get("Environment", {}).get("Variables") != variables:
            lambda_.update_function_configuration(
                FunctionName=function.name, Environment={"Variables": variables}
            )
    arn: str = made["FunctionArn"]
    return arn


def _deploy_schedule(scheduler: Any, function: ScheduledFunction, arn: str, is_on: bool) -> None:
    try:
        scheduler.create_schedule(
            Name=function.name,
            ScheduleExpression=function.rate,
            FlexibleTimeWindow={"Mode": "OFF"},
            State="ENABLED" if is_on else "DISABLED",
            Target={"Arn": arn, "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/{PREFIX}-scheduler"},
        )
    except scheduler.exceptions.ConflictException:
        return


def _client(to: AwsResources, service: str) -> Any:
    return make_client(service, to.region, to.endpoint_url)
