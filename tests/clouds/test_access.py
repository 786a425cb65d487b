"""Credentials and permissions: AWS by the embedded IAM, Google by answers of a real server."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from mcloud.clouds.access import FAULT, OK, UNKNOWN, WARNING, AccessFinding, Target, ask_time
from mcloud.clouds.aws import access as aws
from mcloud.clouds.aws import permissions as aws_permissions
from mcloud.clouds.aws.client import make_client
from mcloud.clouds.gcp import access as gcp
from mcloud.clouds.gcp import permissions as gcp_permissions
from mcloud.clouds.resources import AwsResources
from mcloud.errors import Refused, Unavailable
from mcloud.local.children import free_ports
from mcloud.local.deployment import gcp_resources
from mcloud.local.state import State

from .web import Answer, aws_error, google_error, grants, serve

PROJECT = "mcloud-local"


@pytest.fixture(autouse=True)
def _no_account_of_mine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def aws_site(embedded: State) -> AwsResources:
    found = embedded.resources()["aws"]
    assert isinstance(found, AwsResources)
    return found


@contextmanager
def acting_as(
    role: str, statements: list[dict[str, Any]], url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Use the credentials of a role in the embedded AWS, which is found like the real one."""
    iam = make_client("iam", "us-east-1", url)
    trust = [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}]
    arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=_policy(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName=role, PolicyName="p", PolicyDocument=_policy(statements))
    sts = make_client("sts", "us-east-1", url)
    session = sts.assume_role(RoleArn=arn, RoleSessionName="doctor")["Credentials"]
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", url)
        patch.setenv("AWS_ACCESS_KEY_ID", session["AccessKeyId"])
        patch.setenv("AWS_SECRET_ACCESS_KEY", session["SecretAccessKey"])
        patch.setenv("AWS_SESSION_TOKEN", session["SessionToken"])
        try:
            yield
        finally:
            iam.delete_role_policy(RoleName=role, PolicyName="p")
            iam.delete_role(RoleName=role)


