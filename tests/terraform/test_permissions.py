"""Each role allows what its holder calls, and nothing that is not listed here with a reason.

A whole life of a stack runs on an AWS that enforces policies, beside a site of the embedded Google
Cloud whose proxies enforce the roles of the Google module. Afterwards each permission is taken from
its role in turn, and some noted call must then fail. Holders of roles are those of both modules,
deployers, planners, and the services that act with a role or a grant of the modules.
"""

import copy
import gzip
import json
import re
from pathlib import Path
from threading import Event
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from clouds.web import anonymous
from discovery.cloud import PROJECT
from discovery.server import serving
from discovery.test_recording import RECORDING
from google.api_core.exceptions import PermissionDenied
from ministack.core.iam_evaluator import EvalContext, evaluate, parse_policy_document

from mcloud.clouds.access import OK, Target
from mcloud.clouds.factory import open_site
from mcloud.clouds.gcp import database
from mcloud.clouds.gcp.access import GcpAccess
from mcloud.clouds.gcp.client import make_publisher
from mcloud.clouds.gcp.permissions import NEEDS
from mcloud.clouds.resources import GcpResources
from mcloud.local.state import State
from mcloud.sites.provisioning import probe

from .module import gcp_module, provider_mirror, terraform
from .permissions.aws_operations import ACCOUNT, STACK
from .permissions.google_operations import UNKNOWN, of_method
from .permissions.google_roles import PUBSUB, TRUSTED, Grant, grants
from .permissions.life import AwsCall, Life, live
from .permissions.proxies import Allow, GoogleCall, proxies
from .permissions.rest_calls import BILL, BUILDS, impersonations, rest_calls

pytestmark = pytest.mark.timeout(3000)

LAMBDA = "Lambda itself uses the role of the function for it"
SNS = "SNS encrypts what is published with the permissions of the publisher; ministack does not"
CHANGES = "for a change of the module or of a setting that this life does not make"
TAGS = "for tags that are removed"
FIREHOSE = (
    "Firehose itself uses its role:"
    " https://docs.aws.amazon.com/firehose/latest/dev/controlling-access.html#using-iam-s3"
)

UNCALLED_ON_AWS: dict[tuple[str, str, str], str] = {
    **{
        (f"{STACK}-{role}", "Encrypt", action): SNS
        for role in ("anomaly", "operator", "replicator")
        for action in ("kms:Decrypt", "kms:GenerateDataKey")
    },
    **{
        (f"{STACK}-{role}", statement, action): LAMBDA
        for role in ("anomaly", "compact", "processor")
        for statement, action in (
            ("Logs", "logs:CreateLogStream"),
            ("Logs", "logs:PutLogEvents"),
            ("Traces", "xray:PutTelemetryRecords"),
            ("Traces", "xray:PutTraceSegments"),
        )
    },
    **{
        (f"{STACK}-trades-delivery", statement, action): FIREHOSE
        for statement, action in (
            ("Bucket", "s3:GetBucketLocation"),
            ("Bucket", "s3:ListBucket"),
            ("Bucket", "s3:ListBucketMultipartUploads"),
            ("Logs", "logs:PutLogEvents"),
            ("Objects", "s3:AbortMultipartUpload"),
            ("Objects", "s3:GetObject"),
            ("Objects", "s3:PutObject"),
        )
    },
    (f"{STACK}-anomaly", "Missed", "sqs:SendMessage"): LAMBDA,
    (f"{STACK}-compact", "Missed", "sqs:SendMessage"): LAMBDA,
    (f"{STACK}-processor", "DeadLetters", "sqs:SendMessage"): LAMBDA,
    (f"{STACK}-processor", "Receive", "sqs:DeleteMessage"): LAMBDA,
    (f"{STACK}-processor", "Receive", "sqs:GetQueueAttributes"): LAMBDA,
    (f"{STACK}-processor", "Receive", "sqs:ReceiveMessage"): LAMBDA,
    (f"{STACK}-operator", "Metrics", "ce:GetCostAndUsage"): "ministack has no Cost Explorer",
    (f"{STACK}-replicator", "Candles", "dynamodb:DeleteItem"): (
        "for a candle that loses all of its trades"
    ),
    **{
        ("ci-deployer", statement, action): TAGS
        for statement, action in (
            ("Alarms", "cloudwatch:UntagResource"),
            ("Budgets", "budgets:UntagResource"),
            ("DeliveryLogs", "logs:UntagResource"),
            ("DeliveryStreams", "firehose:UntagDeliveryStream"),
            ("EventSources", "lambda:UntagResource"),
            ("Functions", "lambda:UntagResource"),
            ("Keys", "kms:UntagResource"),
            ("LogGroups", "logs:UntagResource"),
            ("Queues", "sqs:UntagQueue"),
            ("Roles", "iam:UntagRole"),
            ("Tables", "dynamodb:UntagResource"),
            ("Topics", "sns:UntagResource"),
        )
    },
    **{
        ("ci-deployer", statement, action): CHANGES
        for statement, action in (
            ("DeliveryStreams", "firehose:UpdateDestination"),
            ("Functions", "lambda:UpdateFunctionCode"),
            ("Functions", "lambda:UpdateFunctionEventInvokeConfig"),
            ("Keys", "kms:PutKeyPolicy"),
            ("Keys", "kms:UpdateKeyDescription"),
            ("Roles", "iam:UpdateAssumeRolePolicy"),
            ("Roles", "iam:UpdateRole"),
            ("Tables", "dynamodb:UpdateTable"),
        )
    },
    # https://docs.aws.amazon.com/lambda/latest/api/API_GetFunction.html
    **{
        (role, "Functions", "lambda:ListTags"): "without it, GetFunction leaves out the tags"
        for role in ("ci-deployer", "ci-planner")
    },
}
"""Actions of a role that nobody called, by role, statement and action."""

