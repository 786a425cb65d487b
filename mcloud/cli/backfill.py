"""``mcloud backfill``"""

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from mcloud.cli.extras import require_bulk
from mcloud.cli.options import SCOPE, YES
from mcloud.cli.session import Session, command
from mcloud.errors import UsageError

if TYPE_CHECKING:
    from mcloud.backfill.estimate import BackfillEstimate
    from mcloud.backfill.run import Backfill, Engine, Plan
    from mcloud.clouds.ports import Site
    from mcloud.drawing.backfill import BackfillResult

_ENGINE = "Engine"
OPENED = date(2017, 7, 14)
"""Day of the first trade on Binance, of BNBBTC."""
LIVE = timedelta(3)
"""Age of the last day up to which live trades may follow its file."""


def register(app: typer.Typer) -> None:
    command(app)(backfill)


def backfill(
    session: Session,
    symbols: Annotated[
        str, typer.Argument(help="Comma-separated symbols, such as BTCUSDT,ETHUSDT.um.")
    ],
    start: Annotated[str, typer.Option(metavar="DATE", help="First day, UTC, such as 2024-01-01.")],
    end: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="Last day, UTC, inclusive. Default: the first day."),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="SITES",
            help="Comma-separated sites to fill. Default: all sites.",
            rich_help_panel=SCOPE,
        ),
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--files",
            metavar="PLACE",
            help="Folder, or http, https, s3 or gs URL, of the files. Default: Binance's own,"
            " https://data.binance.vision.",
            rich_help_panel=SCOPE,
        ),
    ] = None,
    source: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="trades, or aggTrades, which are kept as a symbol of their own.",
            rich_help_panel=SCOPE,
        ),
    ] = "trades",
    engine: Annotated[
        str,
        typer.Option(
            metavar="ENGINE",
            help="local loads the files here; spark loads them on a cluster.",
            rich_help_panel=_ENGINE,
        ),
    ] = "local",
    master: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="Spark cluster, such as spark://HOST:7077.",
            rich_help_panel=_ENGINE,
        ),
    ] = "local[*]",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the files and the estimate, and stop.")
    ] = False,
    yes: YES = False,
) -> None:
    """Load past trades from published files; resumable.

    It finds the daily and monthly files that Binance publishes, checks them against their
    checksums, and writes raw trades and candles straight to the stores of each site. They are
    merged with what a site has, so it can run beside producers and compaction, and loading a file
    again changes nothing. The exchange is asked for ids that are missing between the files, and
    between the last file and the first live trades of a site. At the end, the sites are verified
    over these days.

    If a day has no file, a file is damaged, or trades differ from those of a site, the command
    reports it, loads the rest, and exits with 3.

    It needs the extra `bulk`: pip install 'mcloud[bulk]'

    Examples:
    mcloud backfill BTCUSDT --start 2024-01-01 --end 2024-12-31 --dry-run
    mcloud backfill BTCUSDT,ETHUSDT.um --start 2024-08-08 --to aws --yes
    mcloud backfill BTCUSDT --start 2024-08-08 --files ~/downloads
    """
    require_bulk()
    from mcloud.backfill.checkpoints import identity
    from mcloud.backfill.dumps import KINDS, dumps
    from mcloud.backfill.estimate import estimate
    from mcloud.backfill.libraries import PUBLIC, open_library
    from mcloud.backfill.run import Backfill
    from mcloud.cli.ask import agree
    from mcloud.cli.progress import waiting
    from mcloud.config import chosen
    from mcloud.drawing.backfill import estimate_lines, plan_lines
    from mcloud.feed.open import parse_names
    from mcloud.sites.resources import site_resources

    kind = chosen("source", source, KINDS)
    on_spark = chosen("engine", engine, ("local", "spark")) == "spark"
    today = datetime.now(UTC).date()
    first = _day("--start", start, today)
    last = _day("--end", end, today) if end else first
    if last < first:
        raise UsageError("--end must not be before --start")
    names = _symbols(parse_names(symbols))
    library = open_library(from_ or PUBLIC)
    resources = site_resources(session.config)
    sites = session.sites(to)
    job = Backfill(
        library,
        sites,
        session.config.state / "backfill" / session.config.profile,
        {name: identity(resources[name].to_outputs()) for name in sites},
    )
    with job.locked():
        with waiting(session, "looking for the files"):
            plan = job.plan([dump for name in names for dump in dumps(name, first, last, kind)])
        made = estimate(plan.load, {name: site.cloud for name, site in sites.items()})
        for line in (*plan_lines(plan, library.name), *estimate_lines(made)):
            session.say(line)
        if dry_run:
            _end(session, plan, made, None)
            return
        if plan.load:
            agree(session, "load these files?", yes=yes)
        spark = None
        if on_spark and plan.load:
            from mcloud.backfill.spark import SparkEngine

            spark = SparkEngine(master, from_ or PUBLIC, {name: resources[name] for name in sites})
        _end(session, plan, made, _load(session, job, plan, spark, sites, first, last))


