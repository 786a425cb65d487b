"""Everything that runs here for long, one list a kind."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType

from mcloud.dashboard import failover, producers, replication

States = Sequence[tuple[str, bool, Mapping[str, Any]]]
"""Name, does it run, what it last said."""


def listing(producing: States, replicating: States, guarding: States = ()) -> RenderableType:
    parts: list[RenderableType] = []
    if producing:
        parts.append(producers.listing(producing))
    if replicating:
        parts += [""] * bool(parts) + [replication.listing(replicating)]
    if guarding:
        parts += [""] * bool(parts) + [failover.listing(guarding)]
    return Group(*parts)
