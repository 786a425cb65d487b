"""A view of dead letters."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from mcloud.replication.deadletters import LetterDocument


def table(letters: Sequence[LetterDocument], whys: Sequence[str]) -> Table:
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
    for letter, why in zip(letters, whys, strict=True):
        ids = f"{letter.first_id}-{letter.last_id}" if letter.symbol else ""
        deliveries = "" if letter.deliveries is None else str(letter.deliveries)
        trades = str(letter.trades or "")
        drawn.add_row(letter.id, "\n".join(letter.symbols), ids, trades, deliveries, Text(why))
    return drawn
