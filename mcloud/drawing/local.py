"""A view of the embedded clouds."""

from collections.abc import Collection, Iterable

from rich.console import Group
from rich.table import Table
from rich.text import Text

from mcloud.local.state import State


def status_view(state: State, listening: Collection[str], outages: Iterable[str]) -> Group:
    """Draw one service in a row, and the current outages below.

    Args:
        listening: names of the services that accept connections.
    """
    table = Table(box=None, pad_edge=False)
    for heading in ("service", "address", "pid", "state"):
        table.add_column(heading)
    for name, each in state.services.items():
        words = "listens" if name in listening else "does not listen"
        if each.restarts:
            words += f", restarted {each.restarts}×"
        if name in state.lost:
            words += ", lost its data"
        pid = str(each.pid) if each.pid else "yours"
        style = "green" if name in listening else "red"
        table.add_row(name, each.address, pid, Text(words, style))
    return Group(table, *(Text(line, "yellow") for line in outages))
