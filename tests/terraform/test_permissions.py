"""Each role allows what its holder calls, and nothing that is not listed here with a reason.

A whole life of a stack runs on an AWS that enforces policies, beside a site of the embedded Google
Cloud whose proxies enforce the roles of the Google module. Afterwards each permission is taken from
its role in turn, and some noted call must then fail.
"""

import copy
import gzip
import json
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
from mcloud.clouds.gcp.access import GcpAccess
from mcloud.clouds.gcp.client import make_publisher
from mcloud.clouds.gcp.permissions import NEEDS
from mcloud.clouds.resources import GcpResources
from mcloud.local.state import State
from mcloud.sites.provisioning import probe

from .module import provider_mirror, terraform
from .permissions.aws_operations import ACCOUNT, STACK
from .permissions.google_operations import UNKNOWN, of_method
from .permissions.google_roles import HOLDERS, Granted, granted
from .permissions.life import AwsCall, Life, live
from .permissions.proxies import Allow, GoogleCall, proxies
from .permissions.rest_calls import rest_calls

pytestmark = pytest.mark.timeout(3000)

LAMBDA = "Lambda itself uses the role of the function for it"
SNS = "SNS encrypts what is published with the permissions of the publisher; ministack does not"
CHANGES = "for a change of the module or of a setting that this life does not make"
TAGS = "for tags that are removed"

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

UNCALLED_ON_GOOGLE: dict[tuple[str, str, str], str] = {
    ("producer", "database", "datastore.databases.getMetadata"): (
        "in Google's smallest role that reads documents"
    ),
    ("producer", "database", "datastore.entities.list"): (
        "in Google's smallest role that reads documents"
    ),
    **{
        ("replicator", "project", permission): "in Google's smallest role that reads metrics"
        for permission in ("monitoring.alertPolicies.list", "resourcemanager.projects.get")
    },
}
"""Permissions of an account that nobody called, by component, resource and permission."""

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
def google_grants(gcp_state: list[dict[str, Any]]) -> dict[str, Granted]:
    return {holder: granted(gcp_state, holder) for holder in HOLDERS}


@pytest.fixture(scope="module")
def life(
    tmp_path_factory: pytest.TempPathFactory, embedded: State, google_grants: dict[str, Granted]
) -> Life:
    terraform()
    provider_mirror()
    return live(tmp_path_factory.mktemp("life"), embedded, _allowed_by(google_grants))


def _allowed_by(grants: dict[str, Granted]) -> Allow:
    return lambda call: (call.resource, call.permission) in grants[call.holder]


@pytest.mark.nightly
def test_aws_roles_allow_every_call(life: Life) -> None:
    refused = {(call.role, call.action) for call in life.aws if call.denied}
    assert refused == set(REFUSED_ON_AWS)


@pytest.mark.nightly
def test_each_permission_on_aws_is_called(life: Life) -> None:
    unneeded = {
        (role, statement["Sid"], action)
        for role, policies in life.policies.items()
        if role != f"{STACK}-scheduler"  # EventBridge Scheduler alone has its role
        for name, policy in policies.items()
        for index, statement in enumerate(policy["Statement"])
        for action in _listed(statement["Action"])
        if not _is_missed(life.aws, role, policies, name, index, action)
    }
    assert unneeded == set(UNCALLED_ON_AWS)


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
def test_google_roles_allow_every_call(life: Life, google_grants: dict[str, Granted]) -> None:
    allows = _allowed_by(google_grants)
    refused = {(call.holder, call.permission) for call in life.google if not allows(call)}
    assert refused == set(REFUSED_ON_GOOGLE)


def test_proxies_refuse_operations_that_are_not_listed(
    embedded: State, google_grants: dict[str, Granted]
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
    google_grants: dict[str, Granted],
) -> None:
    allows = _allowed_by(google_grants)
    for call in rest_calls():
        assert allows(call), call


@pytest.mark.nightly
def test_each_permission_on_google_is_called(life: Life, google_grants: dict[str, Granted]) -> None:
    called = {(call.holder, call.resource, call.permission) for call in life.google | rest_calls()}
    unneeded = {
        (holder, *permission)
        for holder, allowed in google_grants.items()
        for permission in allowed
        if (holder, *permission) not in called
    }
    assert unneeded == set(UNCALLED_ON_GOOGLE)


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
        requested |= probe_permissions(to)
    assert requested <= has
    assert has - requested == {each for each in UNREQUESTED if each in has}
