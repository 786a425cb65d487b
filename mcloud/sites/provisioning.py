"""Chooses and opens the provisioner of a site: Terraform, or SDK calls on the embedded clouds."""

from contextlib import AbstractContextManager

from mcloud.config import LOCAL, Config, SiteConfig
from mcloud.errors import UsageError
from mcloud.infra.provisioner import Hooks, Provisioner
from mcloud.local.stack import EmbeddedStack, embedded_clouds

EMBEDDED, TERRAFORM = "embedded", "terraform"

LOCAL_STACK = "mcloud-tf"
"""Stack that Terraform deploys on the embedded AWS, beside the one that exists from the start."""


def sites(config: Config, provisioner: str | None = None) -> dict[str, SiteConfig]:
    """Return the sites that can be provisioned. The sites of profile ``local`` are built in."""
    if config.profile != LOCAL:
        return config.sites
    stack = LOCAL_STACK if provisioner == TERRAFORM else "mcloud"
    return {cloud: SiteConfig(cloud, cloud, {}, stack) for cloud in ("aws", "gcp")}


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
