"""Views of dead letters: a list of all, and the content of one."""

from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from mcloud.replication.deadletters import Letter


def table(letters: Sequence[Letter], site: str) -> Table:
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
    for each in letters:
        letter = each.document
        ids = f"{letter.first_id}-{letter.last_id}" if letter.symbol else ""
        deliveries = "" if letter.deliveries is None else str(letter.deliveries)
        trades, why = str(letter.trades or ""), Text(_why(each, site))
        drawn.add_row(letter.id, "\n".join(letter.symbols), ids, trades, deliveries, why)
    return drawn


def content(letter: Letter, site: str) -> Group:
    """Draw the attributes of a dead letter and its trades, or its body if it cannot be read."""
    lines = [f"{letter.letter.id}: {_why(letter, site)}"]
    lines += [f"  {name}: {value!r}" for name, value in sorted(letter.letter.attributes.items())]
    if letter.envelope is None:
        lines.append(f"  {len(letter.letter.body):,} bytes: {letter.plain_body}")
    else:
        lines += [
            f"  {trade.symbol}  {trade.id}  {trade.time}  {trade.price} x {trade.quantity}"
            for trade in letter.envelope.trades
        ]
    return Group(*map(Text, lines))


def _why(letter: Letter, site: str) -> str:
    refusal = letter.refusal or f"`mcloud dlq show {site} {letter.letter.id}` shows why"
    why = letter.reason or f"can be read: {refusal}"
    return f"{why} (was sent again before)" if letter.has_come_back else why
