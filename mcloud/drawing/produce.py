"""Views of producers: a live panel of one, and a list of all."""

import time
from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mcloud.drawing.lines import bar
from mcloud.drawing.run_status import alive, unspoken
from mcloud.durations import duration
from mcloud.market.candle import to_timestamp
from mcloud.market.trade import Trade, to_text
from mcloud.producer.cursor import Hole
from mcloud.producer.reported_state import ProducerState
from mcloud.producer.sender import SiteDelivery
from mcloud.runs import Running

HOLES = 5  # that the panel names
LEAST = 0.02  # share of a source that tells how long the rest takes
WIDEST = 60  # columns of the bar


def panel(
    state: ProducerState,
    *,
    done: float | None = None,
    newest: Trade | None = None,
    width: int = 80,
) -> RenderableType:
    """Draw one producer, live.

    Args:
        done: share of the source that was read, from 0 to 1; None for a source without an end.
        newest: the last trade that was read.
        width: columns of the terminal.
    """
    elapsed = max(0.0, state.at - state.started)
    parts: list[RenderableType] = []
    if done is not None:
        parts.append(_progress(state, done, elapsed, width))
    elif state.started:
        parts.append(Text(f"running for {duration(elapsed)}", "dim"))
    head = Text.assemble(
        (f"{state.read:,}", "bold"),
        f" trades, {state.rate:,.0f}/s",
        f", lag {_lag(state.lag_s)}" if state.live else "",
        f", {state.repeats:,} repeats" if state.repeats else "",
        f"  spool {_size(state.spool_bytes)}",
        (" FULL, not reading" if state.spool_full else "", "bold red"),
    )
    parts.append(head)
    if newest:
        at = to_timestamp(newest.time // 1000 * 1000)
        parts.append(Text(f"{newest.symbol} {to_text(newest.price)} at {at}", "cyan"))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("site", "accepted", "waiting", "lag", "breaker", "publish", ""):
        is_number = heading in ("accepted", "waiting", "lag")
        table.add_column(heading, justify="right" if is_number else "left")
    for name, site in state.sites.items():
        chosen = name in state.route.sites
        latency = "" if site.latency is None else f"{site.latency * 1000:.0f} ms"
        table.add_row(
            Text(name, style="" if chosen else "dim"),
            f"{site.trades:,}",
            f"{site.waiting_trades:,}",
            duration(site.lag_s),
            _breaker(site),
            latency,
            Text(site.error, style="red" if site.refused else "yellow"),
        )
    parts += [table, Text(state.route.reason, style="dim")]
    parts += [Text(_hole(hole), style="yellow") for hole in state.holes[:HOLES]]
    if len(state.holes) > HOLES:
        parts.append(Text(f"… and {len(state.holes) - HOLES} more holes", style="yellow"))
    source = state.source_state
    if source:
        parts.append(Text(source.summary, style="red" if source.error else "dim"))
    if state.problem:
        parts.append(Text(state.problem, style="bold red"))
    return Group(*parts)


def listing(
    producers: Sequence[Running[ProducerState]], now: float | None = None
) -> RenderableType:
    """Draw all producers."""
    now = time.time() if now is None else now
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("producer", "state", "pid", "source", "trades", "rate", "waiting", "holes"):
        # A source that is cut short may be another one: binance, and binance-futures.
        table.add_column(
            heading,
            justify="right" if heading in ("trades", "rate") else "left",
            overflow="fold" if heading in ("producer", "source") else "ellipsis",
        )
    stalled: list[RenderableType] = []
    missing: list[RenderableType] = []
    changed: list[RenderableType] = []
    for each in producers:
        name, runs, state = each.name, each.runs, each.state
        if state is None:
            table.add_row(name, unspoken(each))
            continue
        waiting = ", ".join(
            f"{site} {delivery.waiting_trades:,}"
            for site, delivery in state.sites.items()
            if delivery.waiting_trades
        )
        holes = f"{len(state.holes)} ({state.missing:,} trades)" if state.missing else "none"
        table.add_row(
            name,
            alive(runs, state, now),
            str(state.pid) if runs else "",
            state.source,
            f"{state.read:,}",
            f"{state.rate:,.0f}/s" if runs else "",
            waiting or "nothing",
            Text(holes, style="yellow" if state.missing else ""),
        )
        if runs and state.stalled:
            words = f"{name}: stalled: the exchange has trades of {', '.join(state.stalled)} that"
            stalled.append(Text(f"{words} its stream does not deliver", style="red"))
        missing += [Text(f"{name}: {_hole(hole)}", style="yellow") for hole in state.holes[:HOLES]]
        if state.source_state and state.source_state.changed:
            changed.append(Text(f"{name}: {state.source_state.changed}", style="dim"))
    return Group(table, *stalled, *missing, *changed)


def delivered(sites: Mapping[str, SiteDelivery]) -> RenderableType:
    """Draw what a finished run has delivered."""
    table = Table(box=None, pad_edge=False)
    for heading in ("site", "trades", "messages", "unsent"):
        table.add_column(heading, justify="left" if heading == "site" else "right")
    for name, each in sites.items():
        table.add_row(name, f"{each.trades:,}", f"{each.messages:,}", f"{each.waiting:,}")
    return table


def _progress(state: ProducerState, done: float, elapsed: float, width: int) -> Text:
    """Return the bar of the trades that the sites have accepted."""
    accepted = [site.trades for site in state.sites.values()]
    # With another mode than `both`, each trade goes to one site.
    count = min(accepted) if len(state.route.sites) == len(accepted) else sum(accepted)
    share = done * min(1.0, count / state.read) if state.read else 0.0
    # The last trades wait for an answer of the sites, so only the end of the run is 100%.
    percent = min(99, int(share * 100))
    words = f"{percent:>3}%  {duration(elapsed)} elapsed"
    stuck = [
        name
        for name, site in state.sites.items()
        if name in state.route.sites and (site.refused or site.breaker != "closed")
    ]
    if stuck:
        words += f", waiting for {' and '.join(stuck)}"
    elif share >= LEAST:
        words += f", about {duration(elapsed * (1 - share) / share)} left"
    columns = max(8, min(WIDEST, width - len(words) - 3))
    filled = bar(share, columns)
    return Text.assemble((filled, "cyan"), ("░" * (columns - len(filled)), "dim"), f" {words}")


def _hole(hole: Hole) -> str:
    text = f"hole: {hole.symbol} {hole.first} to {hole.last}, {hole.missing:,} trades"
    return f"{text}: {hole.reason}" if hole.reason else text


def _breaker(site: SiteDelivery) -> Text:
    if site.refused:
        return Text("refused", style="bold red")
    style = {"closed": "green", "open": "bold red"}.get(site.breaker, "yellow")
    return Text(site.breaker, style=style)


def _lag(seconds: float | None) -> str:
    return "unknown" if seconds is None else duration(seconds)


def _size(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"
