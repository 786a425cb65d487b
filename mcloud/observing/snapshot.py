"""The state of the sites and of this machine at one moment, with the age of each part."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from typing import Any, Literal, TypeVar

from mcloud.clouds.observation import CLIENTS, Observation, prepare
from mcloud.clouds.ports import (
    HEARTBEAT,
    SERVICES,
    ControlRecord,
    Depth,
    Figures,
    Heartbeat,
    Lag,
    Site,
)
from mcloud.clouds.resources import Cloud
from mcloud.cost.current import CostFigure
from mcloud.deadline import gather
from mcloud.documents import Damaged, damaged, sound
from mcloud.failover import debts
from mcloud.failover.debts import DebtNote
from mcloud.failover.decide import Debt
from mcloud.failover.pause import Pause
from mcloud.failover.shared_notes import AnyNote, Notes, valid
from mcloud.infra.deployed_code import DeployedCode
from mcloud.notify.silences import MergedSilences, Silence, SiteSilences, merged
from mcloud.observing.collector import PATIENCE, Key, TimedQuery, ask_once
from mcloud.observing.machine import Machine
from mcloud.observing.queries import Costing, queries_of
from mcloud.observing.recent import Recent
from mcloud.processor.compaction import LastCompaction

# Seconds on a machine that is too busy for the clients. Bounded sites take less than two.
DEADLINE = 20.0
HERE = ""  # the name of this machine among the names of the sites

Value = TypeVar("Value")
History = tuple[tuple[float, int | None], ...]
"""Depths of a queue with the time of each. None is unknown."""


@dataclass(frozen=True)
class SiteCost:
    """The estimated cost of a site at list prices."""

    month_to_date: Decimal
    """Cost of the month so far, in dollars."""
    per_hour: Decimal | None
    """Cost in dollars per hour at the present rate. None if unknown."""


Trend = tuple[tuple[float, float | None], ...]
"""Values of a figure with the time of each. None is unknown."""


@dataclass(frozen=True)
class SiteTrends:
    """The last values of some figures of a site, the oldest first."""

    rate: Trend = ()
    """Trades per second that the function has processed, from one heartbeat to the next."""
    lag: Trend = ()
    """Age of the newest trade when it was processed, in seconds."""
    latency: Trend = ()
    """Duration of the slowest probe in seconds."""
    price: Trend = ()
    """Last close of the symbol that traded last."""


EventKind = Literal["began", "ended", "moved"]
"""Whether a problem began or ended, or the traffic was moved."""


@dataclass(frozen=True)
class MonitorEvent:
    """A change that the monitor has seen."""

    at: float
    """Time at which it was seen, in seconds since 1970."""
    kind: EventKind
    text: str


@dataclass(frozen=True)
class SiteSnapshot:
    name: str
    cloud: Cloud
    health: dict[str, Observation[float]]
    """Duration of the probe in seconds, by service. A problem means that the service is down."""
    code: Observation[list[DeployedCode]]
    queue: Observation[Depth]
    dead_letters: Observation[Depth]
    figures: Observation[Figures]
    heartbeats: Observation[list[Heartbeat]]
    lags: Observation[list[Lag]]
    """The last lags from replicators that bring data to this site."""
    record: Observation[ControlRecord]
    """The control record. The value is None before the first record, and for a damaged one."""
    guards: Observation[dict[str, Pause]]
    """Notes of the guards on the site, by name."""
    debts: Observation[dict[str, DebtNote]]
    """Debts on the site, by name; see ``mcloud.failover.debts``."""
    recent: Observation[list[Recent]]
    cost: Observation[SiteCost]
    history: History = ()
    damaged: tuple[Damaged, ...] = ()
    """Documents that cannot be used. The other fields leave them out."""
    silences: Observation[SiteSilences] = field(default_factory=Observation)
    compaction: Observation[LastCompaction] = field(default_factory=Observation)
    """The last scheduled compaction. The value is None before the first, and for a damaged note."""
    trends: SiteTrends = SiteTrends()
    """Empty for a single snapshot."""

    @property
    def up(self) -> bool | None:
        """Whether all services are up. None while a service has not answered for the first time."""
        healths = [self.health[service] for service in SERVICES]
        if any(each.problem for each in healths):
            return False
        return True if all(each.known for each in healths) else None

    @property
    def parts(self) -> dict[str, Observation[object]]:
        """All questions to the site except the probes, by the name of their subject."""
        return {
            "queue depth": self.queue,
            "dead letters": self.dead_letters,
            "metrics": self.figures,
            "heartbeats": self.heartbeats,
            "replication": self.lags,
            "control record": self.record,
            "guard": self.guards,
            "debts": self.debts,
            "compaction": self.compaction,
            "silences": self.silences,
            "candles": self.recent,
        }

    @property
    def down(self) -> dict[str, list[str]]:
        """Services that are down, by reason. A reason does not repeat the name of its service."""
        return _by_problem(
            {
                service: replace(seen, problem=seen.problem.removeprefix(f"the {service}: "))
                for service, seen in self.health.items()
            }
        )

    @property
    def silent(self) -> dict[str, list[str]]:
        """Parts without news, by reason."""
        return _by_problem(self.parts)

    @property
    def last(self) -> Recent | None:
        """The candles of the symbol that traded last, or None if none is known."""
        beats = {beat.symbol: beat.last_trade_time for beat in self.heartbeats.value or []}

        def traded(each: Recent) -> int:
            # The heartbeat of a symbol may be damaged; its candles are not.
            return beats.get(each.symbol, each.last.start if each.last else -1)

        return max(self.recent.value or [], key=traded, default=None)

    @property
    def damaged_heartbeats(self) -> dict[str, Damaged]:
        """Damaged heartbeats, by symbol."""
        return {
            each.where.removeprefix(HEARTBEAT): each
            for each in self.damaged
            if each.where.startswith(HEARTBEAT)
        }

    @property
    def damaged_count(self) -> int | None:
        """Minimum number of damaged documents. None if there is none so far, and some answers are
        missing.
        """
        asked = (self.record, self.guards, self.debts, self.lags, self.heartbeats)
        return len(self.damaged) or (0 if all(each.known for each in asked) else None)

    @property
    def missing(self) -> int | None:
        """Number of trade ids missing in the last few minutes of candles. None if unknown."""
        return (
            None if self.recent.value is None else sum(each.missing for each in self.recent.value)
        )


@dataclass(frozen=True)
class Snapshot:
    at: float
    """Time of the snapshot, in seconds since 1970."""
    sites: dict[str, SiteSnapshot]
    machine: Observation[Machine] = field(default_factory=Observation)
    cost: Observation[CostFigure] = field(default_factory=Observation)
    """Cost of all sites."""
    upkeep: Decimal | None = None
    """Cost of this watching at list price, in dollars per month. None for a single snapshot."""
    events: tuple[MonitorEvent, ...] = ()
    """Changes since the watching began, the oldest first."""

    @property
    def up(self) -> bool:
        return all(site.up for site in self.sites.values())

    @property
    def owed(self) -> list[Debt]:
        """Unpaid debts of sites that were left, from the sites that answer."""
        told = [site.debts.value for site in self.sites.values() if site.debts.value]
        found = debts.debts(valid(told))
        return [debt for debt in found.values() if not debt.paid]

    @property
    def silences(self) -> MergedSilences:
        """The current and past silences, merged from the sites that answer."""
        return merged(s.silences.value for s in self.sites.values() if s.silences.value)

    @property
    def silenced(self) -> list[Silence]:
        """The active silences, sorted by their end."""
        told = self.silences.silences.values()
        return sorted((s for s in told if s.is_active(self.at)), key=lambda each: each.end)

    @property
    def leading(self) -> ControlRecord | None:
        """The valid control record: the one with the highest epoch among all that are known.

        The guards of this machine may know a newer one than the sites have reported.
        """
        records = [site.record.value for site in self.sites.values() if site.record.value]
        guards = [guard.state for guard in (self.machine.value or Machine()).guards if guard.runs]
        records += [state.record for state in guards if state and state.record]
        return max(records, key=lambda record: record.rank, default=None)


def all_queries(
    sites: Mapping[str, Site],
    machine: Callable[[], Machine] | None = None,
    costing: Costing | None = None,
    patience: float = PATIENCE,
) -> dict[Key, TimedQuery]:
    """Return all questions of a snapshot."""
    parts = {
        (name, part): each
        for name, site in sites.items()
        for part, each in queries_of(site, patience).items()
    }
    if machine is not None:
        parts[HERE, "machine"] = TimedQuery(machine, 1.0, hurries=False)
    if costing is not None:
        parts[HERE, "cost"] = TimedQuery(costing.ask, costing.interval, hurries=False)
    return parts


def collect(
    sites: Mapping[str, Site],
    machine: Callable[[], Machine] | None = None,
    costing: Costing | None = None,
    deadline: float = DEADLINE,
) -> Snapshot:
    """Ask everything once, at the same time, within ``deadline`` seconds."""
    # Make the clients first: that takes longer than a probe, and is not latency of the service. It
    # gets only a part of the time, so that a site that hangs there leaves some to the others.
    begun = time.monotonic()
    gather(
        {name: partial(prepare, site, (*CLIENTS, "metrics")) for name, site in sites.items()},
        deadline / 2,
    )
    parts = all_queries(sites, machine, costing, deadline)
    seen = ask_once(parts, begun + deadline - time.monotonic())
    return snapshot_of(sites, seen, time.time())


def snapshot_of(
    sites: Mapping[str, Site], seen: Mapping[Key, Observation[Any]], at: float
) -> Snapshot:
    """Build a snapshot from the answers."""
    return Snapshot(
        at,
        {name: _site(name, site, seen) for name, site in sites.items()},
        seen.get((HERE, "machine"), Observation()),
        seen.get((HERE, "cost"), Observation()),
    )


def _by_problem(seen: Mapping[str, Observation[object]]) -> dict[str, list[str]]:
    """Return names by problem. Questions that are waiting form one group, whatever their
    duration.
    """
    longest = max(seen.values(), key=lambda each: each.waits)
    problems: dict[str, list[str]] = {}
    for name, each in seen.items():
        if each.problem:
            problem = longest.problem if each.waits else each.problem
            problems.setdefault(problem, []).append(name)
    return problems


def _site(name: str, site: Site, seen: Mapping[Key, Observation[Any]]) -> SiteSnapshot:
    figures = seen[name, "figures"]
    beats, broken_beats = _list(seen[name, "beats"])
    lags, broken_lags = _list(seen[name, "lags"])
    guards, broken_guards = _notes(seen[name, "guard"])
    owed, broken_debts = _notes(seen[name, "debts"])
    compacted = seen[name, "compaction"]
    broken_compaction = damaged([compacted.value])
    record = seen[name, "record"]
    broken_record = damaged([record.value])
    return SiteSnapshot(
        name=name,
        cloud=site.cloud,
        health={service: _health(seen[name, service]) for service in SERVICES},
        code=seen[name, "code"],
        queue=_depth(seen[name, "depth"], figures, "queue"),
        dead_letters=_depth(seen[name, "dead"], figures, "dead_letters"),
        figures=figures,
        heartbeats=beats,
        lags=lags,
        record=replace(record, value=None) if broken_record else record,
        guards=guards,
        debts=owed,
        compaction=replace(compacted, value=None) if broken_compaction else compacted,
        silences=seen[name, "silences"],
        recent=seen[name, "recent"],
        cost=_share(seen.get((HERE, "cost"), Observation()), name),
        damaged=(
            *(*broken_record, *broken_guards, *broken_debts, *broken_compaction),
            *(*broken_lags, *broken_beats),
        ),
    )


def _list(
    seen: Observation[list[Value | Damaged]],
) -> tuple[Observation[list[Value]], tuple[Damaged, ...]]:
    """Split the documents into usable and damaged ones."""
    if seen.value is None:
        return seen.with_value(None), ()
    return seen.with_value(sound(seen.value)), damaged(seen.value)


def _notes(
    seen: Observation[Notes[AnyNote]],
) -> tuple[Observation[dict[str, AnyNote]], tuple[Damaged, ...]]:
    if seen.value is None:
        return seen.with_value(None), ()
    notes = seen.value.items()
    usable = {key: note for key, each in notes if (note := each.usable) is not None}
    return seen.with_value(usable), damaged(each.value for _, each in notes)


def _share(cost: Observation[CostFigure], site: str) -> Observation[SiteCost]:
    """Return one site's share of the cost."""
    if cost.value is None:
        return Observation(problem=cost.problem)
    if site not in cost.value.by_site:
        return Observation(problem=cost.value.source)
    share = SiteCost(cost.value.by_site[site], cost.value.per_hour_by_site.get(site))
    return Observation(share, cost.value.as_of, problem=cost.problem)


def _health(seen: Observation[float]) -> Observation[float]:
    """Return the answer with the duration of the probe itself."""
    return seen if seen.value is None else replace(seen, took=seen.value)


def _depth(
    live: Observation[Depth], figures: Observation[Figures], which: str
) -> Observation[Depth]:
    """Return the depth from the queue itself, or from the metrics if the queue has none."""
    if live.value is not None or not live.known:
        return live
    depth = None if figures.value is None else getattr(figures.value, which)
    return Observation(depth, figures.at, figures.took, figures.problem, figures.waits)
