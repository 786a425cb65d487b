"""Everything that runs here for long, one list a kind."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType

from mcloud.dashboard import alerts, producers, replication

States = Sequence[tuple[str, bool, Mapping[str, Any]]]
"""Name, does it run, what it last said."""


def listing(producing: States, replicating: States, watching: States = ()) -> RenderableType:
    parts: list[RenderableType] = []
    for draw, states in (
        (producers.listing, producing),
        (replication.listing, replicating),
        (alerts.watchers, watching),
    ):
        if states:
            parts += ["", draw(states)] if parts else [draw(states)]
    return Group(*parts)
