"""The raw archive in S3."""

from collections.abc import Iterator
from typing import Any

from mcloud.clouds.aws.client import translated
from mcloud.clouds.ports import Stored
from mcloud.market.archive import ArchiveObject


class S3Archive:
    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def put(self, item: ArchiveObject) -> bool:
        from botocore.exceptions import ClientError

        with translated(f"S3 {self._bucket}"):
            try:
                self._client.put_object(
                    Bucket=self._bucket,
                    Key=item.key,
                    Body=item.body,
                    ContentType="application/gzip",
                    IfNoneMatch="*",
                )
            except ClientError as error:
                if error.response["Error"]["Code"] == "PreconditionFailed":
                    return False
                raise
        return True

    def get(self, key: str) -> bytes:
        with translated(f"S3 {self._bucket}/{key}"):
            body: bytes = self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        return body

    def list(self, prefix: str) -> Iterator[Stored]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=prefix
        )
        with translated(f"S3 {self._bucket}"):
            for page in pages:
                for item in page.get("Contents", []):
                    yield Stored(item["Key"], item["Size"])
