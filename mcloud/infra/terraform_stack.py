"""A site that Terraform builds."""

import os
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from python_terraform import IsFlagged  # type: ignore[import-untyped]

from mcloud import files
from mcloud.clouds.access import Target
from mcloud.clouds.factory import open_bucket
from mcloud.clouds.resources import AwsResources, GcpResources
from mcloud.config import REGIONS, Config, SiteConfig
from mcloud.errors import McloudError, UsageError
from mcloud.infra import environment
from mcloud.infra.emptying import empty
from mcloud.infra.foundation import ACCOUNTS, APIS, SETTLE, created
from mcloud.infra.plan import (
    CHANGED,
    CREATED,
    DELETE,
    DESTROYED,
    UPDATE,
    Change,
    HeldChannel,
    StackPlan,
    exceeding,
    held_channel,
    parse,
    to_build_again,
)
from mcloud.infra.provisioner import Hooks, ProvisioningStep
from mcloud.infra.saved_plan import Basis, SitePlan, stale
from mcloud.infra.state import ERRORED, STATE, WORKSPACES, TerraformState, remnants
from mcloud.infra.terraform import (
    Interrupted,
    LockWait,
    Terraform,
    check_version,
    find_binary,
    version,
)
from mcloud.infra.transient import ATTEMPTS, TransientError
from mcloud.infra.workspace import Deployment, Workspace

PLAN, UNLOCK, PART = "plan.tfplan", "unlock.tfplan", "part.tfplan"

_BUCKETS = ("aws_s3_bucket", "google_storage_bucket")

_NOWHERE = "terraform_data."  # resources that exist only in the state

_SHOWN = 5  # addresses in a message

_WORDS = {
    "apply_start": {"create": "creating", "update": "changing", "delete": "destroying"},
    "apply_complete": {"create": CREATED, "update": CHANGED, "delete": DESTROYED},
    "apply_errored": {"create": "failed", "update": "failed", "delete": "failed"},
}


class _Database(NamedTuple):
    """A Firestore database."""

    project: str
    database: str


