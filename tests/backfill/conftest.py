from datetime import date
from pathlib import Path

import pytest

from mcloud.clouds.aws.client import make_client
from mcloud.clouds.resources import AwsResources
from mcloud.local.state import State

from .files import publish, trades_of_day


@pytest.fixture
def embedded_bucket(tmp_path: Path, embedded: State, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of a prefix in the embedded S3 with the file of a day."""
    resources = embedded.resources()["aws"]
    assert isinstance(resources, AwsResources)
    day = date(2024, 8, 8)
    path = publish(tmp_path / "made", "BTCUSDT-trades-2024-08-08", trades_of_day(day, 100))
    client = make_client("s3", resources.region, resources.endpoint_url)
    for each in (path, path.with_name(f"{path.name}.CHECKSUM")):
        client.upload_file(str(each), resources.raw_bucket, f"published/{each.name}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    server = resources.endpoint_url.removeprefix("http://")
    return (
        f"s3://{resources.raw_bucket}/published?scheme=http&endpoint_override={server}"
        "&region=us-east-1"
    )
