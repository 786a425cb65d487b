"""The raw archive in Cloud Storage."""

import base64
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from mcloud.clouds.gcp.client import TIMEOUT, storage_retry, translated
from mcloud.clouds.ports import Cleared, StoredObject
from mcloud.market.archive import ArchiveObject
from mcloud.market.block import IN_BLOCK_KEYS, SYMBOLS_PREFIX, parse_block_key

COLD_SIZE = 128 * 1024
"""Bytes from which a block may move to a colder class. The change of class is billed per object,
and smaller objects never earn that back. Objects of hours do not stay, and each comparison of sites
reads the indexes of blocks."""


class GcsArchive:
    delay = 0.0

    def __init__(self, client: Any, bucket: str) -> None:
        self._bucket = client.bucket(bucket)
        self._what = f"Cloud Storage {bucket}"

    def put(self, item: ArchiveObject) -> bool:
        from google.api_core.exceptions import PreconditionFailed

        with translated(self._what):
            try:
                self._upload(item, if_generation_match=0)
            except PreconditionFailed:
                return False
        return True

    def replace(self, item: ArchiveObject) -> None:
        with translated(self._what):
            self._upload(item)

    def swap(self, item: ArchiveObject, version: str) -> bool:
        from google.api_core.exceptions import PreconditionFailed

        with translated(self._what):
            try:
                self._upload(item, if_generation_match=int(version))
            except PreconditionFailed:
                return False
        return True

    def remove(self, key: str) -> None:
        from google.api_core.exceptions import NotFound

        with translated(self._what), suppress(NotFound):
            self._bucket.blob(key).delete(timeout=TIMEOUT, retry=storage_retry())

    def release(self, key: str) -> None:
        self.remove(key)

    def clear(self) -> Cleared:
        return Cleared()

    def get(self, key: str) -> bytes:
        with translated(f"{self._what}/{key}"):
            body: bytes = self._bucket.blob(key).download_as_bytes(
                raw_download=True, timeout=TIMEOUT, retry=storage_retry()
            )
        return body

    def stat(self, key: str) -> StoredObject | None:
        with translated(f"{self._what}/{key}"):
            blob = self._bucket.get_blob(key, timeout=TIMEOUT, retry=storage_retry())
        return None if blob is None else _stored(blob)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        for page in self._pages(prefix=prefix):
            yield from map(_stored, page)

    def list_hours(self) -> Iterator[StoredObject]:
        for page in self._pages(prefix=SYMBOLS_PREFIX, delimiter=IN_BLOCK_KEYS):
            yield from map(_stored, page)

    def symbols(self) -> Iterator[str]:
        for page in self._pages(prefix=SYMBOLS_PREFIX, delimiter="/"):
            for folder in sorted(page.prefixes):
                yield folder.removeprefix(SYMBOLS_PREFIX).rstrip("/")

    def _pages(self, **request: str) -> Iterator[Any]:
        with translated(self._what):
            yield from self._bucket.list_blobs(
                timeout=TIMEOUT, retry=storage_retry(), **request
            ).pages

    def _upload(self, item: ArchiveObject, **condition: int) -> None:
        # `content_encoding = "gzip"` is not set: Cloud Storage would decompress the content when it
        # is read, and return other bytes than were written.
        blob = self._bucket.blob(item.key)
        if len(item.body) >= COLD_SIZE and parse_block_key(item.key):
            # The bucket's lifecycle rule counts from this time, and ignores objects without one.
            blob.custom_time = datetime.now(UTC)
        blob.upload_from_string(
            item.body,
            content_type="application/gzip",
            checksum="crc32c",
            timeout=TIMEOUT,
            retry=storage_retry(),
            **condition,
        )


def _stored(blob: Any) -> StoredObject:
    written = blob.updated.timestamp() if blob.updated else None
    return StoredObject(
        blob.name, blob.size, _md5(blob.md5_hash), written, version=str(blob.generation)
    )


def _md5(digest: str | None) -> str:
    """Return the MD5 in hexadecimal, or an empty string for a composite object, which has none."""
    return base64.b64decode(digest).hex() if digest else ""
