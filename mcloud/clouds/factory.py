"""Functions that open the implementations of the interfaces in ``clouds``.

No service is contacted, and no SDK is imported, before one of these functions is called.
"""

from functools import partial
from typing import TYPE_CHECKING

from mcloud.clouds.bounded import ATTEMPTS, BoundedSite
from mcloud.clouds.notify import SNS, Topic
from mcloud.clouds.ports import Site
from mcloud.clouds.resources import AwsResources, GcpResources, Resources
from mcloud.errors import ConfigError

if TYPE_CHECKING:  # these modules load an HTTP client, which most commands do not need
    from mcloud.clouds.access import Access, Target
    from mcloud.clouds.billing import Billing
    from mcloud.clouds.bucket import Bucket
    from mcloud.clouds.transfer import Transfer


def open_site(name: str, resources: Resources) -> Site:
    """Return the site called ``name`` with the resources of its deployment.

    Nothing is contacted until a part of the site is used.
    """
    if isinstance(resources, AwsResources):
        from mcloud.clouds.aws.site import AwsSite

        return AwsSite(name, resources)
    if isinstance(resources, GcpResources):
        from mcloud.clouds.gcp.site import GcpSite

        return GcpSite(name, resources)
    raise TypeError(f"no such resources: {resources!r}")


def open_bounded(name: str, resources: Resources, known: str = "") -> BoundedSite:
    """Return a site for a command that only reads, and must not wait for a site that is down.

    ``known`` is why this machine believes that the site is down, or an empty string.
    """
    if not isinstance(resources, AwsResources):
        return BoundedSite(open_site(name, resources), known=known)
    from mcloud.clouds.aws.site import AwsSite

    site = AwsSite(name, resources, attempts=ATTEMPTS)
    return BoundedSite(site, known=known, sign_in=partial(site.sign_in, SIGN_IN))


SIGN_IN = 5.0  # seconds for a credential process, or for a role that is assumed


def open_access(cloud: str, target: "Target") -> "Access":
    """Return the access to ``target``. Nothing is contacted until it is used."""
    if cloud == "aws":
        from mcloud.clouds.aws.access import AwsAccess

        return AwsAccess(target)
    from mcloud.clouds.gcp.access import GcpAccess

    return GcpAccess(target)


def open_billing(resources: Resources, stack: str, table: str | None) -> "Billing":
    """Return the billing of a stack; ``table`` is Google's billing export to BigQuery.

    Raises:
        ConfigError: the stack is on Google Cloud, and no table is given.
    """
    if isinstance(resources, AwsResources):
        from mcloud.clouds.aws.billing import CostExplorer

        return CostExplorer(resources, stack)
    assert isinstance(resources, GcpResources)
    if table is None:
        raise ConfigError(
            "no billing export is named",
            remedy="switch it on in Google's billing console and give gcp_billing_table in [cost]",
        )
    from mcloud.clouds.gcp.billing import BillingExport

    return BillingExport(resources.project, stack, table)


def open_bucket(
    cloud: str, name: str, *, region: str, project: str = "", endpoint: str = ""
) -> "Bucket":
    """Return a bucket that can be emptied; ``endpoint`` is the URL of the embedded cloud."""
    if cloud == "aws":
        from mcloud.clouds.aws.bucket import S3Bucket
        from mcloud.clouds.aws.client import make_client

        return S3Bucket(make_client("s3", region, endpoint), name)
    from mcloud.clouds.gcp.bucket import GcsBucket
    from mcloud.clouds.gcp.client import make_storage

    return GcsBucket(make_storage(project, endpoint), name)


def open_transfer(source: Resources, target: Resources, role: str) -> "Transfer | None":
    """Return the service that copies from one bucket to the other, or None if there is none.

    Args:
        role: the ARN of the AWS role under which the service uses the S3 bucket.
    """
    if isinstance(source, AwsResources) and isinstance(target, GcpResources):
        from mcloud.clouds.gcp.transfer import StorageTransfer

        return StorageTransfer(source.raw_bucket, target.raw_bucket, target.project, role)
    if isinstance(source, GcpResources) and isinstance(target, AwsResources):
        from mcloud.clouds.aws.transfer import DataSync

        return DataSync(source.raw_bucket, target.raw_bucket, target.region, role)
    return None


def open_topic(name: str, endpoint: str = "") -> Topic:
    """Return the topic of a name that matches SNS or PUBSUB. Nothing is contacted until it is used.

    ``endpoint`` is that of the embedded cloud: a URL for SNS, ``host:port`` for Pub/Sub.
    """
    if match := SNS.fullmatch(name):
        from mcloud.clouds.aws.notify import SnsTopic

        return SnsTopic(name, match["region"], endpoint)
    from mcloud.clouds.gcp.notify import PubSubTopic

    return PubSubTopic(name, endpoint)
