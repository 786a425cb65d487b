"""The provider rig: one ``site`` fixture for every kind of site.

Each site gets resources of its own, without a function behind the queue, so that what a test puts
somewhere stays there. ``embedded`` is a set of embedded clouds shared by the whole run.

With ``MCLOUD_TEST_PROFILE=name pytest -m live``, the sites are those of a profile of mcloud.toml in
the current folder: real ones. Their own resources are not touched. What a test needs is created
beside them, with names that begin with ``mcloud-test-``, and is deleted after the test.
"""

import itertools
import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mcloud.clouds.aws.client import make_client
from mcloud.clouds.factory import open_site
from mcloud.clouds.gcp.client import (
    make_firestore,
    make_publisher,
    make_storage,
    make_subscriber,
)
from mcloud.clouds.ports import Site
from mcloud.clouds.resources import AwsResources, GcpResources, Resources
from mcloud.config import load
from mcloud.errors import McloudError
from mcloud.local.deployment import deploy_table
from mcloud.local.state import State
from mcloud.sites.resources import site_resources

PROFILE = os.environ.get("MCLOUD_TEST_PROFILE", "")
EMBEDDED = ("aws", "gcp", pytest.param("gcp-official", marks=pytest.mark.slow))
MADE = "mcloud-test"
"""Beginning of the names of everything that is made on real sites."""

_numbers = itertools.count()


def live_sites(profile: str, folder: Path) -> dict[str, Resources]:
    """Return the resources of each site of a profile, from its deployment.

    Raises:
        pytest.UsageError: there is no such profile, or a site of it is not deployed.
    """
    if not profile:
        return {}
    try:
        return site_resources(load(profile, folder, os.environ))
    except McloudError as error:
        raise pytest.UsageError(f"MCLOUD_TEST_PROFILE={profile}: {error}") from error


LIVE = live_sites(PROFILE, Path.cwd())


@pytest.fixture(
    params=[
        *EMBEDDED,
        *(pytest.param(f"live-{each}", marks=pytest.mark.live) for each in LIVE or ["none"]),
    ]
)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    if request.param.startswith("live-"):
        if not PROFILE:
            pytest.skip("MCLOUD_TEST_PROFILE does not name a profile with real sites")
        name = request.param.removeprefix("live-")
        with ExitStack() as made:
            yield _open_live(name, LIVE[name], made)
        return
    state: State = request.getfixturevalue(
        "official" if request.param == "gcp-official" else "embedded"
    )
    name = f"contract-{os.getpid()}-{next(_numbers)}"
    resources = state.resources()
    if request.param == "aws":
        yield open_site("aws", _aws(resources["aws"], name))
    else:
        yield open_site("gcp", _gcp(resources["gcp"], name))


def _aws(to: AwsResources, name: str) -> AwsResources:  # type: ignore[override]
    sqs = make_client("sqs", to.region, to.endpoint_url)
    dynamodb = make_client("dynamodb", to.region, to.endpoint_url)
    s3 = make_client("s3", to.region, to.endpoint_url)
    # S3 refuses the name of its first region as a location.
    place = {} if to.region == "us-east-1" else {"LocationConstraint": to.region}
    for bucket in (name, f"{name}-staging"):
        s3.create_bucket(Bucket=bucket, **({"CreateBucketConfiguration": place} if place else {}))
    deploy_table(dynamodb, f"{name}-candles", "symbol", "timestamp", streamed=True)
    deploy_table(dynamodb, f"{name}-control", "kind", "key", streamed=False)
    return replace(
        to,
        queue_url=sqs.create_queue(QueueName=name)["QueueUrl"],
        dlq_url=sqs.create_queue(QueueName=f"{name}-dlq")["QueueUrl"],
        candles_table=f"{name}-candles",
        control_table=f"{name}-control",
        raw_bucket=name,
        staging_bucket=f"{name}-staging",
    )


def _gcp(to: GcpResources, name: str) -> GcpResources:
    publisher, subscriber = make_publisher(to.pubsub_endpoint), make_subscriber(to.pubsub_endpoint)
    for each in (name, f"{name}-dlq"):
        topic = f"projects/{to.project}/topics/{each}"
        publisher.create_topic(name=topic)
        subscriber.create_subscription(
            name=f"projects/{to.project}/subscriptions/{each}", topic=topic
        )
    location = None if to.storage_endpoint else to.region
    for bucket in (name, f"{name}-staging"):
        make_storage(to.project, to.storage_endpoint).create_bucket(bucket, location=location)
    return replace(
        to,
        topic=name,
        subscription=name,
        dlq_topic=f"{name}-dlq",
        dlq_subscription=f"{name}-dlq",
        candles_collection=f"{name}-candles",
        control_collection=f"{name}-control",
        raw_bucket=name,
        staging_bucket=f"{name}-staging",
    )


