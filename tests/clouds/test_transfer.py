"""The transfer services: DataSync with botocore's model of its API, Google's with a server."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import google.auth
import pytest
from botocore.stub import Stubber
from google.oauth2.credentials import Credentials

from mcloud.clouds.aws.client import make_client
from mcloud.clouds.aws.transfer import KEY, SECRET, DataSync
from mcloud.clouds.gcp.transfer import StorageTransfer
from mcloud.clouds.transfer import DONE, FAILED, GONE, RUNNING, Transferred
from mcloud.errors import ConfigError, Refused, Unavailable

from .web import Answer, google_error, serve

ROLE = "arn:aws:iam::123456789012:role/copier"
FOLDERS = ["raw/symbol=BTCUSDT/date=2024-08-08/", "raw/symbol=ETHUSDT/block"]

# DataSync

LOCATION = "arn:aws:datasync:us-east-1:123456789012:location/loc-0123456789abcdef"
FROM, INTO = f"{LOCATION}0", f"{LOCATION}1"
TASK = "arn:aws:datasync:us-east-1:123456789012:task/task-0123456789abcdef0"
RUN = f"{TASK}/execution/exec-0123456789abcdef0"
TAGS = [{"Key": "mcloud", "Value": "mcloud restore into-s3 7f3a"}]
FIRST = (
    "create_location_object_storage",
    {"LocationArn": FROM},
    {
        "ServerHostname": "storage.googleapis.com",
        "BucketName": "from-gcs",
        "AccessKey": "GOOG1",
        "SecretKey": "hmac-secret",
        "Tags": TAGS,
    },
)
SECOND = (
    "create_location_s3",
    {"LocationArn": INTO},
    {
        "S3BucketArn": "arn:aws:s3:::into-s3",
        "S3Config": {"BucketAccessRoleArn": ROLE},
        "Tags": TAGS,
    },
)
THIRD = (
    "create_task",
    {"TaskArn": TASK},
    {
        "Name": "mcloud restore into-s3 7f3a",
        "SourceLocationArn": FROM,
        "DestinationLocationArn": INTO,
        "TaskMode": "ENHANCED",
        "Options": {
            "OverwriteMode": "NEVER",
            "PreserveDeletedFiles": "PRESERVE",
            "VerifyMode": "ONLY_FILES_TRANSFERRED",
            "ObjectTags": "NONE",
        },
        "Includes": [
            {
                "FilterType": "SIMPLE_PATTERN",
                "Value": "/raw/symbol=BTCUSDT/date=2024-08-08|/raw/symbol=ETHUSDT/block*",
            }
        ],
    },
)
UNDONE = [
    ("delete_location", {}, {"LocationArn": INTO}),
    ("delete_location", {}, {"LocationArn": FROM}),
]


@pytest.fixture
def datasync(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[DataSync, Stubber]]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setenv(KEY, "GOOG1")
    monkeypatch.setenv(SECRET, "hmac-secret")
    service = DataSync("from-gcs", "into-s3", "us-east-1", ROLE)
    client = make_client("datasync", "us-east-1")
    service._client = client
    with Stubber(client) as stub:
        yield service, stub
        stub.assert_no_pending_responses()


def expect(stub: Stubber, *calls: tuple[str, dict[str, Any], dict[str, Any]]) -> None:
    for call in calls:
        stub.add_response(*call)


def test_datasync_is_started(datasync: tuple[DataSync, Stubber]) -> None:
    service, stub = datasync
    expect(stub, FIRST, SECOND, THIRD)
    expect(stub, ("start_task_execution", {"TaskExecutionArn": RUN}, {"TaskArn": TASK}))
    assert service.start(FOLDERS, "7f3a") == RUN


@pytest.mark.parametrize("call", [FIRST, SECOND, THIRD], ids=lambda call: call[0])
def test_values_of_requests_satisfy_the_model(
    datasync: tuple[DataSync, Stubber], call: tuple[str, dict[str, Any], dict[str, Any]]
) -> None:
    """The stubber checks names and types. This test checks enumerations, patterns and lengths."""
    service, _ = datasync
    method, _, values = call
    operation = service._client.meta.method_to_api_mapping[method]
    assert checked(
        service._client.meta.service_model.operation_model(operation).input_shape, values
    )


def checked(shape: Any, value: Any) -> int:
    """Return the number of strings in a value that satisfy the model."""
    if shape.type_name == "structure":
        return sum(checked(shape.members[name], each) for name, each in value.items())
    if shape.type_name == "list":
        assert len(value) <= shape.metadata.get("max", len(value))
        return sum(checked(shape.member, each) for each in value)
    assert shape.type_name == "string"
    assert value in (shape.enum or [value])
    assert len(value) <= shape.metadata.get("max", len(value))
    pattern = shape.metadata.get("pattern", "").replace(r"\p{Zs}", " ")
    assert re.search(pattern, value), (shape.name, value)
    return 1


def test_resources_of_a_refused_task_are_removed(
    datasync: tuple[DataSync, Stubber],
) -> None:
    service, stub = datasync
    expect(stub, FIRST, SECOND)
    stub.add_client_error("create_task", "InvalidRequestException", "no such mode", 400)
    expect(stub, *UNDONE)
    with pytest.raises(Refused, match="AWS DataSync: InvalidRequestException: no such mode") as no:
        service.start(FOLDERS, "7f3a")
    assert "hmac-secret" not in f"{no.value} {no.value.__cause__!r}"


TASKS: tuple[str, dict[str, Any], dict[str, Any]] = (
    "list_tasks",
    {
        "Tasks": [
            {"Name": "of somebody else"},
            {"Name": "mcloud restore into-s3 7f3a", "TaskArn": TASK},
        ]
    },
    {},
)


def test_a_run_of_datasync_is_found_by_its_token(datasync: tuple[DataSync, Stubber]) -> None:
    service, stub = datasync
    runs = {"TaskExecutions": [{"TaskExecutionArn": RUN, "Status": "TRANSFERRING"}]}
    expect(stub, TASKS, ("list_task_executions", runs, {"TaskArn": TASK}))
    assert service.find("7f3a") == RUN
    expect(stub, TASKS, ("list_locations", {"Locations": []}, {}))
    assert service.find("other") == ""


def test_locations_without_their_task_are_removed(datasync: tuple[DataSync, Stubber]) -> None:
    """They are left from a run that was stopped before the task. Those of other runs stay."""
    service, stub = datasync
    places = {
        FROM: "object-storage://storage.googleapis.com/from-gcs/",
        INTO: "s3://us-east-1:into-s3/",
        f"{LOCATION}2": "s3://us-east-1:into-s3/other/",
        f"{LOCATION}3": "s3://us-east-1:somebody-elses/",
    }
    found = [{"LocationArn": arn, "LocationUri": uri} for arn, uri in places.items()]
    others = [{"Key": "mcloud", "Value": "mcloud restore into-s3 other"}]
    expect(
        stub,
        ("list_tasks", {"Tasks": [], "NextToken": "more"}, {}),
        ("list_tasks", {"Tasks": []}, {"NextToken": "more"}),
        ("list_locations", {"Locations": found[:1], "NextToken": "more"}, {}),
        ("list_tags_for_resource", {"Tags": [*others, *TAGS]}, {"ResourceArn": FROM}),
        UNDONE[1],
        ("list_locations", {"Locations": found[1:]}, {"NextToken": "more"}),
        ("list_tags_for_resource", {"Tags": TAGS}, {"ResourceArn": INTO}),
        UNDONE[0],
        ("list_tags_for_resource", {"Tags": others}, {"ResourceArn": f"{LOCATION}2"}),
    )
    assert service.find("7f3a") == ""


def test_a_created_task_that_did_not_run_is_started(datasync: tuple[DataSync, Stubber]) -> None:
    service, stub = datasync
    expect(stub, TASKS, ("list_task_executions", {"TaskExecutions": []}, {"TaskArn": TASK}))
    expect(stub, ("start_task_execution", {"TaskExecutionArn": RUN}, {"TaskArn": TASK}))
    assert service.find("7f3a") == RUN


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ({"Status": "LAUNCHING"}, Transferred(RUNNING)),
        (
            {"Status": "TRANSFERRING", "FilesTransferred": 7, "BytesTransferred": 70},
            Transferred(RUNNING, 7, 70),
        ),
        (
            {"Status": "SUCCESS", "FilesTransferred": 9, "BytesTransferred": 90, "Result": {}},
            Transferred(DONE, 9, 90),
        ),
        (
            {
                "Status": "ERROR",
                "FilesTransferred": 4,
                "FilesFailed": {"Prepare": 1, "Transfer": 2, "Verify": 3, "Delete": 0},
                "Result": {"ErrorCode": "AccessDenied", "ErrorDetail": "the role may not"},
            },
            Transferred(FAILED, 4, 0, 6, "AccessDenied: the role may not"),
        ),
    ],
    ids=["launching", "transferring", "success", "error"],
)
def test_the_progress_of_datasync_is_read(
    datasync: tuple[DataSync, Stubber], said: dict[str, Any], seen: Transferred
) -> None:
    service, stub = datasync
    expect(stub, ("describe_task_execution", said, {"TaskExecutionArn": RUN}))
    assert service.look(RUN) == seen


def test_faults_of_datasync_are_reported(datasync: tuple[DataSync, Stubber]) -> None:
    service, stub = datasync
    stub.add_client_error("describe_task_execution", "InternalException", "hm", 500)
    with pytest.raises(Unavailable, match="AWS DataSync: InternalException"):
        service.look(RUN)
    stub.add_client_error("describe_task_execution", "AccessDeniedException", "no", 400)
    with pytest.raises(Refused, match="AccessDeniedException"):
        service.look(RUN)
    stub.add_client_error("describe_task_execution", "InvalidRequestException", "unknown", 400)
    assert service.look(RUN).state == GONE


def test_datasync_leaves_nothing_behind(datasync: tuple[DataSync, Stubber]) -> None:
    service, stub = datasync
    ends = {"SourceLocationArn": FROM, "DestinationLocationArn": INTO}
    expect(stub, ("describe_task", ends, {"TaskArn": TASK}))
    expect(stub, ("delete_task", {}, {"TaskArn": TASK}), *reversed(UNDONE))
    service.end(RUN)
    stub.add_client_error("describe_task", "InvalidRequestException", "unknown", 400)
    service.end(RUN)


def test_without_a_key_datasync_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "GOOG1")
    monkeypatch.delenv(SECRET, raising=False)
    with pytest.raises(ConfigError, match=f"{SECRET} not set") as refused:
        DataSync("from-gcs", "into-s3", "us-east-1", ROLE)
    assert "gcloud storage hmac create" in refused.value.remedy


# Google's Storage Transfer Service

JOB = "transferJobs/mcloud-7f3a"
OPERATION = "transferOperations/transferJobs-1234-5678"
SCHEMA = Path(__file__).parent / "google_storage_transfer_job.json"
CREATED: dict[str, Any] = {
    "name": JOB,
    "description": "mcloud restore into-gcs",
    "status": "ENABLED",
    "projectId": "my-project",
    "transferSpec": {
        "awsS3DataSource": {"bucketName": "from-s3", "roleArn": ROLE},
        "gcsDataSink": {"bucketName": "into-gcs"},
        "objectConditions": {"includePrefixes": FOLDERS},
        "transferOptions": {"overwriteWhen": "NEVER"},
    },
}

Requests = list[tuple[str, str, Any]]
Make = Callable[..., tuple[StorageTransfer, Requests]]


@pytest.fixture
def google_service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """A function that makes the service and the list of its requests.

    Answers are given by method and path.
    """
    monkeypatch.setattr(
        google.auth, "default", lambda scopes, request: (Credentials("token"), "any")
    )
    with ExitStack() as servers:

        def make(answers: dict[str, Answer]) -> tuple[StorageTransfer, Requests]:
            asked: Requests = []

            def answer(method: str, path: str) -> Answer:
                path, _, body = path.partition(" ")
                asked.append((method, path, json.loads(body or "null")))
                return answers[f"{method} {path}"]

            url = servers.enter_context(serve(answer))
            return StorageTransfer("from-s3", "into-gcs", "my-project", ROLE, url), asked

        yield make


def test_a_job_is_created_and_started(google_service: Make) -> None:
    service, asked = google_service(
        {
            "POST /v1/transferJobs": (200, CREATED),
            f"POST /v1/{JOB}:run": (200, {"name": OPERATION, "metadata": {}}),
        }
    )
    assert service.start(FOLDERS, "7f3a") == OPERATION
    assert asked == [
        ("POST", "/v1/transferJobs", CREATED),
        ("POST", f"/v1/{JOB}:run", {"projectId": "my-project"}),
    ]


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ((200, {"name": JOB, "status": "ENABLED", "latestOperationName": OPERATION}), OPERATION),
        ((200, {"name": JOB, "status": "ENABLED"}), OPERATION),
        ((200, {"name": JOB, "status": "DELETED", "latestOperationName": OPERATION}), ""),
        (google_error(404, "no such job"), ""),
    ],
    ids=["running", "made and not run", "deleted", "unknown"],
)
def test_a_job_is_found_by_its_token(google_service: Make, said: Answer, found: str) -> None:
    service, _ = google_service(
        {
            f"GET /v1/{JOB}?projectId=my-project": said,
            f"POST /v1/{JOB}:run": (200, {"name": OPERATION}),
        }
    )
    assert service.find("7f3a") == found


def test_google_knows_every_name_in_a_job() -> None:
    """The names come from Terraform's provider."""
    schema = json.loads(SCHEMA.read_text())
    assert known(schema["transfer_spec"]["block"], CREATED["transferSpec"]) == 9


