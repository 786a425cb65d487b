"""Candles in a terminal: a table, and a chart with one column per bar, of box characters."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from rich.table import Table
from rich.text import Text

from mcloud.candle_history import FILLED, CandleRow, columns
from mcloud.market.indicators import Indicator
from mcloud.market.interval import Bar
from mcloud.market.trade import to_text

# Character of a cell, by the content of its upper and its lower half.
CELLS = {
    ("", ""): " ",
    ("wick", "wick"): "│",
    ("wick", ""): "╷",
    ("", "wick"): "╵",
    ("body", "body"): "┃",
    ("body", ""): "╻",
    ("", "body"): "╹",
    ("body", "wick"): "╽",
    ("wick", "body"): "╿",
}
WITHOUT_TRADES = "┄"
UNKNOWN = "–"
LINES = ("cyan", "magenta", "yellow", "blue")
"""Colours of the lines, in turn."""
LABELS = 4  # prices, about
FEWEST = 5  # columns of a table
WORDS = ("timestamp", FILLED)
"""Columns of a table with texts."""
PLACES = 12  # maximum number of decimal places of a price (see `trade.NUMBER`)


def table(
    rows: Sequence[CandleRow], marked: bool, indicators: Sequence[Indicator], width: int
) -> tuple[Table, list[str]]:
    """Draw one bar in a row, and return also the columns that do not fit the width.

    Args:
        marked: whether a column marks the intervals without trades.
    """
    # Requested columns come before those that may be hidden.
    _, *names = columns(marked, ())
    names[-4:-4] = map(str, indicators)
    records = [row.record(marked) for row in rows]
    texts = [{name: _text(name, record[name]) for name in names} for record in records]
    return _table(names, texts, [row.step.filled for row in rows], width)


def _text(column: str, value: str | int | bool | None) -> str:
    if column == FILLED:
        return FILLED if value else ""
    return UNKNOWN if value is None else str(value)


def _table(
    columns: Sequence[str], rows: Sequence[Mapping[str, str]], filled: Sequence[bool], width: int
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


def candlesticks(
    bars: Sequence[Bar],
    width: int,
    height: int,
    lines: Mapping[str, Sequence[Decimal | None]] | None = None,
) -> Text:
    """Draw the last bars that fit ``width`` columns on at least two rows.

    Prices are on the right, times below. A bar is green if it closed at or above its open, and red
    otherwise. A bar without trades is a dim dash. Without any bars, the chart is a message instead
    of empty axes. ``lines`` have one value per bar. They are drawn as dots that do not cover bars,
    within the range of the bars.
    """
    if not bars:
        return Text("no data", style="dim")
    shown = bars[-width:]
    labels = _labels(shown, height)
    # Fewer bars may have a smaller range, and that longer labels.
    while len(shown) > (room := max(1, width - 1 - max(map(len, labels.values())))):
        shown = shown[-room:]
        labels = _labels(shown, height)
    low, high = _range(shown)
    drawn = [
        (values[len(bars) - len(shown) :], LINES[number % len(LINES)])
        for number, values in enumerate((lines or {}).values())
    ]
    text = Text()
    for row in reversed(range(height)):
        for column, bar in enumerate(shown):
            cell, style = _cell(bar, row, low, high, height), _style(bar)
            for values, color in drawn if cell == " " else ():
                if _is_at(values[column], row, low, high, height):
                    cell, style = "·", color
            text.append(cell, style)
        text.append(f" {labels[row]}" if row in labels else "", "dim")
        text.append("\n")
    first, last = shown[0].timestamp, shown[-1].timestamp
    text.append(f"{first} … {last}" if len(shown) > 1 else first, "dim")
    for number, name in enumerate(lines or ()):
        text.append("  · ", LINES[number % len(LINES)]).append(name, "dim")
    return text


def _range(bars: Sequence[Bar]) -> tuple[Decimal, Decimal]:
    return min(bar.low for bar in bars), max(bar.high for bar in bars)


def _labels(bars: Sequence[Bar], height: int) -> dict[int, str]:
    """Return the prices beside the chart by row, with enough digits to tell neighbours apart."""
    low, high = _range(bars)
    if low == high:
        return {height // 2: to_text(low)}
    step = (high - low) / (height - 1)
    digits = Decimal(1).scaleb(max(-PLACES, min(0, step.adjusted())))
    rows = range(0, height, max(1, height // LABELS))
    return {row: f"{(low + step * row).quantize(digits):f}" for row in rows}


def _cell(bar: Bar, row: int, low: Decimal, high: Decimal, height: int) -> str:
    """Return the character of a bar in a row."""
    lower, upper = (_part(bar, 2 * row + half, low, high, height) for half in (0, 1))
    if not bar.trade_count and (lower or upper):
        return WITHOUT_TRADES
    return CELLS[lower, upper]


def _part(bar: Bar, half_row: int, low: Decimal, high: Decimal, height: int) -> str:
    prices = (bar.open, bar.close, bar.low, bar.high)
    opened, closed, bottom, top = (_level(price, low, high, height) for price in prices)
    if min(opened, closed) <= half_row <= max(opened, closed):
        return "body"
    return "wick" if bottom <= half_row <= top else ""


def _is_at(value: Decimal | None, row: int, low: Decimal, high: Decimal, height: int) -> bool:
    if value is None or not low <= value <= high:
        return False
    return _level(value, low, high, height) // 2 == row


def _level(price: Decimal, low: Decimal, high: Decimal, height: int) -> int:
    """Return the half row of a price, counted from the bottom."""
    span = high - low
    return int((price - low) / span * (2 * height - 1)) if span else height


def _style(bar: Bar) -> str:
    if not bar.trade_count:
        return "dim"
    return "green" if bar.close >= bar.open else "red"
