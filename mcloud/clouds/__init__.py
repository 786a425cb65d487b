"""Both clouds behind one set of interfaces. No SDK is imported before ``open_site`` is called."""

from mcloud.clouds.ports import Site
from mcloud.clouds.resources import AwsResources, GcpResources, Resources


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