REFUSED_ON_AWS: dict[tuple[str, str], str] = {
    (f"{STACK}-operator", "dynamodb:PutItem"): (
        "a watcher that may not claim an alert sends it in any case: docs/guide/alerts.md"
    ),
}
"""Actions that a role does not have and that were called, by role and action."""

ELSEWHERE = "takes effect on something that the role is not granted on"
TOKENS = "whoever gets tokens of an account may do all that it may, so this adds nothing"

UNCALLED_ON_GOOGLE: dict[str, tuple[tuple[str, str], ...]] = {
    "roles/artifactregistry.writer": (
        (
            r"artifactregistry\.((apt|kfp|yum)artifacts|(maven|python)\w+|npmpackages)\.\w+",
            "for other formats than that of images, which the repository has",
        ),
        (
            r"artifactregistry\.(attachments|dockerimages|files|packages|rules|versions)\.\w+",
            "on images, which nobody but the builder makes, and which can be made again",
        ),
        (
            r"artifactregistry\.(repositories\.(exportArtifacts|get|list\w*"
            r"|readViaVirtualRepository)|tags\.(get|list))",
            "reads the repository, whose images contain what the builder has put there",
        ),
        (r"artifactregistry\.(locations|project\w+)\.\w+", ELSEWHERE),
        (r"resourcemanager\.projects\.get", ELSEWHERE),
    ),
    "roles/bigquery.dataViewer": (
        (
            r"bigquery\.\w+\.(?!getData$)\w+|bigquery\.models\.getData",
            "on the dataset of the bill, which the operator may read; the dataset may be in a"
            " project that has no custom role of the stack",
        ),
        (r"dataplex\.datascans\.\w+", ELSEWHERE),
        (r"resourcemanager\.projects\.(get|list)", ELSEWHERE),
    ),
    "roles/cloudtrace.agent": (
        (r"telemetry\.traces\.write", "writes spans too, by another protocol"),
    ),
    "roles/iam.serviceAccountTokenCreator": (
        (r"iam\.serviceAccounts\.(getAccessToken|getOpenIdToken|sign\w+)", TOKENS),
        (r"iam\.serviceAccounts\.(get|implicitDelegation)", TOKENS),
        (r"iam\.serviceAccounts\.list", ELSEWHERE),
        (r"resourcemanager\.projects\.(get|list)", ELSEWHERE),
    ),
    "roles/logging.logWriter": (
        (r"logging\.logEntries\.route", "for entries that another project routes here"),
    ),
    "roles/pubsub.subscriber": (
        (r"pubsub\.snapshots\.seek", "the stack has no snapshots"),
        (r"pubsub\.topics\.attachSubscription", ELSEWHERE),
    ),
    "roles/run.invoker": ((r"run\.(instances\.invoke|jobs\.run)", ELSEWHERE),),
    # Google requires both roles for the bucket of a Cloud Storage subscription:
    # https://docs.cloud.google.com/pubsub/docs/create-cloudstorage-subscription
    "roles/storage.legacyBucketReader": (
        (
            r"storage\.(multipartUploads|objects)\.list",
            "lists the staged objects, which Pub/Sub has written",
        ),
    ),
    "roles/storage.objectCreator": (
        (r"storage\.(folders|managedFolders)\.create", "the bucket has no use for such folders"),
        (r"storage\.multipartUploads\.\w+", "for an object that Pub/Sub writes in parts"),
        (r"storage\.objects\.createContext", "for an object with contexts, which have no effect"),
        (r"(orgpolicy\.policy|resourcemanager\.projects)\.\w+", ELSEWHERE),
    ),
    "roles/storage.objectViewer": (
        (r"storage\.(folders|managedFolders)\.(get|list)", "the buckets have no such folders"),
        (
            r"storage\.objects\.list",
            "Cloud Build knows the name of its source; a list shows the names of the project's",
        ),
        (r"resourcemanager\.projects\.(get|list)", ELSEWHERE),
    ),
}
"""Permissions in Google's own roles that a holder did not call, as patterns, by role. Custom roles
have none."""

