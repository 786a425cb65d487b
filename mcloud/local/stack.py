"""A site on the embedded clouds, built by SDK calls."""

import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mcloud.clouds.resources import AwsResources, Resources
from mcloud.config import Config, SiteConfig
from mcloud.errors import LocalError, UsageError
from mcloud.infra.bundle import contents
from mcloud.infra.plan import CREATE, DELETE, UPDATE, Change, ChangeAction, StackPlan, change
from mcloud.infra.provisioner import Hooks, ProvisioningStep
from mcloud.infra.saved_plan import SitePlan
from mcloud.infra.terraform import Interrupted
from mcloud.local.state import Home, State
from mcloud.removed import set_aside

if TYPE_CHECKING:
    from mcloud.local.deployment import StackPart

PATIENCE = 30.0  # seconds until the function is ready with other code

_starting = threading.Lock()


def embedded_clouds(config: Config, hooks: Hooks, *, start: bool) -> State:
    """Return the state of the embedded clouds. With ``start``, they are started if they are down.

    Raises:
        LocalError: they are down, and ``start`` is not set.
    """
    from mcloud.local import control

    with _starting:  # sites of one profile share them
        home = Home(config.local)
        if start and not home.is_up():

            def progress(doing: str) -> None:
                if hooks.stop.is_set():
                    raise Interrupted("interrupted while the embedded clouds started")

            return control.up(control.options(config, os.environ), progress)
        return home.require_ready()


class EmbeddedStack:
    """Implementation of ``provisioner.Provisioner`` for the embedded clouds; a context manager."""

    def __init__(self, config: Config, site: SiteConfig, hooks: Hooks, *, start: bool) -> None:
        self._config = config
        self._site = site
        self._hooks = hooks
        self._start = start
        self._destroys = False
        self._plan = StackPlan(())

    def __enter__(self) -> "EmbeddedStack":
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing, because nothing has to be released."""

    def plan(self, *, destroy: bool = False) -> StackPlan:
        self._destroys = destroy
        home = Home(self._config.local)
        if not home.is_up():
            if destroy and home.kept.exists():
                raise LocalError(
                    "the embedded clouds are down, and their data is kept",
                    remedy="run `mcloud local up` first, or `mcloud local down` to forget it",
                )
            self._plan = StackPlan(() if destroy else (_ALL,))
            return self._plan
        parts = self._parts()
        if destroy:
            changes = [_change(part, DELETE) for part in parts if part.there]
        else:
            changes = [_change(part, CREATE) for part in parts if not part.there]
            changes += [_change(part, UPDATE) for part in parts if part.there and part.stale]
        self._plan = StackPlan(tuple(changes))
        return self._plan

    def save(self) -> SitePlan:
        raise _unsavable()

    def load(self, saved: SitePlan, origin: Path) -> StackPlan:
        raise _unsavable()

    def backups(self) -> str:
        return ""

    def apply(self, *, delete_backups: bool = False) -> dict[str, str]:
        from mcloud.local import deployment, scheduled_functions

        if self._plan.empty and self._destroys:
            return {}
        to = self._resources()
        if self._destroys:
            with self._told():
                if isinstance(to, AwsResources):
                    scheduled_functions.destroy(to)
                    deployment.destroy_aws(to)
                else:
                    deployment.destroy_gcp(to)
            self._set_outputs_aside()
            return {}
        if not self._plan.empty:
            with self._told():
                if isinstance(to, AwsResources):
                    deployment.deploy_aws(to)
                    scheduled_functions.deploy(to)
                else:
                    deployment.deploy_gcp(to)
                    self._update_function()
        # This is now the site, even if Terraform has created resources beside it.
        self._set_outputs_aside()
        return to.to_outputs()

    def _set_outputs_aside(self) -> None:
        noted = self._config.outputs.path(self._site.name)
        set_aside(
            self._config.state, self._config.profile, self._site.name, {"outputs.json": noted}
        )

    @contextmanager
    def _told(self) -> Iterator[None]:
        begun = time.monotonic()
        yield
        for each in self._plan.changes:
            took = time.monotonic() - begun
            self._hooks.tell(ProvisioningStep(self._site.name, each.address, each.done, took))

    def _resources(self) -> Resources:
        """Return the site's resources, from the supervisor's state."""
        state = embedded_clouds(self._config, self._hooks, start=self._start)
        return state.resources()[self._site.name]

    def _parts(self) -> "list[StackPart]":
        from mcloud.local import deployment, scheduled_functions

        to = self._resources()
        if isinstance(to, AwsResources):
            return [*deployment.aws_parts(to), *scheduled_functions.parts(to)]
        parts = deployment.gcp_parts(to)
        if self._destroys:
            return parts  # the function's process belongs to the embedded clouds
        stale = self._function_is_stale()
        scheduled = {each.component: each.name for each in scheduled_functions.SCHEDULED}
        functions = {"processor": to.function, **scheduled}
        return [
            *parts,
            *(
                deployment.StackPart(f"google_cloudfunctions2_function.{key}", name, True, stale)
                for key, name in functions.items()
            ),
        ]

    @property
    def _function_folder(self) -> Path:
        return self._config.local / "function"

    def _function_is_stale(self) -> bool:
        return _differs(self._function_folder, contents("gcp"))

    def _update_function(self) -> None:
        """Deploy the current code to the function's process, which the supervisor restarts."""
        from mcloud.local import children

        if not self._function_is_stale():
            return
        home = Home(self._config.local)
        service = home.require_ready().services["function"]
        children.unpack_function(self._function_folder)
        if service.pid is not None:
            os.killpg(service.pid, signal.SIGTERM)
        give_up = time.monotonic() + PATIENCE
        while True:
            now = home.require_ready().services["function"]
            if now.pid != service.pid:
                return  # requests to the function wait while it starts
            if time.monotonic() > give_up:
                raise LocalError(
                    "the function did not come back with other code",
                    remedy="see `mcloud local logs function`",
                )
            if self._hooks.stop.wait(0.05):
                raise Interrupted("interrupted while the function was started again")


_ALL = Change("the embedded clouds", "", CREATE, changed=("with both sites",))


def _change(part: "StackPart", action: ChangeAction) -> Change:
    changed = ("code",) if action == UPDATE else ()
    return change(part.address, part.kind, action, part.name, changed)


def _unsavable() -> UsageError:
    return UsageError(
        "a plan of the embedded clouds cannot be saved: it is made and applied in a second",
        remedy="use another profile, or --provisioner terraform for the site aws",
    )


def _differs(folder: Path, wanted: Mapping[str, bytes]) -> bool:
    return any(
        not (folder / name).is_file() or (folder / name).read_bytes() != content
        for name, content in wanted.items()
    )
