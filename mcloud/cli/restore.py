"""``mcloud restore``"""

from typing import TYPE_CHECKING, Annotated

import typer

from mcloud.cli.options import END, START, SYMBOLS, YES, window_of
from mcloud.cli.session import Session, command
from mcloud.errors import UsageError

if TYPE_CHECKING:
    from mcloud.replication.restore import Restored
    from mcloud.replication.restore_estimate import RestoreEstimate

_ENGINE = "Engine"


def register(app: typer.Typer) -> None:
    command(app)(restore)


def restore(
    session: Session,
    site: Annotated[str, typer.Argument(help="Site to fill.")],
    source: Annotated[str, typer.Option("--from", metavar="SITE", help="Site that has the data.")],
    symbols: SYMBOLS = None,
    start: START = None,
    end: END = None,
    engine: Annotated[
        str,
        typer.Option(
            metavar="ENGINE",
            help="direct copies candles and raw trades; functions sends raw trades to the functions"
            " of the site; transfer-service has the clouds copy the raw trades themselves.",
            rich_help_panel=_ENGINE,
        ),
    ] = "direct",
    role_arn: Annotated[
        str | None,
        typer.Option(
            metavar="ARN",
            help="AWS role for the transfer service.",
            rich_help_panel=_ENGINE,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Show what would be copied, with an estimate of the cost.",
        ),
    ] = False,
    yes: YES = False,
) -> None:
    """Fill a site with the data of another site; resumable.

    It shows what is missing and what the copy costs, and asks for confirmation.

    Examples:
    mcloud restore gcp --from aws --dry-run
    mcloud restore gcp --from aws --symbols BTCUSDT --start 2024-08-08
    mcloud restore gcp --from aws --engine functions --yes
    """
    from mcloud import config
    from mcloud.cli.ask import agree
    from mcloud.cli.progress import waiting
    from mcloud.config import chosen
    from mcloud.drawing.restore import estimate_lines
    from mcloud.replication.copier import spare_cores
    from mcloud.replication.restore import ENGINES, Restore
    from mcloud.replication.scope import Scope
    from mcloud.replication.transfer import choose
    from mcloud.sites.resources import site_resources

    chosen_engine = chosen("engine", engine, ENGINES)
    scope, window = Scope.parse("candles,raw", symbols, None), window_of(start, end)
    resources = site_resources(session.config)
    target, origin = (_one(config.select(resources, name)) for name in (site, source))
    if target == origin:
        raise UsageError(f"{target} cannot be restored from itself")
    transfer = None
    if chosen_engine == "transfer-service":
        transfer = choose(resources[origin], resources[target], role_arn)
    elif role_arn is not None:
        raise UsageError("--role-arn is for --engine transfer-service")
    sites = session.sites(f"{target},{origin}")
    with waiting(session, f"restoring {target} from {origin}") as tell:
        job = Restore(
            sites[origin],
            sites[target],
            scope,
            session.config.state / "replication" / session.config.profile,
            window=window,
            identities={name: str(resources[name].to_outputs()) for name in sites},
            engine=chosen_engine,
            transfer=transfer,
            processes=spare_cores(),
            tell=tell,
        )
        estimate = None if job.unfinished() else job.survey()
    if estimate is None:
        question = f"{job.unfinished():,} hours of an earlier run are left: continue?"
    else:
        question = "restore this?"
        for line in estimate_lines(estimate, origin, target):
            session.say(line)
        if transfer and not estimate.is_empty:
            session.say(f"the estimate includes what {transfer.service} costs")
    if dry_run or (estimate is not None and estimate.is_empty):
        _end(session, job.unfinished(), estimate, None)
        return
    agree(session, question, yes=yes)
    with job.locked(), waiting(session, f"restoring {target} from {origin}") as tell:
        job.tell = tell
        done = job.run(estimate)
    _end(session, 0, estimate, done)


def _one(names: list[str]) -> str:
    if len(names) != 1:
        raise UsageError("restore takes a single site, and a single site with --from")
    return names[0]


def _end(
    session: Session, unfinished: int, estimate: "RestoreEstimate | None", done: "Restored | None"
) -> None:
    from mcloud.drawing.restore import result, warnings

    if session.output == "json":
        session.print_json(
            {
                "unfinished_hours": unfinished,
                "estimate": None if estimate is None else estimate.document,
                "done": done,
            }
        )
    if done is None:
        return
    session.say(result(done))
    for each in warnings(done):
        session.warn(each)
    if done.left:
        raise typer.Exit(3)