class TerraformStack:
    """See ``provisioner.Provisioner``; a context manager that locks the site's folder."""

    def __init__(
        self,
        config: Config,
        site: SiteConfig,
        hooks: Hooks,
        open_endpoint: Callable[[], str] = lambda: "",
    ) -> None:
        """``open_endpoint`` returns the endpoint of the embedded AWS, or "" for the real one. It is
        called when the endpoint is first needed.
        """
        self._config = config
        self._site = site
        self._hooks = hooks
        self._open_endpoint = open_endpoint
        self._exit = ExitStack()
        self._plan: StackPlan | None = None
        self._state: TerraformState | None = None
        """State at the time of the plan."""
        self._destroys = False
        self._has_gone = False
        """Whether the state has resources that no longer exist."""
        self._is_unprotected = False
        self._held: HeldChannel | None = None
        """Notification channel that alert policies must no longer name before the plan is
        applied."""

    def __enter__(self) -> "TerraformStack":
        environment.check(os.environ)
        self._binary = find_binary(self._config.terraform)
        wait = LockWait(self._hooks.lock_timeout, self._hooks.stop, self._say)
        self._exit.enter_context(self._workspace.locked(wait))
        self._exit.callback(self._remove_plans)
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def plan(self, *, destroy: bool = False) -> StackPlan:
        self._prepare(destroy=destroy)
        shown = self._shown_whole(destroy=destroy)
        plan = parse(shown)
        if destroy:
            plan = replace(plan, moved=self._moves(plan))
            self._check_destroys(plan)
        self._held = None if destroy else held_channel(shown)
        self._plan, self._destroys = plan, destroy
        return plan

    def _shown_whole(self, *, destroy: bool) -> dict[str, Any]:
        """Plan the whole site. Functions whose last update failed are built again."""
        shown = self._shown(PLAN, destroy=destroy)
        if not destroy and (again := to_build_again(shown)):
            shown = self._shown(PLAN, replace=again)
        return shown

    def save(self) -> SitePlan:
        assert self._plan is not None, "nothing is planned"
        return SitePlan(self._basis(), self._path(PLAN).read_bytes())

    def load(self, saved: SitePlan, origin: Path) -> StackPlan:
        self._prepare(destroy=False)
        why = saved.basis.differs(self._basis())
        if why:
            raise stale(why, origin)
        files.write(self._path(PLAN), saved.plan)
        shown = self._terraform.show(PLAN)
        self._held = held_channel(shown)
        self._plan, self._destroys = parse(shown), False
        return self._plan

    def _prepare(self, *, destroy: bool) -> None:
        """Update the folder, and check that the state is that of the site."""
        self._check_place()
        self._workspace.write()
        self._initialise()
        if self._path(ERRORED).exists():
            self._terraform.push(ERRORED)
            self._path(ERRORED).unlink()
        self._state = self._terraform.pull()
        self._check_state(destroy=destroy)

    def _basis(self) -> Basis:
        """Return the inputs of a plan made now."""
        product, numbers = version(self._binary)
        return Basis(
            stack=self._site.stack,
            place=self._workspace.place,
            lineage=self._state.lineage if self._state else "",
            serial=self._state.serial if self._state else 0,
            terraform=f"{product} {'.'.join(map(str, numbers))}",
            files=self._workspace.digests(),
        )

    def backups(self) -> str:
        assert self._plan is not None, "nothing is planned"
        known = self._with_backups(self._plan, self._known()) if self._destroys else None
        if known is None:
            return ""
        from mcloud.clouds.gcp.client import make_session
        from mcloud.clouds.gcp.database import backups, described

        found = list(backups(make_session(), known.project, known.database))
        return described(found, known.database) if found else ""

    def apply(self, *, delete_backups: bool = False) -> dict[str, str]:
        assert self._plan is not None, "nothing is planned"
        if self._plan.moved:
            self._plan = self._note_moves(self._plan)
        try:
            if self._destroys:
                self._unprotect(self._plan)
                self._terraform.confirm_loss()
            self._empty_buckets(self._plan)
            self._apply(self._plan)
        except McloudError as error:
            if not self._is_unprotected:
                raise
            raise type(error)(
                f"{error}; the data stores are no longer protected from deletion",
                remedy=f"destroy again, or protect them by `mcloud deploy {self._site.name}`",
            ) from error
        if self._destroys:
            known = self._known()  # before the outputs are set aside
            self._set_aside()
            self._settle_backups(self._with_backups(self._plan, known), delete=delete_backups)
            return {}
        state = self._terraform.pull()
        if state is None:
            raise McloudError(
                f"Terraform has no state of {self._site.name} after it applied the plan",
                remedy="check that the program is Terraform itself, then run the command again",
            )
        self._workspace.note_deployment(state.lineage)
        kind = AwsResources if self._site.cloud == "aws" else GcpResources
        values = {**state.outputs, "endpoint_url": self._endpoint_url}
        found = kind.from_outputs(values).to_outputs()
        self._config.outputs.write(self._site.name, found)
        return found

    def _moves(self, plan: StackPlan) -> Mapping[str, str]:
        """Return the earlier addresses of what a plan destroys. The plan itself omits them."""
        known = self._state.addresses if self._state is not None else frozenset()
        if known.issuperset(change.address for change in plan.changes):
            return {}
        return self._planned(PART, refresh_only=IsFlagged).moved

    def _note_moves(self, confirmed: StackPlan) -> StackPlan:
        """Write the new addresses into the state, and plan again.

        Terraform plans a part of a stack only if its state has the addresses of the module.
        """
        self._shown(PART, refresh_only=IsFlagged)
        self._terraform.apply(PART, self._tell)
        return self._continued(confirmed, is_shown=False)

    def _apply(self, confirmed: StackPlan) -> None:
        """Apply the plan, and continue after transient faults within what was confirmed."""
        plan = confirmed
        for attempt in range(ATTEMPTS + 1):
            try:
                is_stale = self._lay_foundation(plan)
                if self._free_channel() or is_stale or attempt:
                    plan = self._continued(confirmed, is_shown=attempt > 0)
                if not plan.empty:
                    self._terraform.apply(PLAN, self._tell)
                return
            except TransientError as error:
                if attempt == ATTEMPTS:
                    raise
                self._say(f"{error.message}; this is a temporary problem")
                self._pause(
                    error.wait.seconds,
                    f"waiting for {error.wait.reason} before attempt {attempt + 1} of {ATTEMPTS}"
                    " to continue",
                )

    def _lay_foundation(self, plan: StackPlan) -> bool:
        """Create what the rest of a stack on Google Cloud needs, and wait until Google's servers
        know it. Return whether the plan has to be made again."""
        known = self._known() if created(plan, APIS + ACCOUNTS) else {}
        if not known or known.get("pubsub_endpoint"):
            return False  # nothing to create, or embedded: then there is nothing to wait for
        from mcloud.clouds.gcp.access import GcpAccess

        site, region = self._site, known.get("region", REGIONS["gcp"])
        access = GcpAccess(Target(site.stack, region, known["project"], variables=site.variables))
        try:
            are_off = bool(access.disabled_apis())
        except McloudError as error:
            self._say(f"it is unknown which APIs are disabled: {error.message}")
            are_off = True
        has_apis = self._create_part(APIS, plan)
        try:
            access.request_agent("pubsub")
        except McloudError as error:
            self._say(f"the service agent of Pub/Sub cannot be requested: {error.message}")
        if has_apis and are_off:
            self._pause(SETTLE, "waiting for the APIs that were just enabled")
        has_accounts = self._create_part(ACCOUNTS, plan)
        if has_accounts:
            self._pause(SETTLE, "waiting for the accounts that were just created")
        return has_apis or has_accounts

    def _create_part(self, part: tuple[str, ...], confirmed: StackPlan) -> bool:
        """Create a part of the foundation, within the confirmed plan. Return whether something had
        to be created."""
        addresses = created(confirmed, part)
        plan = self._planned(PART, target=addresses) if addresses else confirmed
        # If something else has changed, the plan to continue will show it.
        if not created(plan, part) or not addresses or exceeding(plan, confirmed):
            return False
        self._terraform.apply(PART, self._tell)
        return True

    def _free_channel(self) -> bool:
        """Make it possible for Google to delete the held channel. Return whether the plan has to be
        made again."""
        if self._held is None:
            return False
        email = f"alert_email={self._held.email}"
        unlock = self._planned(UNLOCK, target=[self._held.address], var=[email])
        if any(each.action != UPDATE for each in unlock.changes):
            # Something else has changed too; Google's refusal will explain the problem
            return False
        self._terraform.apply(UNLOCK, self._tell)
        return True

    def _continued(self, confirmed: StackPlan, *, is_shown: bool) -> StackPlan:
        plan = parse(self._shown_whole(destroy=self._destroys))
        beyond = exceeding(plan, confirmed)
        if beyond:
            self._hooks.replanned(self._site.name, plan)
            raise McloudError(
                f"the plan to continue goes beyond the confirmed one:"
                f" {_some([f'{each.action} {each.address}' for each in beyond])}",
                remedy="run the same command again, and review the new plan",
            )
        if is_shown and not plan.empty:
            self._hooks.replanned(self._site.name, plan)
        return plan

    def _pause(self, seconds: float, what: str) -> None:
        """Wait, and show the time that is left; ``what`` begins with "waiting"."""
        self._say(f"{what}: {seconds:.0f} s")
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._hooks.wait(f"{self._site.name}: {what}, {left:.0f} s left")
            if self._hooks.stop.wait(min(left, 1.0)):
                raise Interrupted(f"interrupted while {what}")

    def _check_place(self) -> None:
        """Refuse a variable of the shell that would move the stack, because Terraform would create
        it again elsewhere."""
        deployed = self._deployed()
        for key in ("region", "project"):
            wanted = self._site.settings.get(key)
            origin = self._config.origins.get(f"sites.{self._site.name}.{key}", "")
            is_ambient = origin.startswith(("environment", ".env"))
            if is_ambient and deployed.get(key, wanted) != wanted:
                raise UsageError(
                    f"the {key} is {wanted} now ({origin}), and the site is in {deployed[key]}",
                    remedy="correct it; to move the site, set it in mcloud.toml",
                )

    def _check_state(self, *, destroy: bool) -> None:
        """Raise McloudError if this is not the state of the site as it was deployed.

        A plan only lists differences from a state. If the state is lost, empty or that of another
        site, a plan to destroy would be empty, and a plan to deploy would create everything a
        second time.
        """
        site, state = self._site.name, self._state
        noted = self._workspace.read_deployment()
        again = "run the same command again"
        if state is not None and noted is not None and (why := self._differs(state, noted)):
            raise McloudError(
                f"this is not the state that {site} was deployed with: {why}; nothing was changed",
                remedy="put the right state or `backend` back, or remove"
                f" {self._workspace.folder}/deployment.json if the new one is right; then {again}",
            )
        if destroy and noted is not None and noted.stack != self._site.stack:
            raise McloudError(
                f"{site} was deployed as the stack {noted.stack!r}, and mcloud.toml says"
                f" {self._site.stack!r} now; nothing was destroyed",
                remedy=f'set name = "{noted.stack}" again, then {again}',
            )
        if state is None or (destroy and not state.addresses):
            self._check_nothing_is_left()

    def _differs(self, state: TerraformState, noted: Deployment) -> str:
        """Return why a state cannot be the one of the last deployment, or an empty string if it can
        be."""
        if noted.place == self._workspace.place:
            if state.lineage == noted.lineage:
                return ""
            return f"its lineage is {state.lineage}, not {noted.lineage}"
        # A state that was moved to another backend may have another lineage there.
        for name, value in self._deployed().items():
            if value and state.outputs.get(name, value) != value:
                return f"{name} in it is {state.outputs[name]}, not {value}"
        return ""

    def _check_destroys(self, plan: StackPlan) -> None:
        """Raise McloudError if a plan to destroy has nothing in common with the state."""
        known = self._state.addresses if self._state is not None else frozenset()
        found = {
            plan.moved.get(change.address, change.address)
            for change in plan.changes
            if change.action == DELETE
        }
        if not found <= known:
            raise McloudError(
                f"the plan would destroy {_some(sorted(found - known))}, which the state of"
                f" {self._site.name} does not hold; nothing was destroyed",
                remedy="check that the program is Terraform itself, and run the same command again",
            )
        in_cloud = [address for address in known if not address.startswith(_NOWHERE)]
        if in_cloud and not found.intersection(in_cloud):
            raise McloudError(
                f"the state of {self._site.name} holds {len(in_cloud)} resources, and none of "
                "them exists in the cloud; nothing was destroyed",
                remedy="check the credentials, the project and the region: credentials of "
                "another account do not see these resources; if the resources are gone, "
                f"{self._forget_by_hand()}",
            )
        gone = sorted(known - found)
        self._has_gone = bool(gone)
        if gone:
            self._say(f"{len(gone)} resources of the state do not exist any more: {_some(gone)}")

    def _check_nothing_is_left(self) -> None:
        """Raise McloudError if the state is empty although something shows that the site still
        exists."""
        folder = self._workspace.folder
        found = remnants(folder, is_remote=self._workspace.is_remote)
        clues = [str(each) for each in found[:3]]
        others = self._terraform.other_workspaces()
        if others and not any(WORKSPACES in str(each.path) for each in found):
            clues.append(f"there are other workspaces ({', '.join(others)})")
        noted = self._config.outputs.path(self._site.name)
        if noted.exists():
            clues.append(f"{noted} shows that the site is deployed")
        if not clues:
            return
        if found and not self._workspace.is_remote:
            copy = shlex.join(("cp", str(found[0].path), str(folder / STATE)))
            restore = f"restore it with `{copy}`"
        else:
            restore = "find the state (in another backend, workspace, account or machine)"
        raise McloudError(
            f"the state of {self._site.name} holds no resources, but {', and '.join(clues)};"
            " nothing was changed",
            remedy=f"{restore} and run the same command again; if the resources are gone,"
            f" {self._forget_by_hand()}",
        )

    def _forget_by_hand(self) -> str:
        noted = self._config.outputs.path(self._site.name)
        there = [str(path) for path in (self._workspace.folder, noted) if path.exists()]
        return f"move {' and '.join(there)} away"

    def _set_aside(self) -> None:
        """Move the state, its backups and the outputs to another folder, after the whole site was
        destroyed.

        Raises:
            McloudError: the site, or a part of it, was not destroyed.
        """
        before, after = self._state, self._terraform.pull()
        if before is None or not before.addresses:
            return  # there was nothing to destroy
        site = self._site.name
        if after is None or after.lineage != before.lineage or after.serial <= before.serial:
            raise McloudError(
                f"Terraform says that it destroyed {site}, but its state is not the earlier one "
                "with that change; state, backups and outputs are kept",
                remedy="check that the program is Terraform itself, then run the command again",
            )
        if after.addresses:
            raise McloudError(
                f"{len(after.addresses)} resources of {site} are left:"
                f" {_some(sorted(after.addresses))}",
                remedy="run the same command again: state, backups and outputs are kept",
            )
        self._remove_plans()  # they may contain secrets, and are no longer needed
        aside = self._workspace.set_aside(self._config.outputs.path(site))
        self._say(f"the last state, its backups and the outputs are kept in {aside}")

    def _deployed(self) -> Mapping[str, Any]:
        """Return the outputs of the last deployment, or those of the state if the stored ones are
        damaged.

        A deployment therefore repairs a damaged file, and makes the same checks as with an intact
        one.
        """
        try:
            return self._config.outputs.read(self._site.name)
        except McloudError:
            self._workspace.write()
            self._initialise()
            state = self._terraform.pull()
            return state.outputs if state is not None else {}

    def _initialise(self) -> None:
        status = os.stat(self._binary)
        using = (self._binary, status.st_mtime_ns, self._config.terraform.plugin_dir)
        if not self._workspace.is_initialised(*using):
            check_version(self._binary, self._site.backend)
            self._terraform.init(self._config.terraform.plugin_dir, self._workspace.lock_file)
            self._workspace.note_initialised(*using)

    def _unprotect(self, plan: StackPlan) -> None:
        """Remove the protection of resources that the cloud would refuse to delete, and plan
        again."""
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
        # The state was refreshed a moment ago, and only this has changed since. It needs another
        # refresh only if it still lists resources that no longer exist.
        again = self._planned(PLAN, destroy=True, refresh=self._has_gone)
        known = {change.address for change in plan.changes}
        fresh = [each.address for each in again.changes if each.address not in known]
        if fresh or any(change.action != DELETE for change in again.changes):
            raise McloudError(
                f"the stack has changed meanwhile: {', '.join(fresh)}",
                remedy="run the same command again; nothing was destroyed",
            )

    def _empty_buckets(self, plan: StackPlan) -> None:
        for change in plan.at_risk:
            if change.kind in _BUCKETS and change.name:
                self._empty(change)

    def _empty(self, change: Change) -> None:
        known = self._known()
        bucket = open_bucket(
            self._site.cloud,
            change.name,
            region=known.get("region", REGIONS[self._site.cloud]),
            project=known.get("project", ""),
            endpoint=self._endpoint_url or known.get("storage_endpoint", ""),
        )

        def progress(deleted: int) -> None:
            words = f"deleted {deleted:,} versions of objects in"
            self._hooks.tell(ProvisioningStep(self._site.name, change.address, words))

        self._hooks.tell(ProvisioningStep(self._site.name, change.address, "emptying"))
        deleted = empty(bucket, self._hooks.stop, progress)
        if not deleted:
            return
        words = f"deleted {deleted:,} versions of objects in {change.name}"
        if days := bucket.soft_delete_days():
            words += f"; Cloud Storage keeps and bills them for another {days:g} days"
        self._say(words)

    def _known(self) -> dict[str, Any]:
        """Return the outputs of the last deployment, with the settings of the site."""
        return {**self._deployed(), **self._site.settings}

    def _with_backups(self, plan: StackPlan, known: Mapping[str, Any]) -> _Database | None:
        """Return the database that a plan destroys, if Google Cloud keeps backups of it."""
        is_gone = any(
            change.kind == "google_firestore_database" and change.action == DELETE
            for change in plan.changes
        )
        if not is_gone or known.get("firestore_endpoint") or "database" not in known:
            return None
        return _Database(known["project"], known["database"])

    def _settle_backups(self, of: _Database | None, *, delete: bool) -> None:
        """Delete the backups of a destroyed database, or report what is left of them."""
        if of is None:
            return
        from mcloud.clouds.gcp import database
        from mcloud.clouds.gcp.client import make_session

        session = make_session()
        deleted = 0
        try:
            found = list(database.backups(session, of.project, of.database))
        except McloudError as error:
            self._say(database.not_listed(error, of.project, of.database))
            return
        try:
            while delete and deleted < len(found):
                database.delete_backup(session, found[deleted])
                deleted += 1
        except McloudError as error:
            self._say(f"a backup of the database {of.database} cannot be deleted: {error}")
        if deleted:
            self._say(f"deleted {database.counted(deleted)} of the database {of.database}")
        left = found[deleted:]
        if left:
            self._say(f"{database.described(left, of.database)}; delete what you do not need with:")
        for each in left:
            self._say(f"`{database.deletion(of.project, each)}`")

    def _planned(self, to: str, *, destroy: bool = False, **options: Any) -> StackPlan:
        return parse(self._shown(to, destroy=destroy, **options))

    def _shown(self, to: str, *, destroy: bool = False, **options: Any) -> dict[str, Any]:
        # The file is created in advance, because Terraform would make it readable for others, and
        # it may contain secrets.
        self._path(to).touch(0o600)
        flags = {"destroy": IsFlagged} if destroy else {}
        return self._terraform.plan(to, self._tell, **flags, **options)

    def _remove_plans(self) -> None:
        for name in (PLAN, UNLOCK, PART):
            self._path(name).unlink(missing_ok=True)

    def _tell(self, event: dict[str, Any]) -> None:
        hook = event.get("hook", {})
        words = _WORDS.get(event.get("type", ""), {}).get(hook.get("action", ""))
        if words:
            address = hook["resource"]["addr"]
            seconds = hook.get("elapsed_seconds")
            self._hooks.tell(ProvisioningStep(self._site.name, address, words, seconds))

    def _say(self, words: str) -> None:
        self._hooks.say(f"{self._site.name}: {words}")

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
            say=self._say,
            lock_timeout=self._hooks.lock_timeout,
        )

    @cached_property
    def _endpoint_url(self) -> str:
        """Endpoint of the embedded AWS; empty for the real AWS."""
        return self._open_endpoint()


def _some(addresses: Sequence[str]) -> str:
    """Return the first few of a list, and how many more there are."""
    more = len(addresses) - _SHOWN
    return ", ".join((*addresses[:_SHOWN], *([f"{more} more"] if more > 0 else [])))
