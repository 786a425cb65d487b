"""A view of anomalies."""

from collections.abc import Sequence
from decimal import Decimal

from rich.table import Table
from rich.text import Text

from mcloud.clouds.anomalies import ListedAnomaly

WIDE = 110  # columns
STYLES = {"price-jump": "red", "volume-spike": "yellow", "drift": "magenta"}


def table(rows: Sequence[ListedAnomaly], width: int) -> Table:
    """Draw anomalies with the sites that have them, one row each.

    Below ``WIDE`` columns, figures that follow from the others are left out.
    """
    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    right = ("value", "usual", "change", "score") if width >= WIDE else ("value", "change")
    for heading in ("minute", "symbol", "kind", *right):
        drawn.add_column(heading, justify="right" if heading in right else "left", no_wrap=True)
    drawn.add_column("sites")
    drawn.add_column()
    for row in rows:
        figures = {
            "value": row.value,
            "usual": f"{Decimal(row.usual):.8g}",
            "change": _change(row),
            "score": f"{Decimal(row.score):.1f}",
        }
        drawn.add_row(
            row.timestamp,
            row.symbol,
            Text(row.kind, style=STYLES[row.kind]),
            *(figures[each] for each in right),
            " ".join(row.sites),
            Text("" if row.complete else "trades may be missing", style="dim"),
        )
    return drawn


def _change(row: ListedAnomaly) -> str:
    change = Decimal(row.change)
    if row.kind == "volume-spike":
        return f"×{change + 1:.0f}"
    return f"{change * 100:+.2f}%"