REFUSED_ON_GOOGLE: dict[tuple[str, str], str] = {
    ("operator", "datastore.entities.create"): (
        "a watcher that may not claim an alert sends it in any case: docs/guide/alerts.md"
    ),
}
"""Permissions that an account does not have and that were called, by component and permission."""

UNREQUESTED: dict[str, str] = {
    "iam.serviceAccounts.actAs": "functions, jobs and subscriptions run as accounts of the module",
    "serviceusage.services.use": "each request names the project whose quota it uses, in a header",
}
"""Permissions of a deployer on Google Cloud that belong to no request."""


@pytest.fixture(scope="module")
def google_grants(
    tmp_path_factory: pytest.TempPathFactory, gcp_everything: dict[str, object]
) -> list[Grant]:
    """All grants of a module with every option."""
    module = gcp_module(tmp_path_factory.mktemp("terraform") / "gcp-grants")
    module.set(**gcp_everything, billing_dataset=BILL.rpartition(".")[0])
    module.apply()
    return list(grants(module.state()))


@pytest.fixture(scope="module")
def life(
    tmp_path_factory: pytest.TempPathFactory, embedded: State, google_grants: list[Grant]
) -> Life:
    terraform()
    provider_mirror()
    return live(tmp_path_factory.mktemp("life"), embedded, _allowed_by(google_grants))


def _allowed_by(grants: list[Grant]) -> Allow:
    allowed = {(each.holder, each.resource, right) for each in grants for right in each.permissions}
    return lambda call: (call.holder, call.resource, call.permission) in allowed


@pytest.mark.nightly
def test_aws_roles_allow_every_call(life: Life) -> None:
    refused = {(call.role, call.action) for call in life.aws if call.denied}
    assert refused == set(REFUSED_ON_AWS)


