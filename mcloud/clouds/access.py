"""What somebody's credentials come to in a cloud, and what that cloud would refuse.

``aws/access.py`` and ``gcp/access.py`` keep the promises of ``Access``. They read, and change
nothing. Any call may raise Unavailable or Refused, as those of ``ports`` do.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from mcloud import http
from mcloud.errors import Refused, Unavailable

OK, WARNING, FAULT, UNKNOWN = "ok", "warning", "fault", "unknown"

COMPONENTS = ("deployer", "operator", "producer", "replicator")
"""Who needs rights: ``mcloud deploy``, those who look, and what runs on machines of the user."""

_NETWORK = "check the network, any proxy, and `region` in mcloud.toml"


@dataclass(frozen=True)
class Finding:
    state: str
    """``ok``, ``warning``, ``fault`` or ``unknown``"""
    text: str
    remedy: str = ""
    seconds: float | None = None
    """That a service took to answer."""


@dataclass(frozen=True)
class Target:
    """A site as far as it is known: before its deployment by its settings only."""

    stack: str
    region: str
    project: str = ""
    """Of Google Cloud."""
    resources: Any = None
    """What its deployment left behind, as in ``resources``; None where there was none."""
    variables: Mapping[str, Any] = field(default_factory=dict)
    """Of its Terraform module."""


class Access(Protocol):
    def identity(self) -> str:
        """Who the credentials are, in the cloud's own words; Refused where they are no good."""
        ...

    def clock(self) -> tuple[float, float]:
        """Seconds that this machine's clock is ahead of the cloud's, and how far that may be off.

        Needs no credentials.
        """
        ...

    def reach(self, service: str) -> float:
        """Seconds until any answer from the region's address of one of ``ports.SERVICES``.

        Needs neither credentials nor a deployment.
        """
        ...

    def permissions(self, component: str) -> Finding:
        """Whether the credentials may do what one of COMPONENTS does on this site."""
        ...

    def quotas(self) -> dict[str, Callable[[], Finding]]:
        """What else the account or project allows, by subject; each is asked when it is called."""
        ...


def open_access(cloud: str, target: Target) -> Access:
    """The access to ``target``; nothing is contacted until it is used."""
    if cloud == "aws":
        from mcloud.clouds.aws.access import AwsAccess

        return AwsAccess(target)
    from mcloud.clouds.gcp.access import GcpAccess

    return GcpAccess(target)


def verdict(
    denied: Mapping[str, Sequence[str]], unclear: Mapping[str, Sequence[str]], remedy: str
) -> Finding:
    """What to say of rights, listed by what they would be on."""
    if denied:
        return Finding(FAULT, f"not allowed: {_listed(denied)}", remedy)
    if unclear:
        words = "not allowed, unless under a condition that cannot be tested"
        return Finding(UNKNOWN, f"{words}: {_listed(unclear)}")
    return Finding(OK, "allowed")


def not_told(error: Refused) -> Finding:
    """For what is asked to be on the safe side: a refusal leaves it open."""
    return Finding(UNKNOWN, error.message, error.remedy)


def ask_time(url: str) -> tuple[float, float]:
    """This machine's clock less that of the server at ``url``, and how far that may be off.

    Raises:
        Unavailable: it does not answer, or does not say what time it is.
    """
    answer = ask(url)
    if answer.time is None:
        raise Unavailable(f"{url} does not say what time it is")
    # The header is cut to the second, so the moment is on average half of one later.
    theirs = answer.time + 0.5
    return answer.sent + answer.seconds / 2 - theirs, answer.seconds / 2 + 0.5


def ask(url: str) -> http.Answer:
    """Return any answer of the server at ``url``, without the body.

    Raises:
        Unavailable: none came.
        Refused: there is no way to ask.
    """
    try:
        return http.ask("GET", url, http.REACH)
    except http.NoAnswer as error:
        raise Unavailable(f"{url} does not answer: {error.reason}", remedy=_NETWORK) from error


def _listed(rights: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{', '.join(each)} ({on})" for on, each in rights.items())
