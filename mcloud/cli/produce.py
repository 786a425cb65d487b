"""``mcloud produce``"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from mcloud.cli import background
from mcloud.cli.options import COUNT, DETACH, PROCESS, RATE, SEED
from mcloud.cli.session import INTERRUPTED, Session, command
from mcloud.errors import McloudError

if TYPE_CHECKING:
    from logging import Logger

    from mcloud.clouds.ports import Site
    from mcloud.clouds.resources import Resources
    from mcloud.feed.feed import FeedReport, SourceSummary
    from mcloud.market.anomaly import Thresholds
    from mcloud.producer.anomaly_finder import AnomalyFinder
    from mcloud.producer.produce import ProducerProgress
    from mcloud.producer.reported_state import ReportedState
    from mcloud.producer.route import ProducerMode
    from mcloud.producer.source import OpenedSource
    from mcloud.producer.spool import Spool
    from mcloud.runs import Run

MEBIBYTE = 2**20


_SOURCE, _DELIVERY = "Source", "Delivery"
_RECORDED = "Recordings and simulations"


def register(app: typer.Typer) -> None:
    command(app)(produce)


def produce(
    session: Session,
    source: Annotated[
        str,
        typer.Option(
            metavar="SOURCE",
            help="binance or the name of another exchange; replay:PATH for a recorded file, a"
            " folder of files or a quoted pattern; simulate; or spool, which only sends what an"
            " earlier run left.",
            rich_help_panel=_SOURCE,
        ),
    ] = "binance",
    symbols: Annotated[
        str | None,
        typer.Option(
            metavar="SYMBOLS",
            help="Comma-separated symbols, a file of symbols, or all:USDT for all symbols quoted in"
            " USDT. Default: TRADING_SYMBOL if set, otherwise BTCUSDT; all symbols of a"
            " recording.",
            rich_help_panel=_SOURCE,
        ),
    ] = None,
    exchange: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="binance, binance-us, binance-data, binance-futures (USDⓈ-M) or"
            " binance-coin-futures (COIN-M). Default: [exchange] of mcloud.toml, or binance.",
            rich_help_panel=_SOURCE,
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="N/TOTAL",
            help="Share of the symbols, such as 2/4: the second of four producers.",
            rich_help_panel=_SOURCE,
        ),
    ] = None,
    list_every: Annotated[
        float | None,
        typer.Option(
            min=1,
            max=3600,
            metavar="SECONDS",
            help="Seconds between two reads of the exchange's list of symbols. New symbols are"
            " subscribed to, and delisted ones end. Default: 180.",
            rich_help_panel=_SOURCE,
        ),
    ] = None,
    ws_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="WebSocket URL of another server of the exchange.",
            rich_help_panel=_SOURCE,
        ),
    ] = None,
    rest_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="REST URL of another server of the exchange.",
            rich_help_panel=_SOURCE,
        ),
    ] = None,
    site: Annotated[
        str | None,
        typer.Option(
            metavar="SITES",
            help="Comma-separated sites to send to. Default: all sites.",
            rich_help_panel=_DELIVERY,
        ),
    ] = None,
    mode: Annotated[
        str,
        typer.Option(
            metavar="MODE",
            help="Sites that get a trade: both (all of them), primary, cheapest or nearest.",
            rich_help_panel=_DELIVERY,
        ),
    ] = "both",
    freshness: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=600,
            metavar="SECONDS",
            help="Maximum age of a candle at the sites, in seconds. A larger value costs less."
            " Default: [produce] of mcloud.toml, or 5.",
            rich_help_panel=_DELIVERY,
        ),
    ] = None,
    spool_limit: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="MIB",
            help="Size of the spool on the disk at which reading stops, in MiB.",
            rich_help_panel=_DELIVERY,
        ),
    ] = 1024,
    name: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Name of the producer. Each producer has its own spool.",
            rich_help_panel=PROCESS,
        ),
    ] = "default",
    detach: DETACH = False,
    market: Annotated[
        str | None,
        typer.Option(
            metavar="MARKET",
            help="Market of a recording: spot, um (USD-M futures) or cm (COIN-M futures)."
            " Default: the market that the recording shows.",
            rich_help_panel=_RECORDED,
        ),
    ] = None,
    speed: Annotated[
        str,
        typer.Option(
            metavar="SPEED",
            help="max, realtime, or a factor such as 10x.",
            rich_help_panel=_RECORDED,
        ),
    ] = "max",
    count: COUNT = None,
    rate: RATE = 30.0,
    seed: SEED = 1,
) -> None:
    """Read trades and deliver all of them to the sites.

    Each trade is written to a spool on the disk first, and stays there until its sites have it. The
    next run sends what a run has left. The producer also searches the trades for anomalies, and
    stores them on all its sites.

    Examples:
    mcloud produce --symbols BTCUSDT,ETHUSDT --detach
    mcloud produce --source simulate --count 20000
    mcloud produce --source 'replay:days/*.zip' --site aws
    """
    from mcloud.config import chosen, settings
    from mcloud.config.produce import ProduceSettings
    from mcloud.feed.binance.endpoints import API_KEY
    from mcloud.feed.feed import incomplete
    from mcloud.feed.open import FeedChoice
    from mcloud.market.anomaly import Thresholds
    from mcloud.producer.route import MODES
    from mcloud.producer.run_folder import check_venue, follow_exchange
    from mcloud.producer.source import open_source, resume_command
    from mcloud.runs import run_of
    from mcloud.sites.resources import site_resources

    route_mode = chosen("mode", mode, MODES)
    run = run_of(session.config.state / "producers", name)
    if detach:
        background.detach(session, run)
        return
    # Errors of the command line are raised before anything is opened, created or sent.
    stop = threading.Event()
    given = session.config.exchange
    choice = FeedChoice(
        source,
        symbols or (None if source.startswith("replay:") else session.config.symbol),
        shard=shard,
        exchange=exchange or (given.name if source == "binance" else ""),
        ws_url=ws_url or given.ws_url,
        rest_url=rest_url or given.rest_url,
        list_every=list_every,
        api_key=os.environ.get(API_KEY, ""),
        market=market,
        speed=speed,
        count=count,
        rate=rate,
        seed=seed,
    )
    opened = open_source(choice, stop)
    for warning in opened.warnings:
        session.warn(warning)
    sites = session.sites(site)
    deployed = site_resources(session.config)
    with background.alone(run):
        if opened.live:
            follow_exchange(run, opened.about.exchange or "")
            queues = {each: deployed[each].queue for each in sites}
            venues = session.config.state / "venues"
            check_venue(venues, queues, opened.venue, opened.about.market or "")
        thresholds = settings(session.config, "anomalies", Thresholds)
        if freshness is None:
            freshness = settings(session.config, "produce", ProduceSettings).freshness
        for each in sites:
            _warn_if_coarser(session, each, deployed[each], freshness)
        progress, waiting, seconds = _run(
            *(session, run, opened, sites, deployed, route_mode, spool_limit, freshness),
            *(thresholds, stop),
        )
    report = opened.feed.report
    report_feed(session, report)
    all_read = report.complete or not opened.ends
    _report(session, progress, waiting, report, all_read, seconds, opened.describe())
    if stop.is_set():
        raise typer.Exit(INTERRUPTED)
    if not progress.complete:
        raise McloudError(
            "not every site has every trade; the rest stays in the spool",
            remedy="fix the problem above, then run"
            f" `{resume_command(name, opened.about)}`, which sends the rest",
        )
    if not all_read:
        raise incomplete(source, report)


def _warn_if_coarser(session: Session, name: str, site: "Resources", freshness: float) -> None:
    """Warn if a site is deployed for older candles than a producer is to make."""
    try:
        deployed = float(getattr(site, "freshness", "") or 0)
    except ValueError:
        return  # an output that somebody has changed is no reason to stop trades
    if freshness < deployed:
        session.warn(
            f"{name} is deployed for candles up to {deployed:g} s old, not {freshness:g} s: set"
            f" `freshness` in [produce] of mcloud.toml, and run `mcloud deploy {name}`"
        )


def report_feed(session: Session, report: "FeedReport") -> None:
    """Report the input that a feed has skipped."""
    if report.truncated:
        session.warn(report.truncated)
    if report.bad:
        session.warn(f"{report.bad:,} bad lines were skipped, for example:")
        for bad in report.bad_examples:
            print(f"  {bad}", file=sys.stderr)


def _run(
    session: Session,
    run: "Run",
    opened: "OpenedSource",
    sites: "Mapping[str, Site]",
    deployed: "Mapping[str, Resources]",
    mode: "ProducerMode",
    spool_limit: int,
    freshness: float,
    thresholds: "Thresholds",
    stop: threading.Event,
) -> "tuple[ProducerProgress, Mapping[str, int], float]":
    """Return the last progress, the number of anomalies that wait for each site, and the duration
    in seconds.
    """
    from mcloud.config import settings
    from mcloud.producer.envelope_support import SupportReader
    from mcloud.producer.message_log import MessageLog, TraceSettings
    from mcloud.producer.produce import produce as run_producer
    from mcloud.producer.reported_state import ProducerState, ReportedState
    from mcloud.producer.router import Router, move
    from mcloud.producer.run_folder import check_market, check_spool, spool_of
    from mcloud.producer.spool import Spool
    from mcloud.run_states import previous_state

    log = run.logger()
    before = previous_state(run, ProducerState, session.warn)
    account = ReportedState(
        run.name, mode, opened.about, before, symbols=lambda: opened.feed.symbols
    )
    begun = time.monotonic()
    limit = spool_limit * MEBIBYTE
    traced = settings(session.config, "trace", TraceSettings)
    with (
        Spool.open(spool_of(run), list(sites), limit_bytes=limit) as spool,
        MessageLog(run.folder, one_in=traced.one_in, limit=traced.keep_mib * MEBIBYTE) as trail,
    ):
        check_spool(run, spool)
        if opened.live:
            check_market(run, spool.resume_points(), opened.about.market or "")
        _warn_of_spool(session, spool)
        for name in sites:
            if left := spool.pending(name).trades:
                log.info("%s: %s trades of an earlier run go first", name, left)
        router = Router(
            mode,
            sites,
            account.sent_this_month,
            follow=lambda route: move(spool, sites, route.sites),
        )
        with background.stopping(stop), _watching(session, run, opened, account, log) as watch:
            log.info("starts: %s", _about(opened))
            finder = _finder(run, sites, deployed, thresholds, log)
            try:
                progress = run_producer(
                    opened.source,
                    {name: site.queue for name, site in sites.items()},
                    spool,
                    history=opened.history,
                    live=opened.live,
                    opened=opened.opened,
                    ended=opened.ended,
                    route=lambda: router.route,
                    trail=trail,
                    reads={name: SupportReader(site).reads for name, site in sites.items()},
                    suspect=router.suspect if mode == "primary" else None,
                    finder=finder,
                    progress=watch,
                    stop=stop,
                    freshness=freshness,
                )
            finally:
                router.stop()
            run.write(account.state(progress, opened.describe()))
            if trail.problem:
                log.warning("mcloud trace may be incomplete: %s", trail.problem)
            log.info("ends; waiting: %s", _waiting(progress))
    return progress, finder.waiting(), time.monotonic() - begun


def _finder(
    run: "Run",
    sites: "Mapping[str, Site]",
    deployed: "Mapping[str, Resources]",
    thresholds: "Thresholds",
    log: "Logger",
) -> "AnomalyFinder":
    from mcloud.clouds.resources import has_anomaly_function
    from mcloud.producer.anomaly_finder import AnomalyFinder
    from mcloud.producer.findings import Findings
    from mcloud.producer.stored_history import StoredHistory

    silent = frozenset(name for name in sites if not has_anomaly_function(deployed[name]))
    return AnomalyFinder(
        thresholds,
        Findings(run.folder, sites, log, silent=silent),
        StoredHistory(sites, thresholds.reach, log),
        log,
    )


def _about(opened: "OpenedSource") -> str:
    """Return the source and its symbols for the log: `binance, BTCUSDT, ETHUSDT`."""
    return ", ".join([opened.about.source, *opened.about.symbols])


def _waiting(progress: "ProducerProgress") -> str:
    """Return the number of pending messages by site: `aws 0, gcp 12`."""
    return ", ".join(f"{name} {site.waiting:,}" for name, site in progress.sites.items())


def _warn_of_spool(session: Session, spool: "Spool") -> None:
    if spool.set_aside:
        session.warn(
            f"the spool was damaged ({spool.damage}) and is set aside as {spool.set_aside}; "
            "trades that only this spool had are fetched again from the exchange"
        )
    for site in spool.unconfigured():
        waiting = spool.pending(site).trades
        session.warn(f"the spool holds {waiting:,} trades for {site}, which is not in --site")


@contextmanager
def _watching(
    session: Session, run: "Run", opened: "OpenedSource", account: "ReportedState", log: "Logger"
) -> "Iterator[Callable[[ProducerProgress], None]]":
    """Log changes, write the state document, and draw the panel, each once a second."""
    from mcloud.cli import progress as terminal
    from mcloud.drawing.produce import panel
    from mcloud.producer.log_lines import changes

    before: ProducerProgress | None = None
    due = 0.0

    def watch(progress: "ProducerProgress") -> None:
        nonlocal before, due
        now = time.monotonic()
        if now < due:
            return
        due = now + (0.25 if draw else 1.0)
        for level, line in changes(before, progress):
            log.log(level, line)
        for sentence in opened.news():
            log.info(sentence)
        if draw is None and progress.problem and not (before and before.problem):
            session.warn(progress.problem)  # the log may be on the same full disk
        before = progress
        state = account.state(progress, opened.describe())
        run.write(state)
        if draw:
            done = opened.feed.report.done
            width = session.words.width
            draw(panel(state, done=done, newest=progress.newest, width=width))

    with terminal.panel(session) as draw:
        yield watch


def _report(
    session: Session,
    progress: "ProducerProgress",
    waiting: "Mapping[str, int]",
    report: "FeedReport",
    all_read: bool,
    seconds: float,
    source: "SourceSummary | None",
) -> None:
    if session.output == "json":
        from mcloud.documents import encode

        session.print_json(
            {
                "read": progress.read,
                "complete": progress.complete and all_read,
                **encode(report.unread),
                "sites": {
                    name: {
                        "trades": each.trades,
                        "messages": each.messages,
                        "waiting": each.waiting,
                        "error": each.error,
                    }
                    for name, each in progress.sites.items()
                },
                "holes": progress.holes,
                "anomalies": progress.anomalies,
                "listed": source.listed if source else (),
                "not_trading": source.not_trading if source else {},
                "seconds": round(seconds, 3),
            }
        )
        return
    from mcloud.drawing.produce import delivered
    from mcloud.durations import duration

    for name, each in progress.sites.items():
        if each.error:
            session.warn(f"{name}: {each.error}")
    session.print(delivered(progress.sites))
    session.say(f"{progress.read:,} trades read in {duration(seconds)}")
    if progress.anomalies:
        what = "anomaly" if progress.anomalies == 1 else "anomalies"
        session.say(f"{progress.anomalies:,} {what} found; see `mcloud anomalies`")
    for name, count in waiting.items():
        session.warn(f"{name} has not stored {count:,} of the anomalies; the next run does")
    for hole in progress.holes:
        session.warn(f"missing: {hole.symbol} {hole.first} to {hole.last}: {hole.reason or 'open'}")
