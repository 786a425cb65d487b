"""`mcloud doctor` asks for the permissions that the modules grant, and that applying them needs."""

from typing import Any

import pytest

from mcloud.clouds.aws import permissions as aws
from mcloud.clouds.gcp import access
from mcloud.clouds.gcp import permissions as gcp

from .module import resources
from .permissions.google_roles import granted, grants
from .test_aws_plan import statements

pytestmark = pytest.mark.slow

# Names of resources in NEEDS, and how the policies refer to them.
KEYS = {
    "aws_sqs_queue.trades.arn": "queue",
    "aws_sqs_queue.dlq.arn": "dlq",
    "local.function_arns": "function",
    "aws_dynamodb_table.candles.arn": "candles",
    "aws_dynamodb_table.candles.stream_arn": "stream",
    "aws_dynamodb_table.control.arn": "control",
    "aws_s3_bucket.raw.arn": "bucket",
    "aws_s3_bucket.staging.arn": "staging",
    "aws_iam_role.operator.arn": "oneself",
    "local.logs_arn": "log group",
    "aws_sns_topic.alerts.arn": "alerts",
}


@pytest.mark.parametrize("component", ["operator", "producer", "replicator"])
def test_aws_roles_have_the_permissions_that_the_doctor_checks(
    aws_plan: dict[str, Any], component: str
) -> None:
    granted = {
        (part(key, action), action)
        for statement in statements(aws_plan, component)
        for key in keys(statement["resources"])
        for action in statement["actions"]["constant_value"]
    }
    needs = aws.NEEDS[component]
    assert {(key, action) for key, actions in needs.items() for action in actions} == granted


def part(key: str, action: str) -> str:
    """Return the name of the objects on which a role has an action, or the key itself."""
    if not action.startswith("s3:") or not action.endswith("Object"):
        return key
    if key == "staging":
        return "foreign" if action == "s3:PutObject" else "staged"
    return "raw"


def keys(of: dict[str, Any]) -> list[str]:
    if of.get("constant_value") == ["*"]:
        return ["*"]
    found = [KEYS[each] for each in of["references"] if each in KEYS]
    assert found, of
    return found


def test_the_doctor_checks_every_service_for_an_aws_deployer(aws_plan: dict[str, Any]) -> None:
    names = {"kinesis": "firehose"}
    services = {
        names.get(service := each["type"].split("_")[1], service)
        if "log_group" not in each["type"]
        else "logs"
        for each in resources(aws_plan["planned_values"])
        if each["type"].startswith("aws_")
    }
    asked = {action.partition(":")[0] for each in aws.NEEDS["deployer"].values() for action in each}
    assert services == asked


@pytest.mark.parametrize("component", ["operator", "producer", "replicator"])
def test_google_roles_have_the_permissions_that_the_doctor_checks(
    gcp_state: list[dict[str, Any]], component: str
) -> None:
    needs = {(on, right) for on, rights in gcp.NEEDS[component].items() for right in rights}
    assert needs <= {(_kind(name), right) for name, right in granted(gcp_state, component)}
    # Google's own roles allow more, which test_permissions.py lists.
    assert needs >= {
        (_kind(grant.resource), right)
        for grant in grants(gcp_state)
        if grant.holder == component and not grant.role.startswith("roles/")
        for right in grant.permissions
    }


def _kind(resource: str) -> str:
    return "function" if resource.startswith("function ") else resource


@pytest.mark.parametrize("plan", ["gcp_plan", "small_gcp_plan"])
def test_the_doctor_knows_the_services(plan: str, request: pytest.FixtureRequest) -> None:
    made = request.getfixturevalue(plan)
    planned = {
        each["values"]["service"]
        for each in resources(made["planned_values"])
        if each["type"] == "google_project_service"
    }
    given = {name: each["value"] for name, each in made["variables"].items()}
    assert {f"{api}.googleapis.com" for api in access.needed_apis(given)} == planned
