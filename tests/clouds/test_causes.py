"""The exact error messages of the clouds, and the diagnosis of mcloud.

The texts come from users' reports, each with its source. Reproducing them needs an account in that
state, so only the diagnosis is tested: it is the same from an SDK, from a REST answer and through
Terraform.
"""

import json
from pathlib import Path

import pytest

from mcloud import http
from mcloud.clouds.aws import client as aws
from mcloud.clouds.gcp import client as gcp
from mcloud.errors import Refused
from mcloud.infra.diagnosis import explain
from mcloud.infra.state_errors import FailedRun

GOOGLE = [
    (  # https://github.com/hashicorp/terraform/issues/29006
        "Error loading zone 'us-central1-a': googleapi: Error 403: Compute Engine API has not been"
        " used in project 406281436678 before or it is disabled. Enable it by visiting"
        " https://console.developers.google.com/apis/api/compute.googleapis.com/overview"
        "?project=406281436678 then retry. If you enabled this API recently, wait a few minutes for"
        " the action to propagate to our systems and retry., accessNotConfigured",
        "the API compute.googleapis.com is disabled in the Google project 406281436678",
        "run `gcloud services enable compute.googleapis.com --project 406281436678`",
    ),
    (  # https://github.com/terraform-google-modules/cloud-foundation-training/issues/20
        'Error reading Project Service my-proj/cloudfunctions.googleapis.com: Batch "project/'
        'my-proj/services" returned error: googleapi: Error 403: Service Usage API has not been'
        " used in project 888892115941 before or it is disabled. Enable it by visiting https://"
        "console.developers.google.com/apis/api/serviceusage.googleapis.com/overview?project="
        "888892115941 then retry., accessNotConfigured",
        "is disabled in the Google project",
        "run `gcloud services enable",
    ),
    (  # https://github.com/hashicorp/terraform-provider-google/issues/17938
        "googleapi: Error 403: Caller does not have required permission to use project my-proj-1."
        " Grant the caller the roles/serviceusage.serviceUsageConsumer role, or a custom role with"
        " the serviceusage.services.use permission, by visiting https://console.developers.google"
        ".com/iam-admin/iam/project?project=my-proj-1 and then retry. Propagation of the new"
        " permission may take a few minutes., forbidden",
        "`serviceusage.services.use` is missing in the Google project my-proj-1",
        "roles/serviceusage.serviceUsageConsumer",
    ),
    (  # google.api_core of a gRPC answer: google.rpc.ErrorInfo of SERVICE_DISABLED
        "403 Cloud Firestore API has not been used in project my-proj-1 before or it is disabled."
        " Enable it by visiting https://console.developers.google.com/apis/api/"
        "firestore.googleapis.com/overview?project=my-proj-1 then retry. [reason:"
        ' "SERVICE_DISABLED"\ndomain: "googleapis.com"\nmetadata {\n  key: "service"\n  value:'
        ' "firestore.googleapis.com"\n}\n]',
        "the API firestore.googleapis.com is disabled in the Google project my-proj-1",
        "run `gcloud services enable firestore.googleapis.com --project my-proj-1`",
    ),
    (  # https://cloud.google.com/apis/docs/troubleshooting; Firestore, Cloud Scheduler
        "googleapi: Error 403: This API method requires billing to be enabled. Please enable"
        " billing on project #510607 by visiting https://console.developers.google.com/billing/"
        "enable?project=510607 then retry. If you enabled billing for this project recently, wait a"
        ' few minutes., forbidden\nDetails:\n[{"reason": "BILLING_DISABLED"}]',
        "the Google project has no active billing account",
        "run `gcloud billing projects link 510607 --billing-account=ACCOUNT`",
    ),
    (  # https://github.com/hashicorp/terraform-provider-google/issues/5209
        "Error uploading object redis_test.sh: googleapi: Error 403: The project to be billed is"
        " associated with an absent billing account., accountDisabled",
        "the Google project has no active billing account",
        "run `gcloud billing projects link PROJECT --billing-account=ACCOUNT`",
    ),
    (  # Cloud Storage, of a bucket
        "googleapi: Error 403: The billing account for the owning project is disabled in state"
        " absent, accountDisabled",
        "the Google project has no active billing account",
        "gcloud billing accounts list",
    ),
    (  # https://github.com/GoogleCloudPlatform/java-docs-samples/issues/276
        "googleapi: Error 403: Project charming-module-137923 (#808448574146) has billing disabled."
        " Please enable it., forbidden",
        "the Google project has no active billing account",
        "run `gcloud billing projects link charming-module-137923",
    ),
    (  # https://github.com/kyegomez/zeta/issues/71, of serviceusage
        "googleapi: Error 400: Billing account for project '522837608576' is not found. Billing"
        " must be enabled for activation of service(s) 'compute.googleapis.com' to proceed.\n"
        "reason: UREQ_PROJECT_BILLING_NOT_FOUND",
        "the Google project has no active billing account",
        "run `gcloud billing projects link 522837608576",
    ),
    (  # https://github.com/terraform-google-modules/terraform-example-foundation/issues/353
        "Error creating Budget: googleapi: Error 403: Your application has authenticated using end"
        " user credentials from the Google Cloud SDK or Google Cloud Shell which are not supported"
        " by the billingbudgets.googleapis.com. We recommend configuring the billing/quota_project"
        ' setting in gcloud.\nDetails:\n[{"reason": "SERVICE_DISABLED"}]',
        "needs a project that your own account is billed to",
        "run `gcloud auth application-default set-quota-project PROJECT`",
    ),
    (  # https://github.com/hashicorp/terraform-provider-google/issues/3555
        "googleapi: Error 412: 'us-central1' violates constraint"
        " 'constraints/gcp.resourceLocations' on the resource 'projects/x', conditionNotMet",
        "a policy of the Google organization forbids it",
        "ask the organization's administrator",
    ),
    (  # https://github.com/GoogleCloudPlatform/marketing-analytics-jumpstart/issues/208
        "Error creating Secret: googleapi: Error 400: Constraint constraints/gcp.resourceLocations"
        " violated for [orgpolicy:projects/1234567890] attempting to create a secret in [global]",
        "a policy of the Google organization forbids it",
        "ask the organization's administrator",
    ),
    (  # constraints/iam.allowedPolicyMemberDomains
        "googleapi: Error 400: One or more users named in the policy do not belong to a permitted"
        " customer, perhaps due to an organization policy., failedPrecondition",
        "a policy of the Google organization forbids it",
        "ask the organization's administrator",
    ),
    (  # VPC Service Controls
        "googleapi: Error 403: Request is prohibited by organization's policy."
        " vpcServiceControlsUniqueIdentifier: 8f3b, SECURITY_POLICY_VIOLATED",
        "a policy of the Google organization forbids it",
        "ask the organization's administrator",
    ),
    (  # a wrong clock: the answer of oauth2.googleapis.com, as golang.org/x/oauth2 gives it
        "oauth2: cannot fetch token: 400 Bad Request\nResponse: {"
        '"error":"invalid_grant","error_description":"Invalid JWT: Token must be a short-lived'
        " token"
        " (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT"
        ' claim."}',
        "this machine's clock is wrong, so that Google rejects its signatures",
        "timedatectl set-ntp true",
    ),
    (  # golang.org/x/oauth2 of a token that was revoked
        'googleapi: oauth2: "invalid_grant" "Token has been expired or revoked."',
        "the Google credentials have expired or were revoked",
        "run `gcloud auth application-default login`",
    ),
    (  # google.auth of an organization that demands to sign in again
        "googleapi: Reauthentication is needed. Please run `gcloud auth application-default login`"
        " to reauthenticate.",
        "the Google credentials have expired or were revoked",
        "run `gcloud auth application-default login`",
    ),
    (  # https://github.com/DataBiosphere/azul/issues/4390
        "Error creating the custom project role projects/x/roles/azul_abrahamsc: googleapi: Error"
        " 400: You can't create a role_id (azul_abrahamsc) which has been marked for deletion.,"
        " failedPrecondition",
        "a custom role with this name was deleted less than 37 days ago",
        "give the site another `name` in mcloud.toml",
    ),
    (  # https://github.com/terraform-google-modules/terraform-example-foundation/issues/716
        "googleapi: Error 409: The requested bucket name is not available. The bucket namespace is"
        " shared by all users of the system. Please select a different name and try again.,"
        " conflict",
        "a resource with this name already exists",
        "give the site another `name`",
    ),
    (  # https://github.com/terraform-google-modules/terraform-google-cloud-storage/pull/238
        "googleapi: Error 409: Your previous request to create the named bucket succeeded and you"
        " already own it., conflict",
        "a resource with this name already exists",
        "delete the resource if an earlier deployment has left it",
    ),
    (  # https://github.com/moja-global/FLINT.Cloud/issues/38
        "googleapi: Error 409: Sorry, that name is not available. Please try a different one.,"
        " conflict",
        "a resource with this name already exists",
        "give the site another `name`",
    ),
    (  # a quota of the rate, and one of an amount
        "googleapi: Error 429: Quota exceeded for quota metric 'Write requests' and limit 'Write"
        " requests per minute' of service 'run.googleapis.com', RATE_LIMIT_EXCEEDED",
        "Google limits the rate of requests of this project",
        "wait a minute",
    ),
    (
        "googleapi: Error 403: Quota exceeded for total allowable CPU per project per region.",
        "a quota does not allow it",
        "ask Google for a higher quota",
    ),
    (  # https://github.com/hashicorp/terraform-provider-google/issues/1579
        "Error waiting for api to enable: googleapi: Error 403: The caller does not have"
        " permission, forbidden",
        "a permission is missing",
        "have it granted",
    ),
]

