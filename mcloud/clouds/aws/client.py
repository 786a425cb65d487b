"""boto3 clients, and the border where botocore's errors become ours."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from mcloud import __version__
from mcloud.clouds.aws.causes import CAUSES, LACKS, MISSING
from mcloud.clouds.causes import explain
from mcloud.errors import McloudError, Refused, Unavailable

# Codes that pass by themselves. The rest of the 4xx codes are a no that stays a no.
_PASSING = {
    "ConditionalRequestConflict",  # two wrote one S3 key at the same moment
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "KmsThrottled",
    "LimitExceededException",
    "OperationAborted",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionConflictException",
}

ATTEMPTS = 5


def make_client(
    service: str, region: str, endpoint_url: str = "", *, attempts: int = ATTEMPTS
) -> Any:
    """A thread-safe boto3 client.

    ``endpoint_url`` is the embedded AWS, which takes any credentials; without it the usual chain of
    credentials applies.
    """
    import boto3
    import botocore.session
    from botocore.config import Config

    config = Config(
        # A name that CloudTrail shows; botocore's own is put together for each request anew.
        user_agent=f"mcloud/{__version__}",
        retries={"mode": "standard", "total_max_attempts": attempts},
        connect_timeout=5,
        read_timeout=20,
        max_pool_connections=32,
    )
    with translated(f"AWS {service}"):
        # One session a client: making clients from a shared one is not thread-safe.
        core = botocore.session.Session(_of_its_own() if endpoint_url else None)
        parsers = core.get_component("response_parser_factory")
        parsers.set_parser_defaults(timestamp_parser=moment)
        session = boto3.session.Session(botocore_session=core, region_name=region)
        if not endpoint_url:
            return session.client(service, config=config)
        return session.client(
            service,
            config=config,
            endpoint_url=endpoint_url,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )


def _of_its_own() -> dict[str, tuple[Any, ...]]:
    """The variables of a session without the user's files and environment.

    The embedded AWS needs nothing of them, as little as credentials, and a file that is broken or a
    profile that is missing would be in its way.
    """
    from botocore.session import Session

    return {
        name: (None, None, os.devnull if name.endswith("_file") else default, convert)
        for name, (_, _, default, convert) in Session.SESSION_VARIABLES.items()
    }


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn botocore's errors into Unavailable or Refused; ``what`` names service and resource."""
    from botocore import exceptions
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        raise from_code(what, error.response) from error
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError) as error:
        raise Refused(f"{what}: no AWS credentials", remedy=_remedy(str(error))) from error
    except (
        exceptions.ConnectionError,
        exceptions.HTTPClientError,
        exceptions.CredentialRetrievalError,
        exceptions.MetadataRetrievalError,
    ) as error:
        raise Unavailable(f"{what}: {error}") from error
    except BotoCoreError as error:
        raise Refused(f"{what}: {error}", remedy=_remedy(str(error))) from error


def moment(value: str | float) -> datetime:
    """Parse a time in an answer, with the same result as botocore.

    botocore guesses the format of each time again, which takes a third of the time of a page of
    objects. Here the two usual formats are parsed directly.
    """
    from botocore.utils import parse_timestamp

    text = str(value)
    with suppress(ValueError):
        if text.endswith("Z"):
            return datetime.fromisoformat(text)
        if text.endswith(" GMT"):
            return parsedate_to_datetime(text)
    guessed: datetime = parse_timestamp(value)
    return guessed


def from_code(what: str, response: dict[str, Any]) -> McloudError:
    """Return the error for an error response of AWS."""
    details = response.get("Error", {})
    code = details.get("Code", "Unknown")
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    text = f"{what}: {code}: {details.get('Message', 'no message')}"
    if passes(code) or status >= 500:
        return Unavailable(text)
    return Refused(text, remedy=_remedy(text))


def passes(code: str) -> bool:
    """Return whether an error code of AWS stands for a temporary error."""
    # SQS also returns the long names of its old protocol: AWS.SimpleQueueService.…
    return code.rpartition(".")[2] in _PASSING


def _remedy(said: str) -> str:
    found = explain(said, (*CAUSES, LACKS, MISSING))
    return found.remedy if found else ""
