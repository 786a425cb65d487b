"""boto3 clients, and the conversion of botocore's errors into those of mcloud."""

import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cache, partial
from typing import Any

from mcloud import __version__
from mcloud.clouds.aws.causes import CAUSES, LACKS, MISSING, PROCESS
from mcloud.clouds.causes import explain
from mcloud.deadline import Asker
from mcloud.errors import McloudError, Refused, Unavailable
from mcloud.local_faults import is_local

# Codes of temporary errors. All other 4xx codes are permanent.
_PASSING = {
    "BadDigest",  # S3 received different data from what was sent
    "BandwidthLimitExceeded",
    "ConcurrentAccess",
    "ConcurrentModificationException",
    "ConditionalRequestConflict",  # two requests wrote one S3 key at the same time
    "DataUnavailableException",
    "EC2ThrottledException",
    "IDPCommunicationError",
    "InternalError",
    "InternalErrorException",
    "InternalException",
    "InternalFailure",
    "InternalServerError",
    "InternalServerException",
    "InternalServiceError",
    "InternalServiceException",
    "InternalStreamingException",
    "KMSThrottling",  # spelling of SNS
    "KmsThrottled",  # spelling of SQS
    "LimitExceededException",
    "OperationAborted",
    "OverLimit",  # too many SQS messages are in flight
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "ReplicatedWriteConflictException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "SlowDown",
    "Throttled",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionConflictException",
    "TransactionInProgressException",
}

_UNCOMMON = {"KMSThrottling", "KmsThrottled", "Throttled"}
"""Throttling codes that botocore does not know as such."""

ATTEMPTS = 5
CONNECT_TIMEOUT, READ_TIMEOUT = 5.0, 20.0  # seconds

_lock = threading.RLock()
"""Held while sessions and clients are created, which is not thread-safe in botocore."""

_sessions: dict[frozenset[tuple[str, str]], "tuple[Any, _Credentials]"] = {}
"""The session and the credentials of this process, by the environment variables that they were
created from.
"""


def make_client(
    service: str,
    region: str,
    endpoint_url: str = "",
    *,
    attempts: int = ATTEMPTS,
    read_timeout: float = READ_TIMEOUT,
) -> Any:
    """Return a thread-safe boto3 client. No credentials are fetched before its first call.

    Args:
        endpoint_url: URL of the embedded AWS, which accepts any credentials. Without it the usual
            chain of credentials applies, once for all clients of the process.
        attempts: maximum number of attempts at each call.
        read_timeout: seconds for which an attempt waits for an answer.
    """
    from botocore.config import Config

    config = Config(
        # CloudTrail shows this name. botocore would build its own user agent again for each
        # request.
        user_agent=f"mcloud/{__version__}",
        retries={"mode": "standard", "total_max_attempts": attempts},
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=read_timeout,
        max_pool_connections=32,
    )
    with _lock, translated(f"AWS {service}"):
        if endpoint_url:
            client = _embedded_session().client(
                service,
                region_name=region,
                config=config,
                endpoint_url=endpoint_url,
                aws_access_key_id="test",
                aws_secret_access_key="test",
            )
        else:
            session, _ = _session(region)
            client = session.client(service, region_name=region, config=config)
        client.meta.events.register("needs-retry", partial(_retry_more, attempts))
        return client


def _retry_more(most: int, response: Any, attempts: int, **_: object) -> float | None:
    """Return the pause in seconds before an attempt that botocore would not make, or None.

    botocore retries the throttling codes that several services share, but not the spellings of a
    single one.
    """
    code = response[1].get("Error", {}).get("Code", "") if response else ""
    if attempts >= most or code not in _UNCOMMON:
        return None
    return random.uniform(0, 2 ** (attempts - 1))


def check_credentials(region: str, seconds: float) -> None:
    """Fetch the credentials of the real AWS, unless those of this process are still valid.

    Raises:
        Unavailable: they cannot be fetched now, or not in time. The error counts as local.
        Refused: there are none, or they have expired.
    """
    with _lock, translated("AWS"):
        _, credentials = _session(region)
    found = _fetching.gather({"credentials": credentials.get_frozen_credentials}, seconds)
    answer = found["credentials"]
    if isinstance(answer, TimeoutError):
        raise Unavailable(f"the AWS credentials cannot be fetched: {answer}", is_local=True)
    if isinstance(answer, Exception):
        raise answer


# maximum number of waiting threads; a further one fails with a timeout
_fetching: Asker[str] = Asker(most=32)


def partition_of(region: str) -> str:
    """Return ``aws``, ``aws-cn``, ``aws-us-gov``, …"""
    import botocore.session

    with _lock, translated("the region"):
        return str(botocore.session.Session().get_partition_for_region(region))


