"""Deletes all versions of the objects in a Cloud Storage bucket."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from mcloud.clouds.bucket import ObjectVersion, explain_lock
from mcloud.clouds.gcp.client import TIMEOUT, storage_retry, translated
from mcloud.errors import Refused

BATCH = 50  # number of versions that one worker deletes, with one request for each
DAY = 24 * 3600.0


class GcsBucket:
    """Implementation of ``bucket.Bucket`` for Cloud Storage."""

    workers = 32

    def __init__(self, client: Any, bucket: str) -> None:
        self._bucket = client.bucket(bucket)
        self._what = f"Cloud Storage {bucket}"

    def versions(self) -> Iterator[list[ObjectVersion]]:
        from google.api_core.exceptions import NotFound

        with translated(self._what), suppress(NotFound):
            listing = self._bucket.list_blobs(
                versions=True,
                fields="items(name,generation),nextPageToken",
                timeout=TIMEOUT,
                retry=storage_retry(),
            )
            for page in listing.pages:
                found = [ObjectVersion(blob.name, str(blob.generation)) for blob in page]
                for start in range(0, len(found), BATCH):
                    yield found[start : start + BATCH]

    def delete(self, versions: Sequence[ObjectVersion]) -> None:
        from google.api_core.exceptions import NotFound

        for each in versions:
            blob = self._bucket.blob(each.key, generation=int(each.version))
            address = f"gs://{self._bucket.name}/{each.key}#{each.version}"
            try:
                with translated(address), suppress(NotFound):
                    blob.delete(timeout=TIMEOUT, retry=storage_retry())
            except Refused as error:
                command = ("gcloud", "storage", "objects", "describe", address)
                raise explain_lock(error, shlex.join(command)) from error

    def soft_delete_days(self) -> float:
        with translated(self._what):
            self._bucket.reload(timeout=TIMEOUT, retry=storage_retry())
        policy = self._bucket.soft_delete_policy
        return (policy.retention_duration_seconds or 0) / DAY
