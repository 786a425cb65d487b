"""The provisioners that deploy and destroy a site: Terraform, or SDKs on the embedded clouds."""

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

# Stack that Terraform deploys on the embedded AWS, beside the one that exists from the start.
LOCAL_STACK = "mcloud-tf"


@dataclass(frozen=True)
class Step:
    """A step of the work on one resource."""

    site: str
    address: str
    words: str
    """State of the resource: ``creating``, ``created``, ``failed``, …"""
    seconds: float | None = None
    """Duration in seconds; None while the step is running."""


@dataclass(frozen=True)
class Hooks:
    """Callbacks that report a run, and its stop event. They are called from the run's thread."""

    stop: Event
    """Event that stops the run in good order. The run then raises ``Interrupted``."""
    tell: Callable[[Step], None] = lambda step: None
    echo: Callable[[str], None] = lambda line: None
    """Callback for each line of Terraform's output."""
    say: Callable[[str], None] = lambda line: None
    """Callback for messages to the user."""
    lock_timeout: float = 0.0
    """Maximum time to wait for a lock that another process holds, in seconds."""


class Provisioner(Protocol):
    """A provisioner of one site. ``apply`` makes exactly the changes of the last ``plan``."""

    def plan(self, *, destroy: bool = False) -> Plan: ...

    def save(self) -> SitePlan:
        """Return the last plan, for another run to ``load``."""
        ...

    def load(self, saved: SitePlan, origin: Path) -> Plan:
        """Use a saved plan from a file, in place of ``plan``.

        Raises:
            McloudError: the plan's inputs have changed since it was made.
        """
        ...

    def apply(self) -> dict[str, str]:
        """Apply the plan, store the site's outputs and return them; empty after a destroy."""
        ...


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
            f" {config.profile!r} takes {TERRAFORM!r}"
        )
    if provisioner == TERRAFORM and config.profile == LOCAL and site.cloud != "aws":
        raise UsageError(
            "the embedded Google Cloud offers Terraform nothing to talk to",
            remedy=f"leave --provisioner out, or name the site aws: {site.name} is {site.cloud}",
        )


def resources_of(config: Config, site: SiteConfig) -> Resources:
    """Return the resources of one deployed site, even if the others are not deployed."""
    if config.profile == LOCAL:
        return resources(config)[site.name]
    values = {key: setting.value for key, setting in known(config, site).items()}
    kind = AwsResources if site.cloud == "aws" else GcpResources
    return kind.from_outputs(values)


def open_provisioner(
    config: Config, site: SiteConfig, provisioner: str, hooks: Hooks, *, start: bool
) -> AbstractContextManager[Provisioner]:
    """Return the provisioner of a site, as a context manager that locks the site.

    With ``start``, the embedded clouds are started if they are needed and down.
    """
    if provisioner == EMBEDDED:
        from mcloud.infra.embedded_stack import EmbeddedStack

        return EmbeddedStack(config, site, hooks, start=start)
    from mcloud.infra.terraform_stack import TerraformStack

    return TerraformStack(config, site, hooks, start=start)
