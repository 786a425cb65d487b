"""The interface through which a bucket is emptied before Terraform deletes it.

``aws/bucket.py`` and ``gcp/bucket.py`` implement it. Any call may raise Unavailable or Refused,
like the calls of ``ports``.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from mcloud.errors import McloudError, Refused

_LOCK = re.compile(r"object lock|retention|\bhold\b", re.IGNORECASE)


@dataclass(frozen=True)
class ObjectVersion:
    """A version of an object: the newest, an old one, or the marker of a deletion."""

    key: str
    version: str


class Bucket(Protocol):
    """A bucket that can be emptied."""

    workers: int
    """Number of calls of ``delete`` that the service answers well at once."""

    def versions(self) -> Iterator[list[ObjectVersion]]:
        """Yield all versions of all objects, in lists for ``delete``. There are none if the bucket
        does not exist."""
        ...

    def delete(self, versions: Sequence[ObjectVersion]) -> None:
        """Delete versions permanently, and ignore those that do not exist.

        Raises:
            Unavailable: some of them may still exist; another attempt may succeed.
            Refused: the cloud keeps one of them, for example because it is locked.
        """
        ...

    def soft_delete_days(self) -> float:
        """Return for how many days the cloud keeps, and bills, what is deleted."""
        ...


def explain_lock(error: McloudError, show: str) -> McloudError:
    """Return the error with the remedy for a locked version, if it reports one.

    Args:
        show: the command that shows the lock.
    """
    if not isinstance(error, Refused) or not _LOCK.search(error.message):
        return error
    return Refused(
        error.message,
        remedy=f"the object is locked: `{show}` shows how; remove the lock or wait for its end",
    )
