"""Reports of the clouds about the code of the function."""

import base64
import hashlib
from typing import Any

import pytest
from botocore.stub import Stubber

from mcloud.clouds.aws.client import make_client
from mcloud.clouds.aws.probe import AwsProbe
from mcloud.clouds.factory import open_site
from mcloud.clouds.gcp.probe import GcpProbe
from mcloud.clouds.ports import FunctionCode
from mcloud.clouds.resources import AwsResources, GcpResources
from mcloud.infra.bundle import build
from mcloud.local.state import State

from .web import Answer, anonymous, serve

DIGEST = hashlib.sha256(b"bundle").hexdigest()
NAME = "projects/p/locations/us-central1/functions/mcloud"
GOOGLE = GcpResources(
    project="p",
    region="us-central1",
    topic="t",
    subscription="s",
    dlq_topic="d",
    dlq_subscription="d",
    database="mcloud",
    candles_collection="candles",
    control_collection="control",
    raw_bucket="b",
    function="mcloud-processor",
    scheduled_functions="mcloud-compact",
)


# https://cloud.google.com/functions/docs/reference/rest/v2/projects.locations.functions
@pytest.mark.parametrize(
    ("more", "failure"),
    [
        ({"state": "ACTIVE"}, ""),
        ({"state": "FAILED"}, "its state is FAILED"),
        (
            {
                "state": "ACTIVE",
                "stateMessages": [
                    {"severity": "WARNING", "message": "old runtime"},
                    {"severity": "ERROR", "type": "CloudBuildFailed", "message": "Build failed"},
                ],
            },
            "Build failed",
        ),
    ],
)
def test_the_code_of_a_cloud_function_is_read(more: dict[str, Any], failure: str) -> None:
    build = {"runtime": "python313", "environmentVariables": {"BUNDLE_SHA256": DIGEST}}

    def answer(method: str, path: str) -> Answer:
        assert method == "GET"
        good = {"state": "ACTIVE"}
        return 200, {"buildConfig": build, **(more if path == f"/v2/{NAME}-compact" else good)}

    with serve(answer) as url:
        probe = GcpProbe(None, None, None, GOOGLE, url)
        probe._session = anonymous()
        assert probe.code(5) == [
            FunctionCode("mcloud-processor", DIGEST),
            FunctionCode("mcloud-compact", DIGEST, failure),
        ]


@pytest.mark.parametrize(
    ("more", "failure"),
    [
        ({"LastUpdateStatus": "Successful"}, ""),
        ({"LastUpdateStatus": "InProgress"}, ""),
        (
            {"LastUpdateStatus": "Failed", "LastUpdateStatusReason": "The KMS key is disabled"},
            "The KMS key is disabled",
        ),
    ],
)
def test_the_code_of_a_lambda_function_is_read(more: dict[str, Any], failure: str) -> None:
    lambda_ = make_client("lambda", "us-east-1", "http://127.0.0.1:9")
    to = AwsResources("us-east-1", "q", "d", "c", "k", "b", "mcloud-processor", "mcloud-compact")
    code = base64.b64encode(bytes.fromhex(DIGEST)).decode()
    with Stubber(lambda_) as stub:
        for name, answer in {"mcloud-processor": {}, "mcloud-compact": more}.items():
            stub.add_response(
                "get_function_configuration",
                {"CodeSha256": code, "State": "Active", **answer},
                {"FunctionName": name},
            )
        probe = AwsProbe(None, lambda_, None, None, to)
        assert probe.code(5) == [
            FunctionCode("mcloud-processor", DIGEST),
            FunctionCode("mcloud-compact", DIGEST, failure),
        ]


def test_the_embedded_lambda_function_runs_the_bundle(embedded: State) -> None:
    site = open_site("aws", embedded.resources()["aws"])
    codes = site.probe.code(5)
    assert [each.function for each in codes] == [
        *("mcloud-processor", "mcloud-anomaly", "mcloud-compact")
    ]
    assert {each.digest for each in codes} == {hashlib.sha256(build("aws")).hexdigest()}
