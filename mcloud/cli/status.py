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
    producers = session.producers()
    if session.output == "json":
        session.print_json(
            {
                **snapshot.to_json(),
                "producers": [{"name": n, "running": r, **state} for n, r, state in producers],
            }
        )
    else:
        from mcloud.dashboard.producers import listing
        from mcloud.dashboard.views import status_table

        session.print(status_table(snapshot))
        if producers:
            session.print("")
            session.print(listing(producers))
    if not snapshot.up:
        raise typer.Exit(3)
