"""``mcloud doctor``"""

from typing import Annotated

import typer

from mcloud.cli.options import WAIT
from mcloud.cli.session import Session, command


def register(app: typer.Typer) -> None:
    command(app)(doctor)


def doctor(
    session: Session,
    site: Annotated[
        str | None, typer.Argument(help="Comma-separated sites. Default: all sites.")
    ] = None,
    role: Annotated[
        str | None,
        typer.Option(
            metavar="ROLE",
            help="Role whose permissions the credentials must have: deployer, planner, operator, "
            "producer"
            " or replicator. Default: operator, or deployer before the first deployment.",
        ),
    ] = None,
    wait: WAIT = False,
) -> None:
    """Check everything that mcloud needs; exit 3 on a problem.

    Each problem is shown with its cause and its remedy. A site is down if none of its services
    answers within two seconds; its other checks are then left out.

    Examples:
    mcloud doctor
    mcloud doctor aws --role deployer
    """
    from dataclasses import replace

    from mcloud.cli.progress import waiting
    from mcloud.clouds.access import COMPONENTS, FAULT
    from mcloud.config import unknown
    from mcloud.doctor.examine import examine

    if role is not None and role not in COMPONENTS:
        raise unknown("role", role, COMPONENTS)
    config = session.config
    with waiting(session, "running the checks"):
        checks = examine(config, site, role, session.runs().producers, wait=wait)
    is_wrong = any(check.state == FAULT for check in checks)
    if session.output == "json":
        session.print_json(
            {
                "profile": config.profile,
                "ok": not is_wrong,
                "checks": checks,
            }
        )
    else:
        from mcloud.drawing.doctor import report

        session.print(
            report([replace(each, remedy=session.advice(each.remedy)) for each in checks])
        )
    if is_wrong:
        raise typer.Exit(3)