def _policy(statements: list[dict[str, Any]]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def allow(*actions: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": "*"}


def test_the_permissions_of_a_role_are_those_of_its_policy(
    embedded: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """IAM itself decides for each action and resource."""
    site = aws_site(embedded)
    to = replace(site, endpoint_url="")  # like the site of a real cloud
    account = aws.AwsAccess(Target("mcloud", "us-east-1", resources=to))
    queue = f"arn:aws:sqs:us-east-1:000000000000:{site.queue_url.rpartition('/')[2]}"
    statements = [
        {"Effect": "Allow", "Action": ["sqs:SendMessage"], "Resource": queue},
        allow("sqs:GetQueueAttributes"),
    ]
    with acting_as("doctor-producer", statements, site.endpoint_url, monkeypatch):
        assert account.identity().startswith("arn:aws:sts::000000000000:assumed-role/doctor-prod")
        lacking = account.permissions("producer")
        assert lacking.state == FAULT
        assert lacking.text == (
            "not allowed: dynamodb:Query (candles); dynamodb:GetItem, dynamodb:PutItem (control)"
        )
        assert "assume the role mcloud-producer" in lacking.remedy
        assert "arn:aws:iam::000000000000:role/doctor-producer" in lacking.remedy
    statements += [allow("dynamodb:GetItem"), allow("dynamodb:Query")]
    keys = {"dynamodb:LeadingKeys": ["anomaly", "anomaly-untold"]}
    statements.append(
        {**allow("dynamodb:PutItem"), "Condition": {"ForAllValues:StringEquals": keys}}
    )
    with acting_as("doctor-producer", statements, site.endpoint_url, monkeypatch):
        assert account.permissions("producer").state == OK


@pytest.mark.parametrize("component", ["deployer", "planner"])
def test_the_printed_policy_suffices(
    component: str, embedded: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any one of its actions, `doctor` names the action."""
    site = aws_site(embedded)
    account = aws.AwsAccess(Target("mcloud", "us-east-1"))
    # ministack's simulation knows no context, so that every condition would fail.
    granted = [
        {key: value for key, value in statement.items() if key != "Condition"}
        for statement in aws_permissions.policy(component, "aws", "us-east-1", "mcloud")[
            "Statement"
        ]
    ]
    with acting_as("doctor-deployer", granted, site.endpoint_url, monkeypatch):
        assert account.permissions(component).state == OK
    for statement in granted[:3]:
        *kept, lost = statement["Action"]
        less = [{**statement, "Action": kept}, *(e for e in granted if e is not statement)]
        with acting_as("doctor-deployer", less, site.endpoint_url, monkeypatch):
            finding = account.permissions(component)
        assert finding.state == FAULT
        assert finding.text.startswith(f"not allowed: {lost} (")


@pytest.mark.parametrize(("component", "longest"), [("deployer", 10_240), ("planner", 6_144)])
def test_policies_fit_into_a_role(component: str, longest: int) -> None:
    """The limits of the inline policies of a role, and of a managed policy."""
    state = aws_permissions.StateLocation(
        "a-bucket-of-states", "mcloud/production/market-data/aws.tfstate"
    )
    granted = aws_permissions.policy(component, "aws", "us-east-1", "market-data", state)
    assert len(json.dumps(granted, separators=(",", ":"))) < longest


@pytest.mark.parametrize("component", list(aws_permissions.NEEDS))
def test_full_permissions_suffice_for_every_component(
    component: str, embedded: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = aws_site(embedded)
    account = aws.AwsAccess(Target("mcloud", "us-east-1", resources=replace(site, endpoint_url="")))
    with acting_as("doctor-admin", [allow("*")], site.endpoint_url, monkeypatch):
        assert account.permissions(component).state == OK


def test_credentials_of_the_root_user_cause_a_warning(embedded: State) -> None:
    account = aws.AwsAccess(Target("mcloud", "us-east-1", resources=aws_site(embedded)))
    assert account.identity() == "arn:aws:iam::000000000000:root"
    finding = account.permissions("operator")
    assert (finding.state, "root user" in finding.text) == (WARNING, True)
    assert account.quotas()["concurrency"]().state == OK


@pytest.fixture
def an_aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., aws.AwsAccess]]:
    """A function that makes an access to an AWS with given answers."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with ExitStack() as servers:

        def make(answer: Callable[[str, str], Answer], **target: Any) -> aws.AwsAccess:
            monkeypatch.setenv("AWS_ENDPOINT_URL", servers.enter_context(serve(answer)))
            return aws.AwsAccess(Target("mcloud", **{"region": "us-east-1", **target}))

        yield make


@pytest.mark.parametrize(
    ("code", "remedy"),
    [("ExpiredToken", "aws sso login"), ("InvalidClientTokenId", "AWS_ACCESS_KEY_ID")],
)
def test_invalid_aws_credentials_are_reported(
    code: str, remedy: str, an_aws: Callable[..., aws.AwsAccess]
) -> None:
    access = an_aws(lambda method, path: aws_error(403, code, "no"))
    with pytest.raises(Refused, match=code) as caught:
        access.identity()
    assert remedy in caught.value.remedy


def test_no_aws_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    with pytest.raises(Refused, match="no AWS credentials") as caught:
        aws.AwsAccess(Target("mcloud", "us-east-1")).identity()
    assert "aws configure sso" in caught.value.remedy


CALLER = (
    "<GetCallerIdentityResponse><GetCallerIdentityResult>"
    "<Arn>arn:aws:iam::123456789012:user/me</Arn><UserId>U</UserId><Account>123456789012</Account>"
    "</GetCallerIdentityResult></GetCallerIdentityResponse>"
)


def test_missing_permission_for_the_simulation_is_reported(
    an_aws: Callable[..., aws.AwsAccess],
) -> None:
    def answer(method: str, path: str) -> Answer:
        if "GetCallerIdentity" in path:
            return 200, CALLER
        return aws_error(403, "AccessDenied", "not authorized to perform SimulatePrincipalPolicy")

    finding = an_aws(answer).permissions("deployer")
    assert finding.state == UNKNOWN
    assert "SimulatePrincipalPolicy" in finding.text


def test_a_permission_under_a_condition_is_unknown(
    an_aws: Callable[..., aws.AwsAccess],
) -> None:
    result = (
        "<member><EvalActionName>iam:PassRole</EvalActionName>"
        "<EvalDecision>implicitDeny</EvalDecision>"
        "<MissingContextValues><member>aws:RequestTag/team</member></MissingContextValues></member>"
    )
    simulated = (
        "<SimulatePrincipalPolicyResponse><SimulatePrincipalPolicyResult><EvaluationResults>"
        f"{result}</EvaluationResults><IsTruncated>false</IsTruncated>"
        "</SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>"
    )
    access = an_aws(lambda _, path: (200, CALLER if "GetCaller" in path else simulated))
    finding = access.permissions("deployer")
    assert finding.state == UNKNOWN
    assert "under a condition that cannot be tested: iam:PassRole (queues)" in finding.text


@pytest.mark.parametrize(
    ("total", "free", "variables", "state"),
    [
        (1000, 1000, {}, OK),
        (1000, 1000, {"reserve_concurrency": True}, OK),
        (1000, 111, {"reserve_concurrency": True}, FAULT),  # 10 for the processor, 1 for the others
        (1000, 112, {"reserve_concurrency": True}, OK),
        (1000, 111, {"reserve_concurrency": True, "anomalies": False}, OK),
        (1000, 111, {"reserve_concurrency": True, "compaction": False}, OK),
        (50, 50, {"reserve_concurrency": True}, FAULT),
        (10, 10, {"anomalies": False, "compaction": False}, OK),
        (10, 10, {"compaction": False}, WARNING),
        (10, 10, {}, WARNING),
        (10, 10, {"reserve_concurrency": True}, FAULT),
        (10, 10, {"function_concurrency": 50}, WARNING),
    ],
)
def test_concurrency_of_the_account(
    an_aws: Callable[..., aws.AwsAccess],
    total: int,
    free: int,
    variables: dict[str, Any],
    state: str,
) -> None:
    limit = {"ConcurrentExecutions": total, "UnreservedConcurrentExecutions": free}
    access = an_aws(lambda *_: (200, {"AccountLimit": limit}), variables=variables)
    finding = access.quotas()["concurrency"]()
    assert finding.state == state
    if state == FAULT:
        assert "remove `reserve_concurrency`" in finding.remedy


def test_the_sites_own_reserved_concurrency_counts_as_free(
    an_aws: Callable[..., aws.AwsAccess],
) -> None:
    def answer(_: object, path: str) -> tuple[int, object]:
        if "account-settings" in path:
            limit = {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 100}
            return 200, {"AccountLimit": limit}
        if "anomaly" in path or "compact" in path:
            return 404, {"code": "ResourceNotFoundException", "message": "Function not found"}
        return 200, {"ReservedConcurrentExecutions": 12}

    url = "https://sqs.us-east-1.amazonaws.com/0/q"
    deployed = AwsResources("us-east-1", url, url, "c", "k", "b", "mcloud-processor")
    access = an_aws(answer, resources=deployed, variables={"reserve_concurrency": True})
    assert access.quotas()["concurrency"]().state == OK
    access = an_aws(answer, variables={"reserve_concurrency": True})
    assert access.quotas()["concurrency"]().state == FAULT


def subscribed(arn: str) -> str:
    members = "".join(
        f"<member><TopicArn>t</TopicArn><Protocol>{protocol}</Protocol>"
        f"<SubscriptionArn>{each}</SubscriptionArn><Endpoint>{endpoint}</Endpoint></member>"
        for protocol, each, endpoint in (
            ("email", "arn:aws:sns:us-east-1:123456789012:mcloud-alerts:1", "other@example.com"),
            *([("email", arn, "desk@example.com")] if arn else []),
        )
    )
    return (
        "<ListSubscriptionsByTopicResponse><ListSubscriptionsByTopicResult><Subscriptions>"
        f"{members}</Subscriptions></ListSubscriptionsByTopicResult>"
        "</ListSubscriptionsByTopicResponse>"
    )


@pytest.mark.parametrize(
    ("arn", "state", "words"),
    [
        ("arn:aws:sns:us-east-1:123456789012:mcloud-alerts:2", OK, "gets the alerts"),
        ("PendingConfirmation", WARNING, "has not confirmed its subscription"),
        ("Deleted", WARNING, "has not confirmed its subscription"),
        ("", WARNING, "is not subscribed"),
    ],
)
def test_an_unconfirmed_alert_mail_is_reported(
    an_aws: Callable[..., aws.AwsAccess], arn: str, state: str, words: str
) -> None:
    answers = iter([(200, CALLER), (200, subscribed(arn))])
    url = "https://sqs.us-east-1.amazonaws.com/0/q"
    deployed = AwsResources("us-east-1", url, url, "c", "k", "b", "mcloud-processor")
    access = an_aws(
        lambda *_: next(answers), resources=deployed, variables={"alert_email": "desk@example.com"}
    )
    finding = access.quotas()["alert mail"]()
    assert (finding.state, words in finding.text) == (state, True), finding
    assert bool(finding.remedy) == (state == WARNING)


@pytest.mark.parametrize(
    ("region", "state"), [("us-east-1", OK), ("eu-west-9", UNKNOWN), ("cn-north-1", OK)]
)
def test_a_region_of_aws(region: str, state: str) -> None:
    finding = aws.AwsAccess(Target("mcloud", region)).quotas()["region"]()
    assert finding.state == state
    assert region in finding.text


@pytest.mark.parametrize("ahead", [0, 600, -600])
def test_the_clock_is_that_of_the_answer(ahead: float) -> None:
    with serve(ahead=ahead) as url:
        measured, error = ask_time(url)
    assert abs(measured + ahead) <= error + 0.01
    assert error >= 0.5


def test_a_server_that_does_not_answer(an_aws: Callable[..., aws.AwsAccess]) -> None:
    (port,) = free_ports(1)
    with pytest.raises(Unavailable, match=r"does not answer: .*Connection refused") as caught:
        ask_time(f"http://127.0.0.1:{port}")
    assert "region" in caught.value.remedy
    an_aws(lambda *_: (403, "")).reach("queue")  # a refusal is an answer


# Google Cloud


@pytest.fixture
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that installs the key of a service account, whose tokens come from an address."""
    rsa = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.rsa")
    from cryptography.hazmat.primitives import serialization as form

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())

    def put(token_uri: str) -> None:
        path = tmp_path / "key.json"
        path.write_text(
            json.dumps(
                {
                    "type": "service_account",
                    "project_id": PROJECT,
                    "private_key_id": "1",
                    "private_key": pem.decode(),
                    "client_email": f"me@{PROJECT}.iam.gserviceaccount.com",
                    "token_uri": token_uri,
                }
            )
        )
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))

    return put


@pytest.fixture
def a_google(key_file: Callable[[str], None]) -> Iterator[Callable[..., gcp.GcpAccess]]:
    """A function that makes an access to a Google Cloud with given answers."""
    to = gcp_resources(pubsub="", firestore="", monitoring="", storage="", function_url="")
    with ExitStack() as servers:

        def make(
            answer: Callable[[str, str], Answer], *, deployed: bool = True, **target: Any
        ) -> gcp.GcpAccess:
            def with_tokens(method: str, path: str) -> Answer:
                if path.startswith("/token"):
                    return 200, {"access_token": "t", "expires_in": 3600}
                return answer(method, path)

            url = servers.enter_context(serve(with_tokens))
            key_file(f"{url}/token")
            resources = to if deployed else None
            return gcp.GcpAccess(
                Target("mcloud", "us-central1", PROJECT, resources, **target),
                lambda api: f"{url}/{api}",
            )

        yield make


def test_the_name_of_a_google_account(a_google: Callable[..., gcp.GcpAccess]) -> None:
    access = a_google(lambda *_: (404, {}))
    assert access.identity() == f"me@{PROJECT}.iam.gserviceaccount.com"


def test_invalid_google_credentials_are_reported(key_file: Callable[[str], None]) -> None:
    expired = {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}
    access = gcp.GcpAccess(Target("mcloud", "us-central1", PROJECT))
    with serve(lambda *_: (400, expired)) as url:
        key_file(url)
        with pytest.raises(Refused, match="invalid_grant") as caught:
            access.identity()
    assert "gcloud auth application-default login" in caught.value.remedy


def everything() -> dict[str, list[str]]:
    rights = sorted(
        {
            each
            for needs in gcp_permissions.NEEDS.values()
            for all_ in needs.values()
            for each in all_
        }
    )
    return {"/": rights}


@pytest.mark.parametrize("component", list(gcp_permissions.NEEDS))
def test_granted_google_permissions_are_accepted(
    component: str, a_google: Callable[..., gcp.GcpAccess]
) -> None:
    assert a_google(grants(everything())).permissions(component).state == OK


def test_a_missing_google_permission_is_reported(a_google: Callable[..., gcp.GcpAccess]) -> None:
    some = {"topics/mcloud-trades:": [], **everything()}
    finding = a_google(grants(some)).permissions("producer")
    assert (finding.state, finding.text) == (FAULT, "not allowed: pubsub.topics.publish (topic)")
    assert f"mcloud-producer@{PROJECT}.iam.gserviceaccount.com" in finding.remedy


def test_a_google_permission_under_a_condition_is_unknown(
    a_google: Callable[..., gcp.GcpAccess],
) -> None:
    some = {f"projects/{PROJECT}:": [], **everything()}
    finding = a_google(grants(some)).permissions("producer")
    assert finding.state == UNKNOWN
    assert "datastore.entities.get" in finding.text


def test_an_unknown_permission_in_a_request_is_not_reported_as_missing(
    a_google: Callable[..., gcp.GcpAccess],
) -> None:
    unknown = google_error(400, "Permission pubsub.x is not valid for this resource.")
    finding = a_google(lambda *_: unknown).permissions("deployer")
    assert (finding.state, "is not valid" in finding.text) == (UNKNOWN, True)


@pytest.mark.parametrize(
    ("answer", "remedy"),
    [
        (google_error(403, "no permission, or no project"), "check `project`"),
        (google_error(403, "it is off", "SERVICE_DISABLED"), "gcloud services enable cloudresourc"),
        (google_error(401, ""), "application-default login"),
        ((404, "<html>a proxy's page"), "correct `project`"),
    ],
)
def test_a_project_without_access_is_reported(
    answer: Answer, remedy: str, a_google: Callable[..., gcp.GcpAccess]
) -> None:
    with pytest.raises(Refused) as caught:
        a_google(lambda *_: answer).permissions("deployer")
    assert remedy in caught.value.remedy


def quota(
    subject: str, a_google: Callable[..., gcp.GcpAccess], answer: Answer, *, deployed: bool = True
) -> AccessFinding:
    return a_google(lambda *_: answer, deployed=deployed).quotas()[subject]()


def test_disabled_billing_is_reported_with_a_remedy(a_google: Callable[..., gcp.GcpAccess]) -> None:
    assert quota("billing", a_google, (200, {"billingEnabled": True})).state == OK
    off = quota("billing", a_google, (200, {}))
    assert off.state == FAULT
    assert f"gcloud billing projects link {PROJECT}" in off.remedy
    assert quota("billing", a_google, google_error(403, "no")).state == UNKNOWN


@pytest.mark.parametrize(
    ("off", "deployed", "state"),
    [
        ([], True, OK),
        (["pubsub"], True, FAULT),
        (["pubsub"], False, OK),  # Terraform enables it
        (["cloudresourcemanager"], False, FAULT),  # by means of this service
    ],
)
def test_disabled_apis_are_reported(
    off: list[str], deployed: bool, state: str, a_google: Callable[..., gcp.GcpAccess]
) -> None:
    services = [
        {
            "name": f"projects/1/services/{api}.googleapis.com",
            "state": "DISABLED" if api in off else "ENABLED",
        }
        for api in gcp.APIS
    ]
    finding = quota("APIs", a_google, (200, {"services": services}), deployed=deployed)
    assert finding.state == state
    if state == FAULT:
        assert finding.remedy.startswith(f"run `gcloud services enable {off[0]}.googleapis.com")


@pytest.mark.parametrize(
    ("variables", "more"),
    [
        ({}, {"cloudscheduler"}),
        ({"anomalies": False}, {"cloudscheduler"}),
        ({"compaction": False}, {"cloudscheduler"}),
        ({"anomalies": False, "compaction": False, "billing_account": None}, set()),
        ({"billing_account": "012345-6789AB-CDEF01"}, {"cloudscheduler", "billingbudgets"}),
        ({"billing_dataset": "billing.export"}, {"cloudscheduler", "bigquery"}),
    ],
)
def test_apis_depend_on_the_variables_of_the_site(
    variables: dict[str, Any], more: set[str], a_google: Callable[..., gcp.GcpAccess]
) -> None:
    asked: list[str] = []

    def answer(_: str, path: str) -> Answer:
        names = parse_qs(urlsplit(path).query)["names"]
        asked.extend(name.rpartition("/")[2].removesuffix(".googleapis.com") for name in names)
        return 200, {"services": [{"name": name, "state": "DISABLED"} for name in names]}

    finding = a_google(answer, variables=variables).quotas()["APIs"]()
    assert set(asked) == {*gcp.APIS, *more}
    assert all(f"{api}.googleapis.com" in finding.remedy for api in asked)


@pytest.mark.parametrize(
    ("answer", "remedy"),
    [
        (
            google_error(403, "Service Usage API is off", "SERVICE_DISABLED"),
            "run `gcloud services enable serviceusage.googleapis.com --project mcloud-local`",
        ),
        (
            google_error(403, "The API requires a quota project, which is not set by default."),
            "run `gcloud auth application-default set-quota-project mcloud-local`",
        ),
        (google_error(403, "Project 'my-project' not found or deleted."), "correct `project`"),
        (google_error(403, "The caller does not have permission"), ""),
    ],
)
def test_apis_that_cannot_be_listed(
    answer: Answer, remedy: str, a_google: Callable[..., gcp.GcpAccess]
) -> None:
    finding = quota("APIs", a_google, answer, deployed=False)
    assert finding.state == (FAULT if remedy else UNKNOWN)
    assert finding.remedy.startswith(remedy)


def test_a_database_in_datastore_mode_is_reported(a_google: Callable[..., gcp.GcpAccess]) -> None:
    native = {"type": "FIRESTORE_NATIVE", "locationId": "us-central1"}
    assert quota("database", a_google, (200, native)).state == OK
    other = quota("database", a_google, (200, {"type": "DATASTORE_MODE"}))
    assert (other.state, "DATASTORE_MODE" in other.text) == (FAULT, True)


def test_a_region_of_google(a_google: Callable[..., gcp.GcpAccess]) -> None:
    there = {"locations": [{"locationId": "us-central1"}]}
    assert quota("region", a_google, (200, there), deployed=False).state == OK
    elsewhere = {"locations": [{"locationId": "europe-west1"}]}
    finding = quota("region", a_google, (200, elsewhere), deployed=False)
    assert (finding.state, "europe-west1" in finding.remedy) == (FAULT, True)


@pytest.mark.parametrize("api", ["cloudfunctions", "firestore", "cloudscheduler"])
def test_a_region_has_to_have_every_service(
    api: str, a_google: Callable[..., gcp.GcpAccess]
) -> None:
    def answer(method: str, path: str) -> Answer:
        found = "europe-west1" if path.startswith(f"/{api}/") else "us-central1"
        return 200, {"locations": [{"locationId": each} for each in (found, "us-east1")]}

    finding = a_google(answer, deployed=False).quotas()["region"]()
    assert finding.state == FAULT
    assert finding.text.startswith("us-central1 has no ")
    assert finding.remedy == "choose a `region` in mcloud.toml: us-east1"


def test_all_pages_of_regions_are_read(a_google: Callable[..., gcp.GcpAccess]) -> None:
    def answer(method: str, path: str) -> Answer:
        if "pageToken=2" in path:
            return 200, {"locations": [{"locationId": "us-central1"}]}
        return 200, {"locations": [{"locationId": "us-east1"}], "nextPageToken": "2"}

    assert a_google(answer, deployed=False).quotas()["region"]().state == OK


def test_budgets_and_bills_are_checked_if_they_are_configured(
    a_google: Callable[..., gcp.GcpAccess],
) -> None:
    def may(*missing: str) -> AccessFinding:
        held = {**{each: list[str]() for each in missing}, **everything()}
        account = a_google(
            grants(held), variables={"billing_account": "0-0", "billing_dataset": "bills.export"}
        )
        return account.permissions("deployer")

    assert may().state == OK
    finding = may("billingAccounts/0-0:")
    assert finding.state == FAULT
    assert "billing.budgets.create" in finding.text


def test_throttling_by_google_is_not_reported_as_a_fault(
    a_google: Callable[..., gcp.GcpAccess],
) -> None:
    with pytest.raises(Unavailable):
        quota("billing", a_google, google_error(503, "later"))


def test_the_embedded_clouds_have_clocks(embedded: State) -> None:
    resources = embedded.resources()
    for access in (
        aws.AwsAccess(Target("mcloud", "us-east-1", resources=resources["aws"])),
        gcp.GcpAccess(Target("mcloud", "us-central1", resources=resources["gcp"])),
    ):
        ahead, error = access.clock()
        assert 0.5 <= error < 60
        assert abs(ahead) < 60