@pytest.mark.nightly
def test_each_permission_on_aws_is_called(life: Life) -> None:
    unneeded = {
        (role, statement["Sid"], action)
        for role, policies in life.policies.items()
        for name, policy in policies.items()
        for index, statement in enumerate(policy["Statement"])
        for action in _listed(statement["Action"])
        if not _is_missed(life.aws, role, policies, name, index, action)
    }
    assert unneeded == set(UNCALLED_ON_AWS)
    assert set(life.policies) == {
        *("ci-deployer", "ci-planner"),
        *(f"{STACK}-{role}" for role in ("anomaly", "compact", "processor", "scheduler")),
        *(f"{STACK}-{role}" for role in ("operator", "producer", "replicator", "trades-delivery")),
    }


def _is_missed(
    calls: list[AwsCall],
    role: str,
    policies: dict[str, dict[str, Any]],
    name: str,
    index: int,
    action: str,
) -> bool:
    """Return whether a call of the role fails without an action in one statement."""
    less = copy.deepcopy(policies)
    statement = less[name]["Statement"][index]
    statement["Action"] = [each for each in _listed(statement["Action"]) if each != action]
    if not statement["Action"]:
        less[name]["Statement"].remove(statement)
    parsed = [parse_policy_document(each) for each in less.values()]
    return any(
        evaluate(_context(call), parsed).decision != "Allow"
        for call in calls
        if call.role == role and call.action == action and not call.denied
    )


def _context(call: AwsCall) -> EvalContext:
    return EvalContext(
        principal_arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/{call.role}/session",
        principal_type="AssumedRole",
        principal_account=ACCOUNT,
        action=call.action,
        resource_arn=call.resource,
        region="us-east-1",
        service_context={key.lower(): value for key, value in call.context.items()},
    )


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


@pytest.mark.nightly
def test_google_roles_allow_every_call(life: Life, google_grants: list[Grant]) -> None:
    allows = _allowed_by(google_grants)
    refused = {(call.holder, call.permission) for call in life.google if not allows(call)}
    assert refused == set(REFUSED_ON_GOOGLE)


def test_proxies_refuse_operations_that_are_not_listed(
    embedded: State, google_grants: list[Grant]
) -> None:
    google = embedded.resources()["gcp"]
    assert isinstance(google, GcpResources)
    calls: set[GoogleCall] = set()
    with proxies(google, "operator", _allowed_by(google_grants), calls) as to:
        topic = f"projects/{to.project}/topics/{to.topic}"
        with pytest.raises(PermissionDenied):
            make_publisher(to.pubsub_endpoint).get_topic(topic=topic)
        with pytest.raises(HTTPError, match="403"):
            urlopen(f"{to.storage_endpoint}/storage/v1/b?project={to.project}")
    assert {call.permission for call in calls} == UNKNOWN
    assert len(calls) == 2


def test_google_roles_allow_calls_that_the_recorded_life_does_not_contain(
    google_grants: list[Grant],
) -> None:
    allows = _allowed_by(google_grants)
    for call in rest_calls() | impersonations() | BUILDS:
        assert allows(call), call


@pytest.mark.nightly
def test_each_permission_on_google_is_called(life: Life, google_grants: list[Grant]) -> None:
    calls = life.google | rest_calls() | impersonations() | BUILDS
    called = {(call.holder, call.resource, call.permission) for call in calls}
    used, unexplained = set(), set()
    for grant in google_grants:
        for permission in grant.permissions:
            if (grant.holder, grant.resource, permission) in called:
                continue
            reasons = [
                pattern
                for pattern, _ in UNCALLED_ON_GOOGLE.get(grant.role, ())
                if re.fullmatch(pattern, permission)
            ]
            if len(reasons) != 1:
                unexplained.add((grant.holder, grant.role, grant.resource, permission))
            used |= {(grant.role, reason) for reason in reasons}
    assert unexplained == set()
    assert used == {
        (role, pattern) for role, reasons in UNCALLED_ON_GOOGLE.items() for pattern, _ in reasons
    }


def test_every_account_of_the_google_module_is_a_holder(google_grants: list[Grant]) -> None:
    assert {grant.holder for grant in google_grants} == {
        *("anomaly", "builder", "compact", "invoker", "operator", "processor", "producer"),
        *("replicator", "scheduler", PUBSUB, TRUSTED),
    }


