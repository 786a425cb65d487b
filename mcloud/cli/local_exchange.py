"""``mcloud local exchange``"""

import sys
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from mcloud.cli.options import COUNT, RATE, SEED
from mcloud.cli.session import Session

if TYPE_CHECKING:
    from mcloud.feed.feed import FeedReport
    from mcloud.local.exchange.thread import LocalExchange


_SERVER = "Server"


def exchange(
    session: Session,
    source: Annotated[
        list[str],
        typer.Option(
            metavar="SOURCE",
            help="Trades: replay:PATH or simulate. Repeat it to play several sources at once.",
        ),
    ],
    symbols: Annotated[
        str | None,
        typer.Option(
            metavar="SYMBOLS",
            help="Comma-separated symbols. Default: BTCUSDT, or all symbols of a recording.",
        ),
    ] = None,
    market: Annotated[
        str | None,
        typer.Option(
            metavar="MARKET",
            help="Market of the recordings: spot, um or cm. Default: the market that each recording"
            " shows.",
        ),
    ] = None,
    speed: Annotated[
        str, typer.Option(metavar="SPEED", help="max, realtime, or a factor such as 10x.")
    ] = "realtime",
    loop: Annotated[
        bool,
        typer.Option("--loop", help="Repeat the source, with ids and times that keep growing."),
    ] = False,
    past: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="Length of time, such as 2d, whose trades were made before the start. A simulation"
            " then begins this long ago.",
        ),
    ] = None,
    wait_for_client: Annotated[
        bool, typer.Option("--wait-for-client", help="Start when a client has subscribed.")
    ] = False,
    port: Annotated[
        int,
        typer.Option(
            min=0,
            max=65535,
            metavar="PORT",
            help="Port on 127.0.0.1. 0 selects any free port.",
            rich_help_panel=_SERVER,
        ),
    ] = 9443,
    tls: Annotated[
        bool,
        typer.Option(
            "--tls",
            help="Serve wss and https with a certificate made for this run, and print its path.",
            rich_help_panel=_SERVER,
        ),
    ] = False,
    lifetime: Annotated[
        float,
        typer.Option(
            min=1,
            metavar="SECONDS",
            help="Seconds after which a connection is closed.",
            rich_help_panel=_SERVER,
        ),
    ] = 86_400.0,
    count: COUNT = None,
    rate: RATE = 30.0,
    seed: SEED = 1,
) -> None:
    """Run a Binance on this machine: streams, REST, limits, faults.

    It plays the trades of a recording or a simulation, and serves trades, aggregate trades, klines,
    tickers, a derived order book, and the daily and monthly files of past trades to any Binance
    client until Ctrl-C. Symbols such as BTCUSDT.um
    are USDⓈ-M futures, and symbols such as BTCUSD_PERP.cm COIN-M futures.

    A recording with bad lines, or one that is cut short, is played without them, and the exit code
    is then 3. With -o json, a second document reports those lines after all trades have been
    played.

    docs/reference/local-exchange.md lists what is served, and what is not.

    Examples:
    mcloud local exchange --source simulate --symbols BTCUSDT,ETHUSDT
    mcloud local exchange --source replay:trades.jsonl.gz --speed 10x --loop
    mcloud local exchange --source simulate --past 2d --rate 1
    """
    from mcloud.cli.options import length_of_time
    from mcloud.feed.feed import incomplete, joined
    from mcloud.feed.open import FeedChoice, open_feed
    from mcloud.feed.pace import parse_speed
    from mcloud.local.exchange.feeds import SideBySide
    from mcloud.local.exchange.limits import Limits
    from mcloud.local.exchange.thread import LocalExchange

    factor = parse_speed(speed)
    made_before = length_of_time("--past", past) if past else 0.0
    choices = [
        FeedChoice(
            each, symbols, market=market, count=count, rate=rate, seed=seed, begins_ago=made_before
        )
        for each in source
    ]
    feeds = [open_feed(choice) for choice in choices]
    for feed in feeds:
        for warning in feed.warnings:
            session.warn(warning)
    listed = [symbol for feed in feeds for symbol in feed.symbols]
    rounds: list[FeedReport] = []

    def read_so_far() -> "FeedReport":
        # With --loop, the feeds start again after the first round.
        reports = [feed.report for feed in feeds]
        return rounds[0] if rounds else joined([*zip(source, reports, strict=True)])

    with LocalExchange(
        SideBySide(feeds, lambda: rounds.append(read_so_far())),
        speed=factor,
        port=port,
        wait_for=int(wait_for_client),
        endless=loop,
        history=made_before,
        limits=Limits(lifetime=lifetime),
        seed=seed,
        symbols=listed,
        certificate=session.config.state / "exchange.pem" if tls else None,
    ) as server:
        _show(session, server)
        try:
            server.wait_finished()
            _show_report(session, read_so_far(), has_ended=True)
            session.say("all trades have been played; REST is served until Ctrl-C")
            threading.Event().wait()
        except KeyboardInterrupt:
            report = read_so_far()
            if loop or not rounds:
                _show_report(session, report, has_ended=bool(rounds))
            if report.bad or report.truncated or (rounds and not report.complete):
                raise incomplete(", ".join(source), report) from None
            raise


def _show_report(session: Session, report: "FeedReport", *, has_ended: bool) -> None:
    from mcloud.cli.produce import report_feed
    from mcloud.documents import encode

    report_feed(session, report)
    if session.output == "json":
        complete = report.complete and has_ended
        session.print_json({"complete": complete, "trades": report.trades, **encode(report.unread)})
        sys.stdout.flush()


def _show(session: Session, server: "LocalExchange") -> None:
    if session.output == "json":
        session.print_json(
            {
                "ws_url": server.ws_url,
                "rest_url": server.rest_url,
                "certificate": str(server.certificate.resolve()) if server.certificate else None,
                "symbols": server.symbols,
            }
        )
        # The reader waits for the addresses, while this command keeps running.
        sys.stdout.flush()
        return
    print(f"streams  {server.ws_url}", f"REST     {server.rest_url}", sep="\n", flush=True)
    if server.certificate:
        print(f"trust    {server.certificate.resolve()}", flush=True)
    session.say(f"trading {', '.join(server.symbols)}; press Ctrl-C to stop")
