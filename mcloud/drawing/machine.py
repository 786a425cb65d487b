"""The processes on this machine, one line each."""

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from mcloud.drawing.lines import fit
from mcloud.drawing.run_status import unspoken
from mcloud.durations import brief, duration
from mcloud.observing.machine import Machine, Running

REMEMBERED = 600.0  # seconds that one that has ended is still shown
NAME = 14  # columns


def here(machine: Machine, now: float, most: int) -> list[Text]:
    """Return up to ``most`` lines: producers and replicators, running ones first. The last line may
    be a count of those left out.
    """
    lines = [_producer(each, now) for each in _shown(machine.producers, now)]
    lines += [_replicator(each, now) for each in _shown(machine.replicators, now)]
    if not lines:
        return [Text("no producer or replicator is running here", "dim")]
    if len(lines) > most:
        more = len(lines) - most
        lines = lines[:most]
        lines[-1] = lines[-1].append(f"  and {more} more", "bold")
    return lines


def _shown(runs: tuple[Running, ...], now: float) -> list[Running]:
    """Return the runs that are active, ended recently, or left something behind."""
    ended = [
        each
        for each in runs
        if not each.runs
        and (
            now - each.state.get("at", 0.0) < REMEMBERED or each.state.get("holes") or each.damaged
        )
    ]
    return [*(each for each in runs if each.runs), *ended]


def _producer(producer: Running, now: float) -> Text:
    state = producer.state
    line = _name(producer)
    if (why := unspoken(producer.runs, state)) is not None:
        return line.append_text(why)
    if not producer.runs:
        line.append(f"ended {brief(now - state['at'])} ago, {state['read']:,} trades", "dim")
    else:
        line.append(f"{state['rate']:,.0f}/s")
        if state["live"]:
            lag = state["lag_s"]
            line.append(f"  lag {'unknown' if lag is None else duration(lag)}")
        line.append(f"  spool {state['spool_bytes'] / 2**20:.1f} MiB")
        if state["spool_full"]:
            line.append(" FULL", "bold red")
    for name, site in state["sites"].items():
        line.append_text(_site(name, site, producer.runs))
    if state["holes"]:
        missing = sum(hole["last"] - hole["first"] + 1 for hole in state["holes"])
        line.append(f"  {missing:,} missing", "yellow")
    return line


def _site(name: str, site: Mapping[str, Any], runs: bool) -> Text:
    """Return a producer's view of a site: its circuit breaker and the waiting trades."""
    waiting = f" {site['waiting_trades']:,} waiting" if site["waiting_trades"] else ""
    if not runs:
        return Text(f"  {name}{waiting}" if waiting else "", "yellow")
    breaker = "refused" if site["refused"] else site["breaker"]
    style = {"closed": "", "half-open": "yellow"}.get(breaker, "bold red")
    return Text.assemble(f"  {name} ", (breaker, style), waiting)


def _replicator(replicator: Running, now: float) -> Text:
    state = replicator.state
    line = _name(replicator)
    if (why := unspoken(replicator.runs, state)) is not None:
        return line.append_text(why)
    if not replicator.runs:
        return line.append(f"ended {brief(now - state['at'])} ago", "dim")
    for pair in state["pairs"]:
        line.append(f"{pair['source']} → {pair['target']} ")
        if pair["error"]:
            line.append("cut off", "bold red")
        elif pair["candles_s"] is None:
            line.append(pair["phase"], "dim")
        else:
            line.append(f"{brief(pair['candles_s'])} behind")
        line.append("  ")
    return line


def _name(each: Running) -> Text:
    return fit(fit(Text(each.name, "dim"), NAME - 1), NAME, pad=True)
