"""Snapshots as something to look at."""

from typing import Any

from rich.table import Table
from rich.text import Text

from mcloud.clouds.ports import SERVICES, Depth, Health, Invocations, Lag
from mcloud.dashboard.duration import duration
from mcloud.dashboard.snapshot import SiteSnapshot, Snapshot
from mcloud.market.candle import Candle
from mcloud.market.trade import to_text

STALE = 30.0  # seconds; an older figure shows its age


def status_table(snapshot: Snapshot) -> Table:
    """One column a site, one row a figure."""
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    table.add_column("")
    for name, site in snapshot.sites.items():
        table.add_column(name if name == site.cloud else f"{name} ({site.cloud})")
    sites = list(snapshot.sites.values())
    for service in SERVICES:
        table.add_row(service, *(_health(site.health[service]) for site in sites))
    table.add_row("queue depth", *(_depth(site.queue, snapshot.at) for site in sites))
    table.add_row("dead letters", *(_dead(site, snapshot.at) for site in sites))
    table.add_row("function calls", *(_calls(site.invocations, snapshot.at) for site in sites))
    table.add_row("function errors", *(_errors(site.invocations) for site in sites))
    table.add_row("last candle", *(_candle(site.last_candle) for site in sites))
    if any(site.lags for site in sites if not isinstance(site.lags, str)):
        table.add_row("behind", *(_lags(site.lags, snapshot.at) for site in sites))
    return table


def _health(health: Health) -> Text:
    if health.up:
        return Text.assemble(("up", "green"), f"  {health.latency * 1000:.0f} ms")
    return Text.assemble(("down", "bold red"), f"  {health.reason}")


def _depth(depth: Depth | str, now: float) -> Text:
    if isinstance(depth, str) or depth.ready is None:
        return _unknown(depth)
    words = f"{depth.ready}"
    if depth.in_flight is not None:
        words += f" ready, {depth.in_flight} in flight"
    return Text(words + _age(now - depth.as_of))


def _dead(site: SiteSnapshot, now: float) -> Text:
    depth = site.dead_letters
    text = _depth(depth, now)
    if isinstance(depth, Depth) and depth.ready:
        text.stylize("yellow")
    return text


def _calls(calls: Invocations | str, now: float) -> Text:
    if isinstance(calls, str) or calls.count is None:
        return _unknown(calls)
    return Text(f"{calls.count} in {calls.window / 60:.0f} min{_age(now - calls.as_of)}")


def _errors(calls: Invocations | str) -> Text:
    if isinstance(calls, str) or calls.errors is None:
        return _unknown(calls)
    return Text(str(calls.errors), style="yellow" if calls.errors else "")


def _candle(candle: Candle | str | None) -> Text:
    if isinstance(candle, str):
        return _unknown(candle)
    if candle is None:
        return Text("none yet", style="dim")
    return Text(f"{candle.symbol} {candle.timestamp} {to_text(candle.close)}")


def _lags(lags: list[Lag] | str, now: float) -> Text:
    """One line for each replicator that brings data here."""
    if isinstance(lags, str):
        return _unknown(lags)
    lines = []
    for lag in lags:
        part = "" if lag.part == "all" else f" {lag.part}"
        candles = "unknown" if lag.candles_s is None else duration(lag.candles_s)
        raw = "unknown" if lag.raw_s is None else duration(lag.raw_s)
        line = f"{lag.source}{part}: candles {candles}, raw {raw}{_age(now - lag.at)}"
        lines.append(Text(line, style="dim" if now - lag.at > STALE else ""))
    return Text("\n").join(lines)


def _unknown(why: Any) -> Text:
    return Text(f"unknown: {why}" if isinstance(why, str) else "unknown: no data", style="dim")


def _age(seconds: float) -> str:
    return f" ({seconds:.0f} s ago)" if seconds > STALE else ""
