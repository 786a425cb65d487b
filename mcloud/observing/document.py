"""A snapshot as JSON: the document of ``mcloud status -o json``.

Existing paths never change; new ones may be added. An unknown value is null, and an unknown part is
``{"unknown": why}``. The reason for a null is in ``unknown_why`` beside it, under its name.
``asked`` has the time of the last answer for every part, and its current problem.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TypeVar

from mcloud.alerts.watch import WatcherState
from mcloud.clouds.figures import MeasuredFigure, of_part
from mcloud.clouds.observation import Observation
from mcloud.clouds.ports import (
    RECORD,
    SERVICES,
    UNMEASURED,
    ControlRecord,
    Depth,
    Heartbeat,
    Lag,
)
from mcloud.clouds.resources import Cloud
from mcloud.cost.current import CostFigure
from mcloud.documents import INLINED, OMITTED
from mcloud.durations import brief
from mcloud.failover.debts import DebtNote
from mcloud.failover.pause import Pause
from mcloud.failover.statement import GuardState
from mcloud.market.candle import Candle
from mcloud.market.trade import to_text
from mcloud.notify.silences import ListedSilence
from mcloud.observing.machine import Machine
from mcloud.observing.problems import problems
from mcloud.observing.recent import Recent
from mcloud.observing.replicated import is_current
from mcloud.observing.snapshot import SiteCost, SiteSnapshot, Snapshot
from mcloud.processor.compaction import LastCompaction
from mcloud.producer.reported_state import ProducerState
from mcloud.replication.progress import ReplicatorState
from mcloud.runs import RunDocument

Value = TypeVar("Value")
Part = TypeVar("Part")

Why = Mapping[str, str]
"""Reasons for the nulls of a part, by name."""


@dataclass(frozen=True)
class Unknown:
    """A part of which nothing is known."""

    unknown: str
    """Reason why."""


@dataclass(frozen=True)
class ServicePart:
    up: bool | None
    reason: str
    latency_s: float | None


@dataclass(frozen=True)
class DepthPart:
    """Messages of a queue."""

    ready: int | None
    in_flight: int | None
    as_of: float
    unknown_why: Why = field(default_factory=dict, metadata=OMITTED)


@dataclass(frozen=True)
class MeasuredPart:
    figures: Mapping[str, float | None] = field(metadata=INLINED)
    """By the keys of ``clouds.figures``. Counts are over the last ``window`` seconds and have their
    time in ``as_of``; other figures have a time of their own beside them.
    """
    unknown_why: Why = field(default_factory=dict, metadata=OMITTED)


@dataclass(frozen=True)
class QueuePart:
    """Messages of the queue, and its measured figures."""

    depth: DepthPart | Unknown = field(metadata=INLINED)
    measured: MeasuredPart = field(metadata=INLINED)
    unknown_why: Why = field(default_factory=dict, metadata=OMITTED)


@dataclass(frozen=True)
class LagPart(Lag):
    unknown_why: Why = field(default_factory=dict, metadata=OMITTED)


@dataclass(frozen=True)
class CandlePart:
    symbol: str
    timestamp: str
    close: str
    trade_count: int
    last_id: int | None


@dataclass(frozen=True)
class IdRange:
    first: int
    last: int


@dataclass(frozen=True)
class RecentPart:
    """The newest candles of a symbol."""

    last: CandlePart | None
    missing: int
    """Number of missing trade ids."""
    holes: tuple[IdRange, ...]


@dataclass(frozen=True)
class DamagedPart:
    count: int | None
    documents: tuple[str, ...]
    unknown_why: Why = field(default_factory=dict, metadata=OMITTED)


@dataclass(frozen=True)
class SiteCostPart:
    month_to_date_usd: float
    per_hour_usd: float | None
    as_of: float | None


@dataclass(frozen=True)
class AskedPart:
    """The last answer to a question."""

    at: float | None
    problem: str | None


@dataclass(frozen=True)
class SitePart:
    cloud: Cloud
    up: bool | None
    services: Mapping[str, ServicePart]
    queue: QueuePart
    dead_letters: DepthPart | Unknown
    function: MeasuredPart | Unknown
    store: MeasuredPart | Unknown
    heartbeats: Mapping[str, Heartbeat | Unknown] | Unknown
    replication: tuple[LagPart, ...] | Unknown
    last_candle: CandlePart | Unknown | None
    candles: Mapping[str, RecentPart] | Unknown
    holes: int | None
    """Number of trade ids missing in the newest candles."""
    control: ControlRecord | Unknown | None
    guard: Mapping[str, Pause] | Unknown
    debts: Mapping[str, DebtNote] | Unknown
    compaction: LastCompaction | Unknown | None
    """The outcome of the last scheduled compaction; None if there was none."""
    damaged: DamagedPart
    cost: SiteCostPart | Unknown
    asked: Mapping[str, AskedPart]
    unknown_why: Why = field(default_factory=dict, metadata=OMITTED)


@dataclass(frozen=True)
class DiskPart:
    writable: bool
    reason: str


@dataclass(frozen=True)
class CostPart:
    """The cost of all sites."""

    month_to_date_usd: float | None
    per_hour_usd: float | None
    expected_usd: float | None
    budget_usd: float | None
    by_site: Mapping[str, float]
    as_of: float
    source: str


@dataclass(frozen=True)
class StatusDocument:
    at: float
    up: bool
    wrong: tuple[str, ...]
    primary: str | None
    epoch: int | None
    control: ControlRecord | None
    sites: Mapping[str, SitePart]
    disk: DiskPart
    producers: tuple[RunDocument[ProducerState], ...]
    replicators: tuple[RunDocument[ReplicatorState], ...]
    guards: tuple[RunDocument[GuardState], ...]
    alerts: tuple[RunDocument[WatcherState], ...]
    silences: tuple[ListedSilence, ...]
    cost: CostPart | Unknown
    upkeep_usd_a_month: float | None


_METRICS_SERVICES = {"aws": "CloudWatch", "gcp": "Cloud Monitoring"}
_IN_FLIGHT = {"gcp": "Pub/Sub reports none"}


def document(snapshot: Snapshot) -> StatusDocument:
    leading = snapshot.leading
    machine = snapshot.machine.value or Machine()
    return StatusDocument(
        at=snapshot.at,
        up=snapshot.up,
        wrong=tuple(map(str, problems(snapshot))),
        primary=leading.primary if leading else None,
        epoch=leading.epoch if leading else None,
        control=leading,
        sites={name: _site(site, snapshot.at) for name, site in snapshot.sites.items()},
        disk=DiskPart(not machine.disk, machine.disk),
        producers=tuple(each.document for each in machine.producers),
        replicators=tuple(each.document for each in machine.replicators),
        guards=tuple(each.document for each in machine.guards),
        alerts=tuple(each.document for each in machine.alerts),
        silences=tuple(
            each.listed(snapshot.at)
            for each in snapshot.silences.silences.values()
            if each.is_active(snapshot.at) or each.is_planned(snapshot.at)
        ),
        cost=_costs(snapshot.cost),
        upkeep_usd_a_month=_dollars(snapshot.upkeep),
    )


def why_missing(cloud: str, unmeasured: Mapping[str, str]) -> str:
    """Return why a metrics service that answered has no value of a figure.

    ``unmeasured`` has the reasons of the clouds that never have one.
    """
    return unmeasured.get(cloud) or f"{_METRICS_SERVICES.get(cloud, cloud)} has no value yet"


def _site(site: SiteSnapshot, now: float) -> SitePart:
    return SitePart(
        cloud=site.cloud,
        up=site.up,
        services={service: _service(site.health[service]) for service in SERVICES},
        queue=_queue(site),
        dead_letters=_depth(site, site.dead_letters),
        function=_part_of(site.figures, lambda _: _measured(site, "function")),
        store=_part_of(site.figures, lambda _: _measured(site, "store")),
        heartbeats=_part_of(site.heartbeats, lambda beats: _heartbeats(site, beats)),
        replication=_part_of(site.lags, lambda lags: tuple(_lag(lag, now) for lag in lags)),
        last_candle=_last_candle(site),
        candles=_part_of(
            site.recent, lambda recent: {each.symbol: _recent(each) for each in recent}
        ),
        holes=site.missing,
        control=_control(site),
        guard=_part_of(site.guards, lambda notes: notes),
        debts=_part_of(site.debts, lambda notes: notes),
        compaction=_compaction(site.compaction),
        damaged=_damaged(site),
        cost=_cost(site.cost),
        asked={
            part: AskedPart(seen.at, seen.problem or None) for part, seen in _parts(site).items()
        },
        unknown_why=_why(up=_why_up(site), holes=site.recent.why),
    )


def _heartbeats(site: SiteSnapshot, beats: list[Heartbeat]) -> Mapping[str, Heartbeat | Unknown]:
    broken = {name: Unknown(str(each)) for name, each in site.damaged_heartbeats.items()}
    return {beat.symbol: beat for beat in beats} | broken


def _part_of(seen: Observation[Value], part: Callable[[Value], Part]) -> Part | Unknown:
    """Return the part that a known value makes, or why it is unknown."""
    return Unknown(seen.why) if seen.value is None else part(seen.value)


def _parts(site: SiteSnapshot) -> dict[str, Observation[object]]:
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
        "compaction": site.compaction,
        "silences": site.silences,
        "recent": site.recent,
        "cost": site.cost,
    }


def _compaction(seen: Observation[LastCompaction]) -> LastCompaction | Unknown | None:
    return seen.value if seen.known else Unknown(seen.why)


def _service(seen: Observation[float]) -> ServicePart:
    if seen.problem:
        return ServicePart(False, seen.problem, None)
    if not seen.known:
        return ServicePart(None, "", None)
    return ServicePart(True, "", round(seen.took, 4))


def _why_up(site: SiteSnapshot) -> str:
    if site.up is not None:
        return ""
    return "; ".join(f"{name}: {seen.why}" for name, seen in site.health.items() if seen.why)


def _queue(site: SiteSnapshot) -> QueuePart:
    depth, measured = _depth(site, site.queue), _measured(site, "queue")
    why = measured.unknown_why
    if isinstance(depth, DepthPart):
        why, depth = {**depth.unknown_why, **why}, replace(depth, unknown_why={})
    return QueuePart(depth, replace(measured, unknown_why={}), why)


def _depth(site: SiteSnapshot, seen: Observation[Depth]) -> DepthPart | Unknown:
    if not seen.known:
        return Unknown(seen.why)
    found = seen.value or Depth(None, None, 0.0)
    ready = "" if found.ready is not None else site.figures.why or why_missing(site.cloud, {})
    in_flight = ready or why_missing(site.cloud, _IN_FLIGHT)
    why = _why(ready=ready, in_flight="" if found.in_flight is not None else in_flight)
    return DepthPart(found.ready, found.in_flight, found.as_of, why)


def _measured(site: SiteSnapshot, part: str) -> MeasuredPart:
    """Return the figures of a part, with the reasons for those that are unknown."""
    figures, declared = site.figures.value, of_part(part)
    found = {each.name: figures[each.name] if figures else UNMEASURED for each in declared}
    known: dict[str, float | None] = {
        each.key: _rounded(each, found[each.name].value) for each in declared
    }
    counts = [each for each in declared if not each.is_time]
    if counts and figures:
        known |= {"window": figures.window, "as_of": found[counts[0].name].as_of}
    for each in declared:
        if each.is_time:
            figure = found[each.name]
            known[f"{each.name}_as_of"] = None if figure.value is None else figure.as_of
    why = {
        each.key: site.figures.why or why_missing(site.cloud, each.unmeasured)
        for each in declared
        if found[each.name].value is None
    }
    return MeasuredPart(known, why)


def _rounded(declared: MeasuredFigure, value: float | None) -> float | None:
    is_count = declared.is_whole and not declared.is_time
    return int(value) if value is not None and is_count else value


def _why(**reasons: str) -> Why:
    """Return the reasons that are not empty."""
    return {name: why for name, why in reasons.items() if why}


def _lag(lag: Lag, now: float) -> LagPart:
    if not is_current(lag, now):
        # It says nothing about the changes since then.
        lag = replace(lag, candles_s=None, raw_s=None)
        late = f"its replicator last reported {brief(max(0.0, now - lag.at))} ago"
        return LagPart(**vars(lag), unknown_why={"candles_s": late, "raw_s": late})
    why = {
        name: "its replicator has not compared it yet, or excludes it"
        for name in ("candles_s", "raw_s")
        if getattr(lag, name) is None
    }
    return LagPart(**vars(lag), unknown_why=why)


def _last_candle(site: SiteSnapshot) -> CandlePart | Unknown | None:
    if not (site.recent.known and site.heartbeats.known):
        return Unknown(site.recent.why or site.heartbeats.why)
    last = site.last
    return _candle(last.last) if last and last.last else None


def _recent(each: Recent) -> RecentPart:
    last = _candle(each.last) if each.last else None
    return RecentPart(last, each.missing, tuple(IdRange(*run) for run in each.holes))


def _candle(candle: Candle) -> CandlePart:
    return CandlePart(
        symbol=candle.symbol,
        timestamp=candle.timestamp,
        close=to_text(candle.close),
        trade_count=candle.trade_count,
        last_id=candle.last_id,
    )


def _control(site: SiteSnapshot) -> ControlRecord | Unknown | None:
    broken = [each for each in site.damaged if each.where == RECORD]
    if broken:
        return Unknown(str(broken[0]))
    return site.record.value if site.record.known else Unknown(site.record.why)


def _damaged(site: SiteSnapshot) -> DamagedPart:
    count = site.damaged_count
    why = "the site has not reported all of its documents" if count is None else ""
    return DamagedPart(count, tuple(map(str, site.damaged)), _why(count=why))


def _cost(seen: Observation[SiteCost]) -> SiteCostPart | Unknown:
    if seen.value is None:
        return Unknown(seen.problem or "no figure")
    spent, per_hour = seen.value.month_to_date, seen.value.per_hour
    return SiteCostPart(float(spent), _dollars(per_hour), seen.at)


def _costs(seen: Observation[CostFigure]) -> CostPart | Unknown:
    return Unknown(seen.problem or "no figure") if seen.value is None else cost_part(seen.value)


def cost_part(figure: CostFigure) -> CostPart:
    return CostPart(
        month_to_date_usd=_dollars(figure.month_to_date),
        per_hour_usd=_dollars(figure.per_hour_now),
        expected_usd=_dollars(figure.expected),
        budget_usd=_dollars(figure.budget),
        by_site={name: float(dollars) for name, dollars in figure.by_site.items()},
        as_of=figure.as_of,
        source=figure.source,
    )


def _dollars(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
