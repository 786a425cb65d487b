"""The raw archive in Cloud Storage."""

from collections.abc import Iterator
from typing import Any

from mcloud.clouds.gcp.client import PATIENCE, TIMEOUT, translated
from mcloud.clouds.ports import Stored
from mcloud.market.archive import ArchiveObject


class GcsArchive:
    def __init__(self, client: Any, bucket: str) -> None:
        self._bucket = client.bucket(bucket)
        self._what = f"Cloud Storage {bucket}"

    def put(self, item: ArchiveObject) -> bool:
        from google.api_core.exceptions import PreconditionFailed

        blob = self._bucket.blob(item.key)
        # Not `content_encoding = "gzip"`: Cloud Storage then inflates it on the way out, and the
        # bytes that are read back are no longer those that were written.
        with translated(self._what):
            try:
                blob.upload_from_string(
                    item.body,
                    content_type="application/gzip",
                    if_generation_match=0,
                    checksum="crc32c",
                    timeout=TIMEOUT,
                    retry=_retry(),
                )
            except PreconditionFailed:
                return False
        return True

    def get(self, key: str) -> bytes:
        with translated(f"{self._what}/{key}"):
            body: bytes = self._bucket.blob(key).download_as_bytes(
                raw_download=True, timeout=TIMEOUT, retry=_retry()
            )
        return body

    def list(self, prefix: str) -> Iterator[Stored]:
        with translated(self._what):
            for blob in self._bucket.list_blobs(prefix=prefix, timeout=TIMEOUT, retry=_retry()):
                yield Stored(blob.name, blob.size)


def _retry() -> Any:
    """The storage client's own judgement of what may be tried again, for less than two minutes."""
    from google.cloud.storage.retry import DEFAULT_RETRY

    return DEFAULT_RETRY.with_timeout(PATIENCE)
