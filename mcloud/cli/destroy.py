"""``mcloud destroy``"""

from typing import Annotated

import typer

from mcloud.cli.options import DRY_RUN, YES
from mcloud.cli.provision import CONFIRM, LOCK_TIMEOUT, PROVISIONER, SITE, Rollout
from mcloud.cli.session import Session, command


def register(app: typer.Typer) -> None:
    command(app)(destroy)


def destroy(
    session: Session,
    site: SITE = None,
    provisioner: PROVISIONER = None,
    lock_timeout: LOCK_TIMEOUT = None,
    yes: YES = False,
    confirm: CONFIRM = None,
    delete_backups: Annotated[
        bool,
        typer.Option(
            "--delete-backups",
            help="Also delete the backups of the databases. Default: list them and ask; with --yes"
            " they are kept.",
        ),
    ] = False,
    dry_run: DRY_RUN = False,
) -> None:
    """Delete sites with all their data.

    Data that is protected against deletion is deleted too, after you have confirmed it by name.
    Backups of a Firestore database are not part of the site, and are billed until they expire.

    Examples:
    mcloud destroy aws --dry-run
    mcloud destroy aws
    """
    with Rollout(session, site, provisioner, start=False, lock_timeout=lock_timeout) as rollout:
        rollout.plan(destroy=True)
        rollout.show(to_stdout=False)
        if not dry_run:
            rollout.agree(yes=yes, confirmed=confirm or (), destroy=True)
        rollout.choose_backups(delete=delete_backups, yes=yes, ask=not dry_run)
        if not dry_run:
            rollout.apply(destroy=True)
    rollout.finish()
