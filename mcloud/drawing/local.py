"""A view of the embedded clouds."""

import time
from collections.abc import Collection, Iterable

from rich.console import Group
from rich.table import Table
from rich.text import Text

from mcloud.durations import duration
from mcloud.local.outage import Outage
from mcloud.local.state import State


def status_view(state: State, listening: Collection[str], outages: Iterable[Outage]) -> Group:
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
    return Group(table, *(Text(line, "yellow") for line in outage_lines(outages)))


def outage_lines(outages: Iterable[Outage]) -> list[str]:
    """Return a line about each outage, with its age and its end."""
    now = time.time()
    said = []
    for each in outages:
        left = each.seconds_left(now)
        end = "until it is ended" if left is None else f"for another {duration(left)}"
        said.append(f"{each}, since {duration(now - each.since)}, {end}")
    return said