class _Credentials:
    """The credentials of all clients. One chain fetches them when a client first needs them.

    A failure here is an error of this machine and not of a site, so that it never counts as an
    outage. The class has the methods of ``botocore.credentials.Credentials`` that clients call.
    """

    def __init__(self, resolver: Any) -> None:
        self._resolver = resolver
        self._lock = threading.Lock()
        self._loaded: Any = None

    def load_credentials(self) -> "_Credentials":
        """Return this object: botocore calls the component ``credential_provider`` with this
        method.
        """
        return self

    def get_frozen_credentials(self) -> Any:
        from botocore.exceptions import NoCredentialsError

        with _own_credentials():
            with self._lock:
                if self._loaded is None:
                    self._loaded = self._resolver.load_credentials()
            if self._loaded is None:
                raise NoCredentialsError
            return self._loaded.get_frozen_credentials()

    def get_deferred_property(self, name: str) -> Callable[[], Any]:
        return lambda: getattr(self.get_frozen_credentials(), name, None)


def _session(region: str) -> "tuple[Any, _Credentials]":
    """Return the session of this process and its credentials. ``region`` is the region of STS
    unless the configuration names one.
    """
    import botocore.session
    from botocore.credentials import create_credential_resolver

    key = frozenset(each for each in os.environ.items() if each[0].startswith("AWS_"))
    if key not in _sessions:
        core = botocore.session.Session()
        region = core.get_config_variable("region") or region
        resolver = create_credential_resolver(core, cache=_cache(), region_name=region)
        credentials = _Credentials(resolver)
        core.register_component("credential_provider", credentials)
        _sessions[key] = _for_boto3(core), credentials
    return _sessions[key]


def _cache() -> Any:
    """Return the AWS CLI's cache of assumed roles. With it, a profile with MFA requests one code
    for the CLI and all processes of mcloud.
    """
    from botocore.utils import JSONFileCache

    class RoleCache(JSONFileCache):  # type: ignore[misc]
        def __setitem__(self, key: str, value: object) -> None:
            # the home directory is read-only, so that the role is assumed again next time
            with suppress(OSError):
                super().__setitem__(key, value)

    return RoleCache(os.path.expanduser("~/.aws/cli/cache"))


@cache
def _embedded_session() -> Any:
    import botocore.session

    return _for_boto3(botocore.session.Session(_of_its_own()))


def _for_boto3(core: Any) -> Any:
    import boto3

    parsers = core.get_component("response_parser_factory")
    parsers.set_parser_defaults(timestamp_parser=moment)
    return boto3.session.Session(botocore_session=core)


def _of_its_own() -> dict[str, tuple[Any, ...]]:
    """Return the variables of a session that ignores the user's files and environment.

    The embedded AWS needs no configuration and no credentials. A damaged file or a missing profile
    would only cause an error.
    """
    from botocore.session import Session

    return {
        name: (None, None, os.devnull if name.endswith("_file") else default, convert)
        for name, (_, _, default, convert) in Session.SESSION_VARIABLES.items()
    }


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Convert botocore's errors into Unavailable or Refused; ``what`` names the service and the
    resource.
    """
    from botocore import exceptions
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except ClientError as error:
        raise from_code(what, error.response) from error
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError) as error:
        raise Refused(f"{what}: no AWS credentials", remedy=_remedy(str(error))) from error
    except (
        exceptions.ConnectionError,
        exceptions.HTTPClientError,
        exceptions.IncompleteReadError,
        exceptions.FlexibleChecksumError,
        ResponseParserError,
    ) as error:
        raise Unavailable(f"{what}: {error}", is_local=is_local(error)) from error
    except (exceptions.CredentialRetrievalError, exceptions.MetadataRetrievalError) as error:
        raise Unavailable(f"{what}: {error}", remedy=_remedy(str(error)), is_local=True) from error
    except BotoCoreError as error:
        raise Refused(f"{what}: {error}", remedy=_remedy(str(error))) from error


@contextmanager
def _own_credentials() -> Iterator[None]:
    """Convert every error of the chain of credentials into an error of this machine."""
    what = "the AWS credentials cannot be fetched"
    try:
        with translated(what):
            yield
    except Unavailable as error:  # from STS, the sign-in portal or a metadata server
        raise Unavailable(error.message, remedy=error.remedy, is_local=True) from error
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        # A credential_process cannot be started, or its output is not valid JSON.
        raise Refused(f"{what}: {type(error).__name__}: {error}", remedy=PROCESS) from error


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
    if passes(code) or status == 429 or status >= 500:
        return Unavailable(text)
    return Refused(text, remedy=_remedy(text))


def passes(code: str) -> bool:
    """Return whether an error code of AWS stands for a temporary error."""
    # SQS also returns the long codes of its old protocol: AWS.SimpleQueueService.…
    return code.rpartition(".")[2] in _PASSING


def _remedy(said: str) -> str:
    found = explain(said, (*CAUSES, LACKS, MISSING))
    return found.remedy if found else ""
