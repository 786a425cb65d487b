"""Everything that runs here for long, one list a kind."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType

from mcloud.dashboard import producers, replication

States = Sequence[tuple[str, bool, Mapping[str, Any]]]
"""Name, does it run, what it last said."""


def listing(producing: States, replicating: States) -> RenderableType:
    parts: list[RenderableType] = []
    if producing:
        parts.append(producers.listing(producing))
    if producing and replicating:
        parts.append("")
    if replicating:
        parts.append(replication.listing(replicating))
    return Group(*parts)
