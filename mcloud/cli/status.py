"""``mcloud status``"""

from typing import Annotated

import typer

from mcloud.cli.session import Session, command


def register(app: typer.Typer) -> None:
    command(app)(status)


def status(
    session: Session,
    site: Annotated[str | None, typer.Argument(help="Site; all if left out.")] = None,
) -> None:
    """Show each site on one screen; exit 3 where a service is down."""
    from mcloud.cli.progress import waiting
    from mcloud.dashboard.snapshot import collect

    sites = session.sites(site)
    with waiting(session, "asking the sites"):
        snapshot = collect(sites)
    producers, replicators = session.producers(), session.replicators()
    guards = session.guards()
    if session.output == "json":
        session.print_json(
            {
                **snapshot.to_json(),
                "producers": [{"name": n, "running": r, **state} for n, r, state in producers],
                "replicators": [{"name": n, "running": r, **state} for n, r, state in replicators],
                "guards": [{"name": n, "running": r, **state} for n, r, state in guards],
            }
        )
    else:
        from mcloud.dashboard.runs import listing
        from mcloud.dashboard.views import status_table

        session.print(status_table(snapshot))
        if producers or replicators or guards:
            session.print("")
            session.print(listing(producers, replicators, guards))
    if not snapshot.up:
        raise typer.Exit(3)
