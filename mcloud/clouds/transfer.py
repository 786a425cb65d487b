"""Copies from one cloud's bucket to another's, made by a transfer service of the target's cloud.

``aws/transfer.py`` and ``gcp/transfer.py`` implement ``Transfer``. They never overwrite or delete
an object. Any call may raise Unavailable or Refused, like the calls of ``ports``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

TransferState = Literal["running", "done", "failed", "gone"]
"""State of a transfer. It is ``gone`` if the cloud no longer knows the transfer."""

RUNNING: Final = "running"
DONE: Final = "done"
FAILED: Final = "failed"
GONE: Final = "gone"

FOLDERS = 1000
"""Maximum number of folders in one transfer. [Google: ObjectConditions.includePrefixes]"""


@dataclass(frozen=True)
class Transferred:
    """Progress of a transfer."""

    state: TransferState
    objects: int = 0
    """Number of objects copied so far."""
    bytes: int = 0
    """Number of bytes copied so far."""
    failed: int = 0
    """Number of objects that could not be copied."""
    error: str = ""
    """The cloud's error message for these objects, or for a failed transfer."""


class Transfer(Protocol):
    service: str
    """The cloud's name for the transfer service."""

    def start(self, folders: Sequence[str], token: str) -> str:
        """Start to copy the objects in these folders (``raw/…/``, none inside another).

        Return the name of the run, for ``look`` and ``end``.

        Args:
            token: unique letters and digits by which ``find`` finds the copy.
        """
        ...

    def find(self, token: str) -> str:
        """Return the name of the run that was started with a token, or an empty string.

        A copy that was created but did not start is started now. If there is no copy, anything
        else that was created for it is removed.
        """
        ...

    def look(self, name: str) -> Transferred: ...

    def end(self, name: str) -> None:
        """Remove what ``start`` created, except for the copied objects.

        A run that no longer exists is not an error.
        """
        ...
