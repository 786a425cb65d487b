"""``mcloud logs``"""

from typing import Annotated

import typer

from mcloud.cli.session import Session, command
from mcloud.errors import McloudError


def register(app: typer.Typer) -> None:
    command(app, formats=("text",))(logs)


def logs(
    session: Session,
    name: Annotated[str, typer.Argument(help="Name of a process (`mcloud ps`).")] = "default",
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Keep printing new lines.")
    ] = False,
    lines: Annotated[
        int, typer.Option("-n", "--lines", min=0, metavar="COUNT", help="Number of last lines.")
    ] = 20,
) -> None:
    """Show the log of a process.

    A process is a producer, a replicator, a guard or a watcher of alerts.

    Examples:
    mcloud logs
    mcloud logs guard -n 100 -f
    """
    from mcloud.runs import runs_called, tail

    logs = [run.log for run in runs_called(session.config.state, name) if run.log.exists()]
    if not logs:
        raise McloudError(f"no process called {name!r} has run here", remedy="see `mcloud ps`")
    for line in tail(logs[0], lines, follow=follow):
        print(line, flush=True)
