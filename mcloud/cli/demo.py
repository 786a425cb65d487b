"""``mcloud demo``"""

import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mcloud.cli.session import Session, command
from mcloud.errors import LocalError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcloud.candle_history import CandleRow
    from mcloud.clouds.ports import Site
    from mcloud.config import LocalPorts
    from mcloud.cost.run import RunCost
    from mcloud.feed.feed import Feed
    from mcloud.feed.feed import FeedReport as Read
    from mcloud.market.trade import Trade
    from mcloud.rehearsal.demo import Proof
    from mcloud.rehearsal.drill import DrillStage
    from mcloud.rehearsal.drill_report import DrillReport
    from mcloud.rehearsal.drill_stream import DrillStream
    from mcloud.rehearsal.steps import Walk

# The trades extend over the end of a day and over several minutes.
START = 1_735_775_880_000  # 2025-01-01T23:58:00Z, ms
SYMBOLS = ("BTCUSDT", "ETHUSDT")
OTHERS = ("SOLUSDT", "XRPUSDT", "ADAUSDT", "LTCUSDT")
"""Symbols for the trades during the outage. Two of them are used."""
SHOWN = 2 * 3_600_000
"""Length of the chart in ms."""
OUT = "aws"
"""Site that is taken out."""


def register(app: typer.Typer) -> None:
    command(app)(demo)


def demo(
    session: Session,
    source: Annotated[
        str,
        typer.Option(metavar="SOURCE", help="Trades: simulate, or replay:PATH for a recording."),
    ] = "simulate",
    market: Annotated[
        str | None,
        typer.Option(
            metavar="MARKET",
            help="Market of a recording: spot, um (USD-M futures) or cm (COIN-M futures)."
            " Default: the market that the recording shows.",
        ),
    ] = None,
    count: Annotated[
        int, typer.Option(min=1, metavar="COUNT", help="Number of simulated trades.")
    ] = 12_000,
    seed: Annotated[
        int,
        typer.Option(
            metavar="SEED",
            help="Seed for the trades and the random faults. The same seed repeats the same run.",
        ),
    ] = 1,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the embedded clouds running afterwards.")
    ] = False,
) -> None:
    """Run the whole system on embedded clouds and prove the result.

    The demo starts both clouds on this machine, sends trades through two producers that repeat,
    reorder and split them, and compares every candle with exact arithmetic. Then it takes a site
    out while trades flow, and compares again. It exits with 0 only if everything holds.

    Examples:
    mcloud demo
    mcloud demo --keep
    mcloud demo --source replay:trades.jsonl.gz
    """
    import shutil
    import tempfile

    from mcloud.cli.progress import animated, waiting
    from mcloud.clouds.factory import open_site
    from mcloud.config import LocalPorts
    from mcloud.drawing.demo import steps as drawn_steps
    from mcloud.feed.feed import incomplete
    from mcloud.local import children, control
    from mcloud.local.supervisor import Options
    from mcloud.rehearsal import faults
    from mcloud.rehearsal.demo import demo_cost, prove, store, watching_poison
    from mcloud.rehearsal.steps import Walk

    begun = time.monotonic()
    trades, feed = _trades(session, source, market, count, seed)
    if keep:
        home, ports, owner = session.config.local, _ports(session), None
    else:
        ports, owner = LocalPorts(*children.free_ports(4)), os.getpid()
        home = Path(tempfile.mkdtemp(prefix="mcloud-demo-"))
    options = Options(str(home), **asdict(ports), owner=owner)
    done = False
    walk = Walk()
    try:
        with animated(session, lambda: drawn_steps(walk.steps, session.words.width)):
            state = control.up(options, walk.wait_for)
            walk.reach("up")
            sites = {name: open_site(name, each) for name, each in state.resources().items()}
            with watching_poison(sites, len(faults.poison(trades)), walk):
                sent = store(trades, sites, seed=seed, scratch=home, walk=walk)
                outage = _outage(trades, sites, home, seed, walk)
                walk.wait_for("the poison is refused as often as the queues retry it")
                proof = prove(sent, sites)
            if all(site.only_poison for site in proof.sites.values()):
                walk.reach("refused")
            else:
                walk.fail("refused", "NOT as expected: the dead letters")
            if proof.ok and outage.ok:
                walk.reach("again")
            else:
                walk.fail("again", "NOT as expected; the table below shows what differs")
            walk.wait_for("the meters of the clouds settle")
            costs = demo_cost(home, {name: site.cloud for name, site in sites.items()})
            rows = _candles(next(iter(sites.values())), trades[0].symbol)
            walk.wait_for("")
        done = True
    finally:
        if not (keep and done):
            with waiting(session, "stopping the embedded clouds"):
                control.down(home)
        if not keep:
            shutil.rmtree(home, ignore_errors=True)
    _show(session, proof, outage, costs, feed.report, time.monotonic() - begun)
    _show_candles(session, rows, next(iter(sites)))
    for line in _next_commands(trades[0].symbol, keep=keep):
        session.say(line)
    if not (proof.ok and outage.ok):
        raise typer.Exit(1)
    if not feed.report.complete:
        raise incomplete(source, feed.report)


