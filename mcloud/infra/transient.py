"""Temporary faults, recognised in Terraform's messages.

Google's provider retries most of its requests, but does not retry after these faults. The first
deployment in a new project meets several of them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mcloud.errors import McloudError

ATTEMPTS = 3
"""Maximum number of times that a run continues after transient faults."""


@dataclass(frozen=True)
class Wait:
    seconds: float
    reason: str
    """The awaited thing, as a noun phrase."""


class TransientError(McloudError):
    """All errors of a run are transient: it can continue after ``wait``."""

    def __init__(
        self, message: str, *, remedy: str = "", wait: Wait = Wait(0, "the cloud")
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.wait = wait


_WAITS = (
    (
        # While the Service Usage API is disabled, Terraform cannot enable any other. The requests
        # of an account without a quota project are counted in a project of Google's own.
        r"\A(?!.*(?:apis/api/serviceusage\.|requires a quota project|end user credentials))"
        r".*(?:has not been used in project \S+ before or it is disabled|SERVICE_DISABLED)",
        Wait(40, "an API that was just enabled"),
    ),
    (
        r"[Ss]ervice account \S+@\S+\.iam\.gserviceaccount\.com does not exist",
        Wait(30, "an account that was just created"),
    ),
    (
        # https://cloud.google.com/functions/docs/troubleshooting#build
        r"Could not build the function due to (?:a )?missing permission"
        r"|Access to bucket gcf-v2-sources-\S+ denied",
        Wait(40, "permissions of the account that builds the functions"),
    ),
    (
        r"ACCESS_TOKEN_EXPIRED|Error 401: Request had invalid authentication credentials",
        Wait(0, "a new access token"),
    ),
    (r"Error setting Cloud Scheduler Job status", Wait(0, "the schedule")),
)

_DATABASE = r"Database ID \S+ is not available in project \S+ .*retry in (\d+) seconds"


def find_wait(texts: Sequence[str]) -> Wait | None:
    """Return the longest wait for these errors; None if one of them is not transient."""
    waits = [_wait(each) for each in texts]
    found = [each for each in waits if each is not None]
    if not found or len(found) < len(waits):
        return None
    return max(found, key=lambda each: each.seconds)


def _wait(text: str) -> Wait | None:
    # Firestore refuses the name of a deleted database for five minutes.
    if database := re.search(_DATABASE, text, re.DOTALL):
        return Wait(int(database[1]) + 1, "the name of a database that was just deleted")
    for pattern, wait in _WAITS:
        if re.search(pattern, text, re.DOTALL):
            return wait
    return None
