"""Emptying of buckets on the embedded clouds, with old versions, deletions and locks."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from mcloud.clouds.aws.client import make_client
from mcloud.clouds.bucket import Bucket
from mcloud.clouds.factory import open_bucket
from mcloud.clouds.gcp.client import make_storage
from mcloud.errors import Refused
from mcloud.infra.emptying import empty
from mcloud.local.state import State

from .web import google_error, serve

PAGE = 1_000
"""Versions that S3 lists at once."""


def s3_bucket(state: State, name: str) -> Bucket:
    to = state.resources()["aws"]
    return open_bucket("aws", name, region=to.region, endpoint=to.endpoint_url)


def gcs_bucket(project: str, endpoint: str, name: str) -> Bucket:
    return open_bucket("gcp", name, region="", project=project, endpoint=endpoint)


def test_s3_loses_old_versions_and_deletion_markers_too(embedded: State) -> None:
    to = embedded.resources()["aws"]
    s3 = make_client("s3", to.region, to.endpoint_url)
    s3.create_bucket(Bucket="emptied-aws")
    s3.put_bucket_versioning(Bucket="emptied-aws", VersioningConfiguration={"Status": "Enabled"})
    keys = [f"raw/{number}" for number in range(PAGE)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: s3.put_object(Bucket="emptied-aws", Key=key), keys))
    s3.put_object(Bucket="emptied-aws", Key="raw/0")
    s3.delete_object(Bucket="emptied-aws", Key="raw/1")
    bucket = s3_bucket(embedded, "emptied-aws")
    assert empty(bucket, Event(), lambda deleted: None) == PAGE + 2
    s3.delete_bucket(Bucket="emptied-aws")
    assert empty(bucket, Event(), lambda deleted: None) == 0


def test_s3_names_a_locked_version(embedded: State) -> None:
    to = embedded.resources()["aws"]
    s3 = make_client("s3", to.region, to.endpoint_url)
    s3.create_bucket(Bucket="locked-aws", ObjectLockEnabledForBucket=True)
    version = s3.put_object(
        Bucket="locked-aws",
        Key="raw/a key",
        ObjectLockMode="COMPLIANCE",
        ObjectLockRetainUntilDate="2999-01-01T00:00:00Z",
    )["VersionId"]
    s3.put_object(Bucket="locked-aws", Key="raw/another")
    with pytest.raises(Refused) as caught:
        empty(s3_bucket(embedded, "locked-aws"), Event(), lambda deleted: None)
    assert str(caught.value) == (
        f"S3 locked-aws/raw/a key (version {version}): AccessDenied: Access Denied because object"
        " protected by object lock.; the object is locked: `aws s3api head-object --bucket"
        f" locked-aws --key 'raw/a key' --version-id {version}` shows how; remove the lock or wait"
        " for its end"
    )


def test_cloud_storage_is_emptied(embedded: State) -> None:
    to = embedded.resources()["gcp"]
    storage = make_storage(to.project, to.storage_endpoint)
    made = storage.create_bucket("emptied-gcp")
    keys = [f"raw/{number}" for number in range(120)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: made.blob(key).upload_from_string(b""), keys))
    bucket = gcs_bucket(to.project, to.storage_endpoint, "emptied-gcp")
    assert empty(bucket, Event(), lambda deleted: None) == 120
    assert bucket.soft_delete_days() == 0  # the embedded one keeps nothing
    made.delete()
    assert empty(bucket, Event(), lambda deleted: None) == 0


@pytest.mark.parametrize(
    "said",
    [
        # https://cloud.google.com/storage/docs/object-holds
        "Object 'held/raw/a' is under active Temporary hold and cannot be deleted, overwritten or"
        " archived until hold is removed.",
        # of a bucket with a retention policy, as users report it since 2024
        "Object 'held/raw/a' is subject to bucket's retention policy or object retention and cannot"
        " be deleted or overwritten until 2026-09-30T15:58:01.185839-07:00",
    ],
)
def test_cloud_storage_names_a_locked_generation(said: str) -> None:
    def answer(method: str, path: str) -> tuple[int, object]:
        if method == "GET":
            is_listing = "/o?" in path and "versions=True" in path
            return 200, {"items": [{"name": "raw/a", "generation": "1"}]} if is_listing else {}
        assert "generation=1" in path
        return google_error(403, said)

    with serve(answer) as url, pytest.raises(Refused) as caught:
        empty(gcs_bucket("project", url, "held"), Event(), lambda deleted: None)
    assert said in caught.value.message
    assert caught.value.remedy == (
        "the object is locked: `gcloud storage objects describe 'gs://held/raw/a#1'` shows how;"
        " remove the lock or wait for its end"
    )


def test_cloud_storage_says_how_long_it_keeps_deleted_objects() -> None:
    policy = {"softDeletePolicy": {"retentionDurationSeconds": "604800"}}
    with serve(lambda method, path: (200, {"name": "kept", **policy})) as url:
        assert gcs_bucket("project", url, "kept").soft_delete_days() == 7
