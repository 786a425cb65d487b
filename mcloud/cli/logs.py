"""``mcloud logs``"""

from typing import Annotated

import typer

from mcloud.cli.session import Session, command
from mcloud.errors import McloudError


def register(app: typer.Typer) -> None:
    command(app, formats=("text",))(logs)


def logs(
    session: Session,
    name: Annotated[str, typer.Argument(help="Producer.")] = "default",
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as it grows.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="Lines of the end.")] = 20,
) -> None:
    """Show a producer's log."""
    from mcloud.producer.runs import run_of, tail

    run = run_of(session.config.state / "producers", name)
    if not run.log.exists():
        raise McloudError(f"no producer {name!r} ran here", remedy="see `mcloud ps`")
    for line in tail(run.log, lines, follow=follow):
        print(line, flush=True)
