"""A site that Terraform builds."""

import os
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any

from python_terraform import IsFlagged  # type: ignore[import-untyped]

from mcloud import outputs
from mcloud.clouds.resources import AwsResources, GcpResources
from mcloud.config import LOCAL, Config, SiteConfig
from mcloud.errors import McloudError, UsageError
from mcloud.infra.plan import CHANGED, CREATED, DELETE, DESTROYED, UPDATE, Plan, parse
from mcloud.infra.provisioner import Hooks, Step
from mcloud.infra.terraform import Terraform, check_version, find_binary
from mcloud.infra.workspace import Workspace

PLAN, UNLOCK = "plan.tfplan", "unlock.tfplan"
ERRORED = "errored.tfstate"

_WORDS = {
    "apply_start": {"create": "creating", "update": "changing", "delete": "destroying"},
    "apply_complete": {"create": CREATED, "update": CHANGED, "delete": DESTROYED},
    "apply_errored": {"create": "failed", "update": "failed", "delete": "failed"},
}


class TerraformStack:
    """See ``provisioner.Provisioner``; a context manager that locks the site's folder."""

    def __init__(self, config: Config, site: SiteConfig, hooks: Hooks, *, start: bool) -> None:
        self._config = config
        self._site = site
        self._hooks = hooks
        self._start = start
        self._exit = ExitStack()
        self._plan: Plan | None = None
        self._destroys = False
        self._is_unprotected = False

    def __enter__(self) -> "TerraformStack":
        self._binary = find_binary(self._config.terraform)
        self._exit.enter_context(self._workspace.locked())
        self._exit.callback(self._remove_plans)
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def plan(self, *, destroy: bool = False) -> Plan:
        self._check_place()
        self._workspace.write()
        self._initialise()
        if self._path(ERRORED).exists():
            self._terraform.push(ERRORED)
            self._path(ERRORED).unlink()
        self._plan, self._destroys = self._planned(PLAN, destroy=destroy), destroy
        return self._plan

    def apply(self) -> dict[str, str]:
        assert self._plan is not None, "nothing is planned"
        try:
            if self._destroys:
                self._unprotect(self._plan)
            if not self._plan.empty:
                self._terraform.apply(PLAN, self._tell)
        except McloudError as error:
            if not self._is_unprotected:
                raise
            raise type(error)(
                f"{error}; the data stores are no longer protected from deletion",
                remedy=f"destroy again, or protect them by `mcloud deploy {self._site.name}`",
            ) from error
        if self._destroys:
            outputs.forget(self._config, self._site.name)
            self._workspace.remove()
            return {}
        kind = AwsResources if self._site.cloud == "aws" else GcpResources
        values = {**self._terraform.output(), "endpoint_url": self._endpoint_url}
        found = kind.from_outputs(values).to_outputs()
        outputs.write(self._config, self._site.name, found)
        return found

    def _check_place(self) -> None:
        """A variable of the shell moves no stack: Terraform would make it anew elsewhere."""
        deployed = outputs.read(self._config, self._site.name)
        for key in ("region", "project"):
            wanted = self._site.settings.get(key)
            origin = self._config.origins.get(f"sites.{self._site.name}.{key}", "")
            is_ambient = origin.startswith(("environment", ".env"))
            if is_ambient and deployed.get(key, wanted) != wanted:
                raise UsageError(
                    f"the {key} is {wanted} now ({origin}), and the site is in {deployed[key]}",
                    remedy="correct it; to move the site, say so in mcloud.toml",
                )

    def _initialise(self) -> None:
        status = os.stat(self._binary)
        using = (self._binary, status.st_mtime_ns, self._config.terraform.plugin_dir)
        if not self._workspace.is_initialised(*using):
            check_version(self._binary)
            self._terraform.init(self._config.terraform.plugin_dir)
            self._workspace.note_initialised(*using)

    def _unprotect(self, plan: Plan) -> None:
        """Let go of what the cloud would refuse to delete, and plan again."""
        protected = [change.address for change in plan.changes if change.protected]
        if not protected:
            return
        unlock = self._planned(UNLOCK, target=protected, var=["deletion_protection=false"])
        others = [each.address for each in unlock.changes if each.action != UPDATE]
        if others:
            raise McloudError(
                f"the stack is not as it was deployed: {', '.join(others)}",
                remedy=f"run `mcloud deploy {self._site.name}` first; nothing was destroyed",
            )
        self._is_unprotected = True
        self._terraform.apply(UNLOCK, self._tell)
        # The cloud was asked a moment ago, and only this has changed since.
        again = self._planned(PLAN, destroy=True, refresh=False)
        known = {change.address for change in plan.changes}
        fresh = [each.address for each in again.changes if each.address not in known]
        if fresh or any(change.action != DELETE for change in again.changes):
            raise McloudError(
                f"the stack has changed meanwhile: {', '.join(fresh)}",
                remedy="run the same command again; nothing was destroyed",
            )

    def _planned(self, to: str, *, destroy: bool = False, **options: Any) -> Plan:
        # Made beforehand, because Terraform would let others read it, and it may hold secrets.
        self._path(to).touch(0o600)
        flags = {"destroy": IsFlagged} if destroy else {}
        return parse(self._terraform.plan(to, self._tell, **flags, **options))

    def _remove_plans(self) -> None:
        for name in (PLAN, UNLOCK):
            self._path(name).unlink(missing_ok=True)

    def _tell(self, event: dict[str, Any]) -> None:
        hook = event.get("hook", {})
        words = _WORDS.get(event.get("type", ""), {}).get(hook.get("action", ""))
        if words:
            address = hook["resource"]["addr"]
            seconds = hook.get("elapsed_seconds")
            self._hooks.tell(Step(self._site.name, address, words, seconds))

    def _path(self, name: str) -> Path:
        return self._workspace.folder / name

    @cached_property
    def _workspace(self) -> Workspace:
        return Workspace(self._config, self._site, self._endpoint_url)

    @cached_property
    def _terraform(self) -> Terraform:
        return Terraform(
            self._workspace.folder,
            self._binary,
            environment=self._workspace.environment(os.environ),
            stop=self._hooks.stop,
            echo=self._hooks.echo,
        )

    @cached_property
    def _endpoint_url(self) -> str:
        """Of the embedded AWS; empty for the real one."""
        if self._config.profile != LOCAL:
            return ""
        from mcloud.infra.embedded_stack import embedded_clouds

        state = embedded_clouds(self._config, self._hooks, start=self._start)
        return state.outputs["aws"]["endpoint_url"]
