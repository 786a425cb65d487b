"""Shared code of ``plan``, ``deploy`` and ``destroy``: concurrent sites, questions, Ctrl-C."""

import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from mcloud.cli.options import length_of_time
from mcloud.cli.session import Session
from mcloud.errors import McloudError, UsageError
from mcloud.files import refusal

if TYPE_CHECKING:
    from mcloud.clouds.ports import SiteService
    from mcloud.config import SiteConfig
    from mcloud.infra.plan import StackPlan, StackPlanDocument
    from mcloud.infra.provisioner import Provisioner, ProvisioningStep
    from mcloud.infra.saved_plan import SavedPlan

LONGEST = 24 * 3600.0  # seconds that a run may take

SITE = Annotated[
    str | None, typer.Argument(help="Comma-separated sites, or `all`. Default: all sites.")
]
PROVISIONER = Annotated[
    str | None,
    typer.Option(
        "--provisioner",
        metavar="PROVISIONER",
        help="embedded or terraform. Default: embedded for the profile local, otherwise terraform.",
    ),
]
CONFIRM = Annotated[
    list[str] | None,
    typer.Option(
        "--confirm",
        metavar="NAME",
        help="Confirm the loss of a data store, or of a whole stack, by its name. Repeatable.",
    ),
]
LOCK_TIMEOUT = Annotated[
    str | None,
    typer.Option(
        "--lock-timeout",
        metavar="TIME",
        help="Time to wait for the state lock of another run, such as 30s. Default: no wait.",
    ),
]

T = TypeVar("T")


RolloutResult = Literal["planned", "deployed", "destroyed", "unchanged", "interrupted", "failed"]


@dataclass
class SiteOutcome:
    """The result for a site."""

    site: "SiteConfig"
    plan: "StackPlan | None" = None
    result: "RolloutResult" = "failed"
    made: set[str] = field(default_factory=set)
    """Addresses of the planned changes that were made."""
    begun: set[str] = field(default_factory=set)
    """Addresses of all resources that were touched, also by a part of a change."""
    error: McloudError | None = None
    outputs: dict[str, str] = field(default_factory=dict)
    services: "Mapping[SiteService, str]" = field(default_factory=dict)
    """Result of the probe, by service; empty if it works."""

    def note(self, step: "ProvisioningStep") -> None:
        """Record a step. It may be a part of a change, such as the first half of a replacement."""
        self.begun.add(step.address)
        for change in self.plan.changes if self.plan else ():
            if change.address == step.address and change.done == step.words:
                self.made.add(step.address)

    @property
    def document(self) -> "SiteOutcomeDocument":
        return SiteOutcomeDocument(
            result=self.result,
            stack=self.site.stack,
            plan=self.plan.document if self.plan else None,
            done=len(self.made),
            error=str(self.error) if self.error else None,
            outputs=self.outputs,
            services={name: reason or "up" for name, reason in self.services.items()},
        )


@dataclass(frozen=True)
class SiteOutcomeDocument:
    """The result for a site as JSON."""

    result: RolloutResult
    stack: str
    plan: "StackPlanDocument | None"
    done: int
    """Number of planned changes that were made."""
    error: str | None
    outputs: Mapping[str, str]
    services: Mapping[str, str]
    """Result of the probe, by service; ``up`` if it works."""


