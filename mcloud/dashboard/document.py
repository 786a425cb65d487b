"""A snapshot as JSON: the document of ``mcloud status -o json``, which alert rules read too.

Paths stay as they are; new ones are added. What is unknown is null, or ``{"unknown": why}`` where a
whole part is; ``asked`` says of every part when it was answered and what is wrong with it now.
"""

from collections.abc import Callable
from dataclasses import asdict
from decimal import Decimal
from typing import Any, TypeVar

from mcloud.clouds.ports import SERVICES, ControlRecord, Depth, Figures, Lag
from mcloud.cost.current import CostFigure
from mcloud.dashboard.collector import Seen
from mcloud.dashboard.machine import Machine
from mcloud.dashboard.recent import Recent
from mcloud.dashboard.snapshot import SiteCost, SiteSnapshot, Snapshot
from mcloud.dashboard.wrong import wrong
from mcloud.market.candle import Candle
from mcloud.market.trade import to_text

Value = TypeVar("Value")


def document(snapshot: Snapshot) -> dict[str, Any]:
    leading = snapshot.leading
    machine = snapshot.machine.value or Machine()
    return {
        "at": snapshot.at,
        "up": snapshot.up,
        "wrong": wrong(snapshot),
        "primary": leading.primary if leading else None,
        "epoch": leading.epoch if leading else None,
        "control": asdict(leading) if leading else None,
        "sites": {name: _site(site) for name, site in snapshot.sites.items()},
        "producers": [each.to_json() for each in machine.producers],
        "replicators": [each.to_json() for each in machine.replicators],
        "guards": [each.to_json() for each in machine.guards],
        "alerts": [each.to_json() for each in machine.alerts],
        "cost": _costs(snapshot.cost),
        "upkeep_usd_a_month": None if snapshot.upkeep is None else float(snapshot.upkeep),
    }


def _site(site: SiteSnapshot) -> dict[str, Any]:
    return {
        "cloud": site.cloud,
        "up": site.up,
        "services": {service: _service(site.health[service]) for service in SERVICES},
        "queue": {**_or_unknown(site.queue, _depth), **_oldest(site.figures)},
        "dead_letters": _or_unknown(site.dead_letters, _depth),
        "function": _or_unknown(site.figures, _function),
        "store": _or_unknown(site.figures, _store),
        "heartbeats": _or_unknown(
            site.heartbeats, lambda beats: {beat.symbol: asdict(beat) for beat in beats}
        ),
        "replication": _or_unknown(site.lags, lambda lags: [_lag(lag) for lag in lags]),
        "last_candle": _last_candle(site),
        "candles": _or_unknown(
            site.recent, lambda recent: {each.symbol: _recent(each) for each in recent}
        ),
        "holes": site.missing,
        "control": _or_unknown(site.record, _record),
        "guard": _or_unknown(site.guards, dict),
        "debts": _or_unknown(site.debts, dict),
        "cost": _cost(site.cost),
        "asked": {
            part: {"at": seen.at, "problem": seen.problem or None}
            for part, seen in _parts(site).items()
        },
    }


def _or_unknown(seen: Seen[Any], shape: Callable[[Any], Any]) -> Any:
    return shape(seen.value) if seen.known else {"unknown": seen.why}


def _parts(site: SiteSnapshot) -> dict[str, Seen[Any]]:
    return {
        **site.health,
        "depth": site.queue,
        "dead_letters": site.dead_letters,
        "metrics": site.figures,
        "heartbeats": site.heartbeats,
        "replication": site.lags,
        "control": site.record,
        "guard": site.guards,
        "debts": site.debts,
        "recent": site.recent,
        "cost": site.cost,
    }


def _service(seen: Seen[float]) -> dict[str, Any]:
    if seen.problem:
        return {"up": False, "reason": seen.problem, "latency_s": None}
    return {
        "up": True if seen.known else None,
        "reason": "",
        "latency_s": round(seen.took, 4) if seen.known else None,
    }


def _depth(depth: Depth | None) -> dict[str, Any]:
    return asdict(depth or Depth(None, None, 0.0))


def _oldest(figures: Seen[Figures]) -> dict[str, Any]:
    oldest = figures.value.oldest_age if figures.value else None
    return {
        "oldest_age_s": oldest.value if oldest else None,
        "oldest_age_as_of": oldest.as_of if oldest and oldest.value is not None else None,
    }


def _function(figures: Figures) -> dict[str, Any]:
    return {
        "count": _whole(figures.calls.value),
        "errors": _whole(figures.errors.value),
        "throttles": _whole(figures.throttles.value),
        "p95_s": figures.p95.value,
        "window": figures.window,
        "as_of": figures.calls.as_of,
        "p95_as_of": None if figures.p95.value is None else figures.p95.as_of,
    }


def _store(figures: Figures) -> dict[str, Any]:
    return {
        "writes": figures.writes.value,
        "write_throttles": _whole(figures.write_throttles.value),
        "window": figures.window,
        "as_of": figures.writes.as_of,
    }


def _lag(lag: Lag) -> dict[str, Any]:
    return asdict(lag)


def _last_candle(site: SiteSnapshot) -> dict[str, Any] | None:
    if not (site.recent.known and site.heartbeats.known):
        return {"unknown": site.recent.why or site.heartbeats.why}
    last = site.last
    return _candle(last.last) if last and last.last else None


def _recent(each: Recent) -> dict[str, Any]:
    return {
        "last": _candle(each.last) if each.last else None,
        "missing": each.missing,
        "holes": [{"first": first, "last": last} for first, last in each.holes],
    }


def _candle(candle: Candle) -> dict[str, Any]:
    return {
        "symbol": candle.symbol,
        "timestamp": candle.timestamp,
        "close": to_text(candle.close),
        "trade_count": candle.trade_count,
        "last_id": candle.last_id,
    }


def _record(record: ControlRecord | None) -> dict[str, Any] | None:
    return asdict(record) if record else None


def _cost(seen: Seen[SiteCost]) -> dict[str, Any]:
    if seen.value is None:
        return {"unknown": seen.problem or "no figure"}
    return {
        "month_to_date_usd": float(seen.value.month_to_date),
        "per_hour_usd": _dollars(seen.value.per_hour),
        "as_of": seen.at,
    }


def _costs(seen: Seen[CostFigure]) -> dict[str, Any]:
    figure = seen.value
    if figure is None:
        return {"unknown": seen.problem or "no figure"}
    return {
        "month_to_date_usd": _dollars(figure.month_to_date),
        "per_hour_usd": _dollars(figure.per_hour_now),
        "expected_usd": _dollars(figure.expected),
        "budget_usd": _dollars(figure.budget),
        "by_site": {name: float(dollars) for name, dollars in figure.by_site.items()},
        "as_of": figure.as_of,
        "source": figure.source,
    }


def _dollars(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
