"""The permissions that each component needs on Google Cloud, and custom roles for deployers.

The roles of the other components are in ``terraform/gcp/iam.tf``. The tests compare both with all
calls from the creation of a stack to its deletion.
"""

from typing import Any

Needs = dict[str, tuple[str, ...]]
"""Permissions by the kind of resource."""

_READS: Needs = {
    "project": (
        *("artifactregistry.repositories.get", "artifactregistry.repositories.getIamPolicy"),
        *("cloudfunctions.functions.get", "cloudfunctions.functions.getIamPolicy"),
        *("cloudfunctions.locations.list", "cloudscheduler.jobs.get"),
        *("cloudscheduler.locations.list", "datastore.backupSchedules.get"),
        *("datastore.databases.getMetadata", "datastore.schemas.get", "datastore.locations.list"),
        *("iam.roles.get", "iam.serviceAccounts.get", "iam.serviceAccounts.getIamPolicy"),
        *("logging.exclusions.get", "logging.logMetrics.get", "monitoring.alertPolicies.get"),
        *("monitoring.dashboards.get", "monitoring.notificationChannels.get"),
        "pubsub.subscriptions.get",
        *("pubsub.subscriptions.getIamPolicy", "pubsub.topics.get", "pubsub.topics.getIamPolicy"),
        *("resourcemanager.projects.get", "resourcemanager.projects.getIamPolicy"),
        *("run.services.getIamPolicy", "serviceusage.services.get", "serviceusage.services.list"),
        "serviceusage.services.use",
        *("storage.buckets.get", "storage.buckets.getIamPolicy", "storage.objects.get"),
    ),
    "billing account": ("billing.budgets.get",),
    "billing dataset": ("bigquery.datasets.get",),
}

_WRITES: Needs = {
    "project": (
        *("artifactregistry.repositories.create", "artifactregistry.repositories.delete"),
        *("artifactregistry.repositories.setIamPolicy", "artifactregistry.repositories.update"),
        *("cloudfunctions.functions.create", "cloudfunctions.functions.delete"),
        *("cloudfunctions.functions.setIamPolicy", "cloudfunctions.functions.update"),
        *("cloudfunctions.operations.get", "cloudscheduler.jobs.create"),
        *("cloudscheduler.jobs.delete", "cloudscheduler.jobs.enable"),
        *("cloudscheduler.jobs.update", "datastore.backupSchedules.create"),
        *("datastore.backupSchedules.delete", "datastore.backupSchedules.update"),
        *("datastore.backups.delete", "datastore.backups.list"),
        *("datastore.databases.create", "datastore.databases.delete"),
        *("datastore.databases.update", "datastore.entities.get", "datastore.schemas.create"),
        *("datastore.schemas.delete", "datastore.schemas.update", "datastore.operations.get"),
        *("iam.roles.create", "iam.roles.delete", "iam.roles.update"),
        *("iam.serviceAccounts.actAs", "iam.serviceAccounts.create"),
        *("iam.serviceAccounts.delete", "iam.serviceAccounts.setIamPolicy"),
        *("iam.serviceAccounts.update", "logging.exclusions.create"),
        *("logging.exclusions.delete", "logging.exclusions.update", "logging.logMetrics.create"),
        *("logging.logMetrics.delete", "logging.logMetrics.update"),
        *("monitoring.alertPolicies.create", "monitoring.alertPolicies.delete"),
        *("monitoring.alertPolicies.update", "monitoring.dashboards.create"),
        *("monitoring.dashboards.delete", "monitoring.dashboards.update"),
        *("monitoring.notificationChannels.create", "monitoring.notificationChannels.delete"),
        *("monitoring.notificationChannels.update", "pubsub.subscriptions.create"),
        *("pubsub.subscriptions.delete", "pubsub.subscriptions.setIamPolicy"),
        *("pubsub.subscriptions.update", "pubsub.topics.attachSubscription"),
        *("pubsub.topics.create", "pubsub.topics.delete", "pubsub.topics.setIamPolicy"),
        *("pubsub.topics.update", "resourcemanager.projects.setIamPolicy"),
        *("run.services.setIamPolicy", "serviceusage.operations.get"),
        *("serviceusage.services.enable", "storage.anywhereCaches.list"),
        *("storage.buckets.create", "storage.buckets.delete", "storage.buckets.setIamPolicy"),
        *("storage.buckets.update", "storage.objects.create", "storage.objects.delete"),
        "storage.objects.list",
    ),
    "billing account": (
        "billing.budgets.create",
        "billing.budgets.delete",
        "billing.budgets.update",
    ),
    "billing dataset": ("bigquery.datasets.setIamPolicy", "bigquery.datasets.update"),
}

NEEDS: dict[str, Needs] = {
    "deployer": {key: tuple(sorted((*reads, *_WRITES[key]))) for key, reads in _READS.items()},
    "planner": _READS,
    "operator": {
        "subscription": ("pubsub.subscriptions.get",),
        "dlq_subscription": ("pubsub.subscriptions.consume",),
        "function": ("cloudfunctions.functions.get",),
        "database": (
            *("datastore.databases.getMetadata", "datastore.entities.get"),
            "datastore.entities.list",
        ),
        "bucket": ("storage.objects.get", "storage.objects.list"),
        "staging": ("storage.objects.get", "storage.objects.list"),
        "project": (
            *("logging.logEntries.list", "monitoring.alertPolicies.list"),
            "monitoring.timeSeries.list",
            *("resourcemanager.projects.get", "serviceusage.services.get"),
        ),
    },
    "producer": {
        "topic": ("pubsub.topics.publish",),
        "subscription": ("pubsub.subscriptions.get",),
        "database": (
            *("datastore.entities.create", "datastore.entities.get"),
            *("datastore.entities.list", "datastore.entities.update"),
        ),
    },
    "replicator": {
        "topic": ("pubsub.topics.publish",),
        "subscription": ("pubsub.subscriptions.get",),
        "function": ("cloudfunctions.functions.get",),
        "dlq_subscription": ("pubsub.subscriptions.consume",),
        "database": (
            *("datastore.entities.create", "datastore.entities.get"),
            *("datastore.entities.list", "datastore.entities.update"),
            "datastore.entities.delete",
        ),
        "bucket": ("storage.objects.get", "storage.objects.list"),
        "raw": ("storage.objects.create", "storage.objects.delete"),
        "staging": ("storage.objects.get", "storage.objects.list"),
        "staged": ("storage.objects.create", "storage.objects.delete"),
        "project": ("monitoring.timeSeries.list",),
    },
}
"""Permissions that a component needs, by the kind of resource. A planner reads the resources that
Terraform reads for a plan, and a deployer also creates, changes and removes them. The other
components have the roles in ``terraform/gcp/iam.tf``.
"""

CONDITIONAL = ("database", "raw", "staged", "billing dataset")
"""Resources whose permissions are granted under a condition or on a part only. A test of the whole
project or bucket does not find these permissions.
"""


def custom_role(component: str, stack: str) -> dict[str, Any]:
    """Return the definition of a project's custom role for a planner or a deployer.

    A project's role cannot hold the permissions for budgets, which belong to the billing account.
    """
    return {
        "title": f"{stack} {component}",
        "description": f"Permissions of a {component} of mcloud",
        "stage": "GA",
        "includedPermissions": list(NEEDS[component]["project"]),
    }
