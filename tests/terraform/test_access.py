"""`mcloud doctor` asks for the permissions that the modules grant, and that applying them needs."""

from typing import Any

import pytest

from mcloud.clouds.aws import permissions as aws
from mcloud.clouds.gcp import access
from mcloud.clouds.gcp import permissions as gcp

from .module import only, resources
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
def test_aws_roles_have_what_the_doctor_asks_for(aws_plan: dict[str, Any], component: str) -> None:
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


def test_an_aws_deployer_is_asked_about_every_service(aws_plan: dict[str, Any]) -> None:
    services = {
        each["type"].split("_")[1] if "log_group" not in each["type"] else "logs"
        for each in resources(aws_plan["planned_values"])
    }
    asked = {action.partition(":")[0] for each in aws.NEEDS["deployer"].values() for action in each}
    assert services == asked


# Permissions in Google's own roles that mcloud uses, from https://github.com/iann0036/iam-dataset
ROLES = {
    "roles/cloudfunctions.viewer": {"cloudfunctions.functions.get"},
    "roles/datastore.user": {
        *("datastore.entities.create", "datastore.entities.get"),
        *("datastore.entities.list", "datastore.entities.update"),
        "datastore.entities.delete",
    },
    "roles/datastore.viewer": {
        *("datastore.databases.getMetadata", "datastore.entities.get"),
        "datastore.entities.list",
    },
    "roles/logging.viewer": {"logging.logEntries.list"},
    "roles/monitoring.viewer": {"monitoring.timeSeries.list", "resourcemanager.projects.get"},
    "roles/pubsub.publisher": {"pubsub.topics.publish"},
    "roles/pubsub.subscriber": {"pubsub.subscriptions.consume"},
    "roles/pubsub.viewer": {"pubsub.subscriptions.get"},
    "roles/serviceusage.serviceUsageViewer": {"serviceusage.services.get"},
    "roles/storage.objectViewer": {"storage.objects.get", "storage.objects.list"},
}


@pytest.mark.parametrize("component", ["operator", "producer", "replicator"])
def test_google_roles_have_what_the_doctor_asks_for(
    gcp_state: list[dict[str, Any]], component: str
) -> None:
    member = only(gcp_state, "google_service_account", component)["member"]
    # The only role of the module that any of these has. It gets its name when it is created.
    archiver = only(gcp_state, "google_project_iam_custom_role", "archiver")["permissions"]
    granted = {
        (key(each["type"], each["values"]), permission)
        for each in gcp_state
        if each["type"].endswith("_iam_member") and each["values"]["member"] == member
        for permission in ROLES.get(each["values"]["role"], archiver)
    }
    needs = gcp.NEEDS[component]
    assert {(key_, right) for key_, rights in needs.items() for right in rights} == granted


def key(kind: str, values: dict[str, Any]) -> str:
    """Return the name in NEEDS of the resource on which a role is granted."""
    match kind.removeprefix("google_").removesuffix("_iam_member"):
        case "project":
            return "database" if values["condition"] else "project"
        case "storage_bucket":
            return "raw" if values["condition"] else "bucket"
        case "pubsub_topic":
            assert values["topic"] == "mcloud-trades"
            return "topic"
        case "pubsub_subscription":
            return {
                "mcloud-trades-processor": "subscription",
                "mcloud-trades-dlq": "dlq_subscription",
            }[values["subscription"]]
        case "cloudfunctions2_function":
            return "function"
    raise AssertionError(kind)


def test_the_doctor_knows_the_services(small_gcp_plan: dict[str, Any]) -> None:
    planned = {
        each["values"]["service"]
        for each in resources(small_gcp_plan["planned_values"])
        if each["type"] == "google_project_service"
    }
    assert {f"{api}.googleapis.com" for api in access.APIS} == planned
