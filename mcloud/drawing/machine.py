"""The processes on this machine, one line each."""

from collections.abc import Callable

from rich.text import Text

from mcloud.drawing.lines import fit
from mcloud.drawing.run_status import unspoken
from mcloud.durations import brief, duration
from mcloud.observing.machine import Machine
from mcloud.producer.reported_state import ProducerState
from mcloud.producer.sender import SiteDelivery
from mcloud.replication.progress import ReplicatorState
from mcloud.runs import Running, RunState

NAME = 14  # columns


def here(
    machine: Machine, now: float, most: int, keeps: Callable[[str], bool] = lambda text: True
) -> list[Text]:
    """Return up to ``most`` lines: producers and replicators, running ones first. The last line may
    be a count of those left out. ``keeps`` tells whether a line is shown.
    """
    shown = machine.recent(now)
    lines = [_producer(each, now) for each in shown.producers]
    lines += [_replicator(each, now) for each in shown.replicators]
    is_filtered = bool(lines)
    lines = [line for line in lines if keeps(line.plain)]
    if not lines and is_filtered:
        return [Text("no process matches the filter", "dim")]
    if not lines:
        return [Text("no producer or replicator is running here", "dim")]
    if len(lines) > most:
        more = len(lines) - most
        lines = lines[:most]
        lines[-1] = lines[-1].append(f"  and {more} more", "bold")
    return lines


def _producer(producer: Running[ProducerState], now: float) -> Text:
    state = producer.state
    line = _name(producer)
    if state is None:
        return line.append_text(unspoken(producer))
    if not producer.runs:
        line.append(f"ended {brief(now - state.at)} ago, {state.read:,} trades", "dim")
    else:
        line.append(f"{state.rate:,.0f}/s")
        if state.live:
            line.append(f"  lag {'unknown' if state.lag_s is None else duration(state.lag_s)}")
        line.append(f"  spool {state.spool_bytes / 2**20:.1f} MiB")
        if state.spool_full:
            line.append(" FULL", "bold red")
    for name, site in state.sites.items():
        line.append_text(_site(name, site, producer.runs))
    if state.missing:
        line.append(f"  {state.missing:,} missing", "yellow")
    return line


def _site(name: str, site: SiteDelivery, runs: bool) -> Text:
    """Return a producer's view of a site: its circuit breaker and the waiting trades."""
    waiting = f" {site.waiting_trades:,} waiting" if site.waiting_trades else ""
    if not runs:
        return Text(f"  {name}{waiting}" if waiting else "", "yellow")
    breaker = "refused" if site.refused else site.breaker
    style = {"closed": "", "half-open": "yellow"}.get(breaker, "bold red")
    return Text.assemble(f"  {name} ", (breaker, style), waiting)


def _replicator(replicator: Running[ReplicatorState], now: float) -> Text:
    state = replicator.state
    line = _name(replicator)
    if state is None:
        return line.append_text(unspoken(replicator))
    if not replicator.runs:
        return line.append(f"ended {brief(now - state.at)} ago", "dim")
    for pair in state.pairs:
        line.append(f"{pair.source} → {pair.target} ")
        if pair.error:
            line.append("cut off", "bold red")
        elif pair.candles_s is None:
            line.append(pair.phase, "dim")
        else:
            line.append(f"{brief(pair.candles_s)} behind")
        line.append("  ")
    return line


def _name(each: Running[RunState]) -> Text:
    return fit(fit(Text(each.name, "dim"), NAME - 1), NAME, pad=True)
