"""The raw archive in S3."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from mcloud.clouds.aws.client import translated
from mcloud.clouds.ports import Cleared, StoredObject
from mcloud.errors import Unavailable
from mcloud.market.archive import ArchiveObject
from mcloud.market.block import IN_BLOCK_KEYS, SYMBOLS_PREFIX

_EXISTS = ("PreconditionFailed",)
# The object has another version, is being written, or no longer exists.
_CHANGED = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey")
# botocore repeats a request that fails, but not one whose answer ends early.
_READS = 3
_MD5 = re.compile("[0-9a-f]{32}")


class S3Archive:
    delay = 0.0

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def put(self, item: ArchiveObject) -> bool:
        return self._write(item, _EXISTS, IfNoneMatch="*")

    def replace(self, item: ArchiveObject) -> None:
        self._write(item)

    def swap(self, item: ArchiveObject, version: str) -> bool:
        return self._write(item, _CHANGED, IfMatch=version)

    def remove(self, key: str) -> None:
        with translated(f"S3 {self._bucket}"):
            self._client.delete_object(Bucket=self._bucket, Key=key)

    def release(self, key: str) -> None:
        self.remove(key)

    def clear(self) -> Cleared:
        return Cleared()

    def get(self, key: str) -> bytes:
        what, left = f"S3 {self._bucket}/{key}", _READS
        while True:
            with translated(what):
                answer = self._client.get_object(Bucket=self._bucket, Key=key)
            try:
                with translated(what):
                    body: bytes = answer["Body"].read()
                return body
            except Unavailable:
                left -= 1
                if not left:
                    raise

    def stat(self, key: str) -> StoredObject | None:
        from botocore.exceptions import ClientError

        with translated(f"S3 {self._bucket}/{key}"):
            try:
                item = self._client.head_object(Bucket=self._bucket, Key=key)
            except ClientError as error:
                if error.response["Error"]["Code"] == "404":  # the answer has no body with a code
                    return None
                raise
        written, tag = item["LastModified"].timestamp(), item["ETag"]
        return StoredObject(key, item["ContentLength"], _md5(tag), written, tag)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        for page in self._pages(Prefix=prefix):
            yield from _objects(page)

    def list_hours(self) -> Iterator[StoredObject]:
        for page in self._pages(Prefix=SYMBOLS_PREFIX, Delimiter=IN_BLOCK_KEYS):
            yield from _objects(page)

    def symbols(self) -> Iterator[str]:
        for page in self._pages(Prefix=SYMBOLS_PREFIX, Delimiter="/"):
            for folder in page.get("CommonPrefixes", []):
                yield folder["Prefix"].removeprefix(SYMBOLS_PREFIX).rstrip("/")

    def _pages(self, **request: str) -> Iterator[Mapping[str, Any]]:
        with translated(f"S3 {self._bucket}"):
            yield from self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, **request
            )

    def _write(self, item: ArchiveObject, unmet: Collection[str] = (), **condition: str) -> bool:
        """Write an object. Return False if S3 answers with one of the codes ``unmet``, which say
        that the condition does not hold.
        """
        from botocore.exceptions import ClientError

        with translated(f"S3 {self._bucket}"):
            try:
                self._client.put_object(
                    Bucket=self._bucket,
                    Key=item.key,
                    Body=item.body,
                    ContentType="application/gzip",
                    **condition,
                )
            except ClientError as error:
                if error.response["Error"]["Code"] in unmet:
                    return False
                raise
        return True


def _objects(page: Mapping[str, Any]) -> Iterator[StoredObject]:
    for item in page.get("Contents", []):
        tag, written = item["ETag"], item["LastModified"].timestamp()
        yield StoredObject(item["Key"], item["Size"], _md5(tag), written, tag)


def _md5(etag: str) -> str:
    """Return the MD5 of an object's content if its ETag is an MD5, otherwise an empty string.

    The ETag is an MD5 if the object was written in one request, and is unencrypted or encrypted
    with S3's own key. The ETag of a multipart upload ends with the number of parts. With a KMS or
    customer key, the ETag is 32 other digits, and a listing does not show this. Such an object
    seems to differ from its copies until it is read. See
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html.
    """
    digits = etag.strip('"')
    return digits if _MD5.fullmatch(digits) else ""
