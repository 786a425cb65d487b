"""`mcloud doctor` asks for the permissions that the modules grant, and that applying them needs."""

from typing import Any

import pytest

from mcloud.clouds.aws import permissions as aws
from mcloud.clouds.gcp import access
from mcloud.clouds.gcp import permissions as gcp

from .module import resources
from .permissions.google_roles import granted
from .test_aws_plan import statements

pytestmark = pytest.mark.slow

# Names of resources in NEEDS, and how the policies refer to them.
KEYS = {
    "aws_sqs_queue.trades.arn": "queue",
    "aws_sqs_queue.dlq.arn": "dlq",
    "local.functions_arn": "function",
    "aws_dynamodb_table.candles.arn": "candles",
    "aws_dynamodb_table.candles.stream_arn": "stream",
    "aws_dynamodb_table.control.arn": "control",
    "aws_s3_bucket.raw.arn": "bucket",
    "aws_iam_role.operator.arn": "oneself",
    "aws_cloudwatch_log_group.processor.arn": "log group",
    "aws_sns_topic.alerts.arn": "alerts",
}


@pytest.mark.parametrize("component", ["operator", "producer", "replicator"])
def test_aws_roles_have_the_permissions_that_the_doctor_checks(
    aws_plan: dict[str, Any], component: str
) -> None:
    granted = {
        ("raw" if action.startswith("s3:") and action.endswith("Object") else key, action)
        for statement in statements(aws_plan, component)
        for key in keys(statement["resources"])
        for action in statement["actions"]["constant_value"]
    }
    needs = aws.NEEDS[component]
    assert {(key, action) for key, actions in needs.items() for action in actions} == granted


def keys(of: dict[str, Any]) -> list[str]:
    if of.get("constant_value") == ["*"]:
        return ["*"]
    found = [KEYS[each] for each in of["references"] if each in KEYS]
    assert found, of
    return found


def test_the_doctor_checks_every_service_for_an_aws_deployer(aws_plan: dict[str, Any]) -> None:
    services = {
        each["type"].split("_")[1] if "log_group" not in each["type"] else "logs"
        for each in resources(aws_plan["planned_values"])
        if each["type"].startswith("aws_")
    }
    asked = {action.partition(":")[0] for each in aws.NEEDS["deployer"].values() for action in each}
    assert services == asked


@pytest.mark.parametrize("component", ["operator", "producer", "replicator"])
def test_google_roles_have_the_permissions_that_the_doctor_checks(
    gcp_state: list[dict[str, Any]], component: str
) -> None:
    allowed = granted(gcp_state, component)
    # Google's smallest role to read documents also lists them and shows the database itself, and
    # the one for metrics shows the project and the alert policies.
    if component == "producer":
        allowed -= {
            ("database", "datastore.databases.getMetadata"),
            ("database", "datastore.entities.list"),
        }
    if component == "replicator":
        allowed -= {
            ("project", "monitoring.alertPolicies.list"),
            ("project", "resourcemanager.projects.get"),
        }
    needs = gcp.NEEDS[component]
    assert {(key_, right) for key_, rights in needs.items() for right in rights} == allowed


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
