"""URLs of the embedded buckets, as ``pyarrow.fs`` reads them."""

import pytest

from mcloud.clouds.resources import AwsResources, GcpResources
from mcloud.local.state import State


def bucket_url(embedded: State, cloud: str, folder: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL of a folder in the raw bucket of an embedded cloud, ``aws`` or ``gcp``."""
    resources = embedded.resources()[cloud]
    if isinstance(resources, AwsResources):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        server = resources.endpoint_url.removeprefix("http://")
        place = f"s3://{resources.raw_bucket}/{folder}"
        return f"{place}?scheme=http&endpoint_override={server}&region=us-east-1"
    assert isinstance(resources, GcpResources)
    server = resources.storage_endpoint.removeprefix("http://")
    place = f"gs://anonymous@{resources.raw_bucket}/{folder}"
    return f"{place}?scheme=http&endpoint_override={server}"
