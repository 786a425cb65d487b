"""``mcloud plan``"""

from pathlib import Path
from typing import Annotated

import typer

from mcloud.cli.provision import LOCK_TIMEOUT, PROVISIONER, SITE, Rollout
from mcloud.cli.session import Session, command
from mcloud.errors import UsageError


def register(app: typer.Typer) -> None:
    command(app)(plan)


def plan(
    session: Session,
    site: SITE = None,
    provisioner: PROVISIONER = None,
    lock_timeout: LOCK_TIMEOUT = None,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit with 3 if there are changes.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="Save the plan for `mcloud deploy --plan FILE`."
        ),
    ] = None,
) -> None:
    """Show what `deploy` would change, and what has drifted.

    Examples:
    mcloud plan
    mcloud plan aws --detailed-exitcode
    mcloud plan --out plan.zip
    """
    if out is not None and not out.absolute().parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {out.parent}")
    with Rollout(session, site, provisioner, start=False, lock_timeout=lock_timeout) as rollout:
        rollout.plan()
        if out is not None:
            rollout.save(out)
    if session.output == "json":
        session.print_json({"sites": {n: each.document for n, each in rollout.outcomes.items()}})
    else:
        rollout.show(to_stdout=True)
    rollout.report_failures()
    if rollout.failed:
        raise typer.Exit(1)
    plans = [outcome.plan for outcome in rollout.outcomes.values()]
    if detailed_exitcode and any(each is not None and not each.empty for each in plans):
        raise typer.Exit(3)