def test_services_of_aws_may_only_deliver_alerts_and_use_their_roles(
    aws_plan: dict[str, Any],
) -> None:
    """CloudWatch and Budgets publish to a topic with a key:
    https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html."""
    found = set()
    for each in aws_plan["configuration"]["root_module"]["resources"]:
        if each["type"] != "aws_iam_policy_document":
            continue
        for statement in each["expressions"].get("statement", ()):
            for principal in statement.get("principals", ()):
                if principal["type"]["constant_value"] == "Service":
                    found |= {
                        (each["name"], service, action)
                        for service in principal["identifiers"]["constant_value"]
                        for action in statement["actions"]["constant_value"]
                    }
    alerting = ("cloudwatch.amazonaws.com", "budgets.amazonaws.com")
    assert found == {
        ("lambda", "lambda.amazonaws.com", "sts:AssumeRole"),
        ("delivery_trust", "firehose.amazonaws.com", "sts:AssumeRole"),
        ("scheduler_trust", "scheduler.amazonaws.com", "sts:AssumeRole"),
        *(("alerts_topic", service, "sns:Publish") for service in alerting),
        *(("alerts_key", service, "kms:Decrypt") for service in alerting),
        *(("alerts_key", service, "kms:GenerateDataKey") for service in alerting),
    }


def recorded_permissions(*phases: str) -> set[str]:
    """Return the permissions for the requests of the real provider in these phases."""
    with gzip.open(RECORDING, "rt") as lines:
        requests = [json.loads(line) for line in lines]
    return {
        permission
        for request in requests
        if request["phase"] in phases
        for permission in of_method(request["method"])
    }


def doctor_permissions(folder: Path) -> set[str]:
    """Return the permissions for the checks of ``mcloud doctor`` before the first deployment."""
    with serving(folder) as server:
        server.google.cloud.enabled[PROJECT, "cloudresourcemanager.googleapis.com"] = 0
        access = GcpAccess(
            Target("mcloud", "us-central1", PROJECT), lambda api: f"{server.address}/{api}"
        )
        access._session = anonymous()
        assert {check().state for check in access.quotas().values()} == {OK}
        methods = [entry.method for entry in server.google.log]
    return {permission for method in methods for permission in of_method(method)}


def probe_permissions(to: GcpResources) -> set[str]:
    """Return the permissions for the look at each service after a deployment."""
    calls: set[GoogleCall] = set()
    with proxies(to, "deployer", lambda call: True, calls) as behind:
        assert set(probe(open_site("gcp", behind), Event()).values()) == {""}
    return {call.permission for call in calls}


def backup_permissions(folder: Path) -> set[str]:
    """Return the permissions for the deletion of backups with a stack."""
    with serving(folder / "backups") as server:
        name = f"projects/{PROJECT}/locations/us-central1/backups/b1"
        server.google.cloud.store["firestore", name] = {
            "name": name,
            "expireTime": "2026-12-01T03:00:00Z",
            "database": f"projects/{PROJECT}/databases/mcloud",
        }
        url = f"{server.address}/firestore"
        (backup,) = database.backups(anonymous(), PROJECT, "mcloud", url)
        database.delete_backup(anonymous(), backup, url)
        assert ("firestore", name) not in server.google.cloud.store
        methods = [entry.method for entry in server.google.log]
    return {permission for method in methods for permission in of_method(method)}


PHASES = {"planner": ("plan",), "deployer": ("apply", "plan", "change", "destroy")}


@pytest.mark.parametrize("component", PHASES)
def test_google_deployers_have_what_they_request(
    component: str, embedded: State, tmp_path: Path
) -> None:
    to = embedded.resources()["gcp"]
    assert isinstance(to, GcpResources)
    has = {permission for each in NEEDS[component].values() for permission in each}
    requested = recorded_permissions(*PHASES[component]) | doctor_permissions(tmp_path)
    if component == "deployer":
        requested |= probe_permissions(to) | backup_permissions(tmp_path)
    assert requested <= has
    assert has - requested == {each for each in UNREQUESTED if each in has}
