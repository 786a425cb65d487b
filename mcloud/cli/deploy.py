"""``mcloud deploy``"""

import typer

from mcloud.cli.provision import CONFIRM, DRY_RUN, PROVISIONER, SITE, YES, Rollout, next_step
from mcloud.cli.session import Session, command


def register(app: typer.Typer) -> None:
    command(app)(deploy)


def deploy(
    session: Session,
    site: SITE = None,
    provisioner: PROVISIONER = None,
    yes: YES = False,
    confirm: CONFIRM = None,
    dry_run: DRY_RUN = False,
) -> None:
    """Build sites, or bring them up to date, and see that they work."""
    with Rollout(session, site, provisioner, start=not dry_run) as rollout:
        rollout.plan()
        rollout.show(to_stdout=False)
        if not dry_run:
            rollout.agree(yes=yes, confirmed=confirm or ())
            rollout.apply()
    if not dry_run and (words := next_step(rollout.outcomes)):
        session.say(words)
    rollout.finish()
