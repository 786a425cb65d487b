"""A list of all long-running processes on this machine, one table per kind."""

from rich.console import Group, RenderableType

from mcloud.drawing import alerts, failover, produce, replicate
from mcloud.run_states import Runs


def listing(runs: Runs, now: float | None = None) -> RenderableType:
    """Draw a table for each kind that has runs."""
    tables: list[RenderableType] = []
    if runs.producers:
        tables.append(produce.listing(runs.producers, now))
    if runs.replicators:
        tables.append(replicate.listing(runs.replicators, now))
    if runs.guards:
        tables.append(failover.listing(runs.guards, now))
    if runs.alerts:
        tables.append(alerts.watchers(runs.alerts, now))
    parts: list[RenderableType] = []
    for table in tables:
        parts += [""] * bool(parts) + [table]
    return Group(*parts)
