"""A view of damaged documents."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from mcloud.damage import FoundDamage


def table(found: Sequence[FoundDamage]) -> Table:
    """Draw one damaged document in a row, with its repair."""
    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("site", "document", "what is wrong", "repair"):
        drawn.add_column(heading, overflow="fold")
    for each in found:
        row = (each.site or "this machine", each.damaged.where, each.damaged.what, each.plan)
        drawn.add_row(*map(Text, row))
    return drawn
