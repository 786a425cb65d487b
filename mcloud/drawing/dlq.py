"""A view of dead letters."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text


def table(letters: Sequence[Mapping[str, Any]], whys: Sequence[str]) -> Table:
    """Draw one dead letter in a row, with the reason why it is one."""
    drawn = Table(box=None, pad_edge=False)
    for heading in ("id", "symbol", "ids", "trades", "deliveries", "why"):
        # Fold ids if necessary, but never cut them: `mcloud dlq show` needs the whole id.
        drawn.add_column(
            heading,
            justify="right" if heading in ("trades", "deliveries") else "left",
            overflow="fold",
            no_wrap=heading not in ("id", "why"),
        )
    for row, why in zip(letters, whys, strict=True):
        ids = f"{row['first_id']}-{row['last_id']}" if row["symbol"] else ""
        deliveries = "" if row["deliveries"] is None else str(row["deliveries"])
        trades = str(row["trades"] or "")
        drawn.add_row(row["id"], "\n".join(row["symbols"]), ids, trades, deliveries, Text(why))
    return drawn
