"""Throttling and transient codes of the AWS services in use, against the mapping of errors."""

import re
from collections.abc import Iterator

import botocore.session
import pytest
from botocore import exceptions
from botocore.retries.standard import ThrottledRetryableChecker, TransientRetryableChecker

from mcloud.clouds.aws.client import from_code, make_client, passes, translated
from mcloud.errors import Refused, Unavailable

from .web import Answer, serve

SERVICES = (
    *("budgets", "ce", "cloudwatch", "datasync", "dynamodb", "dynamodbstreams", "iam", "lambda"),
    *("logs", "s3", "scheduler", "sns", "sqs", "sts", "xray"),
)

_PASSES = re.compile(
    r"throttl|TooManyRequests|SlowDown|RequestLimit|OverLimit|ThroughputExceeded|Concurrent"
    r"|^Internal|^Service(Unavailable|Exception|Failure)|^DataUnavailable|CommunicationError"
    r"|Transaction(Conflict|InProgress)",
    re.IGNORECASE,
)

STAYS = {
    "ConcurrentModification": "two people change one role; only Terraform changes roles",
    "OpenIdIdpCommunicationError": "an OpenID provider is being made, which mcloud never does",
    "TooManyEntriesInBatchRequest": "a batch that is too large stays too large",
}
"""Codes that look like transient ones and are not, each with the reason."""


def modelled() -> Iterator[tuple[str, str, int, bool]]:
    """Yield service, code, HTTP status and whether the model says that a retry helps."""
    session = botocore.session.Session()
    for service in SERVICES:
        model = session.get_service_model(service)
        for name in model.shape_names:
            metadata = model.shape_for(name).metadata
            if metadata.get("exception"):
                error = metadata.get("error", {})
                status = int(error.get("httpStatusCode", 400))
                yield service, error.get("code", name), status, "retryable" in metadata


MODELLED = sorted(
    {
        (service, code, status)
        for service, code, status, is_retryable in modelled()
        if is_retryable or status == 429 or status >= 500 or _PASSES.search(code)
    }
)


def test_the_models_have_the_codes_that_were_once_missing() -> None:
    codes = {code for _, code, _ in MODELLED}
    assert {"Throttled", "KMSThrottling", "KmsThrottled", "OverLimit"} < codes
    assert len(MODELLED) > 40


@pytest.mark.parametrize(("service", "code", "status"), MODELLED)
def test_every_transient_code_of_the_models_is_known(service: str, code: str, status: int) -> None:
    answer = {
        "Error": {"Code": code, "Message": "no"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    expected = Refused if code in STAYS else Unavailable
    assert isinstance(from_code(service, answer), expected)


@pytest.mark.parametrize(
    "code",
    sorted(
        {
            *ThrottledRetryableChecker._THROTTLED_ERROR_CODES,
            *TransientRetryableChecker._TRANSIENT_ERROR_CODES,
            "BadDigest",  # this and the next ones: botocore/data/_retry.json
            "IDPCommunicationError",
            "ReplicatedWriteConflictException",
            "ServiceUnavailable",  # not in the models, but documented: DynamoDB and S3
            "InternalFailure",
            "OperationAborted",
        }
    ),
)
def test_codes_that_botocore_retries_are_transient(code: str) -> None:
    assert passes(code)
    assert passes(f"AWS.SimpleQueueService.{code}")


def test_a_status_that_means_throttling() -> None:
    answer = {"Error": {"Code": "429"}, "ResponseMetadata": {"HTTPStatusCode": 429}}
    assert isinstance(from_code("S3", answer), Unavailable)


@pytest.mark.parametrize(
    "error",
    [
        exceptions.IncompleteReadError(actual_bytes=1, expected_bytes=2),
        exceptions.FlexibleChecksumError(error_msg="Expected checksum a did not match b"),
        exceptions.ResponseStreamingError(error="reset"),
        exceptions.ReadTimeoutError(endpoint_url="https://s3"),
        exceptions.ConnectionClosedError(endpoint_url="https://s3"),
    ],
)
def test_errors_of_the_transport_are_transient(error: Exception) -> None:
    with pytest.raises(Unavailable), translated("S3"):
        raise error


@pytest.mark.parametrize(
    ("error", "command"),
    [
        (exceptions.TokenRetrievalError(provider="sso", error_msg="away"), "aws sso login"),
        (exceptions.SSOTokenLoadError(error_msg="x"), "aws sso login"),
        (exceptions.UnauthorizedSSOTokenError(), "aws sso login"),
        (exceptions.LoginRefreshRequired(), "aws login"),
        (exceptions.LoginTokenLoadError(error_msg="x"), "aws login"),
        (exceptions.LoginAuthorizationCodeError(error_msg="x"), "aws login"),
        (exceptions.LoginInsufficientPermissions(), "signin:CreateOAuth2Token"),
        (exceptions.RefreshWithMFAUnsupportedError(), "MFA code"),
    ],
)
def test_an_expired_session_names_the_remedy(error: Exception, command: str) -> None:
    with pytest.raises(Refused) as caught, translated("SQS"):
        raise error
    assert command in caught.value.remedy


@pytest.mark.parametrize("code", ["Throttled", "KMSThrottling"])
@pytest.mark.parametrize(("attempts", "made"), [(3, 3), (1, 1)])
def test_codes_that_botocore_does_not_know_are_tried_again(
    code: str, attempts: int, made: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcloud.clouds.aws.client.random.uniform", lambda low, high: 0.01)
    asked: list[str] = []

    def answer(method: str, path: str) -> Answer:
        asked.append(path)
        return 400, f"<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>"

    with serve(answer) as url:
        client = make_client("sns", "us-east-1", url, attempts=attempts)
        with pytest.raises(Unavailable), translated("SNS"):
            client.publish(TopicArn="arn:aws:sns:us-east-1:000000000000:t", Message="m")
    assert len(asked) == made


def test_a_refusal_is_not_tried_again() -> None:
    asked: list[str] = []

    def answer(method: str, path: str) -> Answer:
        asked.append(path)
        return 400, "<ErrorResponse><Error><Code>InvalidParameter</Code></Error></ErrorResponse>"

    with serve(answer) as url:
        client = make_client("sns", "us-east-1", url)
        with pytest.raises(Refused), translated("SNS"):
            client.publish(TopicArn="arn:aws:sns:us-east-1:000000000000:t", Message="m")
    assert len(asked) == 1
