"""A snapshot in Prometheus's text format, version 0.0.4: every figure is a gauge.

Unknown figures are left out, since a missing series is not a zero. A figure that may be old has its
age beside it, in ``mcloud_figure_age_seconds``.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from mcloud.clouds.figures import FIGURES
from mcloud.clouds.ports import Depth, Figures
from mcloud.observing.machine import Machine
from mcloud.observing.problems import firing, problems, silenced
from mcloud.observing.snapshot import SiteSnapshot, Snapshot
from mcloud.producer.breaker import CLOSED
from mcloud.producer.reported_state import ProducerState
from mcloud.runs import Running

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

HELP = {
    "wrong": "Number of problems, as `mcloud status` counts them.",
    "up": "1 if every service of the site answered.",
    "service_up": "1 if the service answered its probe.",
    "service_latency_seconds": "Duration of its probe.",
    "queue_messages": "Messages in the queue, ready or in flight.",
    "dead_letters": "Messages that could not be processed.",
    **{each.series: each.help for each in FIGURES},
    "function_window_seconds": "Window of the counts.",
    "processed_trades": "Trades that the function has processed since the site was created.",
    "last_trade_timestamp_seconds": "Time of the newest trade that the function processed.",
    "last_candle_timestamp_seconds": "Start of the newest candle.",
    "last_candle_close": "Close of the newest candle.",
    "missing_trades": "Trade ids that are missing from the candles of the last minutes.",
    "replication_lag_seconds": "Replication lag: older changes of the source are in the target.",
    "replication_waiting": "Candles, or hours of raw trades, that are known to be waiting.",
    "damaged_documents": "Damaged documents of the site.",
    "primary": "1 for the primary.",
    "epoch": "Epoch of the control record that the site stores.",
    "cost_month_to_date_dollars": "Cost of the site this month, estimated at list prices.",
    "cost_per_hour_dollars": "Current cost of the site, by the last reads.",
    "producer_running": "1 if the producer is running.",
    "producer_trades_per_second": "Trades that it reads.",
    "producer_lag_seconds": "Time since the newest trade.",
    "producer_spool_bytes": "Size of its spool on the disk.",
    "producer_missing_trades": "Trades in its known holes.",
    "producer_stalled_symbols": "Symbols whose stream does not deliver what the exchange has.",
    "producer_waiting_trades": "Trades that are waiting for the site.",
    "producer_breaker_closed": "1 if the producer may send to the site.",
    "replicator_running": "1 if the replicator is running.",
    "guard_running": "1 if the guard is running.",
    "alerts_firing": "Alerts that fire. There are none without a watcher.",
    "alerts_silenced": "Alerts that fire and are silenced.",
    "silences": "Active silences.",
    "dashboard_dollars_per_month": "Cost of reading these metrics, at list prices.",
    "figure_age_seconds": "Age of a figure.",
}


class Sample(NamedTuple):
    name: str
    value: float | None
    labels: dict[str, str]


def exposition(snapshot: Snapshot) -> str:
    """Return the answer to a scrape."""
    lines = []
    samples = [each for each in _samples(snapshot) if each.value is not None]
    for name, help_ in HELP.items():
        of_it = [each for each in samples if each.name == name]
        if of_it:
            lines += [f"# HELP mcloud_{name} {help_}", f"# TYPE mcloud_{name} gauge"]
            lines += [_line(each) for each in of_it]
    return "\n".join(lines) + "\n"


def _samples(snapshot: Snapshot) -> Iterator[Sample]:
    yield Sample("wrong", len(problems(snapshot)), {})
    leading = snapshot.leading
    for site in snapshot.sites.values():
        yield from _site(site)
        yield from _ages(site, snapshot.at)
        if leading:
            yield Sample("primary", site.name == leading.primary, {"site": site.name})
    if snapshot.machine.value is not None:
        yield from _machine(snapshot, snapshot.machine.value)
    if any(site.silences.known for site in snapshot.sites.values()):
        yield Sample("silences", len(snapshot.silenced), {})
    if snapshot.upkeep is not None:
        yield Sample("dashboard_dollars_per_month", float(snapshot.upkeep), {})


def _site(site: SiteSnapshot) -> Iterator[Sample]:
    here = {"site": site.name}
    yield Sample("up", site.up, here)
    for service, seen in site.health.items():
        of_it = {**here, "service": service}
        yield Sample(
            "service_up", None if not (seen.known or seen.problem) else not seen.problem, of_it
        )
        yield Sample("service_latency_seconds", None if seen.problem else seen.value, of_it)
    yield Sample("damaged_documents", site.damaged_count, here)
    depth = site.queue.value or Depth(None, None, 0.0)
    yield Sample("queue_messages", depth.ready, {**here, "state": "ready"})
    yield Sample("queue_messages", depth.in_flight, {**here, "state": "in_flight"})
    if site.dead_letters.value is not None:
        yield Sample("dead_letters", site.dead_letters.value.ready, here)
    if site.figures.value is not None:
        yield from _figures(site.figures.value, here)
    for beat in site.heartbeats.value or ():
        of_it = {**here, "symbol": beat.symbol}
        yield Sample("processed_trades", beat.trades, of_it)
        yield Sample("last_trade_timestamp_seconds", beat.last_trade_time / 1000, of_it)
    for each in site.recent.value or ():
        of_it = {**here, "symbol": each.symbol}
        yield Sample("missing_trades", each.missing, of_it)
        if each.last is not None:
            start = datetime.fromisoformat(each.last.timestamp).timestamp()
            yield Sample("last_candle_timestamp_seconds", start, of_it)
            yield Sample("last_candle_close", float(each.last.close), of_it)
    for lag in site.lags.value or ():
        pair = {"source": lag.source, "target": lag.target, "part": lag.part}
        yield Sample("replication_lag_seconds", lag.candles_s, {**pair, "what": "candles"})
        yield Sample("replication_lag_seconds", lag.raw_s, {**pair, "what": "raw"})
        yield Sample("replication_waiting", lag.candles, {**pair, "what": "candles"})
        yield Sample("replication_waiting", lag.raw, {**pair, "what": "raw"})
    if site.record.value is not None:
        yield Sample("epoch", site.record.value.epoch, here)
    if site.cost.value is not None:
        per_hour = site.cost.value.per_hour
        yield Sample("cost_month_to_date_dollars", float(site.cost.value.month_to_date), here)
        yield Sample("cost_per_hour_dollars", None if per_hour is None else float(per_hour), here)


def _figures(figures: Figures, here: dict[str, str]) -> Iterator[Sample]:
    yield Sample("function_window_seconds", figures.window, here)
    for each in FIGURES:
        yield Sample(each.series, figures[each.name].value, here)


def _ages(site: SiteSnapshot, now: float) -> Iterator[Sample]:
    ages = {name: seen.at for name, seen in site.parts.items() if seen.at is not None}
    if site.queue.value is not None:
        ages["queue depth"] = site.queue.value.as_of
    if site.dead_letters.value is not None:
        ages["dead letters"] = site.dead_letters.value.as_of
    if site.figures.value is not None:
        measured = {each.row: site.figures.value[each.name] for each in reversed(FIGURES)}
        ages |= {row: each.as_of for row, each in measured.items() if each.value is not None}
    for name, at in ages.items():
        yield Sample("figure_age_seconds", max(0.0, now - at), {"site": site.name, "figure": name})


def _machine(snapshot: Snapshot, machine: Machine) -> Iterator[Sample]:
    for producer in machine.producers:
        yield from _producer(producer)
    for replicator in machine.replicators:
        yield Sample("replicator_running", replicator.runs, {"replicator": replicator.name})
    for guard in machine.guards:
        yield Sample("guard_running", guard.runs, {"guard": guard.name})
    watchers = [each for each in machine.alerts if each.runs]
    if watchers:
        fires = sum(len(firing(each, snapshot)) for each in watchers)
        quiet = sum(len(silenced(each, snapshot)) for each in watchers)
        yield Sample("alerts_firing", fires, {})
        yield Sample("alerts_silenced", quiet, {})


def _producer(producer: Running[ProducerState]) -> Iterator[Sample]:
    here, state = {"producer": producer.name}, producer.state
    yield Sample("producer_running", producer.runs, here)
    if state is None:
        return
    yield Sample("producer_missing_trades", state.missing, here)
    if not producer.runs:
        return
    yield Sample("producer_stalled_symbols", len(state.stalled), here)
    yield Sample("producer_trades_per_second", state.rate, here)
    yield Sample("producer_lag_seconds", state.lag_s if state.live else None, here)
    yield Sample("producer_spool_bytes", state.spool_bytes, here)
    for name, site in state.sites.items():
        of_it = {**here, "site": name}
        yield Sample("producer_waiting_trades", site.waiting_trades, of_it)
        is_closed = site.breaker == CLOSED and not site.refused
        yield Sample("producer_breaker_closed", is_closed, of_it)


def _line(sample: Sample) -> str:
    labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in sample.labels.items())
    of_it = f"{{{labels}}}" if labels else ""
    return f"mcloud_{sample.name}{of_it} {_number(sample.value)}"


def _number(value: float | None) -> str:
    """Return the shortest text of the number: ``12``, not ``12.0``, and no exponent for a time."""
    number = float(value or 0)
    return str(int(number)) if number.is_integer() else repr(number)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
