"""The permissions of the roles of the Google module, read from Terraform's state."""

from collections.abc import Mapping
from typing import Any

from ..module import only

Granted = set[tuple[str, str]]
"""Permissions, each with the name of the resource in ``permissions.NEEDS``."""

ROLES: Mapping[str, frozenset[str]] = {
    "roles/cloudfunctions.viewer": frozenset({"cloudfunctions.functions.get"}),
    "roles/cloudtrace.agent": frozenset({"cloudtrace.traces.patch"}),
    "roles/datastore.user": frozenset(
        {
            *("datastore.entities.create", "datastore.entities.get"),
            *("datastore.entities.list", "datastore.entities.update"),
            "datastore.entities.delete",
        }
    ),
    "roles/datastore.viewer": frozenset(
        {
            *("datastore.databases.getMetadata", "datastore.entities.get"),
            "datastore.entities.list",
        }
    ),
    "roles/logging.viewer": frozenset({"logging.logEntries.list"}),
    "roles/monitoring.viewer": frozenset(
        {
            *("monitoring.alertPolicies.list", "monitoring.timeSeries.list"),
            "resourcemanager.projects.get",
        }
    ),
    "roles/pubsub.publisher": frozenset({"pubsub.topics.publish"}),
    "roles/pubsub.subscriber": frozenset({"pubsub.subscriptions.consume"}),
    "roles/pubsub.viewer": frozenset({"pubsub.subscriptions.get"}),
    "roles/serviceusage.serviceUsageViewer": frozenset({"serviceusage.services.get"}),
    "roles/storage.objectViewer": frozenset({"storage.objects.get", "storage.objects.list"}),
}
"""Permissions in Google's own roles that mcloud uses, from
https://docs.cloud.google.com/iam/docs/roles-permissions. Each is Google's smallest role with these:
what else it allows is to read and list what belongs to the same service."""

HOLDERS = ("processor", "anomaly", "compact", "producer", "replicator", "operator")


def granted(state: list[dict[str, Any]], holder: str) -> Granted:
    """Return what the roles of a component's account allow."""
    member = only(state, "google_service_account", holder)["member"]
    custom = {
        each["values"]["name"]: each["values"]["permissions"]
        for each in state
        if each["type"] == "google_project_iam_custom_role"
    }
    return {
        (_key(each["type"], each["values"]), permission)
        for each in state
        if each["type"].endswith("_iam_member") and each["values"]["member"] == member
        for permission in custom.get(each["values"]["role"]) or ROLES[each["values"]["role"]]
    }


def _key(kind: str, values: dict[str, Any]) -> str:
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
