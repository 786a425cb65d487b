"""Cloud Storage: buckets and objects."""

import base64
import hashlib
import re
import time
from datetime import timedelta
from urllib.parse import quote

from ..call import Call
from ..cloud import Cloud
from ..hooks import Change, answer, before_delete, check, complete
from ..limits import check_labels
from ..names import Json, new_etag, timestamp
from ..refusal import Refusal, invalid, missing

BUCKETS = "storage.buckets"
ROOT = "https://www.googleapis.com/storage/v1"
DOWNLOADS = "https://storage.googleapis.com/download/storage/v1"
DAY = 24 * 3600


@check(BUCKETS)
def check_bucket(cloud: Cloud, change: Change) -> None:
    bucket, before = change.resource, change.before
    short = change.name.removeprefix("b/")
    # https://docs.cloud.google.com/storage/docs/buckets#naming
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]{1,61}[a-z0-9]", short) or re.search(
        r"^goog|google|g00gle|^\d+\.\d+\.\d+\.\d+$", short
    ):
        raise invalid(f"Invalid bucket name: '{short}'")
    check_labels(bucket)
    # https://docs.cloud.google.com/storage/docs/soft-delete#retention-duration
    kept = int(bucket.get("softDeletePolicy", {}).get("retentionDurationSeconds", 7 * DAY))
    if kept and not 7 * DAY <= kept <= 90 * DAY:
        raise invalid("The soft delete retention is 0, or between 7 and 90 days.")
    # https://docs.cloud.google.com/storage/docs/moving-buckets
    if before and str(bucket.get("location", before["location"])).upper() != before["location"]:
        raise invalid("The location of a bucket cannot be changed.")
    # https://docs.cloud.google.com/storage/docs/lifecycle#actions
    for rule in (bucket.get("lifecycle") or {}).get("rule", []):
        kind = rule.get("action", {}).get("type")
        if kind not in ("Delete", "SetStorageClass", "AbortIncompleteMultipartUpload"):
            raise invalid(f"Unknown lifecycle action {kind}.")
        if not rule.get("condition"):
            raise invalid("A lifecycle rule has a condition.")
        if kind == "SetStorageClass" and not rule["action"].get("storageClass"):
            raise invalid("SetStorageClass names a storage class.")


@complete(BUCKETS)
def complete_bucket(cloud: Cloud, change: Change) -> None:
    bucket, short = change.resource, change.name.removeprefix("b/")
    if change.is_new:
        location = bucket.get("location", "US").upper()
        bucket |= {
            "kind": "storage#bucket",
            "id": short,
            "name": short,
            "projectNumber": cloud.number_of(change.call.query["project"]),
            "timeCreated": timestamp(),
            "selfLink": f"{ROOT}/b/{short}",
            "generation": _generation(),
            "location": location,
            "locationType": "region" if "-" in location else "multi-region",
        }
        bucket.setdefault("storageClass", "STANDARD")
        bucket.setdefault("softDeletePolicy", {"retentionDurationSeconds": str(7 * DAY)})
    metageneration = str(int(bucket.get("metageneration", 0)) + 1)
    etag = base64.b64encode(metageneration.encode()).decode()
    bucket |= {"updated": timestamp(), "etag": etag, "metageneration": metageneration}
    bucket["softDeletePolicy"].setdefault("effectiveTime", timestamp())
    access = bucket.setdefault("iamConfiguration", {})
    access.setdefault("publicAccessPrevention", "inherited")
    uniform = access.setdefault("uniformBucketLevelAccess", {"enabled": False})
    if uniform.get("enabled"):
        uniform.setdefault("lockedTime", timestamp(timedelta(days=90)))
    access["bucketPolicyOnly"] = dict(uniform)
    if bucket.get("lifecycle") in ({}, {"rule": []}):
        del bucket["lifecycle"]
    labels = bucket.get("labels") or {}
    bucket["labels"] = {key: value for key, value in labels.items() if value is not None}


@before_delete(BUCKETS)
def keep_full(cloud: Cloud, call: Call, bucket: Json) -> None:
    if any(api == "storage" and name.startswith(f"{call.name}/o/") for api, name in cloud.store):
        raise Refusal(409, "The bucket you tried to delete is not empty.", "conflict")


@answer("storage.objects.insert")
def insert_object(cloud: Cloud, call: Call) -> Json:
    bucket, data = call.name.split("/")[1], call.media or b""
    if not cloud.exists("storage", f"b/{bucket}"):
        raise Refusal(404, "The specified bucket does not exist.", "notFound")
    short = call.query.get("name") or call.body["name"]
    quoted, generation = quote(short, safe=""), _generation()
    item: Json = {
        "contentType": "application/octet-stream",
        **call.body,
        "kind": "storage#object",
        "id": f"{bucket}/{short}/{generation}",
        "name": short,
        "bucket": bucket,
        "generation": generation,
        "metageneration": "1",
        "size": str(len(data)),
        "md5Hash": base64.b64encode(hashlib.md5(data).digest()).decode(),
        "crc32c": _crc32c(data),
        "etag": new_etag(),
        "timeCreated": timestamp(),
        "updated": timestamp(),
        "storageClass": "STANDARD",
        "selfLink": f"{ROOT}/b/{bucket}/o/{quoted}",
        "mediaLink": f"{DOWNLOADS}/b/{bucket}/o/{quoted}?generation={generation}&alt=media",
    }
    cloud.store["storage", f"b/{bucket}/o/{short}"] = item
    return item


@answer("storage.buckets.testIamPermissions")
def test_permissions(cloud: Cloud, call: Call) -> Json:
    if not cloud.exists("storage", call.name.removesuffix("/iam/testPermissions")):
        raise missing("The specified bucket does not exist.")
    asked = call.query["permissions"]
    wanted = [asked] if isinstance(asked, str) else asked
    if unknown := [each for each in wanted if not each.startswith("storage.")]:
        raise invalid(f"Permission {unknown[0]} is not valid for this resource.")
    held = [each for each in wanted if each not in cloud.settings.denied]
    return {"kind": "storage#testIamPermissionsResponse", "permissions": held}


@answer("storage.anywhereCaches.list")
def list_caches(cloud: Cloud, call: Call) -> Json:
    return {"kind": "storage#anywhereCaches", "items": []}


def _generation() -> str:
    return str(time.time_ns() // 1000)


def _crc32c(data: bytes) -> str:
    """Return the Castagnoli checksum as Cloud Storage writes it."""
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    checksum = 0xFFFFFFFF
    for byte in data:
        checksum = table[(checksum ^ byte) & 0xFF] ^ (checksum >> 8)
    return base64.b64encode((checksum ^ 0xFFFFFFFF).to_bytes(4, "big")).decode()
