"""Copies of one cloud's bucket into another's that the target's cloud makes by itself.

``aws/transfer.py`` and ``gcp/transfer.py`` keep the promises of ``Transfer``. They never overwrite
and never delete an object. Any call may raise Unavailable or Refused, as those of ``ports`` do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mcloud.clouds.resources import AwsResources, GcpResources, Resources

RUNNING, DONE, FAILED, GONE = "running", "done", "failed", "gone"

FOLDERS = 1000
"""That one transfer may name. [Google: ObjectConditions.includePrefixes]"""


@dataclass(frozen=True)
class Transferred:
    """How far a transfer is."""

    state: str
    """``running``, ``done``, ``failed``, or ``gone``: the cloud does not know it any more."""
    objects: int = 0
    """Copied so far."""
    bytes: int = 0
    """Of them."""
    failed: int = 0
    """Objects that could not be copied."""
    error: str = ""
    """What the cloud says of them, or of a transfer that failed."""


class Transfer(Protocol):
    service: str
    """What the cloud calls it."""

    def start(self, folders: Sequence[str], token: str) -> str:
        """Begin a copy of what is under these folders (``raw/…/``, none within another one).

        The answer is the name of the run, for ``look`` and ``end``.

        Args:
            token: some letters and digits that no other copy has, for ``find``.
        """
        ...

    def find(self, token: str) -> str:
        """The name of the run that was begun with a token, or empty where there is none.

        A copy that was made by then, but did not begin to run, does now. Where there is none,
        whatever else was made for it is removed.
        """
        ...

    def look(self, name: str) -> Transferred: ...

    def end(self, name: str) -> None:
        """Remove what ``start`` made, but for the copies; a run that is gone is no error."""
        ...


def open_transfer(source: Resources, target: Resources, role: str) -> Transfer | None:
    """The service that copies from one to the other; None where there is none.

    Args:
        role: the ARN of the AWS role under which the service uses the S3 bucket.
    """
    if isinstance(source, AwsResources) and isinstance(target, GcpResources):
        from mcloud.clouds.gcp.transfer import StorageTransfer

        return StorageTransfer(source.raw_bucket, target.raw_bucket, target.project, role)
    if isinstance(source, GcpResources) and isinstance(target, AwsResources):
        from mcloud.clouds.aws.transfer import DataSync

        return DataSync(source.raw_bucket, target.raw_bucket, target.region, role)
    return None