AWS = [
    (  # https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
        "creating SQS Queue: operation error SQS: CreateQueue, https response error StatusCode:"
        " 403, api error AccessDenied: User: arn:aws:sts::1:assumed-role/a/b is not authorized to"
        " perform: sqs:createqueue on resource: arn with an explicit deny in a service control"
        " policy: arn:aws:organizations::1:policy/o-y3/service_control_policy/p-kf",
        "a service control policy of the AWS organization forbids it",
        "ask the organization's administrator",
    ),
    (
        "AccessDeniedException: User: arn is not authorized to perform: lambda:CreateFunction"
        " because no resource control policy allows the lambda:CreateFunction action",
        "a resource control policy of the AWS organization forbids it",
        "ask the organization's administrator",
    ),
    (
        "AccessDenied: User: arn:aws:iam::1:user/a is not authorized to perform: sqs:CreateQueue"
        " on resource: arn because no identity-based policy allows the sqs:CreateQueue action",
        "a permission is missing",
        "have it granted",
    ),
    (  # https://github.com/hashicorp/terraform-provider-aws/issues/32549
        "operation error STS: AssumeRole, https response error StatusCode: 403, RequestID:"
        " 59fbba66, api error InvalidClientTokenId: The security token included in the request is"
        " invalid",
        "AWS does not recognise these credentials",
        "`aws account enable-region --region-name REGION`",
    ),
    (
        "SignatureDoesNotMatch: Signature expired: 20200706T195306Z is now earlier than"
        " 20200707T071347Z (20200707T072847Z - 15 min.)",
        "this machine's clock is wrong, so that AWS rejects its signatures",
        "timedatectl set-ntp true",
    ),
    (
        "RequestTimeTooSkewed: The difference between the request time and the current time is too"
        " large.",
        "this machine's clock is wrong, so that AWS rejects its signatures",
        "timedatectl set-ntp true",
    ),
    (
        "SignatureDoesNotMatch: The request signature we calculated does not match the signature"
        " you provided. Check your AWS Secret Access Key and signing method.",
        "AWS does not recognise these credentials",
        "check AWS_ACCESS_KEY_ID",
    ),
    (  # S3 has a code of its own for what is InvalidClientTokenId elsewhere
        "InvalidAccessKeyId: The AWS Access Key Id you provided does not exist in our records.",
        "AWS does not recognise these credentials",
        "check AWS_ACCESS_KEY_ID",
    ),
    (  # https://github.com/awslabs/aws-deployment-framework/issues/283
        "OptInRequired: You are not subscribed to this service. Please go to"
        " http://aws.amazon.com to subscribe.",
        "AWS has not yet opened this account for the service or the region",
        "complete the registration of the account",
    ),
    (  # botocore.exceptions.TokenRetrievalError and UnauthorizedSSOTokenError
        "Error when retrieving token from sso: Token has expired and refresh failed",
        "the AWS credentials have expired",
        "`aws sso login`",
    ),
    (
        "The SSO session associated with this profile has expired or is otherwise invalid. To"
        " refresh this SSO session run aws sso login with the corresponding profile.",
        "the AWS credentials have expired",
        "`aws sso login`",
    ),
    (  # botocore.exceptions.ProfileNotFound, and aws-sdk-go-v2 of the same
        "The config profile (prod) could not be found",
        "the AWS profile that AWS_PROFILE names does not exist",
        "`aws configure list-profiles`",
    ),
    (
        "loading configuration: failed to get shared config profile, prod",
        "the AWS profile that AWS_PROFILE names does not exist",
        "`aws configure list-profiles`",
    ),
    (  # https://github.com/aws-ia/terraform-aws-control_tower_account_factory/issues/529
        "creating IAM Role (AWSAFTService): operation error IAM: CreateRole, https response error"
        " StatusCode: 409, RequestID: b3b78412, EntityAlreadyExists: Role with name AWSAFTService"
        " already exists.",
        "a resource with this name already exists",
        "give the site another `name`",
    ),
    (  # https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
        "creating S3 Bucket (mcloud-raw): operation error S3: CreateBucket, https response error"
        " StatusCode: 409, BucketAlreadyExists: The requested bucket name is not available. The"
        " bucket namespace is shared by all users of the system. Select a different name and try"
        " again.",
        "a resource with this name already exists",
        "give the site another `name`",
    ),
    (  # https://github.com/hashicorp/aws-sdk-go-base, ValidateRegion
        "invalid AWS Region: us-est-1",
        "there is no AWS region us-est-1",
        "correct `region` in mcloud.toml",
    ),
    (
        "ThrottlingException: Rate exceeded",
        "AWS limits the rate of requests of this account",
        "wait a minute",
    ),
    (
        "setting Lambda Function concurrency: InvalidParameterValueException: Specified"
        " ReservedConcurrentExecutions for function decreases account's"
        " UnreservedConcurrentExecution below its minimum value of [100].",
        "a quota does not allow it",
        "leave out `reserve_concurrency`",
    ),
]


