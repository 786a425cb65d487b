"""Anomalies as something to look at."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from rich.table import Table
from rich.text import Text

STYLES = {"price-jump": "red", "volume-spike": "yellow", "drift": "magenta"}


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Records of anomalies, each with the ``sites`` that have it; one row each."""
    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    right = ("value", "usual", "change", "score")
    for heading in ("minute", "symbol", "kind", *right, "sites", ""):
        drawn.add_column(heading, justify="right" if heading in right else "left", no_wrap=True)
    for row in rows:
        drawn.add_row(
            row["timestamp"],
            row["symbol"],
            Text(row["kind"], style=STYLES[row["kind"]]),
            row["value"],
            f"{Decimal(row['usual']):.8g}",
            _change(row),
            f"{Decimal(row['score']):.1f}",
            " ".join(row["sites"]),
            Text("" if row["complete"] else "trades may be missing", style="dim"),
        )
    return drawn


def _change(row: Mapping[str, Any]) -> str:
    change = Decimal(row["change"])
    if row["kind"] == "volume-spike":
        return f"×{change + 1:.0f}"
    return f"{change * 100:+.2f}%"
