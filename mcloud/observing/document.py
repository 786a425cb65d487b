"""A snapshot as JSON: the document of ``mcloud status -o json``, which the alert rules also read.

Existing paths never change; new ones may be added. An unknown value is null, and an unknown part is
``{"unknown": why}``. The reason for a null is in ``unknown_why`` beside it, under its name.
``asked`` has the time of the last answer for every part, and its current problem.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar

from mcloud.clouds.ports import (
    RECORD,
    SERVICES,
    ControlRecord,
    Depth,
    Figure,
    Figures,
    Heartbeat,
    Lag,
)
from mcloud.cost.current import CostFigure
from mcloud.market.candle import Candle
from mcloud.market.trade import to_text
from mcloud.observing.collector import Seen
from mcloud.observing.machine import Machine
from mcloud.observing.problems import problems
from mcloud.observing.recent import Recent
from mcloud.observing.snapshot import SiteCost, SiteSnapshot, Snapshot

Value = TypeVar("Value")


_METRICS_SERVICES = {"aws": "CloudWatch", "gcp": "Cloud Monitoring"}
_NEVER = {
    ("gcp", "throttles"): "Cloud Run reports none",
    ("gcp", "write_throttles"): "Firestore reports none",
    ("gcp", "in_flight"): "Pub/Sub reports none",
}


def document(snapshot: Snapshot) -> dict[str, Any]:
    leading = snapshot.leading
    machine = snapshot.machine.value or Machine()
    return {
        "at": snapshot.at,
        "up": snapshot.up,
        "wrong": problems(snapshot),
        "primary": leading.primary if leading else None,
        "epoch": leading.epoch if leading else None,
        "control": asdict(leading) if leading else None,
        "sites": {name: _site(site) for name, site in snapshot.sites.items()},
        "disk": {"writable": not machine.disk, "reason": machine.disk},
        "producers": [each.to_json() for each in machine.producers],
        "replicators": [each.to_json() for each in machine.replicators],
        "guards": [each.to_json() for each in machine.guards],
        "alerts": [each.to_json() for each in machine.alerts],
        "silences": [
            each.to_json(snapshot.at)
            for each in snapshot.silences.silences.values()
            if each.is_active(snapshot.at) or each.is_planned(snapshot.at)
        ],
        "cost": _costs(snapshot.cost),
        "upkeep_usd_a_month": None if snapshot.upkeep is None else float(snapshot.upkeep),
    }


def why_missing(cloud: str, figure: str) -> str:
    """Return why a metrics service that answered has no value of a figure.

    ``figure`` is its name in the document.
    """
    return _NEVER.get((cloud, figure)) or f"{_METRICS_SERVICES.get(cloud, cloud)} has no value yet"


def _site(site: SiteSnapshot) -> dict[str, Any]:
    return {
        "cloud": site.cloud,
        "up": site.up,
        **_why(up=_why_up(site), holes=site.recent.why),
        "services": {service: _service(site.health[service]) for service in SERVICES},
        "queue": _queue(site),
        "dead_letters": _or_unknown(site.dead_letters, partial(_depth, site)),
        "function": _or_unknown(site.figures, partial(_function, site.cloud)),
        "store": _or_unknown(site.figures, partial(_store, site.cloud)),
        "heartbeats": _or_unknown(site.heartbeats, partial(_heartbeats, site)),
        "replication": _or_unknown(site.lags, lambda lags: [_lag(lag) for lag in lags]),
        "last_candle": _last_candle(site),
        "candles": _or_unknown(
            site.recent, lambda recent: {each.symbol: _recent(each) for each in recent}
        ),
        "holes": site.missing,
        "control": _control(site),
        "guard": _or_unknown(site.guards, dict),
        "debts": _or_unknown(site.debts, dict),
        "damaged": _damaged(site),
        "cost": _cost(site.cost),
        "asked": {
            part: {"at": seen.at, "problem": seen.problem or None}
            for part, seen in _parts(site).items()
        },
    }


def _heartbeats(site: SiteSnapshot, beats: Sequence[Heartbeat]) -> dict[str, Any]:
    broken = {name: {"unknown": str(each)} for name, each in site.damaged_heartbeats.items()}
    return {beat.symbol: asdict(beat) for beat in beats} | broken


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
        "silences": site.silences,
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


def _why_up(site: SiteSnapshot) -> str:
    if site.up is not None:
        return ""
    return "; ".join(f"{name}: {seen.why}" for name, seen in site.health.items() if seen.why)


def _queue(site: SiteSnapshot) -> dict[str, Any]:
    depth, oldest = _or_unknown(site.queue, partial(_depth, site)), _oldest(site)
    why = {**depth.get("unknown_why", {}), **oldest.get("unknown_why", {})}
    return {**depth, **oldest, **_why(**why)}


def _depth(site: SiteSnapshot, depth: Depth | None) -> dict[str, Any]:
    found = depth or Depth(None, None, 0.0)
    ready = "" if found.ready is not None else site.figures.why or why_missing(site.cloud, "ready")
    in_flight = "" if found.in_flight is not None else ready or why_missing(site.cloud, "in_flight")
    counted = {"ready": found.ready, "in_flight": found.in_flight, "as_of": found.as_of}
    return {**counted, **_why(ready=ready, in_flight=in_flight)}


def _oldest(site: SiteSnapshot) -> dict[str, Any]:
    oldest = site.figures.value.oldest_age if site.figures.value else Figure(None, 0.0)
    if oldest.value is not None:
        return {"oldest_age_s": oldest.value, "oldest_age_as_of": oldest.as_of}
    why = site.figures.why or why_missing(site.cloud, "oldest_age_s")
    return {"oldest_age_s": None, "oldest_age_as_of": None, **_why(oldest_age_s=why)}


def _function(cloud: str, figures: Figures) -> dict[str, Any]:
    found = {
        "count": _whole(figures.calls.value),
        "errors": _whole(figures.errors.value),
        "throttles": _whole(figures.throttles.value),
        "p95_s": figures.p95.value,
        "window": figures.window,
        "as_of": figures.calls.as_of,
        "p95_as_of": None if figures.p95.value is None else figures.p95.as_of,
    }
    return {**found, **_absent(cloud, found, ("count", "errors", "throttles", "p95_s"))}


def _store(cloud: str, figures: Figures) -> dict[str, Any]:
    found = {
        "writes": figures.writes.value,
        "write_throttles": _whole(figures.write_throttles.value),
        "window": figures.window,
        "as_of": figures.writes.as_of,
    }
    return {**found, **_absent(cloud, found, ("writes", "write_throttles"))}


def _absent(cloud: str, found: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return _why(**{name: why_missing(cloud, name) for name in names if found[name] is None})


def _why(**whys: str) -> dict[str, Any]:
    """Return ``unknown_why``, if there is a reason."""
    said = {name: why for name, why in whys.items() if why}
    return {"unknown_why": said} if said else {}


def _lag(lag: Lag) -> dict[str, Any]:
    why = {
        name: "its replicator has not compared it yet, or excludes it"
        for name in ("candles_s", "raw_s")
        if getattr(lag, name) is None
    }
    return {**asdict(lag), **_why(**why)}


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


def _control(site: SiteSnapshot) -> dict[str, Any] | None:
    broken = [each for each in site.damaged if each.where == RECORD]
    if broken:
        return {"unknown": str(broken[0])}
    return _or_unknown(site.record, _record)  # type: ignore[no-any-return]


def _record(record: ControlRecord | None) -> dict[str, Any] | None:
    return asdict(record) if record else None


def _damaged(site: SiteSnapshot) -> dict[str, Any]:
    count = site.damaged_count
    why = "the site has not reported all of its documents" if count is None else ""
    return {"count": count, "documents": list(map(str, site.damaged)), **_why(count=why)}


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
