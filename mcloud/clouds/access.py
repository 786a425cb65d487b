"""Checks of the credentials, permissions and quotas in a cloud.

``aws/access.py`` and ``gcp/access.py`` implement ``Access``. They only read. Any call may raise
Unavailable or Refused, like the calls of ``ports``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from mcloud import http
from mcloud.errors import Refused, Unavailable

CheckState = Literal["ok", "warning", "fault", "unknown"]
"""State of a check: a warning is about something that is not needed now, and ``unknown`` cannot be
checked.
"""

OK: Final = "ok"
WARNING: Final = "warning"
FAULT: Final = "fault"
UNKNOWN: Final = "unknown"

COMPONENTS = ("deployer", "planner", "operator", "producer", "replicator")
"""Roles that need permissions: ``mcloud deploy`` and ``mcloud plan``, the people who only read, and
the producers and replicators that run on the user's machines."""

_NETWORK = "check the network, any proxy, and `region` in mcloud.toml"


@dataclass(frozen=True)
class AccessFinding:
    """The result of one check of access."""

    state: CheckState
    text: str
    remedy: str = ""
    seconds: float | None = None
    """Response time of a service, in seconds."""


@dataclass(frozen=True)
class Target:
    """A site to check. Before its deployment, only its settings are known."""

    stack: str
    region: str
    project: str = ""
    """Google Cloud project."""
    resources: Any = None
    """Deployed resources, as in ``clouds.resources``; None before the deployment."""
    variables: Mapping[str, Any] = field(default_factory=dict)
    """Variables of the Terraform module."""


class Access(Protocol):
    """Checks of the credentials and permissions for one site."""

    def prepare(self) -> None:
        """Load what ``clock`` and ``reach`` need, which may take longer than their requests."""
        ...

    def identity(self) -> str:
        """Return the identity of the credentials, as the cloud names it.

        Raises:
            Refused: the credentials are not valid.
        """
        ...

    def clock(self) -> tuple[float, float]:
        """Return how far this machine's clock is ahead of the cloud's, and the maximum error.

        Both are in seconds. The check needs no credentials.
        """
        ...

    def reach(self, service: str) -> float:
        """Return the response time, in seconds, of the region's endpoint of one of
        ``ports.SERVICES``.

        Any answer counts. The check needs neither credentials nor a deployment.
        """
        ...

    def permissions(self, component: str) -> AccessFinding:
        """Check whether the credentials have the permissions of one of COMPONENTS on this site."""
        ...

    def quotas(self) -> dict[str, Callable[[], AccessFinding]]:
        """Return the checks of other limits of the account or project, by subject.

        Each check queries the cloud when it is called.
        """
        ...


def verdict(
    denied: Mapping[str, Sequence[str]], unclear: Mapping[str, Sequence[str]], remedy: str
) -> AccessFinding:
    """Return the finding for denied and unclear permissions, each listed by resource."""
    if denied:
        return AccessFinding(FAULT, f"not allowed: {_listed(denied)}", remedy)
    if unclear:
        words = "not allowed, unless under a condition that cannot be tested"
        return AccessFinding(UNKNOWN, f"{words}: {_listed(unclear)}")
    return AccessFinding(OK, "allowed")


def not_told(error: Refused) -> AccessFinding:
    """Return the finding for a check that was refused: its result is unknown."""
    return AccessFinding(UNKNOWN, error.message, error.remedy)


def ask_time(url: str) -> tuple[float, float]:
    """Return how far this machine's clock is ahead of the server's at ``url``, and the maximum
    error, both in seconds.

    Raises:
        Unavailable: the server does not answer, or its answer does not include the time.
    """
    answer = ask(url)
    if answer.time is None:
        raise Unavailable(f"the answer of {url} has no valid date")
    # The header is truncated to whole seconds, so the actual time is half a second later on
    # average.
    theirs = answer.time + 0.5
    return answer.sent + answer.seconds / 2 - theirs, answer.seconds / 2 + 0.5


def ask(url: str) -> http.HttpAnswer:
    """Return any answer of the server at ``url``, without the body.

    Raises:
        Unavailable: the server did not answer.
        Refused: the request cannot be sent.
    """
    try:
        return http.ask("GET", url, http.REACH)
    except http.NoAnswer as error:
        raise Unavailable(f"{url} does not answer: {error.reason}", remedy=_NETWORK) from error


def _listed(rights: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{', '.join(each)} ({on})" for on, each in rights.items())