class Rollout:
    """Sites that are changed concurrently. A failure of one does not stop another."""

    def __init__(
        self,
        session: Session,
        wanted: str | None,
        provisioner: str | None,
        *,
        start: bool,
        lock_timeout: str | None = None,
    ) -> None:
        from mcloud.config import LOCAL
        from mcloud.infra.provisioner import Hooks
        from mcloud.sites.provisioning import EMBEDDED, TERRAFORM, check, sites

        config = session.config
        if provisioner not in (None, EMBEDDED, TERRAFORM):
            from mcloud.config import unknown

            raise unknown("provisioner", provisioner, (EMBEDDED, TERRAFORM))
        self._provisioner = provisioner or (EMBEDDED if config.profile == LOCAL else TERRAFORM)
        self._session = session
        self._start = start
        self._exit = ExitStack()
        self._stop = threading.Event()
        self._hooks = Hooks(
            stop=self._stop,
            tell=self._tell,
            echo=self._echo,
            say=session.say,
            wait=self._wait,
            replanned=self._replanned,
            lock_timeout=length_of_time("--lock-timeout", lock_timeout) if lock_timeout else 0.0,
        )
        self._stacks: dict[str, Provisioner] = {}
        self._without_backups: set[str] = set()
        """Sites whose backups are deleted as well."""
        self._live: Callable[[str], None] | None = None
        known = sites(config, self._provisioner)
        chosen = _chosen(config.profile, list(known), wanted)
        for name in chosen:
            check(config, known[name], self._provisioner)
        self.outcomes = {name: SiteOutcome(known[name]) for name in chosen}

    def __enter__(self) -> "Rollout":
        from mcloud.infra.environment import withheld
        from mcloud.sites.provisioning import TERRAFORM, open_provisioner

        kept = withheld(os.environ) if self._provisioner == TERRAFORM else []
        if kept:
            self._session.warn(
                f"{', '.join(kept)} of this shell is not passed to Terraform; see `mcloud doctor`"
            )
        for name, outcome in self.outcomes.items():
            opened = open_provisioner(
                self._session.config,
                outcome.site,
                self._provisioner,
                self._hooks,
                start=self._start,
            )
            try:
                self._stacks[name] = self._exit.enter_context(opened)
            except McloudError as error:
                outcome.error = error
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    @property
    def going(self) -> list[str]:
        """Names of the sites that have not failed."""
        return [name for name, outcome in self.outcomes.items() if outcome.error is None]

    @property
    def failed(self) -> bool:
        return len(self.going) < len(self.outcomes)

    def plan(self, *, destroy: bool = False) -> None:
        """Plan every site. Raises KeyboardInterrupt after a Ctrl-C."""
        found = self._each("planning", lambda name: self._stacks[name].plan(destroy=destroy))
        for name, plan in found.items():
            self.outcomes[name].plan = plan
            self.outcomes[name].result = "planned"
        if self._stop.is_set():
            raise KeyboardInterrupt

    def save(self, path: Path) -> None:
        """Write all plans into a file, or none if a site could not be planned."""
        from mcloud.infra.saved_plan import SavedPlan

        if self.failed:
            self._session.warn(f"no plan was saved in {path}: a site could not be planned")
            return
        plans = {name: self._stacks[name].save() for name in self.going}
        SavedPlan(self._session.config.profile, plans).write(path)
        self._session.say(
            f"the plan is in {path}, which only you may read: it can hold sensitive values;"
            f" apply it with `mcloud deploy --plan {path}`"
        )

    def load(self, saved: "SavedPlan", path: Path) -> None:
        """Read the plans from a file, instead of calling ``plan``."""
        found = self._each(
            "reading the plan", lambda name: self._stacks[name].load(saved.sites[name], path)
        )
        for name, plan in found.items():
            self.outcomes[name].plan = plan
            self.outcomes[name].result = "planned"
        if self._stop.is_set():
            raise KeyboardInterrupt

    def agree(self, *, yes: bool, confirmed: Sequence[str], destroy: bool = False) -> None:
        """Ask for confirmation of the plans, and of each loss of data by its name.

        A plan to deploy that would delete what is protected fails here.

        Raises:
            UsageError: there is no terminal.
        """
        from mcloud.cli.ask import agree, type_in
        from mcloud.infra.plan import check_protection, unconfirmed

        for name in self.going if not destroy else ():
            outcome = self.outcomes[name]
            assert outcome.plan is not None
            try:
                check_protection(outcome.plan)
            except McloudError as error:
                outcome.error, outcome.result = error, "failed"
        changing = {
            name: outcome
            for name in self.going
            if (outcome := self.outcomes[name]).plan and not outcome.plan.empty
        }
        if not changing:
            return
        agree(self._session, f"Apply this to {' and '.join(changing)}?", yes=yes)
        for name, outcome in changing.items():
            assert outcome.plan is not None
            lost = unconfirmed(outcome.plan, outcome.site.stack, confirmed)
            if not lost:
                continue
            wanted = lost[0].name if len(lost) == 1 else outcome.site.stack
            what = ", ".join(f"{each.name} ({each.holds})" for each in lost)
            answer = type_in(
                self._session,
                f"{name}: the data in {what} will be deleted; type {wanted} to confirm",
                instead=f"--confirm {wanted}",
            )
            if answer != wanted:
                self._session.say("the name does not match; nothing was done")
                raise typer.Exit(1)

    def choose_backups(self, *, delete: bool, yes: bool, ask: bool) -> None:
        """List the backups that outlive the destroyed sites, and offer to delete them too.

        Args:
            delete: whether the user has already asked for it.
            yes: whether nothing may be asked.
            ask: whether anything will be done at all.
        """
        from mcloud.cli.ask import offer

        for name in self.going:
            try:
                words = self._stacks[name].backups()
            except McloudError as error:
                if delete:  # nothing has been destroyed yet
                    raise
                self._session.warn(f"{name}: the backups cannot be listed: {error}")
                continue
            if not words:
                continue
            self._session.say(f"{name}: {words}")
            question = f"Also delete the backups of {name}? Their data cannot be restored."
            if ask and offer(question, wanted=delete, yes=yes):
                self._without_backups.add(name)

    def apply(self, *, destroy: bool = False) -> None:
        """Apply the plans, and check that the deployed sites work."""

        def apply_one(name: str) -> dict[str, str]:
            return self._stacks[name].apply(delete_backups=name in self._without_backups)

        for name, found in self._each("applying", apply_one).items():
            outcome = self.outcomes[name]
            changed = outcome.plan is not None and not outcome.plan.empty
            outcome.outputs = found
            if changed:
                outcome.result = "destroyed" if destroy else "deployed"
            else:
                outcome.result = "unchanged"
        if destroy or self._stop.is_set():
            return
        for name, services in self._each("probing", self._probe).items():
            self.outcomes[name].services = services

    def finish(self) -> None:
        """Report the result of each site, and exit with the matching code."""
        self._report()
        if self._stop.is_set():
            raise KeyboardInterrupt
        if self.failed:
            codes = {each.error.exit_code for each in self.outcomes.values() if each.error}
            raise typer.Exit(codes.pop() if len(codes) == 1 else 1)
        if any(any(outcome.services.values()) for outcome in self.outcomes.values()):
            raise typer.Exit(3)

    def show(self, *, to_stdout: bool) -> None:
        """Print the plans as tables."""
        from mcloud.drawing.plan import changes_table

        if self._session.quiet and not to_stdout:
            return
        console = self._session.console if to_stdout else self._session.words
        for name in self.going:
            plan = self.outcomes[name].plan
            if plan is not None:
                console.print(changes_table(name, plan))

    def report_failures(self) -> None:
        """Print the failure of each site on standard error, one line each."""
        for name, outcome in self.outcomes.items():
            if outcome.error is not None:
                self._session.fail(f"{name}: {outcome.error}")

    def _report(self) -> None:
        self.report_failures()
        if self._session.output == "json":
            self._session.print_json(
                {"sites": {name: outcome.document for name, outcome in self.outcomes.items()}}
            )
            return
        for name, outcome in self.outcomes.items():
            self._session.console.print(f"{name}: {_sentence(outcome)}", markup=False)
        for name, outcome in self.outcomes.items():
            for service, reason in outcome.services.items():
                if reason:
                    self._session.warn(f"{name}: no answer from the {service}: {reason}")

    def _each(self, title: str, call: Callable[[str], T]) -> dict[str, T]:
        """Call concurrently for every site that has not failed, and record the errors."""
        from mcloud.cli.progress import waiting
        from mcloud.deadline import gather

        with self._stopping(), waiting(self._session, title) as self._live:
            answers = gather({name: partial(call, name) for name in self.going}, LONGEST)
        found: dict[str, T] = {}
        for name, answer in answers.items():
            if isinstance(answer, Exception):
                answer = refusal(answer) or answer
            if isinstance(answer, McloudError):
                self.outcomes[name].error = answer
                self.outcomes[name].result = "interrupted" if self._stop.is_set() else "failed"
            elif isinstance(answer, Exception):
                self._echo("".join(traceback.format_exception(answer)))
                self.outcomes[name].error = McloudError(
                    f"{type(answer).__name__}: {answer}",
                    remedy="this is a bug in mcloud: run it again with -vv and report the output",
                )
            else:
                found[name] = answer
        return found

    def _probe(self, name: str) -> "dict[SiteService, str]":
        from mcloud.sites.provisioning import probe_deployed

        return probe_deployed(self._session.config, self.outcomes[name].site, self._stop)

    @contextmanager
    def _stopping(self) -> Iterator[None]:
        """On Ctrl-C and SIGTERM, stop in an orderly way, which may take a while."""

        def stop(*_: object) -> None:
            words = (
                "still waiting: Terraform holds the lock of its state and must not be killed\n"
                if self._stop.is_set()
                else "interrupted; waiting for the changes in progress and for the lock\n"
            )
            self._stop.set()
            if not self._session.quiet:
                os.write(2, words.encode())  # the signal may have interrupted a print

        handled = [signal.SIGTERM]
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            handled.append(signal.SIGINT)
        before = {number: signal.signal(number, stop) for number in handled}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _tell(self, step: "ProvisioningStep") -> None:
        self.outcomes[step.site].note(step)
        if self._live is not None and step.seconds is None:
            self._live(f"{step.site}: {step.words} {step.address}")
        if self._session.verbose or (self._session.live and step.seconds is not None):
            took = "" if step.seconds is None else f"  {step.seconds:.0f} s"
            self._session.say(f"{step.site}  {step.words:<10} {step.address}{took}")

    def _wait(self, line: str) -> None:
        if self._live is not None:
            self._live(line)

    def _replanned(self, name: str, plan: "StackPlan") -> None:
        from mcloud.drawing.plan import changes_table

        if not self._session.quiet:
            self._session.words.print(changes_table(name, plan))

    def _echo(self, line: str) -> None:
        if self._session.verbose >= 2:
            self._session.say(line)


