"""The result of a check, and a way to run many checks at once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mcloud.clouds.access import FAULT, UNKNOWN, AccessFinding, CheckState
from mcloud.clouds.ports import SERVICES
from mcloud.deadline import gather
from mcloud.errors import McloudError, Unavailable

Look = Callable[[], AccessFinding]

CREDENTIALS = "credentials"
# Checks that fail if there is no answer. For the others, no answer leaves the result open.
_VITAL = {CREDENTIALS, *SERVICES}


@dataclass(frozen=True)
class DoctorCheck:
    subject: str
    site: str
    """Name of the site, or empty for this machine."""
    state: CheckState
    finding: str
    remedy: str = ""
    """A command or a setting. Empty if nothing has to be fixed, or no fix is known."""
    seconds: float | None = None
    """Seconds until the service answered."""


def take(site: str, looks: Mapping[str, Look], seconds: float) -> list[DoctorCheck]:
    """Run all checks at once, by subject, within ``seconds``, even if one of them hangs."""
    answers = gather(looks, seconds)
    return [_check(subject, site, answer) for subject, answer in answers.items()]


def from_error(error: Exception, *, vital: bool = True) -> AccessFinding:
    """Return the finding of a check that failed with an error."""
    if isinstance(error, TimeoutError | Unavailable) and not vital:
        return AccessFinding(
            UNKNOWN, getattr(error, "message", str(error)), getattr(error, "remedy", "")
        )
    if isinstance(error, McloudError):
        return AccessFinding(FAULT, error.message, error.remedy)
    if isinstance(error, TimeoutError):
        return AccessFinding(FAULT, str(error), "check the network, and any proxy or firewall")
    words = f"{type(error).__name__}: {error}"
    return AccessFinding(UNKNOWN, words, "this is a bug in mcloud: please report it")


def _check(subject: str, site: str, answer: AccessFinding | Exception) -> DoctorCheck:
    if isinstance(answer, Exception):
        answer = from_error(answer, vital=subject in _VITAL)
    return DoctorCheck(subject, site, answer.state, answer.text, answer.remedy, answer.seconds)
