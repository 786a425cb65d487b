"""A list of all long-running processes on this machine, one table per kind."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType

from mcloud.drawing import alerts, failover, produce, replicate

States = Sequence[tuple[str, bool, Mapping[str, Any]]]
"""Name, whether it runs, and its last state, of each run."""


_DRAWN = {
    "producer": produce.listing,
    "replicator": replicate.listing,
    "guard": failover.listing,
    "watcher": alerts.watchers,
}


def listing(kinds: Mapping[str, States], now: float | None = None) -> RenderableType:
    """Draw a table for each kind that has runs."""
    parts: list[RenderableType] = []
    for kind, states in kinds.items():
        if states:
            parts += [""] * bool(parts) + [_DRAWN[kind](states, now)]
    return Group(*parts)
