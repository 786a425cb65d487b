"""A Cloud Storage subscription on the embedded clouds, also while Cloud Storage is out."""

import uuid
from pathlib import Path

import pytest
from patience import eventually

from mcloud.clouds.gcp.client import make_publisher, make_storage, make_subscriber
from mcloud.clouds.resources import GcpResources
from mcloud.errors import LocalError
from mcloud.local import meter, outage
from mcloud.local.gcp.pubsub_flush import flush
from mcloud.local.state import State


def test_messages_wait_for_cloud_storage_and_are_written_once(embedded: State) -> None:
    to = embedded.resources()["gcp"]
    assert isinstance(to, GcpResources)
    home = Path(embedded.options["home"])
    name = f"export-{uuid.uuid4().hex}"
    topic = f"projects/{to.project}/topics/{name}"
    subscription = f"projects/{to.project}/subscriptions/{name}"
    storage = make_storage(to.project, to.storage_endpoint)
    bucket = storage.create_bucket(name)
    publisher, subscriber = make_publisher(to.pubsub_endpoint), make_subscriber(to.pubsub_endpoint)
    publisher.create_topic(name=topic)
    subscriber.create_subscription(
        request={
            "name": subscription,
            "topic": topic,
            "cloud_storage_config": {"bucket": name, "filename_prefix": "staged/"},
        }
    )
    outage.begin(home, "gcp", "archive", "refuse", None)
    try:
        messages = [{"data": data} for data in (b"1", b"2", b"3")]
        publisher.publish(request={"topic": topic, "messages": messages})
        with pytest.raises(LocalError, match="HTTP 503"):
            flush(to.pubsub_endpoint)
    finally:
        outage.end(home)
    # What was not refused is written after a second, even without a call.
    eventually(lambda: [*bucket.list_blobs()])
    flush(to.pubsub_endpoint)
    blobs = [*bucket.list_blobs()]
    assert all(blob.name.startswith("staged/") for blob in blobs)
    lines = [line for blob in blobs for line in blob.download_as_bytes().split(b"\n")]
    assert sorted(lines) == [b"1", b"2", b"3"]
    # The writes and the listings are billed.
    eventually(lambda: meter.read_split(home)["gcp"]["gcs_class_a"].get(name, 0) > len(blobs))
    subscriber.delete_subscription(subscription=subscription)
    publisher.delete_topic(topic=topic)
