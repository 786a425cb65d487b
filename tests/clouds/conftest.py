"""The provider rig: one ``site`` fixture, every site kind.

Each site gets resources of its own, without a function behind the queue, so that what a test puts
somewhere stays there. ``embedded`` is a set of embedded clouds shared by the whole run.
"""

import itertools
import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from mcloud.clouds.aws.client import make_client
from mcloud.clouds.factory import open_site
from mcloud.clouds.gcp.client import make_publisher, make_storage, make_subscriber
from mcloud.clouds.ports import Site
from mcloud.clouds.resources import AwsResources, GcpResources
from mcloud.local.deployment import deploy_table
from mcloud.local.state import State

_numbers = itertools.count()


@pytest.fixture(params=["aws", "gcp", "gcp-official"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    if request.param == "gcp-official":
        state: State = request.getfixturevalue("official")
    else:
        state = request.getfixturevalue("embedded")
    name = f"contract-{os.getpid()}-{next(_numbers)}"
    resources = state.resources()
    if request.param == "aws":
        yield open_site("aws", _aws(resources["aws"], name))
    else:
        yield open_site("gcp", _gcp(resources["gcp"], name))


def _aws(to: AwsResources, name: str) -> AwsResources:  # type: ignore[override]
    sqs = make_client("sqs", to.region, to.endpoint_url)
    dynamodb = make_client("dynamodb", to.region, to.endpoint_url)
    make_client("s3", to.region, to.endpoint_url).create_bucket(Bucket=name)
    deploy_table(dynamodb, f"{name}-candles", "symbol", "timestamp", streamed=True)
    deploy_table(dynamodb, f"{name}-control", "kind", "key", streamed=False)
    return replace(
        to,
        queue_url=sqs.create_queue(QueueName=name)["QueueUrl"],
        dlq_url=sqs.create_queue(QueueName=f"{name}-dlq")["QueueUrl"],
        candles_table=f"{name}-candles",
        control_table=f"{name}-control",
        raw_bucket=name,
    )


def _gcp(to: GcpResources, name: str) -> GcpResources:
    publisher, subscriber = make_publisher(to.pubsub_endpoint), make_subscriber(to.pubsub_endpoint)
    for each in (name, f"{name}-dlq"):
        topic = f"projects/{to.project}/topics/{each}"
        publisher.create_topic(name=topic)
        subscriber.create_subscription(
            name=f"projects/{to.project}/subscriptions/{each}", topic=topic
        )
    make_storage(to.project, to.storage_endpoint).create_bucket(name)
    return replace(
        to,
        topic=name,
        subscription=name,
        dlq_topic=f"{name}-dlq",
        dlq_subscription=f"{name}-dlq",
        candles_collection=f"{name}-candles",
        control_collection=f"{name}-control",
        raw_bucket=name,
    )
