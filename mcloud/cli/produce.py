"""``mcloud produce``"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mcloud.cli.session import INTERRUPTED, Session, command
from mcloud.errors import McloudError, Unavailable, UsageError

if TYPE_CHECKING:
    from mcloud.clouds.ports import Site
    from mcloud.feed.binance.rest import BinanceRest
    from mcloud.feed.feed import Feed, Report
    from mcloud.producer.account import Account
    from mcloud.producer.produce import Progress, Source
    from mcloud.producer.runs import Run
    from mcloud.producer.spool import Spool

SYMBOLS = "BTCUSDT"
MEBIBYTE = 2**20
STARTING = 20.0  # seconds that a detached producer may take until it runs


def register(app: typer.Typer) -> None:
    command(app)(produce)


def produce(
    session: Session,
    source: Annotated[
        str,
        typer.Option(
            help="binance, replay:FILE (recorded stream or Binance's daily CSV), or simulate."
        ),
    ] = "binance",
    symbols: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated, a file, or all:USDT; TRADING_SYMBOL or BTCUSDT if left out,"
            " a replay takes all."
        ),
    ] = None,
    to: Annotated[str | None, typer.Option(help="Sites, comma-separated; all if left out.")] = None,
    mode: Annotated[str, typer.Option(help="both, primary, cheapest or nearest.")] = "both",
    name: Annotated[
        str, typer.Option(help="Of this producer; each has a spool of its own.")
    ] = "default",
    detach: Annotated[bool, typer.Option("--detach", help="Go on without this terminal.")] = False,
    shard: Annotated[
        str | None, typer.Option(help="2/4: the second of four producers that share the symbols.")
    ] = None,
    exchange: Annotated[
        str | None, typer.Option(help="binance, binance-us, binance-data or binance-futures.")
    ] = None,
    ws_url: Annotated[str | None, typer.Option(help="WebSocket of another server.")] = None,
    rest_url: Annotated[str | None, typer.Option(help="REST of another server.")] = None,
    spool_limit: Annotated[
        int, typer.Option(min=1, help="MiB on the disk, at which reading stops.")
    ] = 1024,
    speed: Annotated[
        str, typer.Option(help="replay, simulate: max, realtime, or a factor such as 10x.")
    ] = "max",
    batch: Annotated[
        int, typer.Option(min=1, max=20_000, help="Trades in a message, at most.")
    ] = 1000,
    linger: Annotated[
        float, typer.Option(min=0, max=60, help="Seconds that a trade waits for others, at most.")
    ] = 1.0,
    count: Annotated[int | None, typer.Option(min=1, help="simulate: trades in all.")] = None,
    rate: Annotated[
        float, typer.Option(help="simulate: trades a second and symbol, on average.")
    ] = 30.0,
    seed: Annotated[int, typer.Option(help="simulate: the same seed, the same trades.")] = 1,
) -> None:
    """Deliver trades to the sites, and lose none of them."""
    from mcloud.producer.route import MODES
    from mcloud.producer.runs import run_of

    if mode not in MODES:
        raise UsageError(f"no mode {mode!r}; there is {', '.join(MODES)}")
    run = run_of(session.config.state / "producers", name)
    if detach:
        _detach(session, run)
        return
    # Faults of the command line come before anything is opened, made or sent.
    opened = open_source(
        session, source, symbols, shard=shard, exchange=exchange, ws_url=ws_url, rest_url=rest_url,
        speed=speed, count=count, rate=rate, seed=seed,
    )  # fmt: skip
    sites = session.sites(to)
    run.create()
    with run.lock.held() as mine:
        if not mine:
            raise McloudError(
                f"a producer called {name!r} runs already (pid {_pid(run)})",
                remedy="stop it with `mcloud stop`, or give this one another --name",
            )
        if opened.live:
            run.follow_exchange(opened.about["exchange"])
        limits = {"batch": batch, "linger": linger}
        progress, seconds = _run(session, run, opened, sites, mode, spool_limit, limits)
    _report_feed_of(session, opened)
    _report(session, progress, seconds)
    if opened.stop.is_set():
        raise typer.Exit(INTERRUPTED)
    if not progress.complete:
        raise McloudError(
            "not every site has every trade; the rest is kept",
            remedy=f"mend what is named above, then run `mcloud produce --name {name}` again",
        )


@dataclass(frozen=True)
class Opened:
    """A source, ready to run."""

    source: "Source"
    report: "Callable[[], Report]"
    about: Mapping[str, Any]
    history: "BinanceRest | None"
    stop: threading.Event
    describe: Callable[[], Mapping[str, Any] | None]

    @property
    def live(self) -> bool:
        return bool(self.about["live"])


def open_source(
    session: Session,
    source: str,
    symbols: str | None,
    *,
    shard: str | None,
    exchange: str | None,
    ws_url: str | None,
    rest_url: str | None,
    speed: str,
    count: int | None,
    rate: float,
    seed: int,
) -> Opened:
    """What ``--source`` names; UsageError where there is none such."""
    from mcloud.feed.pace import pace, parse_speed
    from mcloud.producer.produce import Reader

    stop = threading.Event()
    factor = parse_speed(speed)
    part = _parse_shard(shard) if shard else None
    if source == "binance":
        return _open_binance(session, symbols, part, exchange, ws_url, rest_url, stop)
    if part:
        raise UsageError("--shard shares out the symbols of --source binance only")
    feed = open_feed(source, symbols, count=count, rate=rate, seed=seed)
    for warning in feed.warnings:
        session.warn(warning)
    # The event ends a pause at once, when the run is stopped.
    paced = pace(feed, factor, clock=time.monotonic, sleep=stop.wait)
    due = takewhile(lambda trade: not stop.is_set(), paced)
    about = {"source": source, "symbols": list(feed.symbols), "live": False}
    return Opened(Reader(due), lambda: feed.report, about, None, stop, lambda: None)


def open_feed(
    source: str, symbols: str | None, *, count: int | None, rate: float, seed: int
) -> "Feed":
    """The feed of a recording or a simulation; UsageError where there is none such."""
    names = _names(symbols) if symbols else None
    if source == "simulate":
        from mcloud.feed.simulate import Simulate

        start = int(time.time() * 1000)
        return Simulate(names or [SYMBOLS], seed=seed, start_time=start, count=count, rate=rate)
    return open_replay_feed(source, names)


def open_replay_feed(source: str, symbols: list[str] | None) -> "Feed":
    """The recording of ``replay:FILE``; UsageError where it is none, or something else is named."""
    from mcloud.feed.replay import open_replay

    kind, _, rest = source.partition(":")
    if kind != "replay" or not rest:
        raise UsageError(f"no source {source!r}; there is replay:FILE and simulate")
    return open_replay(Path(rest).expanduser(), symbols)


def report_feed(session: Session, report: "Report") -> None:
    """Say what a feed had to leave out."""
    if report.truncated:
        session.warn(report.truncated)
    if report.bad:
        session.warn(f"{report.bad} bad lines were left out:")
        for bad in report.bad_examples:
            print(f"  line {bad.line}: {bad.reason}", file=sys.stderr)


def _open_binance(
    session: Session,
    symbols: str | None,
    part: tuple[int, int] | None,
    exchange: str | None,
    ws_url: str | None,
    rest_url: str | None,
    stop: threading.Event,
) -> Opened:
    from mcloud.feed.binance.endpoints import DEFAULT, endpoints
    from mcloud.feed.binance.rest import BinanceRest
    from mcloud.feed.binance.source import BinanceSource

    settings = session.config.exchange
    named = endpoints(
        exchange or settings.get("name") or DEFAULT,
        ws_url=ws_url or settings.get("ws_url", ""),
        rest_url=rest_url or settings.get("rest_url", ""),
    )

    def pause(seconds: float) -> None:
        if stop.wait(seconds):
            raise Unavailable("the producer is stopping")

    rest = BinanceRest(named, sleep=pause)
    wanted = symbols or os.environ.get("TRADING_SYMBOL") or SYMBOLS
    if wanted.startswith("all:"):
        chosen = rest.symbols(wanted.removeprefix("all:"))
    else:
        chosen = _names(wanted)
        for resting in rest.check(chosen):
            session.warn(resting)
    mine = _shard(chosen, *part) if part else chosen
    if not mine:
        raise UsageError("no symbol falls to this shard; there are more shards than symbols")
    feed = BinanceSource(named, mine, rest=rest)
    for warning in feed.warnings:
        session.warn(warning)
    about = {"source": named.name, "exchange": named.ws_url, "symbols": mine, "live": True}
    return Opened(
        feed,
        lambda: feed.report,
        about,
        rest if named.has_history else None,
        stop,
        lambda: _describe(feed),
    )


def _describe(feed: Any) -> Mapping[str, Any]:
    """The connections, in a sentence for the panel and in full for JSON."""
    state = feed.state
    open_ = sum(line.open for line in state.connections)
    words = f"{open_} of {len(state.connections)} connections"
    reconnects = sum(line.reconnects for line in state.connections)
    if reconnects:
        words += f", {reconnects} reconnects"
    if state.stalls:
        words += f", {state.stalls} stalls"
    if state.slowed:
        words += ", not reading: the disk or the sites are behind"
    error = state.last_error or next((e.last_error for e in state.connections if e.last_error), "")
    return {
        "summary": f"{words}; {error}" if error else words,
        "error": open_ < len(state.connections),
        "reconnects": reconnects,
        "stalls": state.stalls,
        "ages": state.ages,
    }


def _names(symbols: str) -> list[str]:
    """A comma-separated list, or the words of a file."""
    # A long list is no file name, and asking for it would be an error.
    if "," not in symbols and (path := Path(symbols).expanduser()).is_file():
        symbols = path.read_text()
    return symbols.replace(",", " ").upper().split()


def _parse_shard(shard: str) -> tuple[int, int]:
    """Which, from 0, and of how many; UsageError for what is not like 2/4."""
    number, _, of = shard.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise UsageError(f"not a shard: {shard!r}; such as 2/4, the second of four")
    return int(number) - 1, int(of)


def _shard(symbols: list[str], number: int, of: int) -> list[str]:
    """The symbols of one of the producers, told apart by a hash of the name."""
    import zlib

    return [symbol for symbol in symbols if zlib.crc32(symbol.encode()) % of == number]


def _detach(session: Session, run: "Run") -> None:
    from mcloud.producer.runs import detach

    if run.lock.is_held():
        raise McloudError(
            f"a producer called {run.name!r} runs already (pid {_pid(run)})",
            remedy="stop it with `mcloud stop`, or give this one another --name",
        )
    arguments = [word for word in sys.argv[1:] if word != "--detach"]
    pid = detach(run, arguments, STARTING)
    if session.output == "json":
        session.print_json({"name": run.name, "pid": pid, "log": str(run.log)})
    session.say(f"{run.name} runs (pid {pid}); see `mcloud ps` and `mcloud logs {run.name} -f`")


def _pid(run: "Run") -> object:
    process = run.lock.holder()
    return process.pid if process else "unknown"


def _run(
    session: Session,
    run: "Run",
    opened: Opened,
    sites: "Mapping[str, Site]",
    mode: str,
    spool_limit: int,
    limits: Mapping[str, Any],
) -> "tuple[Progress, float]":
    from mcloud.producer.account import Account
    from mcloud.producer.produce import produce as run_producer
    from mcloud.producer.router import Router
    from mcloud.producer.spool import Spool

    log = run.logger()
    account = Account({**opened.about, "mode": mode, "name": run.name}, run.read())
    begun = time.monotonic()
    limit = spool_limit * MEBIBYTE
    with Spool.open(run.spool, list(sites), limit_bytes=limit) as spool:
        _warn_of_spool(session, spool)
        for name in sites:
            if left := spool.pending(name).trades:
                log.info("%s: %s trades of an earlier run go first", name, left)
        router = Router(
            mode,
            sites,
            account.sent_this_month,
            follow=lambda route: _move(spool, sites, route.sites),
        )
        with _stopping(opened.stop), _watching(session, run, opened, account, log) as watch:
            log.info("starts: %s", opened.about)
            try:
                progress = run_producer(
                    opened.source,
                    {name: site.queue for name, site in sites.items()},
                    spool,
                    history=opened.history,
                    live=opened.live,
                    route=lambda: router.route,
                    progress=watch,
                    stop=opened.stop,
                    **limits,
                )
            finally:
                router.stop()
            run.write(account.state(progress, opened.describe()))
            log.info("ends; waiting: %s", {n: s.waiting for n, s in progress.sites.items()})
    return progress, time.monotonic() - begun


def _move(spool: "Spool", sites: Iterable[str], chosen: tuple[str, ...]) -> None:
    """What waits for a site that does not have the traffic goes to the one that has it."""
    for site in set(sites) - set(chosen):
        if spool.pending(site).messages:
            spool.reassign(site, chosen[0])


def _warn_of_spool(session: Session, spool: "Spool") -> None:
    if spool.set_aside:
        session.warn(
            f"the spool was damaged ({spool.damage}) and is set aside as {spool.set_aside}; "
            "what only it held is fetched again from the exchange"
        )
    for site in spool.unconfigured():
        waiting = spool.pending(site).trades
        session.warn(f"the spool holds {waiting:,} trades for {site}, which is not among --to")


@contextmanager
def _stopping(stop: threading.Event) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the reading, and what was read is delivered; twice ends it at once."""

    def ask(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _watching(
    session: Session, run: "Run", opened: Opened, account: "Account", log: Any
) -> "Iterator[Callable[[Progress], None]]":
    """Log what changes, keep the state document, and draw the panel, once a second each."""
    from rich.live import Live

    from mcloud.dashboard.producers import panel
    from mcloud.producer.journal import changes

    before: Progress | None = None
    due = 0.0
    live = Live(console=session.words, auto_refresh=False, transient=True) if session.live else None

    def watch(progress: "Progress") -> None:
        nonlocal before, due
        now = time.monotonic()
        if now < due:
            return
        due = now + (0.25 if live else 1.0)
        for level, line in changes(before, progress):
            log.log(level, line)
        before = progress
        state = account.state(progress, opened.describe())
        # A full disk has no room for this either; it must not end the run.
        with suppress(OSError):
            run.write(state)
        if live:
            live.update(panel(state), refresh=True)

    if live is None:
        yield watch
        return
    with live:
        yield watch


def _report_feed_of(session: Session, opened: Opened) -> None:
    report_feed(session, opened.report())


def _report(session: Session, progress: "Progress", seconds: float) -> None:
    if session.output == "json":
        session.print_json(
            {
                "read": progress.read,
                "complete": progress.complete,
                "sites": {
                    name: {
                        "trades": each.trades,
                        "messages": each.messages,
                        "waiting": each.waiting,
                        "error": each.error,
                    }
                    for name, each in progress.sites.items()
                },
                "holes": [hole._asdict() for hole in progress.holes],
                "seconds": round(seconds, 3),
            }
        )
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("site", "trades", "messages", "unsent"):
        table.add_column(heading, justify="left" if heading == "site" else "right")
    for name, each in progress.sites.items():
        table.add_row(name, f"{each.trades:,}", f"{each.messages:,}", str(each.waiting))
        if each.error:
            session.warn(f"{name}: {each.error}")
    session.print(table)
    session.say(f"{progress.read:,} trades read in {seconds:.1f} s")
    for hole in progress.holes:
        session.warn(f"missing: {hole.symbol} {hole.first} to {hole.last}: {hole.reason or 'open'}")
