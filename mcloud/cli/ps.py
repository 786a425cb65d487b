"""``mcloud ps``"""

from typing import Annotated

import typer

from mcloud.cli.session import Session, command

STALE = 15.0  # seconds; each process reports every second


def register(app: typer.Typer) -> None:
    command(app)(ps)


def ps(
    session: Session,
    name: Annotated[
        str | None, typer.Argument(help="Name of a process. Default: all processes.")
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Exit with 3 unless every process runs, reports, and receives what the exchange"
            " trades. For health checks.",
        ),
    ] = False,
) -> None:
    """List the producers and other processes of this folder.

    For each producer it shows how many messages wait in the spool and how many trades are missing.

    Examples:
    mcloud ps
    mcloud ps default --check
    """
    import time

    runs = session.runs(name)
    every = [(kind, each) for kind, found in runs.by_kind.items() for each in found]
    if session.output == "json":
        session.print_json(runs.document)
    elif not every:
        session.say("no processes; `mcloud produce` starts a producer")
    else:
        from mcloud.drawing.ps import listing

        session.print(listing(runs))
        for _, each in every:
            if each.damaged:
                session.warn(f"{each.name}: {each.damaged}")
    now = time.time()
    stalled = {each.name for each in runs.producers if each.state and each.state.stalled}
    sound = [
        each.runs
        and each.state is not None
        and abs(now - each.state.at) < STALE
        and not (kind == "producer" and each.name in stalled)
        for kind, each in every
    ]
    if check and not (sound and all(sound)):
        raise typer.Exit(3)
