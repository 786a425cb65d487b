"""``mcloud status``"""

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from mcloud.cli.options import WAIT
from mcloud.cli.session import Session, command

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    wait: WAIT = False,
) -> None:
    """Show the verdict and what deviates; exit 3 on a problem.

    The first line says whether something is wrong. Below it is each problem, with the command that
    helps. `-v` adds all figures of the sites, and the processes on this machine.

    Problems are a service that is down, dead letters, missing trades, a former primary that is not
    proven equal, an alert that fires, a guard that is gone, and a producer or replicator that is
    cut off from a site, full, or silent.

    Examples:
    mcloud status
    mcloud status -v
    mcloud status aws -o json
    """
    from mcloud.observing.problems import problems

    snapshot = look(session, site, wait=wait)
    show(session, snapshot, in_full=session.verbose > 0)
    if problems(snapshot):
        raise typer.Exit(3)


def costing(session: Session, sites: "Mapping[str, Site]") -> "Costing":
    """Return how the cost of these sites is read."""
    from mcloud.config import LOCAL
    from mcloud.cost.current import current
    from mcloud.observing.queries import COST, Costing

    is_local = session.config.profile == LOCAL
    ask = partial(current, session.config, sites)
    return Costing(ask, 10.0 if is_local else COST, is_billed=not is_local)


def look(session: Session, site: str | None, *, wait: bool = False) -> "Snapshot":
    """Read everything once."""
    from mcloud.cli.progress import waiting
    from mcloud.cli.reading import opened
    from mcloud.observing.machine import machine
    from mcloud.observing.snapshot import collect

    sites = opened(session, site, wait=wait)
    with waiting(session, "reading the sites"):
        return collect(sites, partial(machine, session.config.state), costing(session, sites))


def show(session: Session, snapshot: "Snapshot", *, in_full: bool) -> None:
    """Print a snapshot, for a person or for a program. ``in_full`` adds all figures."""
    if session.output == "json":
        from mcloud.observing.document import document

        session.print_json(document(snapshot))
    else:
        from mcloud.drawing.status import everything
        from mcloud.drawing.status import status as deviations

        drawn = everything if in_full else deviations
        session.print(drawn(snapshot, session.advice))
