"""The anomaly function on the embedded AWS, and the schedule that calls it each minute.

ministack's EventBridge Scheduler makes the calls itself. On the Google side the supervisor runs the
function, like the processor (see ``mcloud.local``).
"""

import base64
import hashlib
from typing import Any

from mcloud.clouds.aws.client import make_client, translated
from mcloud.clouds.resources import AwsResources
from mcloud.infra.bundle import build
from mcloud.local.deployment import ACCOUNT, PREFIX, StackPart

NAME = f"{PREFIX}-anomaly"
EVERY = "rate(1 minute)"  # as in terraform/aws
TIMEOUT = 60  # seconds
WHERE = "the embedded AWS"


def deploy(to: AwsResources, thresholds: str, *, scheduled: bool = True) -> None:
    """Create or complete the function and its schedule. An existing schedule is left unchanged."""
    with translated(WHERE):
        arn = _deploy_function(_client(to, "lambda"), to, thresholds)
        scheduler = _client(to, "scheduler")
        try:
            scheduler.create_schedule(
                Name=NAME,
                ScheduleExpression=EVERY,
                FlexibleTimeWindow={"Mode": "OFF"},
                State="ENABLED" if scheduled else "DISABLED",
                Target={"Arn": arn, "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/{PREFIX}-scheduler"},
            )
        except scheduler.exceptions.ConflictException:
            return


def parts(to: AwsResources) -> list[StackPart]:
    """Return the anomaly function and its schedule as parts, with whether each exists."""
    with translated(WHERE):
        functions = _client(to, "lambda").list_functions()["Functions"]
        schedules = _client(to, "scheduler").list_schedules()["Schedules"]
    code = {each["FunctionName"]: each["CodeSha256"] for each in functions}.get(NAME)
    ours = base64.b64encode(hashlib.sha256(build("aws")).digest()).decode()
    return [
        StackPart("aws_lambda_function.anomaly", NAME, code is not None, code not in (None, ours)),
        StackPart(
            "aws_scheduler_schedule.anomaly", NAME, NAME in {each["Name"] for each in schedules}
        ),
    ]


def destroy(to: AwsResources) -> None:
    """Delete the function and its schedule, if they exist."""
    there = {part.kind for part in parts(to) if part.there}
    with translated(WHERE):
        if "aws_scheduler_schedule" in there:
            _client(to, "scheduler").delete_schedule(Name=NAME)
        if "aws_lambda_function" in there:
            _client(to, "lambda").delete_function(FunctionName=NAME)


def _deploy_function(lambda_: Any, to: AwsResources, thresholds: str) -> str:
    code = build("aws")
    variables = {
        "CANDLES_TABLE": to.candles_table,
        "CONTROL_TABLE": to.control_table,
        "ANOMALY_THRESHOLDS": thresholds,
    }
    try:
        made = lambda_.create_function(
            FunctionName=NAME,
            Runtime="python3.13",
            Role=f"arn:aws:iam::{ACCOUNT}:role/{NAME}",
            Handler="anomalies.handler",
            Code={"ZipFile": code},
            Timeout=TIMEOUT,
            MemorySize=512,  # as in terraform/aws
            Environment={"Variables": variables},
        )
    except lambda_.exceptions.ResourceConflictException:
        made = lambda_.update_function_code(FunctionName=NAME, ZipFile=code)
        if made.get("Environment", {}).get("Variables") != variables:
            lambda_.update_function_configuration(
                FunctionName=NAME, Environment={"Variables": variables}
            )
    arn: str = made["FunctionArn"]
    return arn


def _client(to: AwsResources, service: str) -> Any:
    return make_client(service, to.region, to.endpoint_url)
