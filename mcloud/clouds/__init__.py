"""The clouds behind one set of ports; ``open_site`` is the door. No SDK is loaded before it."""

from mcloud.clouds.ports import Site
from mcloud.clouds.resources import AwsResources, GcpResources, Resources


def open_site(name: str, resources: Resources) -> Site:
    """Make the site called ``name`` from the resources that a deployment left behind.

    Nothing is contacted until a part of it is used.
    """
    if isinstance(resources, AwsResources):
        from mcloud.clouds.aws.site import AwsSite

        return AwsSite(name, resources)
    if isinstance(resources, GcpResources):
        from mcloud.clouds.gcp.site import GcpSite

        return GcpSite(name, resources)
    raise TypeError(f"no such resources: {resources!r}")
