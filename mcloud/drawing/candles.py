"""Candles in a terminal: a line about all of them, and a table of the newest."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from rich.table import Table
from rich.text import Text

from mcloud.candle_history import FILLED, CandleRow, columns
from mcloud.market.indicators import Indicator
from mcloud.market.trade import to_text

UNKNOWN = "–"
WORDS = ("timestamp", FILLED)
"""Columns of a table with texts."""
FEWEST = 2  # columns of a table
FINER = 2  # decimal places of an indicator of prices, more than of the prices
FACTOR = 8  # decimal places of other indicators


def title(rows: Sequence[CandleRow], interval: str, site: str) -> Text:
    """Return the newest price of the shown candles, its change, and the sums; there is a row."""
    bars = [row.step.bar for row in rows]
    first, last = bars[0], bars[-1]
    change = (last.close - first.open) / first.open * 100 if first.open else Decimal(0)
    traded = [bar for bar in bars if bar.trade_count] or bars
    line = Text.assemble(
        (f"{last.symbol}  {to_text(last.close)}", "bold"),
        (f"  {change:+.2f}%", "green" if change >= 0 else "red"),
        f"  low {to_text(min(bar.low for bar in traded))}",
        f"  high {to_text(max(bar.high for bar in traded))}",
    )
    trades = sum(bar.trade_count for bar in bars)
    return line.append(f"  {trades:,} trades  {interval} candles at {site}", "dim")


def table(
    rows: Sequence[CandleRow], marked: bool, indicators: Sequence[Indicator], width: int
) -> tuple[Table, list[str]]:
    """Draw one bar in a row, and return also the columns that do not fit the width.

    Args:
        marked: whether a column marks the intervals without trades.
    """
    # Requested columns come first, so that they are hidden last.
    names = columns(marked, ())[1:]
    front = 2 if marked else 1
    names[front:front] = map(str, indicators)
    records = [row.record(marked) for row in rows]
    is_price = {str(each): each.is_price for each in indicators}
    texts = {name: _column(name, rows, records, is_price) for name in names}
    lines = [dict(zip(names, line, strict=True)) for line in zip(*texts.values(), strict=True)]
    return _table(names, lines, [row.step.filled for row in rows], width)


def _column(
    name: str,
    rows: Sequence[CandleRow],
    records: Sequence[Mapping[str, str | int | bool | None]],
    is_price: Mapping[str, bool],
) -> list[str]:
    """Return the texts of a column. Decimals have the same number of places, so that they align."""
    if name == FILLED:
        return [FILLED if record[name] else "" for record in records]
    if name in is_price:
        places = FACTOR
        if is_price[name]:
            places = FINER + max(_places(to_text(row.step.bar.close)) for row in rows)
        values = [row.values[name] for row in rows]
        return [UNKNOWN if value is None else f"{value:.{places}f}" for value in values]
    texts = [UNKNOWN if (value := record[name]) is None else str(value) for record in records]
    if not all(isinstance(record[name], str) for record in records) or name in WORDS:
        return texts
    most = max(map(_places, texts))
    return [f"{Decimal(text):.{most}f}" for text in texts]


def _places(text: str) -> int:
    return len(text.partition(".")[2])


def _table(
    columns: Sequence[str],
    rows: Sequence[Mapping[str, str]],
    filled: Sequence[bool],
    width: int,
) -> tuple[Table, list[str]]:
    # A number that is cut off is a wrong number, so whole columns are left out, from the right.
    widths = {column: max(len(column), *(len(row[column]) for row in rows)) for column in columns}
    shown, hidden = list(columns), list[str]()
    while sum(widths[column] + 1 for column in shown) > width + 1 and len(shown) > FEWEST:
        hidden.insert(0, shown.pop())
    drawn = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column in shown:
        is_word = column in WORDS
        drawn.add_column(column, justify="left" if is_word else "right", no_wrap=True)
    for row, is_filled in zip(rows, filled, strict=True):
        drawn.add_row(*(row[column] for column in shown), style="dim" if is_filled else "")
    return drawn, hidden
