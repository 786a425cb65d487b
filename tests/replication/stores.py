"""Sites with their own stores on the embedded clouds that all tests share."""

import itertools
import os
from dataclasses import replace

from mcloud.clouds.aws.client import make_client
from mcloud.clouds.gcp.client import make_storage
from mcloud.clouds.resources import AwsResources, GcpResources, Resources
from mcloud.local.deployment import deploy_table
from mcloud.local.state import State

_numbers = itertools.count()


def fresh(clouds: State, *names: str) -> dict[str, Resources]:
    """Create stores for new sites and return their resources. A site's name begins with its cloud,
    as in ``aws-2``."""
    shared = clouds.resources()
    mine: dict[str, Resources] = {}
    for name in names:
        to = shared[name.partition("-")[0]]
        unique = f"{name}-{os.getpid()}-{next(_numbers)}"
        mine[name] = _aws(to, unique) if isinstance(to, AwsResources) else _gcp(to, unique)
    return mine


def _aws(to: AwsResources, name: str) -> AwsResources:
    dynamodb = make_client("dynamodb", to.region, to.endpoint_url)
    deploy_table(dynamodb, f"{name}-candles", "symbol", "timestamp", streamed=True)
    deploy_table(dynamodb, f"{name}-control", "kind", "key", streamed=False)
    make_client("s3", to.region, to.endpoint_url).create_bucket(Bucket=name)
    return replace(
        to,
        candles_table=f"{name}-candles",
        control_table=f"{name}-control",
        raw_bucket=name,
        staging_bucket="",
    )


def _gcp(to: GcpResources, name: str) -> GcpResources:
    make_storage(to.project, to.storage_endpoint).create_bucket(name)
    return replace(
        to,
        candles_collection=f"{name}-candles",
        control_collection=f"{name}-control",
        raw_bucket=name,
        staging_bucket="",
    )