def _outage(
    trades: "list[Trade]", sites: "Mapping[str, Site]", home: Path, seed: int, walk: "Walk"
) -> "DrillReport":
    """Take a site out while other trades flow."""
    from mcloud.rehearsal import drill
    from mcloud.rehearsal.scenarios import SCENARIOS

    names = {trade.symbol for trade in trades}
    others = tuple(name for name in OTHERS if name not in names)[:2]
    (rest,) = (name for name in sites if name != OUT)
    words: dict[DrillStage, str] = {
        "out": f"{OUT} taken out: every call to it is refused",
        "moved": f"the guard moved the traffic to {rest} in {{:.1f}} s",
        "back": f"{OUT} back, and caught up from {rest}",
    }

    state = {OUT: ""}

    def reach(stage: "DrillStage", seconds: float) -> None:
        state[OUT] = {"out": "out", "moved": "out", "over": "catching up"}.get(stage, "")
        if stage != "over":
            walk.reach(stage, words[stage].format(seconds))
        if stage == "back":
            # The comparison follows, during which the bars would stand still.
            walk.clear()

    def watch(stream: "DrillStream") -> None:
        for name, count in stream.accepted.items():
            walk.fill(name, count, stream.read, state.get(name, ""))

    try:
        return drill.run(
            SCENARIOS["cloud-outage"],
            *(OUT, home, sites, home),
            trades=drill.made(others, START, seed),
            symbols=others,
            after=1.0,
            tell=walk.wait_for,
            reach=reach,
            see=watch,
        )
    finally:
        walk.clear()


def _candles(site: "Site", symbol: str) -> "list[CandleRow]":
    from mcloud.candle_history import TimeRange, read_rows

    rows, _ = read_rows(site, symbol, TimeRange(None, None, SHOWN), "1m", [], fill=False)
    return rows


def _show_candles(session: Session, rows: "list[CandleRow]", site: str) -> None:
    """Draw a chart of the trades that were sent."""
    if session.output == "json" or not rows or not session.console.is_terminal:
        return
    from mcloud.drawing.candle_chart import candlesticks
    from mcloud.drawing.candles import title

    session.print("")
    session.print(title(rows, "1m", site))
    chart = candlesticks([row.step.bar for row in rows], session.console.width, 10, volume=2)
    session.print(chart)


def _next_commands(symbol: str, *, keep: bool) -> list[str]:
    if not keep:
        return [
            "next: `mcloud local up` starts the clouds to work with,",
            "      `mcloud produce --symbols BTCUSDT` sends live trades, or --source replay:FILE,",
            "      `mcloud monitor` shows both sites",
        ]
    return [
        "everything is still running:",
        "      `mcloud monitor` shows both sites,",
        f"      `mcloud candles {symbol}` shows candles,",
        "      `mcloud local down` stops the clouds",
    ]


def _trades(
    session: Session, source: str, market: str | None, count: int, seed: int
) -> "tuple[list[Trade], Feed]":
    from mcloud.cli.produce import report_feed
    from mcloud.feed.feed import incomplete
    from mcloud.feed.open import FeedChoice, open_feed
    from mcloud.feed.simulate import Simulate

    feed: Feed
    if source == "simulate" and not market:
        feed = Simulate(SYMBOLS, seed=seed, start_time=START, count=count)
    else:
        feed = open_feed(FeedChoice(source, market=market))
    for warning in feed.warnings:
        session.warn(warning)
    trades = list(feed)
    report_feed(session, feed.report)
    if not trades:
        raise incomplete(source, feed.report)
    return trades, feed


def _ports(session: Session) -> "LocalPorts":
    from mcloud.local.state import Home

    home = Home(session.config.local)
    if home.is_up() or home.kept.exists():
        what = "are already running" if home.is_up() else "have kept data"
        raise LocalError(
            f"the embedded clouds {what}, and the demo needs empty ones",
            remedy="run `mcloud local down` and `mcloud local reset`, or omit --keep",
        )
    return session.config.ports


def _show(
    session: Session,
    proof: "Proof",
    outage: "DrillReport",
    costs: "dict[str, RunCost]",
    read: "Read",
    seconds: float,
) -> None:
    from mcloud.cost.words import plain
    from mcloud.documents import encode

    if session.output == "json":
        session.print_json(
            {
                "ok": proof.ok and outage.ok,
                "trades": proof.trades,
                "complete": read.complete,
                **encode(read.unread),
                "expected": {
                    "candles": proof.candles,
                    "digest": proof.digest,
                    "dead_letters": proof.poison,
                },
                "sites": {
                    name: {
                        "candles": site.candles,
                        "exact": site.exact,
                        "digest": site.digest,
                        "archived": site.archived,
                        "dead_letters": site.dead_letters,
                        "ok": site.ok,
                        "list_price_usd": plain(costs[name].gross),
                        "after_free_tiers_usd": plain(costs[name].net),
                    }
                    for name, site in proof.sites.items()
                },
                "outage": outage,
                "seconds": round(seconds, 1),
            }
        )
        return
    from mcloud.drawing.demo import table

    session.print(table(proof, outage, costs))
    is_ok = proof.ok and outage.ok
    verdict = "both sites are exact" if is_ok else "NOT as expected, see above"
    session.say(f"{verdict}; {seconds:.0f} s")
