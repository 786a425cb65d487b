"""One look at every site, all at once, with a deadline: a dead site costs seconds, never a hang."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from mcloud.clouds.ports import SERVICES, Depth, Health, Heartbeat, Invocations, Lag, Site
from mcloud.deadline import gather
from mcloud.market.candle import Candle
from mcloud.market.trade import to_text

DEADLINE = 8.0  # seconds; a cold start of a cloud's client takes up to two
WINDOW = 15 * 60.0  # seconds of function calls that are summed

Unknown = str
"""Why something is not known, in place of its value."""


@dataclass(frozen=True)
class SiteSnapshot:
    name: str
    cloud: str
    health: dict[str, Health]
    queue: Depth | Unknown
    dead_letters: Depth | Unknown
    invocations: Invocations | Unknown
    heartbeats: list[Heartbeat] | Unknown
    lags: list[Lag] | Unknown
    """What replicators that bring data here said last."""
    last_candle: Candle | Unknown | None
    """Of the symbol that a heartbeat saw last; None where there is none yet."""

    @property
    def up(self) -> bool:
        return all(each.up for each in self.health.values())


@dataclass(frozen=True)
class Snapshot:
    at: float
    """Seconds since 1970."""
    sites: dict[str, SiteSnapshot]

    @property
    def up(self) -> bool:
        return all(site.up for site in self.sites.values())

    def to_json(self) -> dict[str, Any]:
        """The document of ``mcloud status -o json``; null is unknown, with its reason beside it."""
        return {
            "at": self.at,
            "primary": None,
            "epoch": None,
            "sites": {name: _site_json(site) for name, site in self.sites.items()},
        }


def collect(sites: Mapping[str, Site], deadline: float = DEADLINE) -> Snapshot:
    """Ask every site everything at once; back within ``deadline`` seconds."""
    # Clients first: making one takes longer than a probe, and is no latency of the service. Only
    # a part of the time goes into it, so that a site that hangs there leaves some to the others.
    begun = time.monotonic()
    gather({name: partial(_prepare, site) for name, site in sites.items()}, deadline / 2)
    calls: dict[tuple[str, str], Callable[[], object]] = {}
    for name, site in sites.items():
        for service in SERVICES:
            calls[name, service] = partial(_check, site, service, deadline)
        calls[name, "depth"] = partial(lambda site: site.queue.depth(), site)
        calls[name, "dead"] = partial(lambda site: site.queue.dead_letter_depth(), site)
        calls[name, "calls"] = partial(lambda site: site.metrics.invocations(WINDOW), site)
        calls[name, "beats"] = partial(lambda site: site.control.heartbeats(), site)
        calls[name, "lags"] = partial(lambda site: site.control.lags(), site)
        calls[name, "last"] = partial(_last_candle, site)
    answers = gather(calls, begun + deadline - time.monotonic())
    return Snapshot(time.time(), {name: _site(name, site, answers) for name, site in sites.items()})


def _prepare(site: Site) -> None:
    for part in ("queue", "candles", "control", "metrics", "probe"):
        getattr(site, part)


def _check(site: Site, service: str, deadline: float) -> float:
    """Seconds that a probe took."""
    begun = time.monotonic()
    site.probe.check(service, deadline)
    return time.monotonic() - begun


def _last_candle(site: Site) -> Candle | None:
    """The newest candle among the symbols that the functions have seen lately."""
    beats = sorted(site.control.heartbeats(), key=lambda beat: beat.last_trade_time)
    return site.candles.last(beats[-1].symbol) if beats else None


def _site(name: str, site: Site, answers: Mapping[tuple[str, str], Any]) -> SiteSnapshot:
    def known(what: str) -> Any:
        answer = answers[name, what]
        return _reason(answer) if isinstance(answer, Exception) else answer

    return SiteSnapshot(
        name=name,
        cloud=site.cloud,
        health={service: _health(service, answers[name, service]) for service in SERVICES},
        queue=known("depth"),
        dead_letters=known("dead"),
        invocations=known("calls"),
        heartbeats=known("beats"),
        lags=known("lags"),
        last_candle=known("last"),
    )


def _health(service: str, answer: Any) -> Health:
    if isinstance(answer, Exception):
        return Health(service, up=False, reason=_reason(answer), latency=0.0)
    return Health(service, up=True, reason="", latency=answer)


def _reason(error: Exception) -> str:
    """Never empty: an empty reason would look like none."""
    return str(error) or type(error).__name__


def _site_json(site: SiteSnapshot) -> dict[str, Any]:
    return {
        "cloud": site.cloud,
        "up": site.up,
        "services": {
            service: {
                "up": each.up,
                "reason": each.reason,
                "latency_s": round(each.latency, 4) if each.up else None,
            }
            for service, each in site.health.items()
        },
        "queue": _plain(site.queue),
        "dead_letters": _plain(site.dead_letters),
        "function": _plain(site.invocations),
        "heartbeats": (
            {"unknown": site.heartbeats}
            if isinstance(site.heartbeats, str)
            else {beat.symbol: asdict(beat) for beat in site.heartbeats}
        ),
        "replication": (
            {"unknown": site.lags}
            if isinstance(site.lags, str)
            else [asdict(lag) for lag in site.lags]
        ),
        "last_candle": _candle_json(site.last_candle),
    }


def _plain(value: Depth | Invocations | Unknown) -> dict[str, Any]:
    return {"unknown": value} if isinstance(value, str) else asdict(value)


def _candle_json(candle: Candle | Unknown | None) -> dict[str, Any] | None:
    if candle is None:
        return None
    if isinstance(candle, str):
        return {"unknown": candle}
    return {
        "symbol": candle.symbol,
        "timestamp": candle.timestamp,
        "close": to_text(candle.close),
        "trade_count": candle.trade_count,
        "last_id": candle.last_id,
    }
