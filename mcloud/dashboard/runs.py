"""Everything that runs here for long, one list a kind."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType

from mcloud.dashboard import alerts, failover, producers, replication

States = Sequence[tuple[str, bool, Mapping[str, Any]]]
"""Name, does it run, what it last said."""


_DRAWN = {
    "producer": producers.listing,
    "replicator": replication.listing,
    "guard": failover.listing,
    "watcher": alerts.watchers,
}


def listing(kinds: Mapping[str, States], now: float | None = None) -> RenderableType:
    """By kind of run, those that there are."""
    parts: list[RenderableType] = []
    for kind, states in kinds.items():
        if states:
            parts += [""] * bool(parts) + [_DRAWN[kind](states, now)]
    return Group(*parts)
