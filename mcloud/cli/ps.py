"""``mcloud ps``"""

from typing import Annotated

import typer

from mcloud.cli.session import Session, command

STALE = 15.0  # seconds; a producer speaks every second


def register(app: typer.Typer) -> None:
    command(app)(ps)


def ps(
    session: Session,
    name: Annotated[str | None, typer.Argument(help="Producer; all if left out.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Exit 3 unless it runs and speaks; for health checks.")
    ] = False,
) -> None:
    """List the producers here: what waits, what is missing."""
    import time

    states = session.producers(name)
    if session.output == "json":
        session.print_json([{"name": n, "running": r, **state} for n, r, state in states])
    elif not states:
        session.say("no producers; `mcloud produce` starts one")
    else:
        from mcloud.dashboard.producers import listing

        session.print(listing(states))
    fresh = [runs and time.time() - state.get("at", 0) < STALE for _, runs, state in states]
    if check and not (fresh and all(fresh)):
        raise typer.Exit(3)
