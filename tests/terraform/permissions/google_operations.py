"""The permissions that each operation of Google Cloud needs.

Sources: https://cloud.google.com/pubsub/docs/access-control#permissions_and_roles (Pub/Sub),
https://firebase.google.com/docs/firestore/security/iam (Firestore, with `datastore.databases.get`
for transactions and `datastore.databases.getMetadata` for a database itself),
https://cloud.google.com/storage/docs/access-control/iam-json (Cloud Storage) and
https://cloud.google.com/iam/docs/permissions-reference (all others: the permission of a method has
the name of the method, except for those in `EXCEPTIONS`).
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from google.cloud.firestore_v1.types import (
    BatchGetDocumentsRequest,
    BatchWriteRequest,
    CommitRequest,
    RunAggregationQueryRequest,
    RunQueryRequest,
)
from google.cloud.monitoring_v3 import ListTimeSeriesRequest
from google.pubsub_v1.types import (
    AcknowledgeRequest,
    GetSubscriptionRequest,
    ModifyAckDeadlineRequest,
    PublishRequest,
    PullRequest,
)

READS = {"datastore.entities.get", "datastore.entities.list"}
CONSUMES = {"pubsub.subscriptions.consume"}


def _writes(request: Any) -> set[str]:
    """Return the permissions for the writes of a commit, by their preconditions."""
    needed = set()
    for write in request.writes:
        condition = write.current_document
        if write._pb.WhichOneof("operation") == "delete":
            needed.add("datastore.entities.delete")
        elif condition._pb.WhichOneof("condition_type") is None:
            needed |= {"datastore.entities.create", "datastore.entities.update"}
        elif condition._pb.WhichOneof("condition_type") == "exists" and not condition.exists:
            needed.add("datastore.entities.create")
        else:  # the document must exist, or have been updated at a time
            needed.add("datastore.entities.update")
    return needed


GRPC: Mapping[str, tuple[Any, str, Callable[[Any], set[str]]]] = {
    "/google.pubsub.v1.Publisher/Publish": (
        PublishRequest, "topic", lambda _: {"pubsub.topics.publish"},
    ),
    "/google.pubsub.v1.Subscriber/GetSubscription": (
        GetSubscriptionRequest, "subscription", lambda _: {"pubsub.subscriptions.get"},
    ),
    "/google.pubsub.v1.Subscriber/Pull": (PullRequest, "subscription", lambda _: CONSUMES),
    "/google.pubsub.v1.Subscriber/Acknowledge": (
        AcknowledgeRequest, "subscription", lambda _: CONSUMES,
    ),
    "/google.pubsub.v1.Subscriber/ModifyAckDeadline": (
        ModifyAckDeadlineRequest, "subscription", lambda _: CONSUMES,
    ),
    "/google.firestore.v1.Firestore/BatchGetDocuments": (
        BatchGetDocumentsRequest, "database", lambda _: {"datastore.entities.get"},
    ),
    "/google.firestore.v1.Firestore/RunQuery": (RunQueryRequest, "parent", lambda _: READS),
    "/google.firestore.v1.Firestore/RunAggregationQuery": (
        RunAggregationQueryRequest, "parent", lambda _: READS,
    ),
    "/google.firestore.v1.Firestore/Commit": (CommitRequest, "database", _writes),
    "/google.firestore.v1.Firestore/BatchWrite": (BatchWriteRequest, "database", _writes),
    "/google.monitoring.v3.MetricService/ListTimeSeries": (
        ListTimeSeriesRequest, "name", lambda _: {"monitoring.timeSeries.list"},
    ),
}  # fmt: skip
"""Each gRPC method with its request, the field that names the resource, and the permissions that a
request needs."""

REST: tuple[tuple[str, str, frozenset[str]], ...] = (
    # An upload that may replace an object also needs to delete it.
    ("POST", r"/upload/storage/v1/b/(?P<bucket>[^/?]+)/o", frozenset(
        {"storage.objects.create", "storage.objects.delete"})),
    ("GET", r"/(?:download/)?storage/v1/b/(?P<bucket>[^/?]+)/o/", frozenset(
        {"storage.objects.get"})),
    ("DELETE", r"/storage/v1/b/(?P<bucket>[^/?]+)/o/", frozenset({"storage.objects.delete"})),
    ("GET", r"/storage/v1/b/(?P<bucket>[^/?]+)/o(?:\?|$)", frozenset({"storage.objects.list"})),
    ("POST", r"/logging/v2/entries:list", frozenset({"logging.logEntries.list"})),
    ("GET", r"/monitoring/v3/projects/[^/]+/alertPolicies", frozenset(
        {"monitoring.alertPolicies.list"})),
    ("POST", r"/cloudtrace/v2/projects/[^/]+/traces:batchWrite", frozenset(
        {"cloudtrace.traces.patch"})),
    ("GET", r"/cloudfunctions/v2/.*/functions/", frozenset({"cloudfunctions.functions.get"})),
    ("GET", r"/serviceusage/v1/projects/[^/]+/services:batchGet", frozenset(
        {"serviceusage.services.get"})),
    ("GET", r"/cloudbilling/v1/projects/[^/]+/billingInfo", frozenset(
        {"resourcemanager.projects.get"})),
    ("GET", r"/firestore/v1/projects/[^/]+/databases/[^/]+$", frozenset(
        {"datastore.databases.getMetadata"})),
    ("POST", r"/bigquery/bigquery/v2/projects/[^/]+/queries$", frozenset(
        {"bigquery.jobs.create", "bigquery.tables.getData"})),
    ("POST", r"/v1/projects/-/serviceAccounts/[^/]+:generateAccessToken$", frozenset(
        {"iam.serviceAccounts.getAccessToken"})),
    ("GET", r"/$", frozenset()),  # for the clock of the answer
    # Everybody may ask what he may do.
    ("POST", r".*:testIamPermissions$", frozenset()),
    ("GET", r"/storage/v1/b/[^/]+/iam/testPermissions", frozenset()),
)  # fmt: skip
"""Requests to REST interfaces, whose paths begin with the name of the API."""


UNKNOWN = frozenset({"unknown"})
"""Stands for the permissions of an operation that is not listed here. No role has it, so that such
an operation counts as refused."""


def rest(method: str, target: str) -> frozenset[str]:
    """Return the permissions for a request."""
    found = (need for verb, path, need in REST if verb == method and re.match(path, target))
    return next(found, UNKNOWN)


SERVICES = {
    "billingbudgets": "billing",
    "cloudresourcemanager": "resourcemanager",
    "firestore": "datastore",
}
"""Prefixes of permissions that differ from the name of the API."""

EXCEPTIONS: Mapping[str, frozenset[str]] = {
    # Operations of Artifact Registry can be read by everybody who may start them.
    "artifactregistry.projects.locations.operations.get": frozenset(),
    "bigquery.datasets.patch": frozenset(
        {"bigquery.datasets.setIamPolicy", "bigquery.datasets.update"}
    ),
    "cloudbilling.projects.getBillingInfo": frozenset({"resourcemanager.projects.get"}),
    "cloudscheduler.projects.locations.jobs.resume": frozenset({"cloudscheduler.jobs.enable"}),
    # The provider ignores a refusal: it looks for the project's number only.
    "compute.projects.get": frozenset(),
    "firestore.projects.databases.get": frozenset({"datastore.databases.getMetadata"}),
    "firestore.projects.databases.collectionGroups.fields.get": frozenset(
        {"datastore.schemas.get"}
    ),
    "firestore.projects.databases.collectionGroups.fields.patch": frozenset(
        {"datastore.schemas.update"}
    ),
    **{
        f"firestore.projects.databases.collectionGroups.indexes.{verb}": frozenset(
            {f"datastore.schemas.{verb}"}
        )
        for verb in ("create", "delete", "get")
    },
    **{
        f"logging.projects.metrics.{verb}": frozenset({f"logging.logMetrics.{verb}"})
        for verb in ("create", "delete", "get", "update")
    },
    "pubsub.projects.subscriptions.create": frozenset(
        {"pubsub.subscriptions.create", "pubsub.topics.attachSubscription"}
    ),
    "serviceusage.services.batchEnable": frozenset({"serviceusage.services.enable"}),
    "serviceusage.services.batchGet": frozenset({"serviceusage.services.get"}),
    # https://cloud.google.com/iam/docs/create-service-agents: it needs no permission.
    "serviceusage.services.generateServiceIdentity": frozenset(),
    "storage.buckets.insert": frozenset({"storage.buckets.create"}),
    "storage.objects.insert": frozenset({"storage.objects.create", "storage.objects.delete"}),
}
"""Methods whose permission has another name than the method."""


def of_method(method: str) -> frozenset[str]:
    """Return the permissions for a method of a discovery document, such as
    ``pubsub.projects.topics.get``."""
    if method in EXCEPTIONS:
        return EXCEPTIONS[method]
    api, *_, collection, verb = method.split(".")
    verb = "update" if verb == "patch" else verb
    return frozenset({f"{SERVICES.get(api, api)}.{collection}.{verb}"})