def read_plan(session: Session, path: Path, wanted: str | None) -> "SavedPlan":
    """Read a saved plan, and return the wanted sites of it.

    Raises:
        UsageError: it belongs to another profile, or does not have a site.
    """
    from mcloud import config
    from mcloud.infra.saved_plan import SavedPlan, read

    saved = read(path)
    if saved.profile != session.config.profile:
        raise UsageError(
            f"the plan in {path} is for the profile {saved.profile!r}, not"
            f" {session.config.profile!r}",
            remedy=f"use --profile {saved.profile}",
        )
    names = config.select(saved.sites, None if wanted == "all" else wanted)
    return SavedPlan(saved.profile, {name: saved.sites[name] for name in names})


def _chosen(profile: str, known: list[str], wanted: str | None) -> list[str]:
    from mcloud import config
    from mcloud.errors import ConfigError

    if not known:
        raise ConfigError(f"the profile {profile!r} has no sites", remedy="add one to mcloud.toml")
    return config.select(known, None if wanted == "all" else wanted)


def _sentence(outcome: SiteOutcome) -> str:
    from mcloud.drawing.plan import sentence

    planned = len(outcome.plan.changes) if outcome.plan else 0
    if outcome.result in ("failed", "interrupted"):
        if not outcome.begun:
            return f"{outcome.result}, with nothing changed"
        made = len(outcome.made)
        half = sorted(outcome.begun - outcome.made)
        words = f"{outcome.result} after {made} of {planned} changes, which are saved in the state"
        return f"{words}; unfinished: {', '.join(half)}" if half else words
    if outcome.result == "planned" and outcome.plan:
        return sentence(outcome.plan)
    some = f"{planned} change" if planned == 1 else f"{planned} changes"
    words = "no changes" if outcome.result == "unchanged" else f"{outcome.result}, {some}"
    if outcome.services:
        up = [name for name, reason in outcome.services.items() if not reason]
        words += f"; {', '.join(up) or 'nothing'} {'answers' if len(up) < 2 else 'answer'}"
    return words


def next_step(outcomes: Mapping[str, SiteOutcome]) -> str:
    """Return the next step after some sites are deployed."""
    up = [
        name for name, each in outcomes.items() if each.services and not any(each.services.values())
    ]
    return f"next: `mcloud produce --site {','.join(up)}`" if up else ""
