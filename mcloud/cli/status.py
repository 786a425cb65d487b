"""``mcloud status``"""

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from mcloud.cli.session import Session, command

if TYPE_CHECKING:
    from mcloud.clouds.ports import Site
    from mcloud.observing.queries import Costing
    from mcloud.observing.snapshot import Snapshot


def register(app: typer.Typer) -> None:
    command(app)(status)


def status(
    session: Session,
    site: Annotated[
        str | None, typer.Argument(help="Comma-separated sites. Default: all sites.")
    ] = None,
) -> None:
    """Show each site on one screen; exit 3 on a problem.

    Problems are a service that is down, dead letters, missing trades, a former primary that is not
    proven equal, an alert that fires, a guard that is gone, and a producer or replicator that is
    cut off from a site, full, or silent.

    Examples:
    mcloud status
    mcloud status aws -o json
    """
    from mcloud.observing.problems import problems

    snapshot = look(session, site)
    show(session, snapshot)
    if problems(snapshot):
        raise typer.Exit(3)


def costing(session: Session, sites: "dict[str, Site]") -> "Costing":
    """Return how the cost of these sites is read."""
    from mcloud.config import LOCAL
    from mcloud.cost.current import current
    from mcloud.observing.queries import COST, Costing

    is_local = session.config.profile == LOCAL
    ask = partial(current, session.config, sites)
    return Costing(ask, 10.0 if is_local else COST, is_billed=not is_local)


def look(session: Session, site: str | None) -> "Snapshot":
    """Read everything once."""
    from mcloud.cli.progress import waiting
    from mcloud.observing.machine import machine
    from mcloud.observing.snapshot import collect

    sites = session.sites(site)
    with waiting(session, "reading the sites"):
        return collect(sites, partial(machine, session.config.state), costing(session, sites))


def show(session: Session, snapshot: "Snapshot") -> None:
    """Print a snapshot, for a person or for a program."""
    if session.output == "json":
        from mcloud.observing.document import document

        session.print_json(document(snapshot))
    else:
        from mcloud.drawing.status import status as drawn

        session.print(drawn(snapshot, session.advice))