def _load(
    session: Session,
    job: "Backfill",
    plan: "Plan",
    engine: "Engine | None",
    sites: "Mapping[str, Site]",
    first: date,
    last: date,
) -> "BackfillResult":
    """Load the files, verify the sites, and ask the exchange for missing trades."""
    from mcloud.backfill.dumps import midnight
    from mcloud.backfill.gaps import FilledGaps, fill
    from mcloud.cli.progress import waiting
    from mcloud.drawing.backfill import BackfillResult, outcome_lines, progress_words
    from mcloud.feed.binance.endpoints import API_KEY
    from mcloud.feed.binance.open import open_history
    from mcloud.replication.hour_digest import HourWindow
    from mcloud.replication.scope import Scope
    from mcloud.replication.verify import verify

    with waiting(session, "loading") as tell:
        job.tell = lambda progress: tell(progress_words(progress))
        outcome = job.run(plan, engine)
    for line in outcome_lines(outcome):
        session.say(line)
    symbols = {each.dump.stored_symbol for each in plan.known} | outcome.symbols
    if not symbols:
        return BackfillResult(outcome)
    scope = Scope(symbols=frozenset(symbols))
    window = HourWindow(midnight(first), _end_of(last))
    with waiting(session, "verifying") as tell:
        report = verify(sites, scope, window, tell=tell)
    filled = FilledGaps()
    if report.of("incomplete"):
        exchange = open_history(session.config.exchange, os.environ.get(API_KEY, ""))
        with waiting(session, f"asking {exchange.name} for missing trades") as tell:
            filled = fill(report, sites, exchange.fetch, tell)
        with waiting(session, "verifying") as tell:
            report = verify(sites, scope, window, tell=tell)
    return BackfillResult(outcome, filled, report)


def _end(
    session: Session, plan: "Plan", made: "BackfillEstimate", done: "BackfillResult | None"
) -> None:
    from mcloud.drawing.backfill import document, problems, result_lines

    found = problems(plan, done)
    if session.output == "json":
        session.print_json(document(plan, made, done))
    for each in found:
        session.warn(each)
    for line in result_lines(done) if done else ():
        session.say(line)
    if found or (done is not None and done.report is not None and not done.report.ok):
        raise typer.Exit(3)


def _end_of(last: date) -> int:
    """Return the end of the verification, in ms: that of the last day.

    If live trades may follow the newest files, it is the present, so that the trades between them
    are looked for.
    """
    from mcloud.backfill.dumps import midnight
    from mcloud.replication.candle_streams import END

    if last + LIVE >= datetime.now(UTC).date():
        return END
    return midnight(last + timedelta(1))


def _day(option: str, text: str, today: date) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"invalid day {text!r} for {option}; use one such as 2024-08-08") from None
    if day > today:
        raise UsageError(f"{option} {day} is in the future", remedy=f"the last day is {today}, UTC")
    if day < OPENED:
        raise UsageError(
            f"{option} {day} is before the first trade of Binance", remedy=f"use {OPENED} or later"
        )
    return day


def _symbols(names: Sequence[str]) -> tuple[str, ...]:
    """Return the symbols without the suffix of aggregate trades, which ``--source`` chooses."""
    from mcloud.feed.feed import parse_symbols
    from mcloud.market.trade import trades_of

    found = parse_symbols(names)
    for each in found:
        if each != trades_of(each):
            raise UsageError(
                f"{each} is a symbol of aggregate trades",
                remedy=f"use {trades_of(each)} with --source aggTrades",
            )
    return found
