"""What builds a site and takes it down again: Terraform, or the SDKs on the embedded clouds."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Protocol

from mcloud.clouds.resources import AwsResources, GcpResources, Resources
from mcloud.config import LOCAL, Config, SiteConfig, known, resources
from mcloud.errors import UsageError
from mcloud.infra.plan import Plan
from mcloud.infra.saved_plan import SitePlan

EMBEDDED, TERRAFORM = "embedded", "terraform"

# Of what Terraform builds on the embedded AWS, beside what is there from the start.
LOCAL_STACK = "mcloud-tf"


@dataclass(frozen=True)
class Step:
    """Something that happens to one resource."""

    site: str
    address: str
    words: str
    """``creating``, ``created``, ``failed``, …"""
    seconds: float | None = None
    """How long it took; None while it goes on."""


@dataclass(frozen=True)
class Hooks:
    """How a run is watched and stopped; they are called from its thread."""

    stop: Event
    """Ends the run in good order, which then raises ``Interrupted``."""
    tell: Callable[[Step], None] = lambda step: None
    echo: Callable[[str], None] = lambda line: None
    """Gets whatever Terraform says."""
    say: Callable[[str], None] = lambda line: None
    """Gets the sentences for the person who runs the command."""
    lock_timeout: float = 0.0
    """Seconds to wait for a lock that somebody else holds."""


class Provisioner(Protocol):
    """One site; ``apply`` does what the last ``plan`` said, and nothing else."""

    def plan(self, *, destroy: bool = False) -> Plan: ...

    def save(self) -> SitePlan:
        """Return the last plan, for another run to ``load``."""
        ...

    def load(self, saved: SitePlan, origin: Path) -> Plan:
        """Take a plan that was saved in a file, in place of ``plan``.

        Raises:
            McloudError: it was made from something else than a plan would be made from now.
        """
        ...

    def apply(self) -> dict[str, str]:
        """Returns the site's outputs, which are stored; empty once it is destroyed."""
        ...


def sites(config: Config, provisioner: str | None = None) -> dict[str, SiteConfig]:
    """The sites that can be provisioned; those of the profile ``local`` are built in."""
    if config.profile != LOCAL:
        return config.sites
    stack = LOCAL_STACK if provisioner == TERRAFORM else "mcloud"
    return {cloud: SiteConfig(cloud, cloud, {}, stack) for cloud in ("aws", "gcp")}


def check(config: Config, site: SiteConfig, provisioner: str) -> None:
    """Raise UsageError where a provisioner cannot build the site."""
    if provisioner == EMBEDDED and config.profile != LOCAL:
        raise UsageError(
            f"the provisioner {EMBEDDED!r} is for the profile {LOCAL!r};"
            f" {config.profile!r} takes {TERRAFORM!r}"
        )
    if provisioner == TERRAFORM and config.profile == LOCAL and site.cloud != "aws":
        raise UsageError(
            "the embedded Google Cloud offers Terraform nothing to talk to",
            remedy=f"leave --provisioner out, or name the site aws: {site.name} is {site.cloud}",
        )


def resources_of(config: Config, site: SiteConfig) -> Resources:
    """The resources of one site that is deployed, whatever there is of the others."""
    if config.profile == LOCAL:
        return resources(config)[site.name]
    values = {key: setting.value for key, setting in known(config, site).items()}
    kind = AwsResources if site.cloud == "aws" else GcpResources
    return kind.from_outputs(values)


def open_provisioner(
    config: Config, site: SiteConfig, provisioner: str, hooks: Hooks, *, start: bool
) -> AbstractContextManager[Provisioner]:
    """The provisioner of a site, which no other mcloud provisions meanwhile.

    ``start`` brings the embedded clouds up where they are needed and down.
    """
    if provisioner == EMBEDDED:
        from mcloud.infra.embedded_stack import EmbeddedStack

        return EmbeddedStack(config, site, hooks, start=start)
    from mcloud.infra.terraform_stack import TerraformStack

    return TerraformStack(config, site, hooks, start=start)