def _open_live(site: str, to: Resources, made: ExitStack) -> Site:
    """Make what a test needs on a real site. ``made`` deletes it, also what was made in part."""
    name = f"{MADE}-{uuid.uuid4().hex[:12]}"
    if isinstance(to, AwsResources):
        made.callback(_remove_aws, to, name)
        opened = open_site(site, _aws(to, name))
        dynamodb = make_client("dynamodb", to.region, to.endpoint_url)
        for table in ("candles", "control"):
            waiter = dynamodb.get_waiter("table_exists")
            waiter.wait(TableName=f"{name}-{table}", WaiterConfig={"Delay": 1, "MaxAttempts": 120})
        _read_what_was_written(opened)
        return opened
    made.callback(_remove_gcp, to, name)
    # Subcollections with the names of the deployed ones, which the composite index is made for.
    return open_site(
        site,
        replace(
            _gcp(to, name),
            candles_collection=f"{MADE}/{name}/{to.candles_collection}",
            control_collection=f"{MADE}/{name}/{to.control_collection}",
        ),
    )


def _read_what_was_written(site: Site) -> None:
    """Make queries of DynamoDB consistent: tests read at once what they wrote, and the contract
    does not say how soon a query sees a write.
    """
    stores: Any = (site.candles, site.control)
    for store in stores:
        store._client.meta.events.register(
            "before-parameter-build.dynamodb.Query",
            lambda params, **_: params.update(ConsistentRead=True),
        )


def _remove_aws(to: AwsResources, name: str) -> None:
    """Delete everything that ``_aws`` made under this name."""
    sqs = make_client("sqs", to.region, to.endpoint_url)
    dynamodb = make_client("dynamodb", to.region, to.endpoint_url)
    s3 = make_client("s3", to.region, to.endpoint_url)
    with ExitStack() as rest:  # a step that fails does not stop the others
        for queue in (name, f"{name}-dlq"):
            rest.callback(_remove_queue, sqs, queue)
        for table in ("candles", "control"):
            rest.callback(_remove_table, dynamodb, f"{name}-{table}")
        for bucket in (name, f"{name}-staging"):
            rest.callback(_remove_bucket, s3, bucket)


def _remove_queue(sqs: Any, name: str) -> None:
    try:
        sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=name)["QueueUrl"])
    except sqs.exceptions.QueueDoesNotExist:
        return


def _remove_table(dynamodb: Any, name: str) -> None:
    try:
        dynamodb.delete_table(TableName=name)
    except dynamodb.exceptions.ResourceNotFoundException:
        return


def _remove_bucket(s3: Any, name: str) -> None:
    try:
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name):
            for each in page.get("Contents", ()):
                s3.delete_object(Bucket=name, Key=each["Key"])
        s3.delete_bucket(Bucket=name)
    except s3.exceptions.NoSuchBucket:
        return


def _remove_gcp(to: GcpResources, name: str) -> None:
    """Delete everything that ``_gcp`` made under this name, and the documents of collections."""
    from google.api_core.exceptions import NotFound

    publisher, subscriber = make_publisher(to.pubsub_endpoint), make_subscriber(to.pubsub_endpoint)
    firestore = make_firestore(to.project, to.database, to.firestore_endpoint)
    storage = make_storage(to.project, to.storage_endpoint)

    def remove(delete: Any, **what: Any) -> None:
        try:
            delete(**what)
        except NotFound:
            return

    def remove_bucket(bucket: Any) -> None:
        for blob in bucket.list_blobs():
            blob.delete()
        bucket.delete()

    def remove_documents(collection: str) -> None:
        for document in firestore.collection(f"{MADE}/{name}/{collection}").list_documents():
            document.delete()

    with ExitStack() as rest:
        for each in (name, f"{name}-dlq"):
            path = f"projects/{to.project}"
            rest.callback(remove, publisher.delete_topic, topic=f"{path}/topics/{each}")
            rest.callback(
                remove,
                subscriber.delete_subscription,
                subscription=f"{path}/subscriptions/{each}",
            )
        for bucket in (name, f"{name}-staging"):
            rest.callback(remove, remove_bucket, bucket=storage.bucket(bucket))
        for each in (to.candles_collection, to.control_collection):
            rest.callback(remove_documents, each)
