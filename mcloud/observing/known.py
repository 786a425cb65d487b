"""The outages that the guards and producers of this machine already see.

Their states are read in part, without the code that writes them: this is the first thing that every
command that reads the sites does.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from mcloud.documents import Count, Seconds, read_file
from mcloud.durations import clock
from mcloud.runs import RunState, runs_called

NEWS = 10.0  # seconds; an older state of a process says nothing about the sites

State = TypeVar("State", bound=RunState)


@dataclass(frozen=True)
class _SeenSite:
    bad: Count = 0
    bad_s: Seconds | None = None
    down_s: Seconds | None = None


@dataclass(frozen=True, kw_only=True)
class _SeenByGuard(RunState):
    sites: Mapping[str, _SeenSite] = field(default_factory=dict)


@dataclass(frozen=True)
class _Delivery:
    breaker: str = "closed"
    refused: bool = False


@dataclass(frozen=True, kw_only=True)
class _SeenByProducer(RunState):
    sites: Mapping[str, _Delivery] = field(default_factory=dict)


def known_outages(state: Path, now: float) -> dict[str, str]:
    """Return the sites that a process in a ``.mcloud`` folder sees down, each with who says so.

    A single bad check of a guard is not enough.
    """
    found: dict[str, str] = {}
    for name, producer in _news(state, "producers", _SeenByProducer, now):
        for site, delivery in producer.sites.items():
            if delivery.breaker != "closed" and not delivery.refused:
                found[site] = f"the producer {name} cannot send to it"
    for name, guard in _news(state, "guards", _SeenByGuard, now):
        for site, seen in guard.sites.items():
            if seen.bad > 1 and seen.bad_s is not None:
                # A moment stays true however long the command that shows it takes.
                since = clock(guard.at - max(seen.bad_s, seen.down_s or 0.0), now)
                found[site] = f"down since {since} according to {name}"
    return found


def _news(state: Path, folder: str, kind: type[State], now: float) -> Iterator[tuple[str, State]]:
    """Yield the fresh states of the running processes of a kind."""
    for run in runs_called(state, None, folder):
        found = read_file(run.path, kind)
        if isinstance(found, kind) and 0 <= now - found.at < NEWS and run.lock.is_held():
            yield run.name, found
