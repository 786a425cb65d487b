"""Deletes all versions of the objects in an S3 bucket."""

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from mcloud.clouds.aws.client import from_code, passes, translated
from mcloud.clouds.bucket import ObjectVersion, explain_lock


class S3Bucket:
    """Implementation of ``bucket.Bucket`` for S3."""

    workers = 8

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self._bucket = bucket
        self._what = f"S3 {bucket}"

    def versions(self) -> Iterator[list[ObjectVersion]]:
        from botocore.exceptions import ClientError

        # One request deletes up to 1,000 versions, which is also the size of a page.
        pages = self._client.get_paginator("list_object_versions").paginate(Bucket=self._bucket)
        with translated(self._what):
            try:
                for page in pages:
                    found = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
                    if found:
                        yield [ObjectVersion(each["Key"], each["VersionId"]) for each in found]
            except ClientError as error:
                if error.response["Error"]["Code"] != "NoSuchBucket":
                    raise

    def delete(self, versions: Sequence[ObjectVersion]) -> None:
        objects = [{"Key": each.key, "VersionId": each.version} for each in versions]
        with translated(self._what):
            answer = self._client.delete_objects(
                Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True}
            )
        errors = answer.get("Errors", ())
        # Temporary errors come last: if a version is locked, another attempt does not help.
        for each in sorted(errors, key=lambda each: passes(each["Code"])):
            key, version = each["Key"], each["VersionId"]
            error = from_code(f"{self._what}/{key} (version {version})", {"Error": each})
            command = ("aws", "s3api", "head-object", "--bucket", self._bucket, "--key", key)
            raise explain_lock(error, shlex.join((*command, "--version-id", version)))

    def soft_delete_days(self) -> float:
        return 0.0
