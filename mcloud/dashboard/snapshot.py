"""All that is known of the sites and of this machine at one moment, and how old each of it is."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar

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
from mcloud.cost.current import CostFigure
from mcloud.dashboard.collector import PATIENCE, Key, Part, Seen, ask_once
from mcloud.dashboard.machine import Machine
from mcloud.dashboard.parts import Costing, parts_of
from mcloud.dashboard.recent import Recent
from mcloud.deadline import gather
from mcloud.documents import Damaged, Kind, damaged, sound
from mcloud.failover import debts, pause
from mcloud.failover.decide import Debt
from mcloud.failover.notes import newest
from mcloud.notify.silences import Silence, merged
from mcloud.notify.silences import Told as Silences

DEADLINE = 8.0  # seconds; a cold start of a cloud's client takes up to two
HERE = ""  # the name of this machine where sites have theirs

Value = TypeVar("Value")
History = tuple[tuple[float, int | None], ...]
"""Depths of a queue, each with the time when it was seen; None is unknown."""


@dataclass(frozen=True)
class SiteCost:
    """What a site costs, an estimate at list prices."""

    month_to_date: Decimal
    """Dollars."""
    per_hour: Decimal | None
    """Dollars, at the present rate; None is unknown."""


@dataclass(frozen=True)
class SiteSnapshot:
    name: str
    cloud: str
    health: dict[str, Seen[float]]
    """By service: the seconds that its probe took. A problem is that it is down."""
    queue: Seen[Depth]
    dead_letters: Seen[Depth]
    figures: Seen[Figures]
    heartbeats: Seen[list[Heartbeat]]
    lags: Seen[list[Lag]]
    """What replicators that bring data here said last."""
    record: Seen[ControlRecord]
    """Its value is None before the first, and for one that is damaged."""
    guards: Seen[dict[str, Any]]
    """What guards keep on the site, by name."""
    debts: Seen[dict[str, Any]]
    """What sites are owed that were left, by name; see ``mcloud.failover.debts``."""
    recent: Seen[list[Recent]]
    cost: Seen[SiteCost]
    history: History = ()
    damaged: tuple[Damaged, ...] = ()
    """Documents that cannot be used; what is said above leaves them out."""
    silences: Seen[dict[str, Any]] = field(default_factory=Seen)
    """Documents of ``mcloud.notify.silences``, by id."""

    @property
    def up(self) -> bool | None:
        """None while a service has not answered for the first time."""
        healths = [self.health[service] for service in SERVICES]
        if any(each.problem for each in healths):
            return False
        return True if all(each.known for each in healths) else None

    @property
    def parts(self) -> dict[str, Seen[Any]]:
        """Everything that was asked of it but for the probes, by what it tells."""
        return {
            "queue depth": self.queue,
            "dead letters": self.dead_letters,
            "metrics": self.figures,
            "heartbeats": self.heartbeats,
            "replication": self.lags,
            "control record": self.record,
            "guard": self.guards,
            "debts": self.debts,
            "silences": self.silences,
            "candles": self.recent,
        }

    @property
    def down(self) -> dict[str, list[str]]:
        """The services that are down, by the reason."""
        return _by_problem(self.health)

    @property
    def silent(self) -> dict[str, list[str]]:
        """What there is no news of, by the reason."""
        return _by_problem(self.parts)

    @property
    def last(self) -> Recent | None:
        """The candles of the symbol that traded last; None where none is known."""
        beats = {beat.symbol: beat.last_trade_time for beat in self.heartbeats.value or []}

        def traded(each: Recent) -> int:
            # The heartbeat of a symbol may be damaged; its candles are not.
            return beats.get(each.symbol, each.last.start if each.last else -1)

        return max(self.recent.value or [], key=traded, default=None)

    @property
    def damaged_heartbeats(self) -> dict[str, Damaged]:
        """Heartbeats that cannot be used, by symbol."""
        return {
            each.where.removeprefix(HEARTBEAT): each
            for each in self.damaged
            if each.where.startswith(HEARTBEAT)
        }

    @property
    def damaged_count(self) -> int | None:
        """Documents that cannot be used, at least; None where there are none among those that the
        site has told, and it has not told all."""
        asked = (self.record, self.guards, self.debts, self.lags, self.heartbeats)
        return len(self.damaged) or (0 if all(each.known for each in asked) else None)

    @property
    def missing(self) -> int | None:
        """Trade ids that the last few minutes of candles lack; None is unknown."""
        return (
            None if self.recent.value is None else sum(each.missing for each in self.recent.value)
        )


@dataclass(frozen=True)
class Snapshot:
    at: float
    """Seconds since 1970."""
    sites: dict[str, SiteSnapshot]
    machine: Seen[Machine] = field(default_factory=Seen)
    cost: Seen[CostFigure] = field(default_factory=Seen)
    """Of all sites."""
    upkeep: Decimal | None = None
    """Dollars a month at list price that looking at all this costs; None where it is seen once."""

    @property
    def up(self) -> bool:
        return all(site.up for site in self.sites.values())

    @property
    def owed(self) -> list[Debt]:
        """What sites are still owed that were left, as the sites that answer have it."""
        told = [site.debts.value for site in self.sites.values() if site.debts.value]
        found = debts.debts(newest(debts.KIND, told))
        return [debt for debt in found.values() if not debt.paid]

    @property
    def silences(self) -> Silences:
        """The current and past silences, merged from the sites that answer."""
        return merged(s.silences.value for s in self.sites.values() if s.silences.value)

    @property
    def silenced(self) -> list[Silence]:
        """The silences that are active, by their end."""
        told = self.silences.silences.values()
        return sorted((s for s in told if s.is_active(self.at)), key=lambda each: each.end)

    @property
    def leading(self) -> ControlRecord | None:
        """The control record that counts: of all that are known the one of the highest epoch."""
        records = [site.record.value for site in self.sites.values() if site.record.value]
        return max(records, key=lambda record: record.rank, default=None)


def all_parts(
    sites: Mapping[str, Site],
    machine: Callable[[], Machine] | None = None,
    costing: Costing | None = None,
    patience: float = PATIENCE,
) -> dict[Key, Part]:
    """Everything that a snapshot is made of."""
    parts = {
        (name, part): each
        for name, site in sites.items()
        for part, each in parts_of(site, patience).items()
    }
    if machine is not None:
        parts[HERE, "machine"] = Part(machine, 1.0, hurries=False)
    if costing is not None:
        parts[HERE, "cost"] = Part(costing.ask, costing.interval, hurries=False)
    return parts


def collect(
    sites: Mapping[str, Site],
    machine: Callable[[], Machine] | None = None,
    costing: Costing | None = None,
    deadline: float = DEADLINE,
) -> Snapshot:
    """Ask everything at once, one time; back within ``deadline`` seconds."""
    # Clients first: making one takes longer than a probe, and is no latency of the service. Only
    # a part of the time goes into it, so that a site that hangs there leaves some to the others.
    begun = time.monotonic()
    gather({name: partial(_prepare, site) for name, site in sites.items()}, deadline / 2)
    parts = all_parts(sites, machine, costing, deadline)
    seen = ask_once(parts, begun + deadline - time.monotonic())
    return snapshot_of(sites, seen, time.time())


def snapshot_of(sites: Mapping[str, Site], seen: Mapping[Key, Seen[Any]], at: float) -> Snapshot:
    """Put the answers together."""
    return Snapshot(
        at,
        {name: _site(name, site, seen) for name, site in sites.items()},
        seen.get((HERE, "machine"), Seen()),
        seen.get((HERE, "cost"), Seen()),
    )


def _by_problem(seen: Mapping[str, Seen[Any]]) -> dict[str, list[str]]:
    """Names by problem; those that wait are together, however long each does."""
    longest = max(seen.values(), key=lambda each: each.waits)
    problems: dict[str, list[str]] = {}
    for name, each in seen.items():
        if each.problem:
            problem = longest.problem if each.waits else each.problem
            problems.setdefault(problem, []).append(name)
    return problems


def _prepare(site: Site) -> None:
    for part in ("queue", "candles", "control", "metrics", "probe"):
        getattr(site, part)


def _site(name: str, site: Site, seen: Mapping[Key, Seen[Any]]) -> SiteSnapshot:
    figures = seen[name, "figures"]
    beats, broken_beats = _list(seen[name, "beats"])
    lags, broken_lags = _list(seen[name, "lags"])
    guards, broken_guards = _kept(pause.KIND, seen[name, "guard"])
    owed, broken_debts = _kept(debts.KIND, seen[name, "debts"])
    record = seen[name, "record"]
    broken_record = damaged([record.value])
    return SiteSnapshot(
        name=name,
        cloud=site.cloud,
        health={service: _health(seen[name, service]) for service in SERVICES},
        queue=_depth(seen[name, "depth"], figures, "queue"),
        dead_letters=_depth(seen[name, "dead"], figures, "dead_letters"),
        figures=figures,
        heartbeats=beats,
        lags=lags,
        record=replace(record, value=None) if broken_record else record,
        guards=guards,
        debts=owed,
        silences=seen[name, "silences"],
        recent=seen[name, "recent"],
        cost=_share(seen.get((HERE, "cost"), Seen()), name),
        damaged=(*broken_record, *broken_guards, *broken_debts, *broken_lags, *broken_beats),
    )


def _list(
    seen: Seen[list[Value | Damaged]],
) -> tuple[Seen[list[Value]], tuple[Damaged, ...]]:
    """Those of the documents that can be used, and the others."""
    if seen.value is None:
        return replace(seen, value=None), ()  # type: ignore[return-value]
    return replace(seen, value=sound(seen.value)), damaged(seen.value)  # type: ignore[return-value]


def _kept(
    kind: Kind[Any], seen: Seen[dict[str, Any]]
) -> tuple[Seen[dict[str, Any]], tuple[Damaged, ...]]:
    if seen.value is None:
        return seen, ()
    found = {key: kind.decode(key, each) for key, each in seen.value.items()}
    usable = {key: asdict(each) for key, each in found.items() if not isinstance(each, Damaged)}
    return replace(seen, value=usable), damaged(found.values())


def _share(cost: Seen[CostFigure], site: str) -> Seen[SiteCost]:
    """Of all that it costs what this site does."""
    if cost.value is None:
        return Seen(problem=cost.problem)
    if site not in cost.value.by_site:
        return Seen(problem=cost.value.source)
    share = SiteCost(cost.value.by_site[site], cost.value.per_hour_by_site.get(site))
    return Seen(share, cost.value.as_of, problem=cost.problem)


def _health(seen: Seen[float]) -> Seen[float]:
    """With the seconds that the probe itself took."""
    return seen if seen.value is None else replace(seen, took=seen.value)


def _depth(live: Seen[Depth], figures: Seen[Figures], which: str) -> Seen[Depth]:
    """What the queue tells of itself or, where it does not, the metrics of it."""
    if live.value is not None or not live.known:
        return live
    depth = None if figures.value is None else getattr(figures.value, which)
    return Seen(depth, figures.at, figures.took, figures.problem, figures.waits)
