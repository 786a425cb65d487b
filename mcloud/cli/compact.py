"""``mcloud compact``"""

from typing import TYPE_CHECKING, Annotated

import typer

from mcloud.cli.options import SYMBOLS
from mcloud.cli.session import Session, command

if TYPE_CHECKING:
    from mcloud.archive.compact import Compacted


def register(app: typer.Typer) -> None:
    command(app)(compact)


def compact(
    session: Session,
    sites: Annotated[
        str | None,
        typer.Argument(metavar="SITES", help="Comma-separated sites. Default: all sites."),
    ] = None,
    symbols: SYMBOLS = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count the objects, and change nothing.")
    ] = False,
) -> None:
    """Move trades to large blocks of the raw archive.

    The export service of each cloud writes messages to the staging bucket, five minutes in an
    object. Compaction moves the trades of these staged objects, and of small raw objects, to
    blocks of 100,000 trade ids. Blocks are cheap to keep and to read, and equal on all sites that
    have the same trades. A block is checked before the objects that it was made of are removed.
    Hours that ended less than an hour ago are left for the next time. If an object cannot be
    compacted, the command leaves it where it is, names it, and exits with 3.

    You can interrupt it, run it again, and run it beside everything else. A function of each site
    does the same once an hour, unless `compaction = false` is set for the site.

    Examples:
    mcloud compact
    mcloud compact aws --symbols BTCUSDT,ETHUSDT
    mcloud compact --dry-run -o json
    """
    from mcloud.archive.compact import compact as compact_archive
    from mcloud.cli.progress import waiting
    from mcloud.drawing.compact import line
    from mcloud.replication.scope import Scope

    scope = Scope.parse("raw", symbols, None)
    done: dict[str, Compacted] = {}
    for name, site in session.sites(sites).items():
        with waiting(session, f"compacting {name}") as tell:
            done[name] = compact_archive(site.archive, scope.has, dry_run=dry_run, tell=tell)
    if session.output == "json":
        session.print_json({"dry_run": dry_run, "sites": done})
    for name, each in done.items():
        for problem in each.problems:
            session.warn(f"{name}: {problem}")
        for key in each.foreign:
            session.warn(f"{name}: kept lines that are no messages in {key} of the staging bucket")
        if session.output != "json":
            session.print(line(name, each, dry_run=dry_run))
    if any(each.problems for each in done.values()):
        raise typer.Exit(3)
