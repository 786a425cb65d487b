"""Chooses and opens the provisioner of a site (Terraform, or SDK calls on the embedded clouds), and
probes the deployed site.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from threading import Event

from mcloud.clouds.factory import open_site
from mcloud.clouds.ports import SERVICES, Site, SiteService
from mcloud.clouds.resources import CLOUDS
from mcloud.config import LOCAL, Config, SiteConfig
from mcloud.deadline import gather
from mcloud.errors import UsageError, reason_of
from mcloud.infra.provisioner import Hooks, Provisioner
from mcloud.infra.terraform import Interrupted
from mcloud.local.stack import EmbeddedStack, embedded_clouds
from mcloud.sites.resources import resources_of

EMBEDDED, TERRAFORM = "embedded", "terraform"

LOCAL_STACK = "mcloud-tf"
"""Stack that Terraform deploys on the embedded AWS, beside the one that exists from the start."""

PATIENCE = 60.0  # seconds; new names and permissions take up to that long to be known everywhere
TIMEOUT = 15.0  # seconds for one read; the first one also creates a client
PAUSE = 1.0  # seconds between reads of a service that does not answer yet


def sites(config: Config, provisioner: str | None = None) -> dict[str, SiteConfig]:
    """Return the sites that can be provisioned. The sites of profile ``local`` are built in."""
    if config.profile != LOCAL:
        return config.sites
    stack = LOCAL_STACK if provisioner == TERRAFORM else "mcloud"
    return {cloud: SiteConfig(cloud, cloud, {}, stack) for cloud in CLOUDS}


def check(config: Config, site: SiteConfig, provisioner: str) -> None:
    """Check that a provisioner can deploy the site.

    Raises:
        UsageError: it cannot.
    """
    if provisioner == EMBEDDED and config.profile != LOCAL:
        raise UsageError(
            f"the provisioner {EMBEDDED!r} is for the profile {LOCAL!r};"
            f" {config.profile!r} needs {TERRAFORM!r}"
        )
    if provisioner == TERRAFORM and config.profile == LOCAL and site.cloud != "aws":
        raise UsageError(
            "Terraform cannot be used with the embedded Google Cloud",
            remedy=f"omit --provisioner, or use the site aws: {site.name} is {site.cloud}",
        )


def open_provisioner(
    config: Config, site: SiteConfig, provisioner: str, hooks: Hooks, *, start: bool
) -> AbstractContextManager[Provisioner]:
    """Return the provisioner of a site, as a context manager that locks the site.

    With ``start``, the embedded clouds are started if they are needed and down.
    """
    if provisioner == EMBEDDED:
        return EmbeddedStack(config, site, hooks, start=start)
    from mcloud.infra.terraform_stack import TerraformStack

    if config.profile != LOCAL:
        return TerraformStack(config, site, hooks)

    def open_endpoint() -> str:
        return embedded_clouds(config, hooks, start=start).outputs["aws"]["endpoint_url"]

    return TerraformStack(config, site, hooks, open_endpoint)


def probe_deployed(config: Config, site: SiteConfig, stop: Event) -> dict[SiteService, str]:
    """Open a site that was just deployed, and probe it."""
    return probe(open_site(site.name, resources_of(config, site)), stop)


def probe(site: Site, stop: Event, patience: float = PATIENCE) -> dict[SiteService, str]:
    """Read from each service, until all have answered or the patience ends.

    Return the reason why a service does not work, or an empty string, by service.

    Raises:
        Interrupted: ``stop`` was set.
    """
    give_up = time.monotonic() + patience
    reasons = dict.fromkeys(SERVICES, "not asked")
    while True:
        calls: dict[SiteService, Callable[[], None]] = {
            service: partial(_check, site, service) for service, reason in reasons.items() if reason
        }
        for service, answer in gather(calls, TIMEOUT).items():
            reasons[service] = reason_of(answer) if isinstance(answer, Exception) else ""
        if not any(reasons.values()) or time.monotonic() > give_up:
            return reasons
        if stop.wait(PAUSE):
            raise Interrupted("interrupted before every service answered")


def _check(site: Site, service: SiteService) -> None:
    site.probe.check(service, TIMEOUT)
