"""``mcloud replicate``"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from mcloud.cli import background
from mcloud.cli.options import DETACH, KINDS, PROCESS, SCOPE, SYMBOLS
from mcloud.cli.session import INTERRUPTED, Session, command
from mcloud.errors import McloudError

if TYPE_CHECKING:
    from mcloud.replication.progress import PairProgress
    from mcloud.replication.scope import Scope
    from mcloud.runs import Run


def register(app: typer.Typer) -> None:
    command(app)(replicate)


def replicate(
    session: Session,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="SITES",
            help="Comma-separated sites to copy from. Default: all sites.",
            rich_help_panel=SCOPE,
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="SITES",
            help="Comma-separated sites to copy to. Default: all sites.",
            rich_help_panel=SCOPE,
        ),
    ] = None,
    what: KINDS = "candles,raw",
    symbols: SYMBOLS = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="N/TOTAL",
            help="Share of the symbols, such as 2/4: the second of four replicators.",
            rich_help_panel=SCOPE,
        ),
    ] = None,
    once: Annotated[
        bool,
        typer.Option(
            "--once",
            help="Exit when nothing is left to copy.",
        ),
    ] = False,
    name: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Name of the replicator.",
            rich_help_panel=PROCESS,
        ),
    ] = "replicator",
    detach: DETACH = False,
) -> None:
    """Copy data between the sites, in every direction.

    It copies what the sites have now, and then what is added, until Ctrl-C. It resumes where an
    earlier run stopped.

    Examples:
    mcloud replicate --once
    mcloud replicate --detach
    mcloud replicate --from aws --to gcp --what candles
    """
    from mcloud import config, runs
    from mcloud.replication.copier import spare_cores
    from mcloud.replication.replicate import AT_ONCE, FOLLOWING, open_pairs, replicator_state
    from mcloud.replication.replicate import replicate as run_pairs
    from mcloud.replication.scope import Scope
    from mcloud.sites.resources import site_resources

    scope = Scope.parse(what, symbols, shard)
    run = runs.run_of(session.config.state / "replicators", name)
    if detach:
        background.detach(session, run)
        return
    resources = site_resources(session.config)
    sources, targets = (config.select(resources, wanted) for wanted in (from_, to))
    sites = session.sites(",".join({*sources, *targets}))
    stop = threading.Event()
    with (
        background.alone(run),
        open_pairs(
            sites,
            sources,
            targets,
            session.config.state / "replication" / session.config.profile,
            scope,
            identities={each: str(resources[each].to_outputs()) for each in sites},
            pauses=AT_ONCE if once else FOLLOWING,
            processes=spare_cores(),
            log=run.logger(),
        ) as pairs,
        background.stopping(stop),
        _watching(session, run, scope, once) as watch,
    ):
        ended = run_pairs(pairs, once=once, part=scope.part, stop=stop, progress=watch)
    if session.output == "json":
        session.print_json(replicator_state(run.name, scope, once, ended))
    else:
        from mcloud.drawing.replicate import copied

        session.print(copied(ended))
    if stop.is_set():
        raise typer.Exit(INTERRUPTED)
    if away := [each for each in ended if each.error]:
        raise McloudError(
            f"{away[0].source} to {away[0].target}: {away[0].error}",
            remedy="copied data is kept; run it again to continue",
        )


@contextmanager
def _watching(
    session: Session, run: "Run", scope: "Scope", once: bool
) -> "Iterator[Callable[[list[PairProgress]], None]]":
    """Write the state document once a second, and draw the panel more often."""
    import time

    from mcloud.cli import progress
    from mcloud.drawing.replicate import panel
    from mcloud.replication.replicate import replicator_state

    due = 0.0

    def watch(pairs: "list[PairProgress]") -> None:
        nonlocal due
        if draw:
            draw(panel(pairs))
        if time.monotonic() < due:
            return
        due = time.monotonic() + 1.0
        run.write(replicator_state(run.name, scope, once, pairs))

    with progress.panel(session) as draw:
        yield watch