@pytest.mark.parametrize(("said", "text", "remedy"), [*GOOGLE, *AWS])
def test_causes_in_messages_of_terraform_are_explained(
    said: str, text: str, remedy: str, tmp_path: Path
) -> None:
    error = explain([{"summary": said, "detail": ""}], FailedRun(tmp_path, "terraform"))
    assert text in error.message
    assert remedy in error.remedy
    assert error.remedy.endswith(
        "run the same command again: it continues from what is in the state"
    )


@pytest.mark.parametrize(("said", "text", "remedy"), GOOGLE)
def test_errors_of_googles_rest_api_are_explained(said: str, text: str, remedy: str) -> None:
    error = gcp.refused("Cloud Logging", answered(403, said))
    assert isinstance(error, Refused)
    assert remedy in error.remedy


@pytest.mark.parametrize(("said", "text", "remedy"), GOOGLE)
def test_errors_of_googles_clients_are_explained(said: str, text: str, remedy: str) -> None:
    from google.api_core import exceptions

    with pytest.raises(Refused) as caught, gcp.translated("Firestore"):
        raise exceptions.Forbidden(said)
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("said", "text", "remedy"), [each for each in AWS if "Throttling" not in each[0]]
)
def test_errors_of_the_aws_client_are_explained(said: str, text: str, remedy: str) -> None:
    code, _, message = said.rpartition("api error ")[2].partition(": ")
    answer = {"Error": {"Code": code, "Message": message}}
    assert remedy in aws.from_code("SQS q", answer).remedy


def test_the_remedy_of_a_service_is_used_only_for_a_missing_permission() -> None:
    lacks = "have roles/logging.viewer granted"
    missing = gcp.refused("Cloud Logging", answered(403, "no"), lacks=lacks)
    disabled = gcp.refused("Cloud Logging", answered(403, GOOGLE[0][0]), lacks=lacks)
    assert missing.remedy == lacks
    assert "gcloud services enable" in disabled.remedy


def answered(status: int, said: str) -> http.HttpAnswer:
    body = json.dumps({"error": {"code": status, "message": said}}).encode()
    return http.HttpAnswer("https://google", status, {}, body, "", 0, 0)
