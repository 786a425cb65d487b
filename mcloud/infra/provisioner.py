"""The provisioners that deploy and destroy a site: Terraform, or SDKs on the embedded clouds."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Protocol

from mcloud.infra.plan import StackPlan
from mcloud.infra.saved_plan import SitePlan


@dataclass(frozen=True)
class ProvisioningStep:
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
    """Event that stops the run as Ctrl-C does. The run then raises ``Interrupted``."""
    tell: Callable[[ProvisioningStep], None] = lambda step: None
    echo: Callable[[str], None] = lambda line: None
    """Callback for each line of Terraform's output."""
    say: Callable[[str], None] = lambda line: None
    """Callback for messages to the user."""
    wait: Callable[[str], None] = lambda line: None
    """Callback for the progress of a wait, each second."""
    replanned: Callable[[str, StackPlan], None] = lambda site, plan: None
    """Callback for the plan with which the work on a site continues after a transient fault."""
    lock_timeout: float = 0.0
    """Maximum time to wait for a lock that another process holds, in seconds."""


class Provisioner(Protocol):
    """A provisioner of one site. ``apply`` makes exactly the changes of the last ``plan``."""

    def plan(self, *, destroy: bool = False) -> StackPlan: ...

    def save(self) -> SitePlan:
        """Return the last plan, for another run to ``load``."""
        ...

    def load(self, saved: SitePlan, origin: Path) -> StackPlan:
        """Use a saved plan from a file, in place of ``plan``.

        Raises:
            McloudError: the plan's inputs have changed since it was made.
        """
        ...

    def backups(self) -> str:
        """Return a sentence about backups that outlive what the last plan destroys; empty if there
        are none.

        Raises:
            McloudError: they cannot be listed.
        """
        ...

    def apply(self, *, delete_backups: bool = False) -> dict[str, str]:
        """Apply the plan, store the site's outputs and return them; empty after a destroy.

        Args:
            delete_backups: whether to delete the backups of a destroyed database as well.
        """
        ...
