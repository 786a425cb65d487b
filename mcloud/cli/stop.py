"""``mcloud stop``"""

from typing import Annotated

import typer

from mcloud.cli.session import Session, command
from mcloud.errors import McloudError


def register(app: typer.Typer) -> None:
    command(app)(stop)


def stop(
    session: Session,
    name: Annotated[
        str | None, typer.Argument(help="Name of a process. Default: all processes.")
    ] = None,
    now: Annotated[
        bool,
        typer.Option("--now", help="Do not deliver what has been read. It stays in the spool."),
    ] = False,
    wait: Annotated[
        float,
        typer.Option(min=0, metavar="SECONDS", help="Maximum time to wait for each process."),
    ] = 30.0,
) -> None:
    """Stop processes after they have delivered what they read.

    Examples:
    mcloud stop
    mcloud stop default --now
    """
    from mcloud import runs
    from mcloud.cli.progress import waiting

    chosen = runs.runs_called(session.config.state, name)
    stopped = []
    gone = [run for run in chosen if run.is_lost]
    for run in chosen:
        with waiting(session, f"stopping {run.name}"):
            if runs.stop(run, now=now, patience=wait):
                stopped.append(run)
    if name and not (stopped or gone):
        raise McloudError(f"no process called {name!r} is running here", remedy="see `mcloud ps`")
    names = {run.name for run in stopped if run.kind == "producer"}
    left: dict[str, dict[str, int]] = {run.name: {} for run in stopped}
    for each in session.runs(name).producers:
        if each.name in names and each.state:
            sites = each.state.sites.items()
            left[each.name] = {site: delivery.waiting_trades for site, delivery in sites}
    if session.output == "json":
        session.print_json(left)
    for run_name, counts in left.items():
        words = ", ".join(f"{count:,} trades for {site}" for site, count in counts.items() if count)
        rest = f"; left in its spool: {words}" if words else "; nothing is left" if counts else ""
        session.say(f"{run_name} has ended{rest}")
    for run in gone:
        session.say(f"{run.name} had already died; it is now recorded as ended")
    if not (stopped or gone):
        session.say("no process is running here")
