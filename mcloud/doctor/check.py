"""The result of a check, and a way to run many checks at once."""

import threading
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
_NETWORK = "check the network, and any proxy or firewall; or add --wait if the site is slow"


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


def take_if_up(
    site: str,
    signs: Mapping[str, Look],
    patience: float,
    looks: Mapping[str, Look],
    seconds: float,
) -> list[DoctorCheck]:
    """Run all checks at once, ``signs`` within ``patience`` seconds and the others within
    ``seconds``. If all of ``signs`` hang, the site is down, and nothing is awaited any longer.
    """
    others: dict[str, AccessFinding | Exception] = {}
    are_over = threading.Event()

    def ask() -> None:
        others.update(gather(looks, seconds))
        are_over.set()

    threading.Thread(target=ask, name=f"doctor {site}", daemon=True).start()
    found = gather(signs, patience)
    # A site that refuses calls refuses the others as quickly.
    is_down = all(isinstance(each, TimeoutError) for each in found.values())
    if are_over.wait(0 if is_down else None):
        answers = others
    else:
        answers = {subject: _unasked(subject) for subject in looks}
    return [_check(subject, site, answer) for subject, answer in {**answers, **found}.items()]


def _unasked(subject: str) -> AccessFinding:
    words = "not checked: the site does not answer"
    if subject in _VITAL:
        return AccessFinding(FAULT, words, _NETWORK)
    return AccessFinding(UNKNOWN, words)


def from_error(error: Exception, *, vital: bool = True) -> AccessFinding:
    """Return the finding of a check that failed with an error."""
    if isinstance(error, TimeoutError | Unavailable) and not vital:
        return AccessFinding(
            UNKNOWN, getattr(error, "message", str(error)), getattr(error, "remedy", "")
        )
    if isinstance(error, Unavailable) and not error.remedy:
        return AccessFinding(FAULT, error.message, _NETWORK)
    if isinstance(error, McloudError):
        return AccessFinding(FAULT, error.message, error.remedy)
    if isinstance(error, TimeoutError):
        return AccessFinding(FAULT, str(error), _NETWORK)
    words = f"{type(error).__name__}: {error}"
    return AccessFinding(UNKNOWN, words, "this is a bug in mcloud: please report it")


def _check(subject: str, site: str, answer: AccessFinding | Exception) -> DoctorCheck:
    if isinstance(answer, Exception):
        answer = from_error(answer, vital=subject in _VITAL)
    return DoctorCheck(subject, site, answer.state, answer.text, answer.remedy, answer.seconds)
