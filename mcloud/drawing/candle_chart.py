"""A chart of candles for a terminal, as wide as the terminal: prices, volumes and times."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

from rich.text import Text

from mcloud.market.interval import INTERVALS, Bar
from mcloud.market.trade import to_text

# Character of a thin cell, by the content of its lower and its upper half.
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
BLOCKS = {(True, True): "█", (True, False): "▄", (False, True): "▀"}
"""Character of a wide body, by whether it covers the lower and the upper half."""
EIGHTHS = " ▁▂▃▄▅▆▇█"
WITHOUT_TRADES = "┄"
LINES = ("cyan", "magenta", "yellow", "blue")
"""Colours of the lines, in turn."""
LABELS = 4  # prices, about
PLACES = 12  # maximum number of decimal places of a price (see `trade.NUMBER`)
WIDEST = 9  # columns of a body
DAY = 86_400_000  # ms
STEPS = (
    *(minutes * 60_000 for minutes in (1, 2, 5, 10, 15, 30)),
    *(hours * 3_600_000 for hours in (1, 2, 3, 6, 12)),
    *(days * DAY for days in (1, 2, 7, 14, 28, 91, 364)),
)
"""Distances of two times on the axis, in ms."""
TIME = 5  # columns of a time or a day
APART = 2  # columns between two of them


class _Slot(NamedTuple):
    """The columns of one bar."""

    width: int
    body: int
    """Columns of its body: one, or an odd number."""

    @property
    def left(self) -> int:
        return (self.width - self.body) // 2


def candlesticks(
    bars: Sequence[Bar],
    width: int,
    height: int,
    lines: Mapping[str, Sequence[Decimal | None]] | None = None,
    *,
    interval: str = "1m",
    volume: int = 0,
) -> Text:
    """Draw the last bars that fit ``width`` columns, with prices on the right and times below.

    Few bars are drawn wider. A bar is green if it closed at or above its open, and red otherwise. A
    bar without trades is a dim dash. Without any bars, the chart is a message instead of empty
    axes.

    Args:
        height: rows of the prices, at least two.
        lines: values of lines, one for each bar. They are drawn in front of the bars, within the
            range of the bars.
        interval: width of a bar, a key of INTERVALS.
        volume: rows of the volumes below the prices.
    """
    if not bars:
        return Text("no data", style="dim")
    shown = bars[-width:]
    labels = _labels(shown, height, volume)
    # Fewer bars may have a smaller range, and that longer labels.
    while len(shown) > (room := max(1, width - 1 - len(labels[0]))):
        shown = shown[-room:]
        labels = _labels(shown, height, volume)
    slot = _slot(room // len(shown))
    drawn = [
        (values[len(bars) - len(shown) :], LINES[number % len(LINES)])
        for number, values in enumerate((lines or {}).values())
    ]
    rows = [_price_row(shown, drawn, row, height, slot) for row in reversed(range(height))]
    rows += _volumes(shown, volume, slot)
    close = height - 1 - _level(shown[-1].close, *_range(shown), height) // 2
    for number, (line, label) in enumerate(zip(rows, labels, strict=True)):
        if label.strip():
            line.append(f" {label}", "bold" if number == close else "dim")
    rows += _axis(shown, slot, INTERVALS[interval])
    return Text("\n", no_wrap=True).join(rows)


def legend(names: Sequence[str]) -> Text:
    """Return the names of the lines in their colours."""
    return Text("  ").join(
        Text(f"• {name}", LINES[number % len(LINES)]) for number, name in enumerate(names)
    )


def _slot(room: int) -> _Slot:
    body = min(WIDEST, room - 1)
    return _Slot(room, body if body % 2 else max(1, body - 1))


def _price_row(
    bars: Sequence[Bar],
    lines: Sequence[tuple[Sequence[Decimal | None], str]],
    row: int,
    height: int,
    slot: _Slot,
) -> Text:
    low, high = _range(bars)
    text = Text()
    for number, bar in enumerate(bars):
        cells = [(" ", "")] * slot.width
        middle, side = _cells(bar, row, low, high, height)
        begin, centre = slot.left, slot.left + slot.body // 2
        if slot.body > 1:
            cells[begin : begin + slot.body] = [(side, _style(bar))] * slot.body
        if slot.body == 1 or side == " ":
            cells[centre] = (middle, _style(bar))
        for values, color in lines:
            if not _is_at(values[number], row, low, high, height):
                continue
            cells = [("·", color) if cell == " " else (cell, style) for cell, style in cells]
            # A body of one column would disappear behind the line.
            if slot.body > 1 or middle in " │╷╵":
                cells[centre] = ("•", color)
        for cell, style in cells:
            text.append(cell, style)
    return text


def _cells(bar: Bar, row: int, low: Decimal, high: Decimal, height: int) -> tuple[str, str]:
    """Return the characters of a bar in a row: of its middle, and beside it."""
    lower, upper = (_part(bar, 2 * row + half, low, high, height) for half in (0, 1))
    if not bar.trade_count and (lower or upper):
        return WITHOUT_TRADES, WITHOUT_TRADES
    return CELLS[lower, upper], BLOCKS.get((lower == "body", upper == "body"), " ")


def _volumes(bars: Sequence[Bar], height: int, slot: _Slot) -> list[Text]:
    """Return the rows of the volumes."""
    largest = max(bar.volume for bar in bars)
    rows = []
    for row in reversed(range(height)):
        text = Text()
        for bar in bars:
            eighths = int(bar.volume / largest * height * 8) if largest else 0
            if bar.volume:
                eighths = max(1, eighths)
            cell = EIGHTHS[max(0, min(8, eighths - 8 * row))]
            body = f"{' ' * slot.left}{cell * slot.body}".ljust(slot.width)
            text.append(body, f"{_style(bar)} dim")
        rows.append(text)
    return rows


def _axis(bars: Sequence[Bar], slot: _Slot, interval: int) -> list[Text]:
    """Return a row of times at round distances, and a row of the dates on which they are."""
    step = next((each for each in STEPS if _fits(each, interval, slot)), STEPS[-1])
    marks = [number for number, bar in enumerate(bars) if bar.start % step == 0]
    columns = {number: number * slot.width + slot.left for number in (0, *marks)}
    if not marks or columns[marks[0]] >= 2 * (TIME + APART):
        marks.insert(0, 0)
    of_days = interval >= DAY
    times, dates, last = "", "", ""
    for mark in marks:
        # Bars that are missing bring times closer together than their distance.
        if times and len(times) + APART > columns[mark]:
            continue
        moment = datetime.fromtimestamp(bars[mark].start / 1000, UTC)
        time, date = (
            (f"{moment:%m-%d}", f"{moment:%Y}")
            if of_days
            else (f"{moment:%H:%M}", f"{moment:%Y-%m-%d}")
        )
        times = f"{times.ljust(columns[mark])}{time}"
        if date != last and len(dates) + APART * bool(dates) <= columns[mark]:
            dates, last = f"{dates.ljust(columns[mark])}{date}", date
    return [Text(times, "dim"), Text(f"{dates} UTC", "dim")]


def _fits(step: int, interval: int, slot: _Slot) -> bool:
    return step >= interval and step // interval * slot.width >= TIME + APART


def _short(value: Decimal) -> str:
    """Return a volume with about three digits."""
    if value >= 100:
        return f"{value:,.0f}"
    return to_text(value.quantize(Decimal(1).scaleb(value.adjusted() - 2))) if value else "0"


def _range(bars: Sequence[Bar]) -> tuple[Decimal, Decimal]:
    return min(bar.low for bar in bars), max(bar.high for bar in bars)


def _labels(bars: Sequence[Bar], height: int, volume: int) -> list[str]:
    """Return the texts beside the rows, of equal width: some prices, the newest close, and the
    largest volume.

    The prices have enough digits to tell neighbours apart.
    """
    low, high = _range(bars)
    prices = {_level(bars[-1].close, low, high, height) // 2: bars[-1].close}
    step = (high - low) / (height - 1)
    digits = Decimal(1).scaleb(max(-PLACES, min(0, step.adjusted() if step else 0)))
    if step:
        rows = range(0, height, max(1, height // LABELS))
        prices = {**{row: (low + step * row).quantize(digits) for row in rows}, **prices}
    places = max(len(f"{price:f}".partition(".")[2]) for price in prices.values())
    texts = [f"{prices[row]:.{places}f}" if row in prices else "" for row in range(height)][::-1]
    if volume:
        texts += [
            _short(max(bar.volume for bar in bars)),
            *["volume", *[""] * volume][: volume - 1],
        ]
    longest = max(map(len, texts))
    return [text.rjust(longest) for text in texts]


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