def known(block: dict[str, Any], value: dict[str, Any]) -> int:
    """Return the number of names in a value, all of which must be names of the block."""
    count = 0
    for name, inner in value.items():
        found = block[re.sub("[A-Z]", lambda each: f"_{each[0].lower()}", name)]
        count += 1 + (known(found["block"], inner) if isinstance(inner, dict) else 0)
    return count


def test_a_job_that_cannot_be_run_is_removed(google_service: Make) -> None:
    service, asked = google_service(
        {
            "POST /v1/transferJobs": (200, {"name": JOB}),
            f"POST /v1/{JOB}:run": google_error(403, "may not run it"),
            f"DELETE /v1/{JOB}?projectId=my-project": google_error(503, "later"),
        }
    )
    with pytest.raises(Refused, match="may not run it") as refused:
        service.start(FOLDERS, "7f3a")
    assert "gcloud services enable storagetransfer.googleapis.com" in refused.value.remedy
    assert asked[-1][0] == "DELETE"


COUNTERS = {
    "objectsFoundFromSource": "12",
    "objectsCopiedToSink": "9",
    "bytesCopiedToSink": "9000000000",
    "objectsFromSourceFailed": "2",
}
BREAKDOWN = [
    {
        "errorCode": "PERMISSION_DENIED",
        "errorCount": "2",
        "errorLogEntries": [{"url": "s3://from-s3/raw/x", "errorDetails": ["access denied"]}],
    }
]
BECAUSE = "PERMISSION_DENIED: s3://from-s3/raw/x access denied"


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ({"metadata": {"status": "QUEUED"}}, Transferred(RUNNING)),
        (
            {"metadata": {"status": "IN_PROGRESS", "counters": {"objectsCopiedToSink": "3"}}},
            Transferred(RUNNING, 3),
        ),
        (
            {"done": True, "metadata": {"status": "SUCCESS", "counters": {}}, "response": {}},
            Transferred(DONE),
        ),
        (
            {
                "done": True,
                "metadata": {
                    "status": "FAILED",
                    "counters": COUNTERS,
                    "errorBreakdowns": BREAKDOWN,
                },
                "response": {},
            },
            Transferred(FAILED, 9, 9_000_000_000, 2, BECAUSE),
        ),
        (
            {"done": True, "metadata": {"status": "ABORTED"}, "response": {}},
            Transferred(FAILED),
        ),
        (
            {"done": True, "error": {"code": 7, "message": "the role may not"}},
            Transferred(FAILED, error="the role may not"),
        ),
    ],
    ids=["queued", "running", "success", "failed", "aborted", "error"],
)
def test_the_progress_of_an_operation_is_read(
    google_service: Make, said: dict[str, Any], seen: Transferred
) -> None:
    service, _ = google_service({f"GET /v1/{OPERATION}": (200, {"name": OPERATION, **said})})
    assert service.look(OPERATION) == seen


def test_faults_of_googles_transfer_service_are_reported(google_service: Make) -> None:
    for answer in (google_error(429, "slowly"), (502, "<html>a proxy")):
        service, _ = google_service({f"GET /v1/{OPERATION}": answer})
        with pytest.raises(Unavailable, match=r"slowly|HTTP 502"):
            service.look(OPERATION)
    service, _ = google_service({f"GET /v1/{OPERATION}": google_error(404, "no such operation")})
    assert service.look(OPERATION).state == GONE
    service.end(OPERATION)


def test_the_job_is_removed_in_the_end(google_service: Make) -> None:
    deletion = f"DELETE /v1/{JOB}?projectId=my-project"
    about = {"done": True, "metadata": {"transferJobName": JOB}}
    service, asked = google_service({f"GET /v1/{OPERATION}": (200, about), deletion: (200, {})})
    service.end(OPERATION)
    assert [f"{method} {path}" for method, path, _ in asked] == [f"GET /v1/{OPERATION}", deletion]
