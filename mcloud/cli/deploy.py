"""``mcloud deploy``"""

from pathlib import Path
from typing import Annotated

import typer

from mcloud.cli.options import DRY_RUN, YES
from mcloud.cli.provision import (
    CONFIRM,
    LOCK_TIMEOUT,
    PROVISIONER,
    SITE,
    Rollout,
    next_step,
    read_plan,
)
from mcloud.cli.session import Session, command


def register(app: typer.Typer) -> None:
    command(app)(deploy)


def deploy(
    session: Session,
    site: SITE = None,
    provisioner: PROVISIONER = None,
    lock_timeout: LOCK_TIMEOUT = None,
    yes: YES = False,
    confirm: CONFIRM = None,
    dry_run: DRY_RUN = False,
    plan: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Apply the plan that `mcloud plan --out FILE` saved."),
    ] = None,
) -> None:
    """Create or update sites, and check that they work.

    It shows a plan, asks for confirmation and applies that plan. A change that would lose data
    needs a confirmation of its own.

    Examples:
    mcloud deploy
    mcloud deploy aws --dry-run
    mcloud deploy --plan plan.zip --yes
    """
    saved = None if plan is None else read_plan(session, plan, site)
    with Rollout(
        session,
        site if saved is None else ",".join(saved.sites),
        provisioner,
        start=not dry_run,
        lock_timeout=lock_timeout,
    ) as rollout:
        if plan is None or saved is None:
            rollout.plan()
        else:
            rollout.load(saved, plan)
        rollout.show(to_stdout=False)
        is_partial = saved is not None and rollout.failed
        if not dry_run and not is_partial:
            rollout.agree(yes=yes, confirmed=confirm or ())
            rollout.apply()
    if not dry_run and not is_partial and (words := next_step(rollout.outcomes)):
        session.say(words)
    rollout.finish()
