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

    For each producer it shows what waits in the spool, and what is missing.

    Examples:
    mcloud ps
    mcloud ps default --check
    """
    import time

    kinds = session.runs(name)
    states = [each for runs in kinds.values() for each in runs]
    if session.output == "json":
        session.print_json(
            [
                {"name": n, "kind": kind, "running": r, **state}
                for kind, runs in kinds.items()
                for n, r, state in runs
            ]
        )
    elif not states:
        session.say("no processes; `mcloud produce` starts a producer")
    else:
        from mcloud.drawing.ps import listing

        session.print(listing(kinds))
        for n, _, state in states:
            if "damaged" in state:
                session.warn(f"{n}: {state['damaged']}")
    sound = [
        runs and abs(time.time() - state.get("at", 0)) < STALE and not state.get("stalled")
        for _, runs, state in states
    ]
    if check and not (sound and all(sound)):
        raise typer.Exit(3)
