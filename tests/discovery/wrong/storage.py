"""Cloud Storage."""

from typing import Any

from ..cloud import PROJECT
from ..google import Request
from .rule import DOCS, Described, Wrong, ask


def bucket(name: str = "mcloud-other", **body: Any) -> Request:
    return ask(f"POST storage/storage/v1/b?project={PROJECT}", name=name, **body)


def permissions(name: str) -> Request:
    return ask(f"GET storage/storage/v1/b/mcloud-raw/iam/testPermissions?permissions={name}")


WRONG = [
    Wrong(
        "The name of a bucket has no upper-case letters.",
        f"{DOCS}/storage/docs/buckets#naming",
        bucket("Mcloud-other"),
        bucket("mcloud-other"),
        says="Invalid bucket name: 'Mcloud-other'",
    ),
    Wrong(
        "The name of a bucket does not contain google.",
        f"{DOCS}/storage/docs/buckets#naming",
        bucket("mcloud-google-raw"),
        bucket("mcloud-gcp-raw"),
    ),
    Wrong(
        "The name of a bucket is not an IP address.",
        f"{DOCS}/storage/docs/buckets#naming",
        bucket("192.168.5.4"),
        bucket("192-168-5-4"),
    ),
    Wrong(
        "The location of a bucket cannot be changed.",
        f"{DOCS}/storage/docs/moving-buckets",
        ask("PATCH storage/storage/v1/b/mcloud-raw", location="EU"),
        ask("PATCH storage/storage/v1/b/mcloud-raw", location="US"),
        says="cannot be changed",
    ),
    Wrong(
        "Soft deletion lasts for at least 7 days, or is off.",
        f"{DOCS}/storage/docs/soft-delete#retention-duration",
        bucket(softDeletePolicy={"retentionDurationSeconds": "3600"}),
        bucket(softDeletePolicy={"retentionDurationSeconds": "0"}),
        says="between 7 and 90 days",
    ),
    Wrong(
        "A bucket with objects is not deleted.",
        Described("storage.v1", "storage.buckets.delete", "Deletes an empty bucket"),
        ask("DELETE storage/storage/v1/b/mcloud-raw"),
        ask("DELETE storage/storage/v1/b/mcloud-raw/o/functions.zip"),
        409,
        "conflict",
        "not empty",
    ),
    Wrong(
        "A lifecycle rule has a condition.",
        f"{DOCS}/storage/docs/lifecycle",
        bucket(lifecycle={"rule": [{"action": {"type": "Delete"}}]}),
        bucket(lifecycle={"rule": [{"action": {"type": "Delete"}, "condition": {"age": 30}}]}),
        says="has a condition",
    ),
    Wrong(
        "A bucket has permissions of Cloud Storage only.",
        f"{DOCS}/storage/docs/access-control/iam-permissions",
        permissions("pubsub.topics.get"),
        permissions("storage.objects.get"),
        says="pubsub.topics.get is not valid",
    ),
]
