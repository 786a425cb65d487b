"""Faults of a new project that pass by themselves, in the words of Google."""

import pytest

from mcloud.infra.transient import find_wait

DISABLED = (
    "Error creating Topic: googleapi: Error 403: Cloud Pub/Sub API has not been used in project"
    " 123456789012 before or it is disabled. Enable it by visiting https://console.developers"
    ".google.com/apis/api/pubsub.googleapis.com/overview?project=123456789012 then retry. If you"
    " enabled this API recently, wait a few minutes for the action to propagate to our systems and"
    " retry."
)
NO_ACCOUNT = (
    "Error applying IAM policy for storage bucket: googleapi: Error 400: Service account"
    " mcloud-processor@my-project.iam.gserviceaccount.com does not exist."
)
NO_AGENT = (
    'Error applying IAM policy for pubsub topic "projects/my-project/topics/t": Error setting IAM'
    " policy: googleapi: Error 400: Service account"
    " service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com does not exist."
)
# https://github.com/hashicorp/terraform-provider-google/issues/20571
NO_SOURCE = (
    "Error waiting to create function: Error waiting for Creating function: Error code 13, message:"
    " Build failed with status: FAILURE and message: failed to Fetch: failed to download archive"
    " gs://gcf-v2-sources-1-us-central1/f/function-source.zip: Access to bucket"
    " gcf-v2-sources-1-us-central1 denied. You must grant Storage Object Viewer permission to"
    " mcloud-builder@my-project.iam.gserviceaccount.com."
)
# https://github.com/hashicorp/terraform-provider-google/issues/21857
NO_PERMISSION = (
    "Error waiting for Creating function: Error code 7, message: Could not build the function due"
    " to missing permissions. Error determining source provenance"
)
EXPIRED = (
    "Error updating Topic: googleapi: Error 401: Request had invalid authentication credentials."
    " Expected OAuth 2 access token, login cookie or other valid authentication credential."
)
JOB = "Error setting Cloud Scheduler Job status: googleapi: Error 503: The service is unavailable."
DATABASE = (
    "Error creating Database: googleapi: Error 400: Database ID 'mcloud' is not available in"
    " project 'my-project'. Please retry in 287 seconds."
)
# The cloud means no for good.
LASTING = [
    "Error creating Topic: googleapi: Error 403: User not authorized to perform this action.",
    "Error creating function: googleapi: Error 404: The database mcloud does not exist.",
    "Error creating Service: googleapi: Error 403: Service Usage API has not been used in project"
    " my-project before or it is disabled. Enable it by visiting https://console.developers"
    ".google.com/apis/api/serviceusage.googleapis.com/overview?project=my-project then retry.",
    "googleapi: Error 403: Your application is authenticating by using local Application Default"
    " Credentials. The billingbudgets.googleapis.com API requires a quota project, which is not set"
    ' by default. Details: [{"reason": "SERVICE_DISABLED"}]',
    'oauth2: "invalid_grant" "Token has been expired or revoked."',
    "Build failed with status: FAILURE and message: missing main.py",
]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (DISABLED, 40),
        (NO_ACCOUNT, 30),
        (NO_AGENT, 30),
        (NO_SOURCE, 40),
        (NO_PERMISSION, 40),
        (EXPIRED, 0),
        (JOB, 0),
        (DATABASE, 288),
    ],
)
def test_a_fault_that_passes(text: str, seconds: float) -> None:
    wait = find_wait([text])
    assert wait is not None
    assert wait.seconds == seconds


@pytest.mark.parametrize("text", LASTING)
def test_a_fault_that_lasts(text: str) -> None:
    assert find_wait([text]) is None
    assert find_wait([DISABLED, text]) is None


def test_several_faults_wait_for_the_slowest() -> None:
    assert find_wait([EXPIRED, DATABASE, JOB]) == find_wait([DATABASE])
    assert find_wait([]) is None
